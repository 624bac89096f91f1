//! The binary by the name `varta-watch`, as units written for the published program call it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    process::{Command, Output},
};

use varta_client::keyfile::create_secret_file;
use varta_keys::ObserverKeyFile;
use varta_vlp::key::{AudienceSecret, IdentitySecret};

/// Runs it by that name to its end.
fn run(folder: &Path, flags: &[&str]) -> Output {
    let link = folder.join("varta-watch");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_varta"), &link).unwrap();
    }
    Command::new(link).args(flags).current_dir(folder).output().unwrap()
}

#[test]
fn without_its_two_flags_it_says_so_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("--socket <PATH>") && said.contains("--threshold-ms <MS>"), "{said}");
    assert!(said.contains("Usage: varta-watch"), "{said}");
}

#[test]
fn its_help_knows_every_published_flag() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--socket",
        "--threshold-ms",
        "--recovery-exec",
        "--recovery-exec-file",
        "--recovery-debounce-ms",
        "--recovery-timeout-ms",
        "--socket-mode",
        "--read-timeout-ms",
        "--export-file",
        "--export-file-max-bytes",
        "--prom-addr",
        "--heartbeat-file",
        "--self-watchdog-secs",
        "--hw-watchdog",
        "--shutdown-after-secs",
    ] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
}

#[test]
fn a_wrong_command_is_exit_2_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        run(folder.path(), &["--socket", "s", "--threshold-ms", "500", "--recovery-exec", "/bin/kill --pid={pid}"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("recovery[0].exec: in `--pid={pid}`"), "{said}");
}

#[test]
fn it_runs_until_its_time_is_over_and_exits_0() {
    let folder = tempfile::tempdir().unwrap();
    let key = ObserverKeyFile {
        audience: "obs-1".to_owned(),
        secret: AudienceSecret::from_bytes([7; 32]),
        identity: IdentitySecret::from_bytes([8; 32]),
        retiring: Vec::new(),
    };
    create_secret_file(&folder.path().join("obs-1.key"), &key.render()).unwrap();
    let config = "[observer]\nkey_file = \"obs-1.key\"\n[[listen]]\nsealed = \"127.0.0.1:0\"\n[http]\nlisten = \"\"\n";
    std::fs::write(folder.path().join("observer.toml"), config).unwrap();
    let output = run(folder.path(), &["--config", "observer.toml", "--shutdown-after-secs", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
