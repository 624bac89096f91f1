//! An observer and a relay.

use varta_config::RelayLink;
use varta_core::Verdict;
use varta_vlp::{
    key::{IdentitySecret, Peer, PublicKey},
    sealed::Flags,
};

use crate::{
    clock::wait,
    rig::{Agent, Observed, Rig},
    stub::{Heard, Mood, Stub},
};

/// By what relays know the observer of a [`Rig`].
fn observers_key() -> PublicKey {
    IdentitySecret::from_bytes([9; 32]).public()
}

fn forward(stub: &Stub, pin: PublicKey) -> Rig {
    let mut rig = Rig::new();
    rig.config.relay = vec![RelayLink { address: stub.address.to_string(), pin: pin.to_text(Peer::Relay).to_string() }];
    rig
}

fn series(stub: &Stub, name: &str) -> String {
    format!("{name}{{relay=\"{}\"}}", stub.address)
}

fn wait_heard<T>(stub: &Stub, what: &str, ask: impl Fn(&Heard) -> Option<T>) -> T {
    wait(what, || ask(&stub.heard()))
}

fn wait_verdict(stub: &Stub, agent: &str, verdict: Verdict) {
    let what = format!("{agent} is {}", verdict.name());
    wait_heard(stub, &what, |heard| heard.row(agent, "api").filter(|row| row.verdict == verdict).map(drop));
}

fn announce(observer: &Observed, name: &str, next_due_ms: u32) -> Agent {
    let mut agent = Agent::new(name, "api", 1);
    agent.next_due_ms = next_due_ms;
    let datagram = agent.announce();
    agent.send(observer.sealed(), &datagram);
    agent
}

#[test]
fn what_an_observer_knows_is_told_and_told_on() {
    let stub = Stub::start(&[observers_key()]);
    let observer = forward(&stub, stub.key).start();
    wait_heard(&stub, "a snapshot ends", |heard| (heard.ends == 1).then_some(()));
    let mut steady = announce(&observer, "web-1", 60_000);
    let _silent = announce(&observer, "web-2", 300);
    wait_verdict(&stub, "web-1", Verdict::Up);
    {
        let heard = stub.heard();
        let row = heard.row("web-1", "api").unwrap();
        assert_eq!((&*row.site, &*row.why), ("ams", ""));
    }
    wait_verdict(&stub, "web-2", Verdict::Stalled);
    {
        let heard = stub.heard();
        let row = heard.row("web-2", "api").unwrap();
        assert!(row.why.contains("promised the next within 300 ms"), "{}", row.why);
        assert!(row.age_ms.is_some_and(|age| age >= 300), "{row:?}");
    }
    let touched = |heard: &Heard| heard.row("web-1", "api").filter(|row| row.touches > 0).map(drop);
    wait("a beat is told of in time", || {
        let beat = steady.frame(Flags::default());
        steady.send(observer.sealed(), &beat);
        touched(&stub.heard())
    });
    wait_heard(&stub, "the observer tells of itself", |heard| {
        (heard.statuses >= 2 && heard.received >= 2).then_some(())
    });
    assert_eq!(observer.metric(&series(&stub, "varta_forward_connected")), 1.0);
    assert!(observer.metric(&series(&stub, "varta_forward_entries_total")) >= 3.0);
    assert_eq!(observer.metric(&series(&stub, "varta_forward_snapshots_total")), 1.0);
    let last = steady.frame(Flags::FINAL);
    steady.send(observer.sealed(), &last);
    wait_verdict(&stub, "web-1", Verdict::Departed);
    observer.stop();
}

#[test]
fn a_link_that_was_cut_goes_on_without_a_snapshot() {
    let stub = Stub::start(&[observers_key()]);
    let observer = forward(&stub, stub.key).start();
    let _first = announce(&observer, "web-1", 60_000);
    wait_verdict(&stub, "web-1", Verdict::Up);
    wait_heard(&stub, "the snapshot ends", |heard| (heard.ends == 1).then_some(()));
    stub.set(Mood::Away);
    wait("the link is lost", || (observer.metric(&series(&stub, "varta_forward_connected")) == 0.0).then_some(()));
    let _second = announce(&observer, "web-2", 60_000);
    observer.wait_slot("web-2", "api", |_| true);
    stub.set(Mood::Reads);
    wait_verdict(&stub, "web-2", Verdict::Up);
    {
        let heard = stub.heard();
        assert_eq!((heard.snapshots, heard.hellos.len()), (1, 2));
        assert!(heard.hellos[1] > 0 && heard.boots[0] == heard.boots[1]);
        assert!(heard.row("web-1", "api").is_some());
    }
    assert!(observer.metric(&series(&stub, "varta_forward_dials_total")) >= 2.0);
    observer.stop();
}

#[test]
fn a_relay_that_reads_nothing_holds_nobody_up() {
    let stub = Stub::start(&[observers_key()]);
    let observer = forward(&stub, stub.key).start();
    wait_heard(&stub, "a snapshot ends", |heard| (heard.ends == 1).then_some(()));
    stub.set(Mood::Pauses);
    let agents: Vec<_> = (0..200).map(|number| format!("web-{number}")).collect();
    let mut beating: Vec<_> = agents.iter().map(|name| announce(&observer, name, 60_000)).collect();
    for name in &agents {
        observer.wait_slot(name, "api", |slot| slot["verdict"] == "up");
    }
    for _ in 0..5 {
        for agent in &mut beating {
            let beat = agent.frame(Flags::default());
            agent.send(observer.sealed(), &beat);
        }
    }
    observer.wait_slot("web-199", "api", |slot| slot["beats"].as_u64() >= Some(6));
    assert!(stub.heard().row("web-0", "api").is_none(), "it reads nothing");
    stub.set(Mood::Reads);
    wait_heard(&stub, "everything is told", |heard| (heard.rows.len() == agents.len()).then_some(()));
    observer.stop();
}

#[test]
fn a_relay_of_another_key_is_told_nothing_and_neither_is_one_that_refuses() {
    let stub = Stub::start(&[observers_key()]);
    let pinned = forward(&stub, PublicKey([5; 32])).start();
    let refusing = Stub::start(&[PublicKey([6; 32])]);
    let refused = forward(&refusing, refusing.key).start();
    for observer in [&pinned, &refused] {
        let _agent = announce(observer, "web-1", 60_000);
        observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");
    }
    assert_eq!(pinned.metric(&series(&stub, "varta_forward_connected")), 0.0);
    assert_eq!(refused.metric(&series(&refusing, "varta_forward_connected")), 0.0);
    pinned.stop();
    refused.stop();
    assert!(stub.heard().hellos.is_empty() && refusing.heard().hellos.is_empty());
}
