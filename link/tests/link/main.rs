//! Links on loopback, between parties who play by the rules and parties who do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::time::timeout;
use varta_link::{Allowed, Arrived, Identity, Limits, Link, LinkError, Listener, Refusal, dial};
use varta_vlp::{
    key::{IdentitySecret, PublicKey},
    report::{ALPN, MESSAGE_MAX_LEN, ReportError},
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

    async fn refused(&self, refusal: Refusal) {
        let refusals = self.listener.refusals();
        let count = || refusals.read().into_iter().find(|(kind, _)| *kind == refusal).unwrap().1;
        let seen = async {
            while count() == 0 {
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

/// Verifies nothing, so that what the other side does comes to light.
#[derive(Debug)]
struct Anybody {
    raw: bool,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519, rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

fn signing_key(seed: u8) -> Arc<dyn rustls::sign::SigningKey> {
    let prefix = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let pkcs8 = [&prefix[..], &[seed; 32]].concat();
    ring::default_provider()
        .key_provider
        .load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))
        .unwrap()
}

/// An X.509 certificate of no authority: self-signed by the same key that would be good as a raw one. Nobody gets as far as to
/// read it.
fn certificate() -> CertificateDer<'static> {
    CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01])
}

/// A client of any make: what it shows, what it asks for, and what it speaks.
fn client(key: Option<CertifiedKey>, raw: bool, alpn: &[u8]) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody { raw }));
    let mut config = match key {
        Some(key) if raw => {
            builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(key))))
        }
        Some(key) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// Knows of raw keys and shows none.
#[derive(Debug)]
struct Keyless;

impl rustls::client::ResolvesClientCert for Keyless {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn keyless() -> rustls::ClientConfig {
    let mut config = client(None, true, ALPN);
    config.client_auth_cert_resolver = Arc::new(Keyless);
    config
}

fn raw_key(seed: u8) -> CertifiedKey {
    let key = signing_key(seed);
    let spki = key.public_key().unwrap().to_vec();
    CertifiedKey::new(vec![CertificateDer::from(spki)], key)
}

async fn connect(
    address: SocketAddr,
    config: rustls::ClientConfig,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let connection = endpoint.connect_with(config, address, "relay").unwrap().await?;
    Ok(connection)
}

/// Whatever the client thinks, it is closed without having been heard.
async fn is_shut_out(connection: Result<quinn::Connection, quinn::ConnectionError>) {
    if let Ok(connection) = connection {
        let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
        let _ = sender.write_all(&framed(b"hello")).await;
        let read = timeout(PATIENCE, receiver.read(&mut [0; 64])).await.expect("the relay closes it");
        assert!(read.is_err(), "{read:?}");
    }
}

#[tokio::test]
async fn clients_of_another_make_are_shut_out() {
    let good = || Some(raw_key(OBSERVER));
    let x509 = || Some(CertifiedKey::new(vec![certificate()], signing_key(OBSERVER)));
    let cases = [
        (keyless(), Some(Refusal::NoKey)),
        (client(None, true, ALPN), None),
        (client(x509(), false, ALPN), None),
        (client(good(), true, b"h3"), Some(Refusal::Protocol)),
        (client(good(), true, b"varta-report/2"), Some(Refusal::Protocol)),
        (client(Some(raw_key(STRANGER)), true, ALPN), Some(Refusal::UnknownKey)),
    ];
    for (config, refusal) in cases {
        let relay = Relay::new(limits());
        is_shut_out(connect(relay.address, config).await).await;
        match refusal {
            Some(refusal) => relay.refused(refusal).await,
            None => relay.refused(Refusal::Handshake).await,
        }
    }
    // The same client with the right key is let in: none of the above failed for a reason of its own.
    let mut relay = Relay::new(limits());
    let connection = connect(relay.address, client(good(), true, ALPN)).await.unwrap();
    let (mut sender, _receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&framed(b"hello")).await.unwrap();
    assert_eq!(&*relay.accept().await.name, "obs-1");
}

#[tokio::test]
async fn a_relay_with_a_certificate_is_not_taken() {
    let provider = Arc::new(ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(CertifiedKey::new(
            vec![certificate()],
            signing_key(RELAY),
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let endpoint = quinn::Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let _ = incoming.await;
        }
    });
    let error = dial(address, &identity(OBSERVER), identity(RELAY).public(), limits()).await.unwrap_err();
    assert!(matches!(error, LinkError::Failed { .. } | LinkError::NotPinned(_)), "{error}");
}

/// Sessions that a client would keep for the next handshake.
#[derive(Debug, Default)]
struct Kept(std::sync::atomic::AtomicUsize);

impl rustls::client::ClientSessionStore for Kept {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: rustls::client::Tls13ClientSessionValue) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        None
    }
}

#[tokio::test]
async fn nothing_is_given_to_be_kept_for_the_next_handshake() {
    let mut relay = Relay::new(limits());
    let kept = Arc::new(Kept::default());
    let mut config = client(Some(raw_key(OBSERVER)), true, ALPN);
    config.resumption = rustls::client::Resumption::store(kept.clone());
    config.enable_early_data = true;
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    for _ in 0..2 {
        let connecting = endpoint.connect_with(config.clone(), relay.address, "relay").unwrap();
        let connecting = connecting.into_0rtt().map(drop).expect_err("nothing may be said before the handshake");
        let connection = connecting.await.unwrap();
        let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
        sender.write_all(&framed(b"hello")).await.unwrap();
        let mut arrived = relay.accept().await;
        // What is said after the handshake comes after whatever the relay would have given with it.
        arrived.link.sender.send(&framed(b"welcome")).await.unwrap();
        receiver.read(&mut [0; 64]).await.unwrap();
    }
    assert_eq!(kept.0.load(std::sync::atomic::Ordering::SeqCst), 0, "tickets");
}

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
async fn many_who_knock_are_asked_where_they_are_and_then_refused() {
    let mut relay = Relay::new(Limits { retry_above: 0, ..limits() });
    let (_link, _arrived) = relay.pair().await;
    relay.refused(Refusal::Retry).await;

    let relay = Relay::new(Limits { half_open: 0, ..limits() });
    outcome(relay.dial(OBSERVER).await).await;
    relay.refused(Refusal::HalfOpen).await;

    let mut relay = Relay::new(Limits { links: 1, ..limits() });
    let (_link, arrived) = relay.pair().await;
    outcome(relay.dial(OBSERVER).await).await;
    relay.refused(Refusal::Links).await;
    drop(arrived);
    relay.pair().await;
}

#[tokio::test]
async fn who_knocks_and_says_nothing_is_given_up() {
    let relay = Relay::new(Limits { handshake: Duration::from_millis(200), ..limits() });
    let _silent = connect(relay.address, client(Some(raw_key(OBSERVER)), true, ALPN)).await.unwrap();
    relay.refused(Refusal::Timeout).await;
}

#[tokio::test]
async fn nobody_at_the_address_is_a_time_out() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = socket.local_addr().unwrap();
    let limits = Limits { handshake: Duration::from_millis(200), ..limits() };
    let error = dial(nobody, &identity(OBSERVER), PublicKey([0; 32]), limits).await.unwrap_err();
    assert!(matches!(error, LinkError::TimedOut(_)), "{error}");
}
