//! Forked children: no nonce twice, no unit inherited, nothing allocated, the parent undisturbed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork and _exit are unsafe to call; a child here only beats and ends")]

use std::{collections::HashSet, sync::atomic::Ordering};

use nix::sys::wait::{WaitStatus, waitpid};
use varta_client::{BeatError, BeatFault, BeatOutcome, Status, Varta};
use varta_vlp::{UnitId, key::Name, sealed::Flags};

#[path = "sealed/child.rs"]
mod child;
#[path = "sealed/counting.rs"]
mod counting;
#[expect(dead_code, reason = "these tests do not ask for silence by the clock")]
#[path = "sealed/receiver.rs"]
mod receiver;
mod same_pid;

use child::{assert_held, in_child, in_child_allocating};
use receiver::{Host, Receiver, key};
use same_pid::SamePid;

fn sent(outcome: BeatOutcome) -> bool {
    outcome == BeatOutcome::Sent
}

#[test]
fn a_child_is_a_process_of_its_own() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("child", &[&ear])).unit("api").connect().unwrap();
    assert!(sent(varta.beat(Status::Ok, 1)));
    let child = in_child(|| {
        sent(varta.beat(Status::Ok, 2))
            && sent(varta.beat(Status::Ok, 3))
            && varta.fork_recoveries() == 1
            && varta.name_unit("worker").is_ok()
            && sent(varta.beat(Status::Ok, 4))
    });
    assert_held(child);
    assert!(sent(varta.beat(Status::Ok, 5)));
    assert_eq!(varta.fork_recoveries(), 0);

    let before = ear.next();
    let (first, second) = (ear.next(), ear.next());
    let child_pid = u32::try_from(child.as_raw()).unwrap();
    for (heard, counter) in [(&first, 0), (&second, 1)] {
        assert_eq!(heard.body.frame.pid, child_pid);
        assert_eq!(heard.body.unit, UnitId::NONE, "it has not named itself");
        assert_eq!(heard.body.flags, Flags::default(), "it continues nothing");
        assert_eq!((heard.header.counter, heard.body.frame.nonce), (counter, counter + 1));
        assert_eq!(heard.header.session_start, first.header.session_start);
    }
    assert!(first.header.session_start > before.header.session_start);
    assert_eq!(first.body.frame.timestamp, 0, "its first connect is its own");
    assert_eq!(first.body.boot, before.body.boot);
    assert!(!first.metadata.as_ref().unwrap().contains_key("unit"));
    assert_ne!(first.from, before.from, "a fresh socket");
    for _ in 0..3 {
        let goodbye = ear.next();
        assert_eq!((goodbye.body.unit, goodbye.body.flags), (UnitId::NONE, Flags::FINAL));
    }
    let named = ear.next();
    assert_eq!(named.body.unit, Name::new("worker").unwrap().unit_id());
    assert_eq!(named.metadata.unwrap()["unit"], "worker");
    assert_eq!((named.body.frame.payload, named.body.flags), (4, Flags::default()));

    let after = ear.next();
    assert_eq!(after.body.frame.pid, std::process::id());
    assert_eq!(after.body.unit, Name::new("api").unwrap().unit_id());
    assert_eq!((after.header.counter, after.body.frame.nonce), (1, 2));
    assert_eq!(after.header.session_start, before.header.session_start);
    assert_eq!(after.from, before.from);
    assert!(ear.is_quiet());
}

/// A child cloned into a new PID namespace may have any number there.
#[test]
fn a_child_with_its_parents_number_is_noticed() {
    let ear = Receiver::new("obs-1");
    let mut varta =
        Varta::builder().key(key("same-pid", &[&ear])).unit("api").connect_with(SamePid(std::process::id())).unwrap();
    assert!(sent(varta.beat(Status::Ok, 1)));
    assert_held(in_child(|| {
        sent(varta.beat(Status::Ok, 2)) && sent(varta.beat(Status::Ok, 3)) && varta.fork_recoveries() == 1
    }));
    assert!(sent(varta.beat(Status::Ok, 4)));
    assert_eq!(varta.fork_recoveries(), 0);
    let heard: Vec<_> = (0..4).map(|_| ear.next()).collect();
    assert!(heard.iter().all(|beat| beat.body.frame.pid == std::process::id()));
    let counters: Vec<_> = heard.iter().map(|beat| beat.header.counter).collect();
    assert_eq!(counters, [0, 0, 1, 1]);
    assert_eq!(heard[1].body.unit, UnitId::NONE);
    assert_ne!(heard[0].header.session_start, heard[1].header.session_start);
    assert_eq!(heard[0].header.session_start, heard[3].header.session_start);
}

