//! An audit log whose observer is killed: every link that was handed out is still there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use varta_core::WallNs;
use varta_watch::audit::{Audit, AuditKey, Entry, Event, Link, verify_files};

const AT: WallNs = WallNs(1_700_000_000_000_000_000);
/// Some ten lines to a file.
const ROTATE_AT: u64 = 3000;

fn open(path: &Path) -> Audit {
    Audit::open(path, AuditKey::unkeyed(), ROTATE_AT, AT).unwrap()
}

/// Appends to the log that is named beside this test, and prints each link, until it is killed.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn append_until_killed() {
    // Without one, all ignored tests were asked for.
    let Some(path) = std::env::args().find(|argument| argument.ends_with("/audit.log")) else { return };
    let mut audit = open(Path::new(&path));
    let mut out = std::io::stdout();
    for number in 0.. {
        let command = vec!["restart".to_owned(), "x".repeat(number % 200)];
        let link = audit.append(&Entry { command, ..Entry::new(AT, Event::DryRun) }).unwrap();
        writeln!(out, "link {link}").unwrap();
    }
}

#[test]
fn no_link_that_was_handed_out_is_lost_when_the_observer_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("audit.log");
    for life in 1..=25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "append_until_killed", "--ignored", "--nocapture"])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut links = lines.filter_map(|line| line.strip_prefix("link ").map(|link| link.parse::<Link>().unwrap()));
        let read = links.by_ref().nth(life % 13).unwrap();
        child.kill().unwrap();
        // What it had still written into the pipe was handed out, too.
        let last = links.last().unwrap_or(read);
        child.wait().unwrap();
        let verified = verify_files(&path, &AuditKey::unkeyed(), Some(last)).unwrap();
        let newest = open(&path).link();
        assert!(newest.seq >= verified.last.seq, "life {life}");
        verify_files(&path, &AuditKey::unkeyed(), Some(newest)).unwrap();
    }
}
