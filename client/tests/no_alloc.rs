//! After connect nothing is allocated and nothing freed, whatever falls due inside a beat.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::{collections::HashSet, time::Duration};

use varta_client::{BeatOutcome, Status, Varta};
use varta_vlp::sealed::{Header, Kind, MAX_LEN};

#[path = "sealed/counting.rs"]
mod counting;
#[expect(dead_code, reason = "this test reads headers only")]
#[path = "sealed/receiver.rs"]
mod receiver;

use counting::CALLS;
use receiver::{Host, Receiver, SECOND, key};

const BEATS: u32 = 100_000;

#[test]
fn a_hundred_thousand_beats_allocate_nothing() {
    CALLS.set(0);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.get(), 2, "the allocator does count");

    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut varta = Varta::builder()
        .key(key("no-alloc", &[&ear]))
        .every(Duration::from_millis(10))
        .label("site", "berlin")
        .connect_with(host.clone())
        .unwrap();
    let mut sessions = HashSet::with_capacity(64);
    let mut ports = HashSet::with_capacity(256);
    let (mut sent, mut announces) = (0, 0);
    let mut buffer = [0; MAX_LEN];
    CALLS.set(0);
    for beat in 0..BEATS {
        sent += u32::from(varta.beat(Status::Ok, beat) == BeatOutcome::Sent);
        let (len, from) = ear.socket.recv_from(&mut buffer).unwrap();
        let header = Header::parse(&buffer[..len]).unwrap();
        sessions.insert(header.session_start);
        ports.insert(from.port());
        announces += u32::from(header.kind == Kind::Announce);
        host.pass(SECOND / 50);
    }
    let in_beats = CALLS.get();
    let goodbye = varta.finish(Status::Ok, 0);
    let hold = varta.hold(Duration::from_secs(61));
    let terminal = varta.terminal(0);
    varta.name_unit("api").unwrap();
    let named = varta.beat(Status::Ok, 0);
    let in_others = CALLS.get() - in_beats;

    assert_eq!(in_beats, 0);
    assert_eq!(in_others, 0);
    assert_eq!(sent, BEATS);
    for outcome in [goodbye, hold, terminal, named] {
        assert_eq!(outcome, BeatOutcome::Sent);
    }
    // 2,000 s passed: all of this happened in between.
    assert!((5..=6).contains(&sessions.len()), "{sessions:?}");
    assert!(ports.len() >= 29, "{}", ports.len());
    assert!(announces >= 30, "{announces}");
}

#[test]
fn a_beat_that_fails_or_is_dropped_allocates_nothing() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut unreachable = key("no-alloc-errors", &[&ear, &Receiver::new("obs-22")]);
    unreachable.audiences[1].address = "255.255.255.255:9900".to_owned();
    let mut varta = Varta::builder().key(unreachable).reconnect_after(3).connect_with(host.clone()).unwrap();
    drop(ear);
    CALLS.set(0);
    let mut worst = BeatOutcome::Sent;
    for _ in 0..1_000 {
        worst = worst.worst(varta.beat(Status::Ok, 0));
        worst = worst.worst(varta.beat(Status::Stall, 0));
        host.pass(SECOND / 2);
    }
    let calls = CALLS.get();
    assert_eq!(calls, 0);
    assert!(matches!(worst, BeatOutcome::Failed(_)));
}
