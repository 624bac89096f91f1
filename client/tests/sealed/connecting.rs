//! Addresses, key files, and what a builder refuses.

use std::{net::ToSocketAddrs as _, path::Path};

use varta_client::{BeatOutcome, ConnectError, SealedBuilder, Status, Varta, keyfile::create_secret_file};
use varta_vlp::Generation;

use crate::receiver::{Receiver, key};

fn refused(builder: SealedBuilder) -> (ConnectError, String) {
    let error = builder.connect().unwrap_err();
    let text = error.to_string();
    (error, text)
}

#[test]
fn ipv6_and_names_are_reached() {
    let six = Receiver::at("obs-1", "[::1]:0".parse().unwrap());
    let mut varta = Varta::builder().key(key("six", &[&six])).connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert!(six.next().from.is_ipv6());

    let first = ("localhost", 0).to_socket_addrs().unwrap().next().unwrap();
    let ear = Receiver::at("obs-1", first);
    let mut varta = Varta::builder()
        .key(key("named", &[&ear]))
        .address(format!("localhost:{}", ear.address().port()))
        .connect()
        .unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(ear.next().from.ip(), first.ip());
}

#[test]
fn one_call_from_a_key_file() {
    let ear = Receiver::new("obs-1");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.key");
    create_secret_file(&path, &key("from-file", &[&ear]).render()).unwrap();
    let mut varta = Varta::sealed(&path).unwrap();
    assert_eq!(varta.beat(Status::Ok, 4), BeatOutcome::Sent);
    assert_eq!(ear.next().metadata.unwrap()["agent"], "from-file");
}

#[test]
fn a_key_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.key");
    let error = Varta::sealed(&missing).unwrap_err();
    assert!(matches!(error, ConnectError::Key(_)));
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");

    let wrong = dir.path().join("wrong.key");
    create_secret_file(&wrong, "version = 1\nagnet = \"web-1\"\n").unwrap();
    let error = Varta::sealed(&wrong).unwrap_err().to_string();
    assert!(error.contains(wrong.to_str().unwrap()) && error.contains("agnet"), "{error}");
    assert!(matches!(Varta::sealed(Path::new("")), Err(ConnectError::Key(_))));
}

#[test]
fn what_a_builder_refuses() {
    let (one, two) = (Receiver::new("obs-1"), Receiver::new("obs-22"));
    let both = || Varta::builder().key(key("refusals", &[&one, &two]));

    assert!(matches!(refused(Varta::builder()).0, ConnectError::NoKey));
    let (error, text) = refused(both().audience("obs-3"));
    assert!(matches!(error, ConnectError::NoSuchAudience { .. }));
    assert!(text.contains("obs-3") && text.contains("obs-1, obs-22"), "{text}");
    let (error, text) = refused(both().address("127.0.0.1:9900"));
    assert!(matches!(error, ConnectError::OneAddress { count: 2, .. }), "{text}");
    let (error, text) = refused(both().audience("obs-1").address("127.0.0.1"));
    assert!(matches!(error, ConnectError::BadAddress { .. }));
    assert!(text.contains("127.0.0.1") && text.contains("obs-1"), "{text}");
    let (error, text) = refused(both().unit("a b"));
    assert!(matches!(error, ConnectError::BadName { what: "unit", .. }));
    assert!(text.contains("a b"), "{text}");
    for reserved in ["agent", "unit", "host", "version"] {
        let (error, text) = refused(both().label(reserved, "x"));
        assert!(matches!(error, ConnectError::ReservedLabel { .. }), "{text}");
    }
    let (error, text) = refused(both().label("site", "two\nlines"));
    assert!(matches!(error, ConnectError::BadLabel { .. }));
    assert!(text.contains("site"), "{text}");
    let many = (0..5).map(|i| (format!("label-{i}"), "v".repeat(250)));
    assert!(matches!(refused(both().labels(many)).0, ConnectError::Announcement(_)));

    let mut none = key("refusals", &[&one]);
    none.audiences.clear();
    let (error, _) = refused(Varta::builder().key(none));
    assert!(matches!(error, ConnectError::AudienceCount { count: 0 }));
    let mut zero = key("refusals", &[&one]);
    zero.generation = Generation(0);
    assert!(matches!(refused(Varta::builder().key(zero)).0, ConnectError::Generation { .. }));

    // Nothing that was refused holds a place.
    both().unit("a").connect().unwrap();
}

#[test]
fn one_audience_may_be_chosen_and_sent_elsewhere() {
    let (one, two, elsewhere) = (Receiver::new("obs-1"), Receiver::new("obs-22"), Receiver::new("obs-1"));
    let mut varta = Varta::builder()
        .key(key("chosen", &[&one, &two]))
        .audience("obs-1")
        .address(elsewhere.address().to_string())
        .connect()
        .unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(elsewhere.next().body.frame.nonce, 1);
    assert!(one.is_quiet() && two.is_quiet());
}

#[test]
fn no_secret_is_shown() {
    let ear = Receiver::new("obs-1");
    let agent_key = key("hidden", &[&ear]);
    let secret = agent_key.audiences[0].secret.to_text();
    let builder = Varta::builder().key(agent_key);
    let shown = format!("{builder:?}");
    assert!(!shown.contains(&secret.as_str()[20..]), "{shown}");
    assert!(!format!("{:?}", builder.connect().unwrap()).contains(&secret.as_str()[20..]));
}
