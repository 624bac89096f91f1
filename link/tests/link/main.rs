//! Links on loopback, between parties who play by the rules and parties who do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod makes;
mod room;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::time::timeout;
use varta_link::{Allowed, Arrived, Identity, Limits, Link, LinkError, Listener, Refusal, dial};
use varta_vlp::{
    key::{IdentitySecret, PublicKey},
    report::{MESSAGE_MAX_LEN, ReportError},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn identity(seed: u8) -> Identity {
    Identity::new(&IdentitySecret::from_bytes([seed; 32]))
}

const RELAY: u8 = 1;
const OBSERVER: u8 = 2;
const STRANGER: u8 = 3;

fn limits() -> Limits {
    // Nothing here is to end because a machine is slow.
    Limits { idle: PATIENCE, handshake: PATIENCE, ..Limits::default() }
}

struct Relay {
    listener: Listener,
    allowed: Allowed,
    address: SocketAddr,
}

impl Relay {
    fn new(limits: Limits) -> Self {
        let allowed = Allowed::default();
        allowed.set([(identity(OBSERVER).public(), "obs-1".to_owned())]);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any, &identity(RELAY), allowed.clone(), limits).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, allowed, address }
    }

    async fn accept(&mut self) -> Arrived {
        timeout(PATIENCE, self.listener.accept()).await.expect("an observer arrives").unwrap()
    }

    async fn dial(&self, seed: u8) -> Result<Link, LinkError> {
        dial(self.address, &identity(seed), identity(RELAY).public(), limits()).await
    }

    /// One link, both ends of it.
    async fn pair(&mut self) -> (Link, Arrived) {
        let mut link = self.dial(OBSERVER).await.unwrap();
        // The other side hears of a stream when something is said on it.
        link.sender.send(&framed(b"hello")).await.unwrap();
        let mut arrived = self.accept().await;
        assert_eq!(heard(&mut arrived.link).await.unwrap(), b"hello");
        (link, arrived)
    }

    /// Waits until somebody was refused for this reason.
    async fn refused(&self, refusal: Refusal) {
        self.refused_times(refusal, 1).await;
    }

    async fn refused_times(&self, refusal: Refusal, times: u64) {
        let refusals = self.listener.refusals();
        let count = || refusals.read().into_iter().find(|(kind, _)| *kind == refusal).unwrap().1;
        let seen = async {
            while count() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{refusal:?} instead of {:?}", refusals.read()));
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_le_bytes()[..], message].concat()
}

async fn heard(link: &mut Link) -> Result<Vec<u8>, LinkError> {
    let message = timeout(PATIENCE, link.receiver.receive()).await.expect("a message comes, or the link ends");
    Ok(message?.unwrap_or_default().to_vec())
}

