//! How much room others can take.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::time::timeout;
use varta_link::{Limits, LinkError, Refusal, dial};
use varta_vlp::report::MESSAGE_MAX_LEN;

use crate::{
    OBSERVER, RELAY, Relay, framed, heard, identity, limits,
    makes::{connect, good},
    outcome,
};

#[tokio::test]
async fn a_side_that_does_not_listen_makes_the_other_hold_a_window_and_no_more() {
    let mut relay = Relay::new(limits());
    let (mut link, _arrived) = relay.pair().await;
    let message = framed(&vec![7; MESSAGE_MAX_LEN]);
    let mut said = 0;
    while timeout(Duration::from_millis(500), link.sender.send(&message)).await.is_ok() {
        said += message.len();
        assert!(said <= 4 << 20, "{said} bytes are held");
    }
    assert!(said >= 1 << 19, "{said} bytes fit");
}

#[tokio::test]
async fn a_link_has_one_stream_and_no_other() {
    let mut relay = Relay::new(limits());
    let connection = connect(relay.address, good()).await.unwrap();
    let (mut sender, _receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&framed(b"hello")).await.unwrap();
    let arrived = relay.accept().await;
    let some = Duration::from_millis(200);
    assert!(timeout(some, connection.open_bi()).await.is_err(), "a second stream is open");
    assert!(timeout(some, connection.open_uni()).await.is_err(), "a stream of one direction is open");
    assert_eq!(connection.max_datagram_size(), None, "datagrams are taken");
    drop(arrived);
}

#[tokio::test]
async fn there_is_room_for_so_many_links_however_many_come_at_once() {
    let mut relay = Relay::new(Limits { links: 2, ..limits() });
    let address = relay.address;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        all.spawn(async move {
            let mut link = dial(address, &identity(OBSERVER), identity(RELAY).public(), limits()).await?;
            link.sender.send(&framed(b"hello")).await?;
            heard(&mut link).await
        });
    }
    relay.refused_times(Refusal::Links, 6).await;
    let arrived = [relay.accept().await, relay.accept().await];
    for _ in 0..6 {
        let error = all.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(matches!(error, LinkError::Crowded(_) | LinkError::Closed { .. }), "{error}");
        assert!(error.to_string().contains("raise limits.observers of relay.toml"), "{error}");
    }
    drop(arrived);
    all.shutdown().await;
    relay.pair().await;
}

#[tokio::test]
async fn a_relay_without_room_says_so() {
    let relay = Relay::new(Limits { half_open: 0, ..limits() });
    let error = outcome(relay.dial(OBSERVER).await).await;
    assert!(matches!(error, LinkError::Crowded(at) if at == relay.address), "{error}");
    relay.refused(Refusal::HalfOpen).await;
}

/// The first datagram of a handshake, whose sender never hears an answer.
async fn first_datagram() -> Vec<u8> {
    let nobody = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = nobody.local_addr().unwrap();
    let knocking = tokio::spawn(connect(address, good()));
    let mut room = [0; 2048];
    let len = nobody.recv(&mut room).await.unwrap();
    knocking.abort();
    room[..len].to_vec()
}

/// Handshakes that are begun and never go on, each from an address of its own.
async fn begin(relay: SocketAddr, many: usize) -> Vec<UdpSocket> {
    let mut datagrams = Vec::new();
    for _ in 0..many {
        datagrams.push(first_datagram().await);
    }
    let send = |datagram: Vec<u8>| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&datagram, relay).unwrap();
        socket
    };
    datagrams.into_iter().map(send).collect()
}

#[tokio::test]
async fn half_open_handshakes_are_asked_where_they_are_and_observers_come_in_all_the_same() {
    let mut relay = Relay::new(Limits { retry_above: 3, ..limits() });
    let _knocking = begin(relay.address, 40).await;
    relay.refused_times(Refusal::Retry, 37).await;
    // Whoever is where it says to be is let in.
    relay.pair().await;
    relay.refused_times(Refusal::Retry, 38).await;
}

#[tokio::test]
async fn there_is_room_for_so_many_half_open_handshakes_and_it_comes_back() {
    let short = Duration::from_secs(2);
    let mut relay = Relay::new(Limits { half_open: 5, handshake: short, ..limits() });
    let _knocking = begin(relay.address, 12).await;
    relay.refused_times(Refusal::HalfOpen, 7).await;
    relay.refused_times(Refusal::Timeout, 5).await;
    relay.pair().await;
}

#[tokio::test]
async fn who_knocks_and_says_nothing_is_given_up() {
    let relay = Relay::new(Limits { handshake: Duration::from_millis(200), ..limits() });
    let _silent = connect(relay.address, good()).await.unwrap();
    relay.refused(Refusal::Timeout).await;
}
