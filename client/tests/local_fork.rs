//! Forked children of a process with a local handle: a process of its own each, by a fresh socket, nothing allocated,
//! the parent undisturbed. Alone in their binary: a child holds the ears of all tests for as long as it lives.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork and _exit are unsafe to call; a child here only beats and ends")]

use nix::sys::wait::{WaitStatus, waitpid};
use varta_client::{
    BeatError, BeatFault, BeatOutcome, Sources, Status, Varta,
    session::{SenderTime, Starts},
};
use varta_vlp::Frame;

#[path = "sealed/child.rs"]
mod child;
#[path = "sealed/counting.rs"]
mod counting;
#[expect(dead_code, reason = "these tests hear bare frames only")]
#[path = "local/ear.rs"]
mod ear;
#[expect(dead_code, reason = "these tests have a local ear, and of the sealed one's file only the host")]
#[path = "sealed/receiver.rs"]
mod receiver;

use child::{assert_held, in_child, in_child_allocating};
use ear::Ear;
use receiver::{Host, SECOND};

fn sent(outcome: BeatOutcome) -> bool {
    outcome == BeatOutcome::Sent
}

#[test]
fn a_child_is_a_process_of_its_own() {
    let (ear, host) = (Ear::new(), Host::new());
    let mut varta = Varta::local_builder().socket(ear.path()).connect_with(host.clone()).unwrap();
    for payload in 1..=2 {
        host.pass(SECOND);
        assert!(sent(varta.beat(Status::Ok, payload)));
    }
    let child = in_child(|| {
        let first = sent(varta.beat(Status::Ok, 3));
        host.pass(SECOND);
        first && sent(varta.beat(Status::Ok, 4)) && varta.fork_recoveries() == 1
    });
    assert_held(child);
    assert!(sent(varta.beat(Status::Ok, 5)));
    assert_eq!(varta.fork_recoveries(), 0);
    let (parent, child) = (std::process::id(), u32::try_from(child.as_raw()).unwrap());
    let told = |pid, timestamp, nonce, payload| Frame { status: Status::Ok, pid, timestamp, nonce, payload };
    let expected = [
        told(parent, SECOND, 1, 1),
        told(parent, 2 * SECOND, 2, 2),
        told(child, 0, 1, 3),
        told(child, SECOND, 2, 4),
        // The child's second passed in the child's memory only.
        told(parent, 2 * SECOND, 3, 5),
    ];
    for frame in expected {
        assert_eq!(ear.next_frame(), frame);
    }
    assert!(ear.is_quiet());
}

#[test]
fn a_child_connects_afresh() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert!(sent(varta.beat(Status::Ok, 1)));
    assert_eq!(ear.next_frame().payload, 1);
    let old = ear.end();
    let ear = old.begin_again();
    // The parent's socket leads to the observer that has ended; the child's own does not.
    assert_held(in_child(|| sent(varta.beat(Status::Ok, 2))));
    assert_eq!(ear.next_frame().payload, 2);
}

#[test]
fn a_grandchild_is_told_from_its_parent_too() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    let child = in_child(|| {
        let first = sent(varta.beat(Status::Ok, 1));
        let grandchild = in_child(|| sent(varta.beat(Status::Ok, 2)) && varta.fork_recoveries() == 2);
        let ended = waitpid(grandchild, None) == Ok(WaitStatus::Exited(grandchild, 0));
        first && ended && sent(varta.beat(Status::Ok, 3)) && varta.fork_recoveries() == 1
    });
    assert_held(child);
    let (one, two, three) = (ear.next_frame(), ear.next_frame(), ear.next_frame());
    assert_ne!(one.pid, two.pid);
    assert_eq!((one.nonce, two.nonce), (1, 1));
    assert_eq!((three.pid, three.nonce), (one.pid, 2));
}

#[test]
fn a_child_may_connect_by_itself() {
    let ear = Ear::new();
    let mut inherited = Varta::local(ear.path()).unwrap();
    assert!(sent(inherited.beat(Status::Ok, 1)));
    assert_held(in_child_allocating(|| {
        let mut own = Varta::local(ear.path()).ok()?;
        Some(sent(own.beat(Status::Ok, 2)) && own.fork_recoveries() == 0)
    }));
    assert_eq!((ear.next_frame().nonce, ear.next_frame().nonce), (1, 1));
}

/// A process whose number becomes 1, as that of a child cloned into a new PID namespace does.
struct Cloned {
    host: Host,
    pid: u32,
}

impl Sources for Cloned {
    fn now(&mut self) -> std::io::Result<SenderTime> {
        Sources::now(&mut self.host)
    }

    fn salt(&mut self) -> std::io::Result<[u8; 8]> {
        self.host.salt()
    }

    fn pid(&mut self) -> u32 {
        if std::process::id() == self.pid { self.pid } else { 1 }
    }

    fn starts(&self) -> &'static Starts {
        self.host.starts()
    }
}

#[test]
fn a_child_that_is_pid_1_says_nothing() {
    let ear = Ear::new();
    let process = Cloned { host: Host::new(), pid: std::process::id() };
    let mut varta = Varta::local_builder().socket(ear.path()).connect_with(process).unwrap();
    assert_held(in_child(|| {
        matches!(varta.beat(Status::Ok, 0), BeatOutcome::Failed(BeatError { fault: BeatFault::PidOne, .. }))
    }));
    assert!(ear.is_quiet());
    assert!(sent(varta.beat(Status::Ok, 0)));
}
