//! Observers that watch each other.

use varta_client::keyfile::{AgentAudience, AgentKeyFile, create_secret_file};
use varta_vlp::{
    Generation,
    key::{AudienceKey, Name},
};
use varta_watch::RunError;

use crate::rig::{AUDIENCE, Rig, name, root};

/// Makes the observer of `rig` an agent of this name of the one that listens at `address`.
fn make_peer(rig: &mut Rig, agent: &str, address: String) {
    let (generation, key) = (Generation(1), AudienceKey::new(&root().audience(name(AUDIENCE))));
    let secret = key.agent(Name::new(agent).unwrap().agent_id(), generation);
    let audiences = vec![AgentAudience { name: AUDIENCE.to_owned(), address, secret }];
    let file = rig.path("peer.agent.key");
    create_secret_file(&file, &AgentKeyFile { agent: agent.to_owned(), generation, audiences }.render()).unwrap();
    rig.config.peers.key_file = Some(file);
}

#[test]
fn an_observer_beats_to_its_peer_and_says_goodbye() {
    let watching = Rig::new().start();
    let mut rig = Rig::new();
    make_peer(&mut rig, "obs-2", watching.sealed().to_string());
    let watched = rig.start();
    watching.wait_slot("obs-2", "observer", |slot| slot["verdict"] == "up" && slot["beats"].as_u64() >= Some(3));
    watched.stop();
    let slot = watching.wait_slot("obs-2", "observer", |slot| slot["verdict"] == "departed");
    assert_eq!((&slot["stalls"], &slot["status"]), (&0.into(), &"ok".into()));
    watching.stop();
}

#[test]
fn a_peer_that_is_not_there_keeps_no_observer_from_its_work() {
    let mut rig = Rig::new();
    make_peer(&mut rig, "obs-3", "127.0.0.1:9".to_owned());
    let observer = rig.start();
    assert_eq!(observer.get("/healthz").0, 200);
    observer.stop();
}

#[test]
fn a_missing_key_of_the_agent_is_told_before_anything_begins() {
    let mut rig = Rig::new();
    rig.config.peers.key_file = Some(rig.path("nowhere.agent.key"));
    let refusal = rig.refusal();
    assert!(matches!(refusal, RunError::Configuration(_)), "{refusal}");
    assert!(refusal.to_string().contains("nowhere.agent.key"), "{refusal}");
}
