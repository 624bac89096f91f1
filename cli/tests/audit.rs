//! `varta audit` as an operator sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use varta_client::keyfile::create_secret_file;
use varta_core::WallNs;
use varta_keys::ObserverKeyFile;
use varta_vlp::key::{AudienceSecret, IdentitySecret};
use varta_watch::audit::{Audit, AuditKey, Entry, Event, Link};

const KEY: [&str; 2] = ["--key", "obs-1.key"];

/// A directory with an observer's key file, `obs-1.key`, and its log.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { directory: tempfile::tempdir().expect("a directory") };
        desk.key_file("obs-1.key", 8);
        desk
    }

    fn key_file(&self, name: &str, identity: u8) {
        let key = ObserverKeyFile {
            audience: "obs-1".to_owned(),
            secret: AudienceSecret::from_bytes([7; 32]),
            identity: IdentitySecret::from_bytes([identity; 32]),
            retiring: Vec::new(),
        };
        create_secret_file(&self.path(name), &key.render()).expect("our own directory");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `begin`, two spawns and the end of the first; the newest link.
    fn write(&self, key: AuditKey, rotate_at: u64) -> Link {
        let at = WallNs(1_700_000_000_000_000_000);
        let mut audit = Audit::open(&self.path("audit.log"), key, rotate_at, at).expect("a log");
        let mut append = |event| audit.append(&Entry::new(at, event)).expect("room on the disk");
        let spawn = append(Event::Spawn).seq;
        append(Event::Spawn);
        append(Event::Completed { spawn })
    }

    fn write_keyed(&self, rotate_at: u64) -> Link {
        self.write(AuditKey::of(&IdentitySecret::from_bytes([8; 32])), rotate_at)
    }

    /// Runs `varta audit verify audit.log ARGS`: exit code, standard output, standard error.
    fn verify(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["audit", "verify", "audit.log"]).args(args).current_dir(self.directory.path());
        let output = command.output().expect("the program is built");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }

    /// Runs what must fail with `code` and say nothing on standard output; its standard error.
    fn bad(&self, code: i32, args: &[&str]) -> String {
        let (found, out, err) = self.verify(args);
        assert_eq!((found, out.as_str()), (code, ""), "{args:?}: {err}");
        err
    }
}

fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).expect("text");
    fs::write(file, change(text)).expect("our own file");
}

#[test]
fn a_log_that_holds_is_told_with_its_newest_link() {
    let desk = Desk::new();
    let last = desk.write_keyed(1 << 20);
    let expected = format!(
        "audit.log: the chain holds, keyed; 4 lines in 1 file, numbers 1 to 4\n\
         audit.log: 1 spawn without an end: 3\n\
         audit.log: newest link {last}\n"
    );
    assert_eq!(desk.verify(&KEY), (0, expected.clone(), String::new()));
    let against = last.to_string();
    assert_eq!(desk.verify(&[&KEY[..], &["--against", &against]].concat()), (0, expected, String::new()));
}

#[test]
fn files_are_followed_oldest_first_and_the_broken_line_is_named() {
    let desk = Desk::new();
    let last = desk.write_keyed(1);
    let (code, out, _) = desk.verify(&KEY);
    assert!(code == 0 && out.contains("6 lines in 3 files, numbers 1 to 6"), "{out}");
    edit(&desk.path("audit.log.1"), |text| text.replace("spawn", "brake"));
    let err = desk.bad(1, &KEY);
    assert_eq!(err, "varta: audit.log.1:2: link differs: the line was changed, or another key made it\n");
    fs::remove_file(desk.path("audit.log.1")).expect("it is there");
    let err = desk.bad(1, &[&KEY[..], &["--against", &last.to_string()]].concat());
    assert_eq!(err, "varta: audit.log:1: the sequence jumps: number 5 where 3 belongs\n");
}

#[test]
fn a_log_without_its_end_shows_by_a_link() {
    let desk = Desk::new();
    let last = desk.write_keyed(1 << 20).to_string();
    edit(&desk.path("audit.log"), |text| text[..text.len() - 9].to_owned());
    let (code, out, _) = desk.verify(&KEY);
    assert!(code == 0 && out.contains("audit.log:4: torn after "), "{out}");
    let err = desk.bad(1, &[&KEY[..], &["--against", &last]].concat());
    let said = format!("varta: audit.log: the chain holds, but not {last}: the log was truncated: it ends with 3:");
    assert!(err.starts_with(&said), "{err}");
}

#[test]
fn an_unkeyed_chain_says_so() {
    let desk = Desk::new();
    desk.write(AuditKey::unkeyed(), 1 << 20);
    let (code, out, _) = desk.verify(&[]);
    assert!(code == 0 && out.contains("holds, unkeyed: anyone could have made it; 4 lines"), "{out}");
    assert_eq!(desk.bad(1, &KEY), "varta: audit.log:1: the chain is unkeyed, and a key was given\n");
}

#[test]
fn what_cannot_be_checked_exits_with_2() {
    let desk = Desk::new();
    let err = desk.bad(2, &KEY);
    assert!(err.starts_with("varta: audit.log: No such file"), "{err}");
    desk.write_keyed(1 << 20);
    let err = desk.bad(2, &[]);
    assert!(err.contains("the chain is keyed: it needs the observer's key file; name it with --key"), "{err}");
    let err = desk.bad(2, &["--key", "none.key"]);
    assert!(err.contains("none.key: cannot be read"), "{err}");
    let err = desk.bad(2, &["--against", "4:12"]);
    assert!(err.contains("a link is SEQ:HEX"), "{err}");
    desk.key_file("obs-2.key", 9);
    let err = desk.bad(1, &["--key", "obs-2.key"]);
    assert!(err.starts_with("varta: audit.log:1: link differs: "), "{err}");
}
