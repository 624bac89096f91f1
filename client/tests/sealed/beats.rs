//! Each field of each kind of beat.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use varta_client::{BeatError, BeatFault, BeatOutcome, Status, Varta};
use varta_vlp::{
    Frame, UnitId,
    key::Name,
    sealed::{Flags, Kind},
};

use crate::receiver::{GENERATION, Host, Receiver, SECOND, key};

#[test]
fn every_field_arrives() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder()
        .key(key("fields", &[&ear]))
        .unit("api")
        .every(Duration::from_micros(1_500))
        .label("site", "berlin")
        .labels([("zone", "a"), ("role", "web")])
        .host("host-1")
        .version("9.8.7")
        .connect()
        .unwrap();
    assert!(ear.is_quiet(), "connecting sends nothing");
    assert_eq!(varta.agent(), "fields");
    assert_eq!(varta.beat(Status::Degraded, 77), BeatOutcome::Sent);
    let first = ear.next();
    assert_eq!(first.header.kind, Kind::Announce);
    assert_eq!(first.header.agent, Name::new("fields").unwrap().agent_id());
    assert_eq!(first.header.audience, Name::new("obs-1").unwrap().audience_id());
    assert_eq!(first.header.generation, GENERATION);
    assert_eq!(first.header.counter, 0);
    let metadata = first.metadata.as_ref().unwrap();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("agent", "fields"),
        ("host", "host-1"),
        ("role", "web"),
        ("site", "berlin"),
        ("unit", "api"),
        ("version", "9.8.7"),
        ("zone", "a"),
    ];
    assert_eq!(metadata, expected);
    let body = first.body;
    assert_eq!(body.frame.status, Status::Degraded);
    assert_eq!(body.frame.pid, std::process::id());
    assert_eq!(body.frame.nonce, 1);
    assert_eq!(body.frame.payload, 77);
    assert_eq!(body.sent_at, first.header.session_start);
    assert_eq!(body.next_due_ms, 2, "rounded up");
    assert_eq!(body.lag_us, 0);
    assert_eq!(body.unit, Name::new("api").unwrap().unit_id());
    assert_eq!(body.flags, Flags::default());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(body.boot.to_le_bytes(), Sha256::digest(boot.trim())[..8]);

    assert_eq!(varta.beat(Status::Critical, u32::MAX), BeatOutcome::Sent);
    let second = ear.next();
    assert_eq!(second.header.kind, Kind::Beat);
    assert_eq!(second.header.session_start, first.header.session_start);
    assert_ne!(second.header.salt, first.header.salt);
    assert_eq!(second.header.counter, 1);
    assert_eq!(second.metadata, None);
    assert_eq!(second.body.frame.status, Status::Critical);
    assert_eq!((second.body.frame.nonce, second.body.frame.payload), (2, u32::MAX));
    assert!(second.body.sent_at > body.sent_at);
    assert!(second.body.frame.timestamp > body.frame.timestamp);
    assert_eq!(second.from, first.from);
    assert!(ear.is_quiet());
}

#[test]
fn what_is_not_given_is_not_said() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("plain", &[&ear])).host("").connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let heard = ear.next();
    assert_eq!(heard.body.unit, UnitId::NONE);
    assert_eq!(heard.body.next_due_ms, 0);
    let metadata = heard.metadata.unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["agent", "version"]);
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn goodbye_is_said_three_times_and_ends_the_session() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("goodbye", &[&ear])).every(Duration::from_secs(1)).connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let first = ear.next();
    assert_eq!(varta.finish(Status::Degraded, 5), BeatOutcome::Sent);
    let copies = [ear.next(), ear.next(), ear.next()];
    assert!(ear.is_quiet());
    for (copy, counter) in copies.iter().zip(1..) {
        assert_eq!(copy.body.flags, Flags::FINAL);
        assert_eq!(copy.header.session_start, first.header.session_start);
        assert_eq!(copy.header.counter, counter);
        assert_eq!(copy.body.frame, copies[0].body.frame, "one beat, three datagrams");
        assert_eq!((copy.body.frame.nonce, copy.body.frame.payload), (2, 5));
        assert_eq!(copy.body.frame.status, Status::Degraded);
        assert_eq!(copy.body.next_due_ms, 0);
    }
    assert!(copies.windows(2).all(|pair| pair[0].body.sent_at < pair[1].body.sent_at));
    assert!(copies.windows(2).all(|pair| pair[0].header.salt != pair[1].header.salt));
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let after = ear.next();
    assert!(after.header.session_start > first.header.session_start);
    assert_eq!((after.header.counter, after.header.kind), (0, Kind::Announce));
    assert_eq!(after.body.flags, Flags::CONTINUES);
    assert_eq!(after.body.frame.nonce, 3);
}

