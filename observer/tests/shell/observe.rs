//! An observer from its socket to its HTTP.

use std::{net::UdpSocket, time::Duration};

use serde_json::json;
use varta_config::{Listen, Trust};
use varta_vlp::sealed::Flags;
use varta_watch::{Observer, RunOptions};

use crate::{
    clock::wait,
    rig::{Agent, Rig},
};

#[test]
fn a_beat_is_seen_counted_and_missed() {
    let rig = Rig::new();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    agent.next_due_ms = 300;
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let slot = observer.wait_slot("web-1", "api", |_| true);
    assert_eq!(
        (&slot["pid"], &slot["payload"], &slot["origin"]),
        (&json!(4242), &json!(17), &json!("NetworkVerified"))
    );
    assert_eq!(slot["labels"], json!({"site": "ams"}));
    let slot = observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "stalled");
    assert!(slot["why"].as_str().unwrap().contains("promised the next within 300 ms"), "{slot}");
    assert_eq!(observer.metric("varta_slots{verdict=\"stalled\"}"), 1.0);
    let listener = rig.config.listen[0].sealed.unwrap();
    assert_eq!(observer.metric(&format!("varta_datagrams_accepted_total{{listener=\"{listener}\"}}")), 1.0);
    agent.next_due_ms = 60_000;
    let beat = agent.frame(Flags::default());
    agent.send(observer.sealed(), &beat);
    observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");
    agent.send(observer.sealed(), &beat);
    wait("the replay is refused", || (observer.rejected(listener, "replayed") > 0.0).then_some(()));
    agent.send(observer.sealed(), b"garbage");
    wait("garbage is refused", || (observer.rejected(listener, "bad_length") > 0.0).then_some(()));
    let long = vec![b'V'; 1300];
    agent.send(observer.sealed(), &long);
    wait("what is too long is refused", || (observer.rejected(listener, "bad_length") > 1.0).then_some(()));
    let last = agent.frame(Flags::FINAL);
    agent.send(observer.sealed(), &last);
    observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "departed");
    assert_eq!(observer.get("/healthz").0, 200);
    observer.stop();
}

#[test]
fn many_datagrams_at_once_are_all_counted() {
    const COUNT: u32 = 500;
    let rig = Rig::new();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    for _ in 1..COUNT {
        let frame = agent.frame(Flags::default());
        agent.send(observer.sealed(), &frame);
    }
    observer.wait_slot("web-1", "api", |slot| slot["beats"] == COUNT);
    let listener = rig.config.listen[0].sealed.unwrap();
    let metric = |name: &str| observer.metric(&format!("{name}{{listener=\"{listener}\"}}"));
    assert_eq!(metric("varta_datagrams_received_total"), f64::from(COUNT));
    assert_eq!(metric("varta_datagrams_accepted_total"), f64::from(COUNT));
    assert_eq!(metric("varta_kernel_drops_total"), 0.0);
    observer.stop();
}

#[test]
fn two_listeners_feed_one_core() {
    let mut rig = Rig::new();
    let v6 = Listen { trust: Trust::OperatorAttested, ..Listen::sealed("[::1]:0".parse().unwrap()) };
    rig.config.listen.push(v6);
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    observer.wait_slot("web-1", "api", |_| true);
    let mut other = Agent::over("[::1]:0", "web-2", "api", 1);
    let announce = other.announce();
    other.send(observer.0.sealed_addrs()[1], &announce);
    // The listener is eligible, but no roster grants recovery.
    let slot = observer.wait_slot("web-2", "api", |_| true);
    assert_eq!(slot["origin"], "NetworkVerified");
    assert_eq!(observer.metric("varta_datagrams_accepted_total{listener=\"[::1]:0\"}"), 1.0);
    observer.stop();
}

#[test]
fn an_observer_stops_by_itself_when_its_time_is_over() {
    let rig = Rig::new();
    let (tell, told) = std::sync::mpsc::channel();
    let options = RunOptions {
        shutdown_after: Some(Duration::from_millis(50)),
        on_ready: Some(Box::new(move |addresses| tell.send(addresses.clone()).unwrap())),
        ..RunOptions::default()
    };
    let running = Observer::start(rig.config.clone(), options).unwrap();
    let addresses = told.recv().unwrap();
    assert_eq!((addresses.sealed.as_slice(), addresses.http), (running.sealed_addrs(), running.http_addr()));
    assert!(addresses.sealed[0].port() != 0);
    running.join().unwrap();
}

#[test]
fn dropping_it_stops_it() {
    let rig = Rig::new();
    let observer = rig.start();
    let address = observer.sealed();
    drop(observer);
    wait("the port is free", || UdpSocket::bind(address).ok());
}
