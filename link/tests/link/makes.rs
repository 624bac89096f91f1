//! Clients and relays of another make, and what they can be brought to do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::time::timeout;
use varta_link::{LinkError, Refusal, dial};
use varta_vlp::report::ALPN;

use crate::{OBSERVER, PATIENCE, RELAY, Relay, STRANGER, framed, identity, limits};

/// Verifies nothing, so that what the other side does comes to light.
#[derive(Debug)]
struct Anybody;

macro_rules! any_signature {
    () => {
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
            vec![rustls::SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
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

    any_signature!();
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    any_signature!();
}

fn signing_key(seed: u8) -> Arc<dyn rustls::sign::SigningKey> {
    let prefix = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let pkcs8 = [&prefix[..], &[seed; 32]].concat();
    ring::default_provider()
        .key_provider
        .load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8)))
        .unwrap()
}

/// A piece of DER that is shorter than 256 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = u8::try_from(content.len()).unwrap();
    let head = if len < 128 { vec![tag, len] } else { vec![tag, 0x81, len] };
    [head, content].concat()
}

/// An X.509 certificate (RFC 5280, RFC 8410), self-signed by the very key that is good as a raw one.
fn certificate(seed: u8) -> CertificateDer<'static> {
    let key = signing_key(seed);
    let spki = key.public_key().unwrap();
    let algorithm = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let common_name = der(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &der(0x0c, &[b"relay"])]);
    let name = der(0x30, &[&der(0x31, &[&common_name])]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let version = [0xa0, 0x03, 0x02, 0x01, 0x02];
    let serial = [0x02, 0x01, 0x01];
    let to_be_signed = der(0x30, &[&version, &serial, &algorithm, &name, &validity, &name, &spki]);
    let signer = key.choose_scheme(&[rustls::SignatureScheme::ED25519]).unwrap();
    let signature = der(0x03, &[&[0], &signer.sign(&to_be_signed).unwrap()]);
    CertificateDer::from(der(0x30, &[&to_be_signed, &algorithm, &signature]))
}

#[test]
fn the_certificate_is_one() {
    let certificate = certificate(RELAY);
    let parsed = rustls::server::ParsedCertificate::try_from(&certificate).unwrap();
    let name = ServerName::try_from("relay").unwrap();
    // It is read and found to be for no name: what follows fails for no reason of its own.
    let error = rustls::client::verify_server_name(&parsed, &name).unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

/// A client of any make: what it shows, whether it calls that a raw key, and what it speaks. It takes the relay's raw key.
fn client(key: Option<CertifiedKey>, raw: bool, alpn: &[u8]) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match key.map(Arc::new) {
        Some(key) if raw => builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key))),
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

/// Shows the raw key of one seed, and signs with that of another.
fn shown_and_held(shown: u8, held: u8) -> CertifiedKey {
    let spki = signing_key(shown).public_key().unwrap().to_vec();
    CertifiedKey::new(vec![CertificateDer::from(spki)], signing_key(held))
}

fn raw_key(seed: u8) -> CertifiedKey {
    shown_and_held(seed, seed)
}

/// The one that is let in.
pub(crate) fn good() -> rustls::ClientConfig {
    client(Some(raw_key(OBSERVER)), true, ALPN)
}

fn with_certificate(seed: u8) -> CertifiedKey {
    CertifiedKey::new(vec![certificate(seed)], signing_key(seed))
}

pub(crate) async fn connect(
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
    let cases = [
        ("no key", keyless(), Refusal::NoKey),
        ("no authentication", client(None, true, ALPN), Refusal::Handshake),
        ("a certificate", client(Some(with_certificate(OBSERVER)), false, ALPN), Refusal::Handshake),
        ("a certificate for a raw key", client(Some(with_certificate(OBSERVER)), true, ALPN), Refusal::UnknownKey),
        (
            "a key that it does not hold",
            client(Some(shown_and_held(OBSERVER, STRANGER)), true, ALPN),
            Refusal::Handshake,
        ),
        ("another protocol", client(Some(raw_key(OBSERVER)), true, b"h3"), Refusal::Protocol),
        ("another version", client(Some(raw_key(OBSERVER)), true, b"varta-report/2"), Refusal::Protocol),
        ("a stranger's key", client(Some(raw_key(STRANGER)), true, ALPN), Refusal::UnknownKey),
    ];
    for (what, config, refusal) in cases {
        let relay = Relay::new(limits());
        let shut_out = is_shut_out(connect(relay.address, config).await);
        timeout(PATIENCE, shut_out).await.unwrap_or_else(|_| panic!("{what}: let in"));
        relay.refused(refusal).await;
    }
    // The same client with the right key is let in: none of the above failed for a reason of its own.
    let mut relay = Relay::new(limits());
    let connection = connect(relay.address, good()).await.unwrap();
    let (mut sender, _receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&framed(b"hello")).await.unwrap();
    assert_eq!(&*relay.accept().await.name, "obs-1");
}

/// A relay of any make that takes everybody: what it shows, and whether it calls that a raw key.
fn other_relay(key: CertifiedKey, raw: bool) -> SocketAddr {
    let key = Arc::new(key);
    let resolver: Arc<dyn rustls::server::ResolvesServerCert> = if raw {
        Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(key))
    } else {
        Arc::new(rustls::sign::SingleCertAndKey::from(key))
    };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let endpoint = quinn::Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Some(incoming) = endpoint.accept().await {
            connections.push(incoming.await);
        }
    });
    address
}

#[tokio::test]
async fn relays_of_another_make_are_not_taken() {
    let dial =
        async |key, raw| dial(other_relay(key, raw), &identity(OBSERVER), identity(RELAY).public(), limits()).await;
    for (key, raw) in [(with_certificate(RELAY), false), (shown_and_held(RELAY, STRANGER), true)] {
        let error = dial(key, raw).await.unwrap_err();
        assert!(matches!(error, LinkError::Failed { .. }), "{error}");
    }
    for key in [with_certificate(RELAY), raw_key(STRANGER), shown_and_held(STRANGER, RELAY)] {
        let error = dial(key, true).await.unwrap_err();
        assert!(matches!(error, LinkError::NotPinned(_)), "{error}");
    }
    // With the right key it is taken: none of the above failed for a reason of its own.
    dial(raw_key(RELAY), true).await.unwrap();
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
    let mut config = good();
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