#[test]
fn a_terminal_beat_is_sent_three_times_and_survived() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("terminal", &[&ear])).connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let first = ear.next();
    assert_eq!(varta.terminal(265), BeatOutcome::Sent);
    for counter in 1..=3 {
        let copy = ear.next();
        assert_eq!((copy.header.counter, copy.header.session_start), (counter, first.header.session_start));
        assert_eq!((copy.body.frame.nonce, copy.body.frame.status), (Frame::TERMINAL, Status::Critical));
        assert_eq!((copy.body.frame.payload, copy.body.flags), (265, Flags::default()));
    }
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let after = ear.next();
    assert_eq!((after.header.counter, after.header.session_start), (4, first.header.session_start));
    assert_eq!(after.body.frame.nonce, 2);
}

#[test]
fn an_absence_is_announced() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("absence", &[&ear])).connect().unwrap();
    assert_eq!(varta.beat(Status::Degraded, 9), BeatOutcome::Sent);
    ear.next();
    assert_eq!(varta.hold(Duration::from_millis(1_500)), BeatOutcome::Sent);
    let hold = ear.next();
    assert_eq!((hold.body.flags, hold.body.next_due_ms), (Flags::HOLD, 1_500));
    assert_eq!((hold.body.frame.status, hold.body.frame.payload), (Status::Degraded, 9));
    assert!(ear.is_quiet());
    assert_eq!(varta.hold(Duration::ZERO), BeatOutcome::Sent);
    assert_eq!(ear.next().body.next_due_ms, 1, "an absence of nothing is illegal");
    assert_eq!(varta.hold(Duration::from_secs(61)), BeatOutcome::Sent);
    for _ in 0..3 {
        assert_eq!(ear.next().body.next_due_ms, 61_000);
    }
    assert!(ear.is_quiet());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let back = ear.next();
    assert_eq!((back.body.flags, back.body.next_due_ms), (Flags::default(), 0));
}

#[test]
fn a_long_promise_is_made_three_times() {
    for (promise, copies) in [(60_000, 1), (60_001, 3)] {
        let ear = Receiver::new("obs-1");
        let mut varta =
            Varta::builder().key(key("long-promise", &[&ear])).every(Duration::from_millis(promise)).connect().unwrap();
        assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
        let heard: Vec<_> = (0..copies).map(|_| ear.next()).collect();
        assert!(ear.is_quiet());
        for (copy, counter) in heard.iter().zip(0..) {
            assert_eq!(u64::from(copy.body.next_due_ms), promise);
            assert_eq!(copy.body.frame.nonce, 1);
            assert_eq!(copy.header.counter, counter);
            assert_eq!(copy.metadata.is_some(), counter == 0, "names are told once");
        }
    }
}

#[test]
fn lateness_is_measured_against_the_plan() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut varta = Varta::builder()
        .key(key("lateness", &[&ear]))
        .every(Duration::from_secs(1))
        .connect_with(host.clone())
        .unwrap();
    let mut lag_after = |ns: u64, hold: Option<Duration>| {
        host.pass(ns);
        let outcome = match hold {
            Some(absence) => varta.hold(absence),
            None => varta.beat(Status::Ok, 0),
        };
        assert_eq!(outcome, BeatOutcome::Sent);
        ear.next().body.lag_us
    };
    assert_eq!(lag_after(5 * SECOND, None), 0, "nothing was planned before the first");
    assert_eq!(lag_after(SECOND, None), 0);
    assert_eq!(lag_after(SECOND / 2, None), 0, "early is not late");
    assert_eq!(lag_after(SECOND + SECOND / 4, None), 250_000);
    assert_eq!(lag_after(SECOND, Some(Duration::from_secs(10))), 0);
    assert_eq!(lag_after(9 * SECOND, None), 0, "the absence was the plan");
    assert_eq!(lag_after(5_000 * SECOND, None), u32::MAX);
}

#[test]
fn status_stall_is_refused() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("stall", &[&ear])).connect().unwrap();
    let outcome = varta.beat(Status::Stall, 0);
    assert!(matches!(outcome, BeatOutcome::Failed(BeatError { fault: BeatFault::StallStatus, .. })));
    assert_eq!(varta.outcomes().collect::<Vec<_>>(), [("obs-1", outcome)]);
    assert!(ear.is_quiet());
}

#[test]
fn a_handle_that_is_dropped_says_nothing() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("dropped", &[&ear])).connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    ear.next();
    drop(varta);
    assert!(ear.is_quiet());
}