/// How a link ends that the relay does not take: in the handshake, or, since the observer's key is judged after that is over
/// for the observer, at the first that is read.
async fn outcome(link: Result<Link, LinkError>) -> LinkError {
    match link {
        Err(error) => error,
        Ok(mut link) => {
            // What cannot be said any more is no news here.
            let _ = link.sender.send(&framed(b"hello")).await;
            heard(&mut link).await.unwrap_err()
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_whole_and_in_order() {
    let mut relay = Relay::new(limits());
    let (mut link, mut arrived) = relay.pair().await;
    assert_eq!((arrived.key, &*arrived.name), (identity(OBSERVER).public(), "obs-1"));
    let longest = vec![7; MESSAGE_MAX_LEN];
    let all = [framed(b"a"), framed(&longest), framed(b"b")].concat();
    let saying = async {
        // In pieces that respect no message's bounds.
        for piece in all.chunks(997) {
            link.sender.send(piece).await.unwrap();
        }
        link
    };
    let hearing = async {
        for expected in [&b"a"[..], &longest, b"b"] {
            assert_eq!(heard(&mut arrived.link).await.unwrap(), expected);
        }
        arrived.link.sender.send(&framed(b"answer")).await.unwrap();
        arrived
    };
    let (mut link, mut arrived) = tokio::join!(saying, hearing);
    assert_eq!(heard(&mut link).await.unwrap(), b"answer");
    drop(link.sender);
    let end = timeout(PATIENCE, arrived.link.receiver.receive()).await.unwrap();
    assert!(matches!(end, Ok(None)), "{end:?}");
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte_and_be_waited_for_in_turns() {
    let mut relay = Relay::new(limits());
    let (mut link, mut arrived) = relay.pair().await;
    for byte in framed(b"slow") {
        let given_up = timeout(Duration::ZERO, arrived.link.receiver.receive()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        link.sender.send(&[byte]).await.unwrap();
    }
    assert_eq!(heard(&mut arrived.link).await.unwrap(), b"slow");
}

#[tokio::test]
async fn what_is_no_message_ends_the_link() {
    let too_long = u32::try_from(MESSAGE_MAX_LEN + 1).unwrap();
    for length in [0, too_long, u32::MAX] {
        let mut relay = Relay::new(limits());
        let (mut link, mut arrived) = relay.pair().await;
        link.sender.send(&length.to_le_bytes()).await.unwrap();
        let error = heard(&mut arrived.link).await.unwrap_err();
        assert!(
            matches!(error, LinkError::BadMessage { error: ReportError::BadLength(found), .. } if found == length),
            "{error}"
        );
    }
    for cut in [2, 6] {
        let mut relay = Relay::new(limits());
        let (mut link, mut arrived) = relay.pair().await;
        link.sender.send(&framed(b"message")[..cut]).await.unwrap();
        drop(link.sender);
        let error = heard(&mut arrived.link).await.unwrap_err();
        assert!(matches!(error, LinkError::BadMessage { error: ReportError::Truncated, .. }), "{error}");
    }
}

#[tokio::test]
async fn only_the_pinned_relay_is_taken_for_the_relay() {
    let relay = Relay::new(limits());
    let wrong = identity(STRANGER).public();
    let error = dial(relay.address, &identity(OBSERVER), wrong, limits()).await.unwrap_err();
    assert!(matches!(error, LinkError::NotPinned(at) if at == relay.address), "{error}");
    relay.refused(Refusal::NotPinned).await;
}

#[tokio::test]
async fn only_observers_on_the_list_are_let_in() {
    let relay = Relay::new(limits());
    let error = outcome(relay.dial(STRANGER).await).await;
    assert!(matches!(error, LinkError::Refused(at) if at == relay.address), "{error}");
    relay.refused(Refusal::UnknownKey).await;
}

#[tokio::test]
async fn a_key_that_is_removed_is_out_and_does_not_come_back() {
    let mut relay = Relay::new(limits());
    let (mut link, arrived) = relay.pair().await;
    let (_sender, _receiver, closer) = arrived.link.split();
    let removed = relay.allowed.clone();
    let removed = async move { removed.removed(&arrived.key, &arrived.name).await };
    relay.allowed.set([(identity(OBSERVER).public(), "obs-1".to_owned())]);
    let mut removed = Box::pin(removed);
    assert!(timeout(Duration::from_millis(20), &mut removed).await.is_err(), "the same list removes nobody");
    relay.allowed.set([]);
    timeout(PATIENCE, removed).await.expect("the removal is noticed");
    closer.close("this observer's key is not allowed any more");
    let error = heard(&mut link).await.unwrap_err();
    assert!(matches!(&error, LinkError::Closed { reason, .. } if reason.contains("not allowed any more")), "{error}");
    let error = outcome(relay.dial(OBSERVER).await).await;
    assert!(matches!(error, LinkError::Refused(_)), "{error}");
}

#[tokio::test]
async fn nobody_at_the_address_is_a_time_out() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = socket.local_addr().unwrap();
    let limits = Limits { handshake: Duration::from_millis(200), ..limits() };
    let error = dial(nobody, &identity(OBSERVER), PublicKey([0; 32]), limits).await.unwrap_err();
    assert!(matches!(error, LinkError::TimedOut(_)), "{error}");
}
