//! What a beat is told.

use varta_client::{BeatError, BeatFault, BeatOutcome, ConnectError, DropReason, Status, Varta};

use crate::receiver::{Host, Receiver, SECOND, key};

const NO_OBSERVER: BeatOutcome = BeatOutcome::Dropped(DropReason::NoObserver);

#[test]
fn an_observer_that_is_away_costs_no_beat_once_it_is_back() {
    let ear = Receiver::new("obs-1");
    let address = ear.address();
    let mut varta = Varta::builder().key(key("away", &[&ear])).connect().unwrap();
    drop(ear);
    let _ = varta.beat(Status::Ok, 0);
    for _ in 0..5 {
        assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER, "the kernel was told of the one before");
    }
    let ear = Receiver::at("obs-1", address);
    for nonce in 7..10 {
        let outcome = varta.beat(Status::Ok, 0);
        assert_eq!(ear.next().body.frame.nonce, nonce, "none is lost to an old refusal");
        assert!(outcome == BeatOutcome::Sent || nonce == 7, "{outcome}");
    }
    assert!(ear.is_quiet(), "and none is sent twice");
}

#[test]
fn after_so_many_misses_a_new_socket_and_session() {
    let ear = Receiver::new("obs-1");
    let address = ear.address();
    let mut varta = Varta::builder().key(key("misses", &[&ear])).connect().unwrap();
    varta.set_reconnect_after(3);
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let before = ear.next();
    drop(ear);
    let _ = varta.beat(Status::Ok, 0);
    for _ in 0..3 {
        assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER);
    }
    let ear = Receiver::at("obs-1", address);
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent, "a new socket has no old refusal");
    let after = ear.next();
    assert_ne!(after.from.port(), before.from.port());
    assert!(after.header.session_start > before.header.session_start);
    assert_eq!(after.header.counter, 0);
}

#[test]
fn the_worst_outcome_is_told_and_each_by_itself() {
    let (here, gone) = (Receiver::new("obs-1"), Receiver::new("obs-22"));
    let mut varta = Varta::builder().key(key("worst", &[&gone, &here])).connect().unwrap();
    drop(gone);
    let _ = varta.beat(Status::Ok, 0);
    assert_eq!(varta.beat(Status::Ok, 0), NO_OBSERVER);
    let outcomes: Vec<_> = varta.outcomes().collect();
    assert_eq!(outcomes, [("obs-22", NO_OBSERVER), ("obs-1", BeatOutcome::Sent)]);
    assert_eq!((here.next().body.frame.nonce, here.next().body.frame.nonce), (1, 2));
}

#[test]
fn an_audience_without_a_way_does_not_keep_the_others_waiting() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut key = key("no-way", &[&ear, &Receiver::new("obs-22")]);
    // No datagram may be sent there without asking for it.
    key.audiences[1].address = "255.255.255.255:9900".to_owned();
    let mut varta = Varta::builder().key(key).connect_with(host.clone()).unwrap();
    for nonce in 1..4 {
        let outcome = varta.beat(Status::Ok, 0);
        assert!(matches!(
            outcome,
            BeatOutcome::Failed(BeatError {
                fault: BeatFault::NoSocket,
                kind: std::io::ErrorKind::PermissionDenied,
                ..
            })
        ));
        assert_eq!(ear.next().body.frame.nonce, nonce);
        host.pass(2 * SECOND);
    }
}

#[test]
fn with_no_way_to_anyone_connecting_fails() {
    let mut key = key("no-way-at-all", &[&Receiver::new("obs-1")]);
    key.audiences[0].address = "255.255.255.255:9900".to_owned();
    let error = Varta::builder().key(key).connect().unwrap_err();
    assert!(matches!(error, ConnectError::NoWay { .. }));
    let text = error.to_string();
    assert!(text.contains("obs-1") && text.contains("255.255.255.255:9900"), "{text}");
}

#[test]
fn randomness_that_fails_later_is_made_up_for_and_counted() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    host.has_entropy.store(false, std::sync::atomic::Ordering::Relaxed);
    let error = Varta::builder().key(key("entropy", &[&ear])).connect_with(host.clone()).unwrap_err();
    assert!(matches!(error, ConnectError::Entropy(_)));
    host.has_entropy.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut varta = Varta::builder().key(key("entropy", &[&ear])).connect_with(host.clone()).unwrap();
    host.has_entropy.store(false, std::sync::atomic::Ordering::Relaxed);
    let salts: Vec<_> = (0..3)
        .map(|_| {
            assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
            ear.next().header.salt
        })
        .collect();
    assert!(salts[0] != salts[1] && salts[1] != salts[2] && salts[0] != salts[2]);
    assert_eq!(varta.entropy_failures(), 3);
}
