//! What goes over the socket, byte for byte.

use std::time::Duration;

use varta_client::{BeatOutcome, Status, Varta};
use varta_vlp::{
    Frame, UnitId,
    sealed::{Body, Flags},
};

use crate::{
    ear::Ear,
    receiver::{Host, SECOND},
};

const SENT: BeatOutcome = BeatOutcome::Sent;

#[test]
fn beats_are_bare_base_frames() {
    let (ear, host) = (Ear::new(), Host::new());
    let mut varta = Varta::local_builder().socket(ear.path()).connect_with(host.clone()).unwrap();
    let frame =
        |status, timestamp, nonce, payload| Frame { status, pid: std::process::id(), timestamp, nonce, payload };
    for (status, timestamp, nonce, payload) in
        [(Status::Ok, 0, 1, 0), (Status::Degraded, SECOND, 2, 7), (Status::Critical, 2 * SECOND, 3, u32::MAX)]
    {
        assert_eq!(varta.beat(status, payload), SENT);
        assert_eq!(ear.next_bytes(), frame(status, timestamp, nonce, payload).encode());
        host.pass(SECOND);
    }
    assert_eq!(varta.terminal(9), SENT);
    assert_eq!(ear.next_bytes(), frame(Status::Critical, 3 * SECOND, Frame::TERMINAL, 9).encode());
    assert_eq!(varta.beat(Status::Ok, 1), SENT);
    assert_eq!(ear.next_bytes(), frame(Status::Ok, 3 * SECOND, 4, 1).encode(), "the end takes no nonce");
    assert!(ear.is_quiet(), "nothing is said twice");
}

#[test]
fn the_shortest_way_is_a_bare_frame_too() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert_eq!(varta.socket(), ear.path());
    assert_eq!(varta.beat(Status::Ok, 5), SENT);
    let first = ear.next_frame();
    assert_eq!((first.pid, first.nonce, first.payload), (std::process::id(), 1, 5));
    assert_eq!(varta.beat(Status::Ok, 6), SENT);
    let second = ear.next_frame();
    assert_eq!(second.nonce, 2);
    assert!(first.timestamp <= second.timestamp);
    assert_eq!((varta.clock_regressions(), varta.fork_recoveries()), (0, 0));
}

#[test]
fn a_promise_takes_the_long_form() {
    let (ear, host) = (Ear::new(), Host::new());
    let builder = Varta::local_builder().socket(ear.path()).every(Duration::from_millis(1_500));
    let mut varta = builder.connect_with(host.clone()).unwrap();
    let body = |timestamp, nonce, lag_us| Body {
        frame: Frame { status: Status::Ok, pid: std::process::id(), timestamp, nonce, payload: 3 },
        sent_at: 0,
        next_due_ms: 1_500,
        lag_us,
        unit: UnitId::NONE,
        flags: Flags::default(),
        boot: 0,
    };
    assert_eq!(varta.beat(Status::Ok, 3), SENT);
    assert_eq!(ear.next_bytes(), body(0, 1, 0).encode());
    host.pass(SECOND);
    assert_eq!(varta.beat(Status::Ok, 3), SENT);
    assert_eq!(ear.next_bytes(), body(SECOND, 2, 0).encode(), "early is not late");
    host.pass(2 * SECOND);
    assert_eq!(varta.beat(Status::Ok, 3), SENT);
    assert_eq!(ear.next_bytes(), body(3 * SECOND, 3, 500_000).encode());
    assert_eq!(varta.terminal(0), SENT);
    assert_eq!(ear.next_frame().nonce, Frame::TERMINAL, "an end promises nothing");
}

#[test]
fn a_goodbye_and_an_absence_take_the_long_form() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert_eq!(varta.beat(Status::Degraded, 4), SENT);
    assert_eq!(ear.next_frame().nonce, 1);
    assert_eq!(varta.hold(Duration::from_nanos(1)), SENT);
    let absence = ear.next_body();
    assert_eq!((absence.frame.status, absence.frame.payload, absence.frame.nonce), (Status::Degraded, 4, 2));
    assert_eq!((absence.flags, absence.next_due_ms), (Flags::HOLD, 1));
    assert_eq!(varta.finish(Status::Ok, 5), SENT);
    let goodbye = ear.next_body();
    assert_eq!((goodbye.frame.status, goodbye.frame.payload, goodbye.frame.nonce), (Status::Ok, 5, 3));
    assert_eq!((goodbye.flags, goodbye.next_due_ms), (Flags::FINAL, 0));
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, 4);
    assert!(ear.is_quiet(), "nothing is said twice");
}

#[test]
fn another_handle_begins_anew() {
    let ear = Ear::new();
    for _ in 0..2 {
        let mut varta = Varta::local(ear.path()).unwrap();
        for nonce in 1..=2 {
            assert_eq!(varta.beat(Status::Ok, 0), SENT);
            assert_eq!(ear.next_frame().nonce, nonce);
        }
    }
}

#[test]
fn status_stall_is_not_said() {
    let ear = Ear::new();
    let mut varta = Varta::local(ear.path()).unwrap();
    assert!(matches!(varta.beat(Status::Stall, 0), BeatOutcome::Failed(_)));
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(ear.next_frame().nonce, 1);
}
