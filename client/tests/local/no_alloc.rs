//! After connect nothing is allocated and nothing freed, whether the observer is there, full, gone or back.

use std::time::Duration;

use varta_client::{BeatOutcome, DropReason, Status, Varta};

use crate::{counting::CALLS, ear::Ear};

#[test]
fn beats_allocate_nothing() {
    CALLS.set(0);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.get(), 2, "the allocator does count");

    let ear = Ear::new();
    let mut bare = Varta::local(ear.path()).unwrap();
    let mut promising = Varta::local_builder().socket(ear.path()).every(Duration::from_millis(10)).connect().unwrap();
    CALLS.set(0);
    let mut worst = BeatOutcome::Sent;
    for beat in 0..10_000 {
        for varta in [&mut bare, &mut promising] {
            worst = worst.worst(varta.beat(Status::Ok, beat));
        }
        ear.drain();
    }
    for outcome in [bare.finish(Status::Ok, 0), bare.hold(Duration::from_secs(61)), promising.terminal(0)] {
        worst = worst.worst(outcome);
    }
    assert_eq!(CALLS.get(), 0);
    assert_eq!(worst, BeatOutcome::Sent);
}

#[test]
fn a_beat_that_fails_or_is_dropped_allocates_nothing() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    varta.set_reconnect_after(3);
    CALLS.set(0);
    let full = (0..100_000).any(|_| varta.beat(Status::Ok, 0) == BeatOutcome::Dropped(DropReason::KernelQueueFull));
    let refused = varta.beat(Status::Stall, 0);
    assert_eq!(CALLS.get(), 0);
    assert!(full && matches!(refused, BeatOutcome::Failed(_)));

    let place = ear.end();
    CALLS.set(0);
    let gone = (0..1_000).all(|_| varta.beat(Status::Ok, 0) != BeatOutcome::Sent);
    assert_eq!(CALLS.get(), 0);
    let ear = place.begin_again();
    CALLS.set(0);
    let back = varta.beat(Status::Ok, 0);
    let goodbye = varta.finish(Status::Ok, 0);
    varta.reconnect().unwrap();
    assert_eq!(CALLS.get(), 0);
    assert!(gone);
    assert_eq!((back, goodbye), (BeatOutcome::Sent, BeatOutcome::Sent));
    assert!(!ear.is_quiet());
}
