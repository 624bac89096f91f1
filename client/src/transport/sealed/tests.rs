use std::net::UdpSocket;

use varta_vlp::{key::AgentSecret, sealed::BEAT_LEN};

use super::*;
use crate::keyfile::{AgentAudience, AgentKeyFile};

fn handle(agent: &str, address: String) -> Varta<SealedTransport> {
    let audience = AgentAudience { name: "obs-1".to_owned(), address, secret: AgentSecret::from_bytes([1; 32]) };
    let key = AgentKeyFile { agent: agent.to_owned(), generation: Generation(1), audiences: vec![audience] };
    Varta::builder().key(key).connect().unwrap()
}

fn ear() -> UdpSocket {
    let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
    ear.set_nonblocking(true).unwrap();
    ear
}

#[test]
fn a_new_address_is_taken_over_by_the_next_beat() {
    let (old, new) = (ear(), ear());
    let mut varta = handle("moved", old.local_addr().unwrap().to_string());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let (announce, from) = old.recv_from(&mut [0; 1200]).unwrap();
    assert!(announce > BEAT_LEN);
    varta.transport.audiences[0].news.publish(new.local_addr().unwrap());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let (beat, from_now) = new.recv_from(&mut [0; 1200]).unwrap();
    assert_eq!(beat, BEAT_LEN, "the same session goes on");
    assert_ne!(from_now, from, "from a new socket");
    assert!(old.recv(&mut [0; 8]).is_err());
}

#[test]
fn where_no_new_socket_can_be_made_the_old_one_stays() {
    let ear = ear();
    let mut varta = handle("kept", ear.local_addr().unwrap().to_string());
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let (_, from) = ear.recv_from(&mut [0; 1200]).unwrap();
    // No socket may be connected there without asking for it.
    varta.transport.audiences[0].news.publish("255.255.255.255:9".parse().unwrap());
    for _ in 0..2 {
        assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
        assert_eq!(ear.recv_from(&mut [0; 1200]).unwrap(), (BEAT_LEN, from));
    }
}

#[test]
fn a_name_is_watched_and_a_literal_is_not() {
    let ear = ear();
    let address = ear.local_addr().unwrap();
    let literal = handle("literal", address.to_string());
    assert!(literal.transport.resolver.is_none());
    let named = handle("named", format!("localhost:{}", address.port()));
    assert!(named.transport.resolver.is_some());
}
