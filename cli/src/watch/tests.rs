//! Flags, and the configuration they amount to.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use clap::error::ErrorKind;
use varta_config::At;

use super::*;

fn parsed(flags: &[&str]) -> Result<WatchArgs, clap::Error> {
    parse_compatible(std::iter::once("varta-watch").chain(flags.iter().copied()).map(Into::into))
}

/// The two flags that are always there, and more.
fn with(flags: &[&str]) -> WatchArgs {
    parsed(&[&["--socket", "/run/s", "--threshold-ms", "1500"], flags].concat()).unwrap()
}

fn configured(flags: &[&str]) -> ObserverConfig {
    with(flags).configuration(Some("/nowhere:/bin")).unwrap()
}

fn refused(flags: &[&str]) -> String {
    format!("{:#}", with(flags).configuration(Some("/nowhere:/bin")).unwrap_err())
}

#[test]
fn two_flags_are_enough_and_needed() {
    let config = configured(&[]);
    assert_eq!(config.listen, [Listen::socket("/run/s")]);
    assert_eq!(config.stall.threshold, Duration::from_millis(1500));
    assert_eq!((&config.observer.key_file, &config.observer.state_dir), (&None, &None));
    assert_eq!((config.http.listen, config.export.beats), (None, false));
    assert!(config.recovery.is_empty());
    for lacking in [&["--socket", "/run/s"][..], &["--threshold-ms", "1500"], &[]] {
        assert_eq!(parsed(lacking).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }
    parsed(&["--config", "observer.toml"]).unwrap();
}

#[test]
fn the_other_published_flags_keep_their_meaning() {
    let args = with(&["--read-timeout-ms", "50", "--shutdown-after-secs", "3"]);
    assert_eq!(args.shutdown_after_secs, Some(3));
    assert_eq!((with(&[]).read_timeout_ms, with(&[]).socket_mode), (100, 0o600));
    let config = configured(&["--export-file", "/e.tsv", "--prom-addr", "127.0.0.1:9100"]);
    assert_eq!((config.export.file.as_deref(), config.export.beats), (Some(Path::new("/e.tsv")), true));
    assert_eq!(config.http.listen, Some("127.0.0.1:9100".parse().unwrap()));
    assert_eq!((config.export.rotate_at, config.export.keep), (None, 5));
    assert_eq!(config.watchdog, varta_config::Watchdog::default());
    let config = configured(&["--export-file", "/e.tsv", "--export-file-max-bytes", "10000000"]);
    assert_eq!((config.export.rotate_at, config.export.keep), (Some(10_000_000), 5));
    let files = ["--heartbeat-file", "/h", "--hw-watchdog", "/dev/watchdog0"];
    let config = configured(&[&files[..], &["--self-watchdog-secs", "4"]].concat());
    let [heartbeat, device] = [&config.watchdog.heartbeat_file, &config.watchdog.device].map(Option::as_deref);
    assert_eq!((heartbeat, device), (Some(Path::new("/h")), Some(Path::new("/dev/watchdog0"))));
    assert_eq!(config.watchdog.limit, Some(Duration::from_secs(4)));
}

#[test]
fn a_mode_is_octal_in_each_published_form() {
    for (text, mode) in [("0660", 0o660), ("660", 0o660), ("0o660", 0o660), ("0O660", 0o660), ("0", 0)] {
        let listen = &configured(&["--socket-mode", text]).listen[0];
        assert_eq!((listen.mode, listen.at()), (mode, Some(At::Socket(Path::new("/run/s")))), "{text}");
    }
    for text in ["", "0o", "888", "1777", "+60", "rw"] {
        let flags = ["--socket", "/run/s", "--threshold-ms", "1500", "--socket-mode", text];
        let error = parsed(&flags).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{text}");
        assert!(error.to_string().contains("octal digits, 0 to 0777"), "{error}");
    }
}

#[test]
fn a_recovery_command_is_a_rule_for_the_processes_of_this_host() {
    let rule = &configured(&["--recovery-exec", "/usr/bin/logger  -t varta"]).recovery[0];
    assert_eq!(rule.exec, ["/usr/bin/logger", "-t", "varta", "{pid}"]);
    assert_eq!(rule.matching.agent.as_deref(), Some("local"));
    assert_eq!((rule.debounce, rule.timeout), (Duration::from_secs(1), None));

    let times = ["--recovery-debounce-ms", "0", "--recovery-timeout-ms", "3000", "--recovery-exec", "sh {pid} x"];
    let rule = &configured(&times).recovery[0];
    assert_eq!(rule.exec, ["/bin/sh", "{pid}", "x"]);
    assert_eq!((rule.debounce, rule.timeout), (Duration::ZERO, Some(Duration::from_secs(3))));

    let here = std::path::absolute("restart").unwrap();
    assert_eq!(configured(&["--recovery-exec", "./restart"]).recovery[0].exec, [here.to_str().unwrap(), "{pid}"]);
}

#[test]
fn a_recovery_command_from_a_file_keeps_the_rules_for_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("command");
    let flags = ["--recovery-exec-file", file.to_str().unwrap()];
    varta_client::keyfile::create_secret_file(&file, "/bin/kill\n-HUP\n").unwrap();
    assert_eq!(configured(&flags).recovery[0].exec, ["/bin/kill", "-HUP", "{pid}"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let text = refused(&flags);
    assert!(text.starts_with("--recovery-exec-file: ") && text.contains("has mode 0640"), "{text}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, " \n").unwrap();
    assert!(refused(&flags).ends_with("command: the command is empty; write a program and its arguments"));
}

#[test]
fn a_wrong_recovery_command_is_told() {
    assert_eq!(
        refused(&["--recovery-exec", "no-such-program"]),
        "--recovery-exec: there is no program `no-such-program` in PATH; write its absolute path"
    );
    assert_eq!(
        refused(&["--recovery-exec", " "]),
        "--recovery-exec: the command is empty; write a program and its arguments"
    );
    let text = refused(&["--recovery-exec", "/bin/kill --pid={pid}"]);
    assert!(text.contains("recovery[0].exec: in `--pid={pid}`: {pid} stands inside a longer argument"), "{text}");
    let both = ["--socket", "s", "--threshold-ms", "9", "--recovery-exec", "a", "--recovery-exec-file", "b"];
    assert_eq!(parsed(&both).unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn values_out_of_range_are_told_by_key() {
    let args = parsed(&["--socket", "/run/s", "--threshold-ms", "1"]).unwrap();
    let text = format!("{:#}", args.configuration(None).unwrap_err());
    assert!(text.contains("stall.threshold: found \"1ms\""), "{text}");
    assert!(refused(&["--self-watchdog-secs", "0"]).contains("watchdog.self: found \"0s\""));
    let text = refused(&["--export-file-max-bytes", "9"]);
    assert!(text.contains("export.rotate_at: found \"9B\""), "{text}");
    assert!(refused(&["--prom-addr", "0.0.0.0:9100"]).contains("can be reached from other hosts"));
}
