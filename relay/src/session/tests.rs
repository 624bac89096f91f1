//! Sessions over real links on loopback, with a fleet whose time is put forward by hand.

use std::net::{Ipv4Addr, SocketAddr};

use varta_daemon::{clock::Clock, http::Ring};
use varta_link::{Identity, Limits as LinkLimits, Link, Listener, dial};
use varta_vlp::{
    frame::Status,
    key::{IdentitySecret, PublicKey, UnitId},
    report::{Draft, Entry, Hello, Item},
    subject::{Class, Owner, Verdict},
    time::{MonoNs, Now, SECOND},
};

use super::*;
use crate::{
    fleet::{Allowance, Fleet, Limits, ObserverState, Pattern, Settings, UnitKey},
    journal::Journal,
};

const SOME: Duration = Duration::from_secs(30);

fn hello() -> Vec<u8> {
    let hello = Hello { observer: Name::new("obs-1").unwrap(), version: "0", boot: 7, acked: 0 };
    let mut room = vec![0; 256];
    let len = FromObserver::Hello(hello).write(&mut room).unwrap();
    room.truncate(len);
    room
}

struct Relay {
    ring: Ring,
    desk: Desk,
    allowed: Allowed,
    listener: Listener,
    observer: Identity,
    pin: PublicKey,
}

impl Relay {
    fn new() -> Self {
        let now = Clock::now();
        let mut fleet = Fleet::new(now, Limits::default(), Settings::default());
        let allowance = Allowance { name: "obs-1".to_owned(), agents: vec![Pattern::new("web-*")], site: None };
        fleet.set_allowed(now, &[allowance]);
        let ring = Ring::default();
        let desk = Desk::new(fleet, Journal::new(now, ring.clone()), None, Vec::new());
        let [relay, observer] = [1, 2].map(|seed| Identity::new(&IdentitySecret::from_bytes([seed; 32])));
        let allowed = Allowed::default();
        allowed.set([(observer.public(), "obs-1".to_owned())]);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let limits = LinkLimits { idle: SOME, handshake: SOME, ..LinkLimits::default() };
        let listener = Listener::bind(any, &relay, allowed.clone(), limits).unwrap();
        Self { ring, desk, allowed, listener, observer, pin: relay.public() }
    }

    /// An observer that has dialled and said hello.
    async fn arrive(&mut self) -> (Link, Arrived) {
        let limits = LinkLimits { idle: SOME, handshake: SOME, ..LinkLimits::default() };
        let address = self.listener.local_addr().unwrap();
        let mut link = dial(address, &self.observer, self.pin, limits).await.unwrap();
        link.sender.send(&hello()).await.unwrap();
        (link, self.listener.accept().await.unwrap())
    }

    /// The observer's state once its word has run out.
    fn later(&self) -> ObserverState {
        self.desk.act(|fleet, now| {
            let later = Now { mono: MonoNs(now.mono.0 + 60 * SECOND), ..now };
            fleet.handle_timeout(later);
            fleet.observers(later).next().unwrap().state
        })
    }
}

#[tokio::test]
async fn an_observer_that_is_gone_before_it_is_welcomed_is_lost() {
    let mut relay = Relay::new();
    let (link, arrived) = relay.arrive().await;
    // What it said is there, and nobody who could take an answer.
    link.closer().close("gone");
    arrived.link.closer().closed().await;
    serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived).await;
    assert!(relay.desk.look(|fleet, now| fleet.observers(now).all(|one| !one.remote.is_empty())), "it said hello");
    assert_eq!(relay.later(), ObserverState::Lost);
}

/// Tells of an agent that is up, in the items of number `seq`.
async fn tell(link: &mut Link, seq: u64, handle: u32, agent: &str) {
    let agent = Name::new(agent).unwrap();
    let entry = Entry {
        handle,
        owner: Owner::Agent(agent.agent_id()),
        unit: UnitId::NONE,
        pid: 42,
        verdict: Verdict::Up,
        status: Status::Ok,
        class: Class::NetworkVerified,
        ended: false,
        payload: 0,
        age_ms: Some(1),
        span_ms: Some(2000),
        since_ms: None,
        session: 1,
        restarts: 0,
        stalls: 0,
        beats: 1,
        lag_us: 0,
        agent_name: Some(agent),
        unit_name: None,
        why: "",
        labels: None,
    };
    let mut room = vec![0; Draft::ROOM];
    let mut draft = Draft::new(&mut room, seq).unwrap();
    draft.push(&Item::Entry(entry)).unwrap();
    let len = draft.finish();
    link.sender.send(&room[..len]).await.unwrap();
}

