//! What a beat is told, and how a handle finds an observer again.

use std::time::Duration;

use varta_client::{BeatOutcome, DropReason, Status, Varta};
use varta_vlp::{Frame, sealed::Flags};

use crate::ear::Ear;

const SENT: BeatOutcome = BeatOutcome::Sent;
const NO_OBSERVER: BeatOutcome = BeatOutcome::Dropped(DropReason::NoObserver);
const QUEUE_FULL: BeatOutcome = BeatOutcome::Dropped(DropReason::KernelQueueFull);

/// Fills the ear's queue, however long the kernel lets it grow; how many beats went in.
fn fill(varta: &mut Varta<varta_client::UdsTransport>) -> u64 {
    (0..1_000_000).find(|_| varta.beat(Status::Ok, 0) == QUEUE_FULL).expect("the queue fills up")
}

#[test]
fn a_full_queue_drops_and_does_not_block() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    let waiting = fill(&mut varta);
    assert_eq!(varta.beat(Status::Ok, 0), QUEUE_FULL);
    assert_eq!(varta.terminal(0), QUEUE_FULL);
    for nonce in 1..=waiting {
        assert_eq!(ear.next_frame().nonce, nonce);
    }
    assert!(ear.is_quiet());
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, waiting + 3, "a beat that was dropped keeps its nonce");
}

#[test]
fn a_restarted_observer_is_heard_again() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, 1);
    let place = ear.end();
    for _ in 0..3 {
        assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER, "a dead socket is left at the path");
    }
    place.clear();
    for _ in 0..3 {
        assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER, "nothing is at the path");
    }
    let ear = place.begin();
    for nonce in 8..10 {
        assert_eq!(varta.beat(Status::Ok, 0), SENT);
        assert_eq!(ear.next_frame().nonce, nonce, "the nonces go on");
    }
    let ear = ear.end().begin_again();
    assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER, "the first beat learns of it");
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, 11);
    assert!(ear.is_quiet());
}

#[test]
fn what_ends_something_is_tried_again_at_once() {
    let mut ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    let mut again = |varta: &mut Varta<varta_client::UdsTransport>, say: fn(&mut Varta<_>) -> BeatOutcome| {
        assert_eq!(varta.beat(Status::Ok, 0), SENT);
        ear = std::mem::replace(&mut ear, Ear::new()).end().begin_again();
        assert_eq!(say(varta), SENT);
        let said = varta_vlp::local::parse(&ear.next_bytes()).unwrap();
        assert!(ear.is_quiet(), "once is enough");
        said
    };
    assert_eq!(again(&mut varta, |varta| varta.finish(Status::Ok, 0)).flags, Flags::FINAL);
    assert_eq!(again(&mut varta, |varta| varta.terminal(0)).frame.nonce, Frame::TERMINAL);
    assert_eq!(again(&mut varta, |varta| varta.hold(Duration::from_secs(61))).next_due_ms, 61_000);
    drop(ear);
    assert_eq!(varta.finish(Status::Ok, 0), NO_OBSERVER);
}

#[test]
fn connecting_anew_is_no_restart() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    let ear = ear.end().begin_again();
    varta.reconnect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, 2);
    let place = ear.end();
    place.clear();
    assert_eq!(varta.reconnect().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER);
}

#[test]
fn after_so_many_misses_an_observer_that_does_not_read_is_left() {
    let stuck = Ear::new();
    let mut varta = Varta::local(stuck.path()).unwrap();
    varta.set_reconnect_after(3);
    let waiting = fill(&mut varta);
    // It still holds its queue, but another listens at the path.
    let next = stuck.displace();
    for _ in 0..2 {
        assert_eq!(varta.beat(Status::Ok, 0), QUEUE_FULL);
    }
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(next.next_frame().nonce, waiting + 4);
}
