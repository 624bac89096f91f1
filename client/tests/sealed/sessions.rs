//! Sessions, sockets, announces and units over time.

use std::{collections::BTreeSet, time::Duration};

use varta_client::{BeatOutcome, ConnectError, Status, UnitError, Varta};
use varta_vlp::{UnitId, key::Name, sealed::Flags};

use crate::receiver::{Host, Receiver, SECOND, key};

#[test]
fn sessions_sockets_and_announces_are_renewed_in_their_time() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut varta = Varta::builder()
        .key(key("renewal", &[&ear]))
        .unit("api")
        .every(Duration::from_secs(1))
        .connect_with(host.clone())
        .unwrap();
    let begin = host.now().boottime_ns;
    let (mut sessions, mut announces, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for beat in 1..=1_400 {
        assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
        let heard = ear.next();
        let at = (host.now().boottime_ns - begin) / SECOND;
        assert_eq!(heard.body.frame.nonce, beat, "one datagram for each beat, announces among them");
        if sessions.last().is_none_or(|(start, _)| *start != heard.header.session_start) {
            assert_eq!(heard.header.counter, 0);
            assert!(heard.metadata.is_some(), "a session begins with an announce");
            assert_eq!(heard.body.flags.has(Flags::CONTINUES), !sessions.is_empty());
            assert!(!heard.body.flags.has(Flags::STEPPED));
            sessions.push((heard.header.session_start, at));
        }
        if heard.metadata.is_some() {
            announces.push(at);
        }
        if ports.last().is_none_or(|(port, _)| *port != heard.from.port()) {
            ports.push((heard.from.port(), at));
        }
        host.pass(SECOND);
    }
    let gaps = |times: &[u64]| -> BTreeSet<u64> { times.windows(2).map(|pair| pair[1] - pair[0]).collect() };
    let times: Vec<_> = sessions.iter().map(|(_, at)| *at).collect();
    assert_eq!(times[..2], [0, 16]);
    assert!((540..=661).contains(&(times[2] - times[1])), "{times:?}");
    let port_gaps = gaps(&ports.iter().map(|(_, at)| *at).collect::<Vec<_>>());
    assert!(port_gaps.iter().all(|gap| (54..=67).contains(gap)), "{port_gaps:?}");
    assert!(ports.len() >= 20, "{ports:?}");
    assert!(gaps(&announces).iter().all(|gap| *gap <= 67), "{announces:?}");
    assert!(announces.len() <= 28, "{announces:?}");
    assert_eq!(varta.clock_regressions(), 0);
}

#[test]
fn each_audience_has_its_own_session() {
    let (one, two, host) = (Receiver::new("obs-1"), Receiver::new("obs-22"), Host::new());
    let mut varta = Varta::builder().key(key("two-audiences", &[&one, &two])).connect_with(host).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let (first, second) = (one.next(), two.next());
    assert_ne!(first.header.session_start, second.header.session_start);
    assert_eq!((first.header.counter, second.header.counter), (0, 0));
    assert_ne!(first.header.salt, second.header.salt);
    assert_eq!(first.body.frame, second.body.frame, "one beat to both");
    let outcomes: Vec<_> = varta.outcomes().collect();
    assert_eq!(outcomes, [("obs-1", BeatOutcome::Sent), ("obs-22", BeatOutcome::Sent)]);
}

#[test]
fn reconnecting_continues_in_a_new_session() {
    let ear = Receiver::new("obs-1");
    let mut varta = Varta::builder().key(key("reconnect", &[&ear])).connect().unwrap();
    for _ in 0..2 {
        assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    }
    let (first, _) = (ear.next(), ear.next());
    varta.reconnect().unwrap();
    assert!(ear.is_quiet());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let second = ear.next();
    assert!(second.header.session_start > first.header.session_start);
    assert_eq!((second.header.counter, second.body.frame.nonce), (0, 1));
    assert_eq!(second.body.flags, Flags::CONTINUES);
    assert!(second.body.frame.timestamp > first.body.frame.timestamp, "it never restarts");
    assert_ne!(second.from, first.from);
}

#[test]
fn a_place_has_one_handle_and_remembers_it() {
    let ear = Receiver::new("obs-1");
    let open = |unit: &str| Varta::builder().key(key("one-handle", &[&ear])).unit(unit).connect();
    let mut first = open("a").unwrap();
    let error = open("a").unwrap_err();
    assert!(matches!(&error, ConnectError::AlreadyOpen { agent, unit, audience }
        if agent == "one-handle" && unit == "a" && audience == "obs-1"));
    let mut other = open("b").unwrap();
    for varta in [&mut first, &mut other] {
        assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
        assert_eq!(ear.next().body.flags, Flags::default());
    }
    drop(first);
    let mut again = open("a").unwrap();
    assert_eq!(again.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(ear.next().body.flags, Flags::CONTINUES, "the same process as before");
}

#[test]
fn two_handles_of_one_key_never_share_a_start() {
    let (ear, host) = (Receiver::new("obs-1"), Host::new());
    let mut handles: Vec<_> = (0..20)
        .map(|unit| {
            Varta::builder()
                .key(key("shared-key", &[&ear]))
                .unit(format!("unit-{unit}"))
                .connect_with(host.clone())
                .unwrap()
        })
        .collect();
    let starts: BTreeSet<_> = handles
        .iter_mut()
        .map(|varta| {
            assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
            ear.next().header.session_start
        })
        .collect();
    assert_eq!(starts.len(), 20, "though the clock stands still");
}

#[test]
fn a_process_known_by_its_pid_takes_a_name() {
    let ear = Receiver::new("obs-1");
    let open = |unit: Option<&str>| {
        let builder = Varta::builder().key(key("naming", &[&ear]));
        match unit {
            Some(unit) => builder.unit(unit).connect(),
            None => builder.connect(),
        }
    };
    let _other = open(Some("taken")).unwrap();
    let mut varta = open(None).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let unnamed = ear.next();
    assert_eq!(unnamed.body.unit, UnitId::NONE);
    assert!(matches!(varta.name_unit("no/such"), Err(UnitError::BadName { .. })));
    assert!(matches!(varta.name_unit("taken"), Err(UnitError::Taken { .. })));
    assert!(ear.is_quiet());
    varta.name_unit("worker").unwrap();
    for _ in 0..3 {
        let goodbye = ear.next();
        assert_eq!((goodbye.body.unit, goodbye.body.flags), (UnitId::NONE, Flags::FINAL));
    }
    assert!(ear.is_quiet());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let named = ear.next();
    assert_eq!(named.body.unit, Name::new("worker").unwrap().unit_id());
    assert_eq!(named.metadata.unwrap()["unit"], "worker");
    assert_eq!(named.body.flags, Flags::default(), "a new slot, which nothing came before");
    assert_eq!(named.header.counter, 0);
    varta.name_unit("worker").unwrap();
    assert!(matches!(varta.name_unit("another"), Err(UnitError::AlreadyNamed { .. })));
    let mut by_pid = open(None).unwrap();
    assert_eq!(by_pid.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(ear.next().body.flags, Flags::CONTINUES, "the process's own slot was given back");
}