async fn say(link: &mut Link, message: FromObserver<'_>) {
    let mut room = [0; 64];
    let len = message.write(&mut room).unwrap();
    link.sender.send(&room[..len]).await.unwrap();
}

/// Waits for the answer that everything up to `seq` is taken in.
async fn acknowledged(link: &mut Link, seq: u64) {
    loop {
        let answer = timeout(SOME, link.receiver.receive()).await.unwrap().unwrap().unwrap();
        if FromRelay::parse(answer) == Ok(FromRelay::Ack { seq }) {
            return;
        }
    }
}

/// Why the relay closed a link.
async fn closed(link: &mut Link) -> String {
    let end = async { while let Ok(Some(_)) = link.receiver.receive().await {} };
    timeout(SOME, end).await.unwrap();
    link.closer().closed().await.to_string()
}

#[tokio::test]
async fn what_it_may_not_report_is_refused_and_told_and_the_rest_is_taken() {
    let mut relay = Relay::new();
    let (mut link, arrived) = relay.arrive().await;
    tokio::spawn(serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived));
    say(&mut link, FromObserver::Snapshot { seq: 1 }).await;
    tell(&mut link, 2, 1, "db-1").await;
    tell(&mut link, 3, 2, "web-1").await;
    tell(&mut link, 4, 3, "db-2").await;
    say(&mut link, FromObserver::End { seq: 5 }).await;
    acknowledged(&mut link, 5).await;
    // What a snapshot has brought is judged when the timer rings.
    relay.desk.act(|fleet, now| fleet.handle_timeout(now));
    let known = |agent: &str| {
        let owner = Owner::Agent(Name::new(agent).unwrap().agent_id());
        let key = UnitKey { owner, unit: UnitId::NONE, pid: 42, observer: UnitKey::SHARED };
        relay.desk.look(|fleet, _| fleet.unit(&key).is_some())
    };
    assert_eq!(["db-1", "web-1", "db-2"].map(known), [false, true, false]);
    assert_eq!(relay.desk.look(|fleet, now| fleet.observers(now).next().unwrap().foreign), 2);
    let told = relay.ring.after(None, 1000).into_iter().filter(|entry| entry.json.contains("db-")).count();
    assert_eq!(told, 1, "told once, however many there are");
}

#[tokio::test]
async fn an_observer_whose_key_is_removed_is_closed_and_told_why() {
    let mut relay = Relay::new();
    let (mut link, arrived) = relay.arrive().await;
    let session = tokio::spawn(serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived));
    say(&mut link, FromObserver::Snapshot { seq: 1 }).await;
    acknowledged(&mut link, 1).await;
    relay.allowed.set([]);
    let why = closed(&mut link).await;
    assert!(why.contains("not in relay.toml any more"), "{why}");
    session.await.unwrap();
    assert_eq!(relay.later(), ObserverState::Lost);
}

#[tokio::test]
async fn a_newer_link_closes_the_older_and_is_not_closed_with_it() {
    let mut relay = Relay::new();
    let (mut older, arrived) = relay.arrive().await;
    let session = tokio::spawn(serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived));
    say(&mut older, FromObserver::Snapshot { seq: 1 }).await;
    acknowledged(&mut older, 1).await;
    let (mut newer, arrived) = relay.arrive().await;
    tokio::spawn(serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived));
    let why = closed(&mut older).await;
    assert!(why.contains("a newer link of this observer"), "{why}");
    session.await.unwrap();
    say(&mut newer, FromObserver::Snapshot { seq: 1 }).await;
    acknowledged(&mut newer, 1).await;
    assert_eq!(relay.later(), ObserverState::Connected);
}

#[tokio::test]
async fn who_does_not_keep_to_the_protocol_is_closed_and_told_why() {
    for (said, expected) in [(hello(), "says hello once"), (vec![2, 0, 0, 0, 9, 9], "version")] {
        let mut relay = Relay::new();
        let (mut link, arrived) = relay.arrive().await;
        tokio::spawn(serve(relay.desk.clone(), relay.allowed.clone(), "relay-1".to_owned(), arrived));
        link.sender.send(&said).await.unwrap();
        let why = closed(&mut link).await;
        assert!(why.contains(expected), "{why}");
    }
}
