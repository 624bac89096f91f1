//! The examples, run before an observer's ear.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::{BTreeMap, HashSet},
    net::UdpSocket,
    path::PathBuf,
    process::{Command, Stdio},
};

use varta_client::keyfile::create_secret_file;
use varta_vlp::sealed::Flags;

#[expect(dead_code, reason = "examples have the system's clocks")]
#[path = "sealed/receiver.rs"]
mod receiver;

use receiver::{Heard, Receiver, key};

/// Where cargo puts an example: beside the folder of this test.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(file.exists(), "{} is not built; `cargo test -p varta-client` builds the examples, too", file.display());
    file
}

/// Runs an example to its end; what an observer hears of it. No frame of one nonce comes twice.
fn heard(name: &str) -> Vec<Heard> {
    let ear = Receiver::new("obs-1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.key");
    create_secret_file(&file, &key("example", &[&ear]).render()).unwrap();
    let done = Command::new(example(name)).arg(&file).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.lines().all(|line| line.ends_with("sent")), "{name}: {said}");
    // It has ended, and loopback delivers before `send` returns: all of it waits here.
    let mut heard = Vec::new();
    while waits(&ear.socket) {
        heard.push(ear.next());
    }
    let nonces: HashSet<_> =
        heard.iter().map(|one| (one.header.session_start, one.header.salt, one.header.counter)).collect();
    assert_eq!(nonces.len(), heard.len(), "{name}: a nonce came twice");
    heard
}

fn waits(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let waits = socket.peek(&mut [0; 8]).is_ok();
    socket.set_nonblocking(false).unwrap();
    waits
}

/// Beats by the pid that they come from.
fn by_process(heard: &[Heard]) -> BTreeMap<u32, Vec<&Heard>> {
    let mut processes: BTreeMap<u32, Vec<&Heard>> = BTreeMap::new();
    for one in heard {
        processes.entry(one.body.frame.pid).or_default().push(one);
    }
    processes
}

fn unit(heard: &[&Heard]) -> String {
    heard.iter().rev().find_map(|one| one.metadata.as_ref()?.get("unit").cloned()).unwrap_or_default()
}

fn ends_well(heard: &[&Heard]) {
    assert!(heard.iter().rev().take(3).all(|one| one.body.flags.has(Flags::FINAL)), "{heard:?}");
}

#[test]
fn a_thread_pool_beats_while_its_workers_get_on() {
    let heard = heard("thread_pool");
    let all: Vec<_> = heard.iter().collect();
    assert_eq!((by_process(&heard).len(), unit(&all)), (1, "pool".to_owned()));
    assert!(heard.len() > 3 && heard.iter().any(|one| one.body.next_due_ms == 200));
    ends_well(&all);
}

#[test]
fn forked_workers_are_units_of_their_own() {
    let heard = heard("prefork");
    let processes = by_process(&heard);
    let mut units: Vec<_> = processes.values().map(|heard| unit(heard)).collect();
    units.sort_unstable();
    assert_eq!(units, ["parent", "worker-0", "worker-1", "worker-2"]);
    processes.values().for_each(|heard| ends_well(heard));
    let sessions: HashSet<_> = heard.iter().map(|one| one.header.session_start).collect();
    assert!(sessions.len() >= 4, "a session each");
}

#[test]
fn a_job_says_when_it_comes_again() {
    let heard = heard("cron_job");
    let last = heard.last().unwrap();
    assert!(last.body.flags.has(Flags::HOLD) && last.body.next_due_ms == 25 * 3_600_000, "{last:?}");
    let steps: Vec<_> = heard.iter().filter(|one| one.body.next_due_ms == 60_000).collect();
    assert_eq!((steps.len(), unit(&steps)), (5, "nightly".to_owned()));
}

#[test]
fn tasks_beat_without_more_ado() {
    let heard = heard("async_tokio");
    let all: Vec<_> = heard.iter().collect();
    assert_eq!(unit(&all), "server");
    assert!(heard.iter().filter(|one| one.body.next_due_ms == 100).count() >= 2);
    ends_well(&all);
}