#[test]
fn a_child_may_connect_by_itself() {
    let ear = Receiver::new("obs-1");
    let open = || Varta::builder().key(key("pre-fork", &[&ear])).unit("api").connect();
    let mut inherited = open().unwrap();
    assert!(sent(inherited.beat(Status::Ok, 1)));
    let child = in_child_allocating(|| {
        // The parent's place is not the child's.
        let mut own = open().ok()?;
        let held = sent(own.beat(Status::Ok, 2)) && own.fork_recoveries() == 0;
        let other = sent(inherited.beat(Status::Ok, 3)) && inherited.fork_recoveries() == 1;
        Some(held && other && open().is_err())
    });
    assert_held(child);
    let heard: Vec<_> = (0..3).map(|_| ear.next()).collect();
    let api = Name::new("api").unwrap().unit_id();
    assert_eq!(heard[1].body.unit, api);
    assert_eq!(heard[1].body.flags, Flags::default(), "the child never was that unit");
    assert_eq!(heard[2].body.unit, UnitId::NONE);
    assert_eq!(heard[1].body.frame.pid, heard[2].body.frame.pid);
    assert!(heard[1].body.frame.timestamp <= heard[2].body.frame.timestamp);
}

#[test]
fn a_grandchild_is_told_from_its_parent_too() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("grandchild", &[&ear])).connect().unwrap();
    let child = in_child(|| {
        let first = sent(varta.beat(Status::Ok, 1));
        let grandchild = in_child(|| sent(varta.beat(Status::Ok, 2)) && varta.fork_recoveries() == 2);
        let ended = waitpid(grandchild, None) == Ok(WaitStatus::Exited(grandchild, 0));
        first && ended && sent(varta.beat(Status::Ok, 3)) && varta.fork_recoveries() == 1
    });
    assert_held(child);
    let (one, two, three) = (ear.next(), ear.next(), ear.next());
    assert_ne!(one.body.frame.pid, two.body.frame.pid);
    assert_eq!(two.header.counter, 0);
    assert_eq!(two.body.flags, Flags::default());
    assert_eq!((three.body.frame.pid, three.header.counter), (one.body.frame.pid, 1));
}

#[test]
fn of_two_inherited_handles_only_one_speaks_for_the_pid() {
    let ear = Receiver::new("obs-1");
    let open = |unit: &str| Varta::builder().key(key("inherited", &[&ear])).unit(unit).connect().unwrap();
    let (mut one, mut two) = (open("a"), open("b"));
    let taken = |outcome| matches!(outcome, BeatOutcome::Failed(BeatError { fault: BeatFault::UnitTaken, .. }));
    let child = in_child(|| {
        sent(one.beat(Status::Ok, 1))
            && taken(two.beat(Status::Ok, 2))
            && two.name_unit("b").is_ok()
            && sent(two.beat(Status::Ok, 3))
            && sent(one.beat(Status::Ok, 4))
    });
    assert_held(child);
    let heard: Vec<_> = (0..3).map(|_| ear.next()).map(|heard| (heard.body.frame.payload, heard.body.unit)).collect();
    let b = Name::new("b").unwrap().unit_id();
    assert_eq!(heard, [(1, UnitId::NONE), (3, b), (4, UnitId::NONE)]);
    assert!(ear.is_quiet());
}

#[test]
fn a_child_without_randomness_is_refused_until_there_is_some() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut varta = Varta::builder().key(key("child-entropy", &[&ear])).connect_with(host.clone()).unwrap();
    assert!(sent(varta.beat(Status::Ok, 1)));
    host.has_entropy.store(false, Ordering::Relaxed);
    let child = in_child(|| {
        let refused =
            matches!(varta.beat(Status::Ok, 2), BeatOutcome::Failed(BeatError { fault: BeatFault::Entropy, .. }));
        host.has_entropy.store(true, Ordering::Relaxed);
        let then = sent(varta.beat(Status::Ok, 3));
        host.has_entropy.store(false, Ordering::Relaxed);
        refused && then && sent(varta.beat(Status::Ok, 4)) && varta.entropy_failures() == 2
    });
    assert_held(child);
    assert!(sent(varta.beat(Status::Ok, 5)), "the parent had some before");
    let payloads: Vec<_> = (0..4).map(|_| ear.next().body.frame.payload).collect();
    assert_eq!(payloads, [1, 3, 4, 5]);
}

#[test]
fn a_storm_of_children_repeats_no_nonce() {
    const CHILDREN: u32 = 40;
    const BEATS: u32 = 10;
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("storm", &[&ear])).unit("api").connect().unwrap();
    let mut nonces = HashSet::new();
    let mut counters = HashSet::new();
    let mut heard = 0;
    for _ in 0..CHILDREN / 4 {
        let children: Vec<_> =
            (0..4).map(|_| in_child(|| (0..BEATS).all(|payload| sent(varta.beat(Status::Ok, payload))))).collect();
        let own = (0..BEATS).all(|payload| sent(varta.beat(Status::Ok, payload)));
        assert!(own);
        for child in children {
            assert_held(child);
        }
        for _ in 0..5 * BEATS {
            let beat = ear.next();
            assert!(nonces.insert(beat.header.nonce()));
            assert!(counters.insert((beat.body.frame.pid, beat.header.session_start, beat.header.counter)));
            heard += 1;
        }
    }
    assert!(ear.is_quiet());
    assert_eq!(heard, (CHILDREN + CHILDREN / 4) * BEATS);
}
