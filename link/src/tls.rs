//! TLS 1.3 with Ed25519 raw public keys (RFC 7250) on both sides, and nothing kept from one handshake to the next.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use varta_vlp::{key::PublicKey, report::ALPN};

use crate::{Allowed, Identity, identity};

/// The cryptography of every handshake.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() }
}

#[expect(clippy::expect_used, reason = "ring has the suites of TLS 1.3, and the one that QUIC begins with")]
pub(crate) fn server(identity: &Identity, allowed: Allowed) -> QuicServerConfig {
    let provider = Arc::new(provider());
    let verifier = Arc::new(OnlyAllowed { allowed, algorithms: provider.signature_verification_algorithms });
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity.key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.try_into().expect("the suites of ring include the initial one")
}

#[expect(clippy::expect_used, reason = "ring has the suites of TLS 1.3, and the one that QUIC begins with")]
pub(crate) fn client(identity: &Identity, pin: PublicKey) -> QuicClientConfig {
    let provider = Arc::new(provider());
    let verifier = Arc::new(OnlyPinned { pin, algorithms: provider.signature_verification_algorithms });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity.key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.try_into().expect("the suites of ring include the initial one")
}

/// Tells a peer that its key is not the one, by the alert `access_denied`.
const REFUSED: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// That whoever shows a key holds it: what both sides' verifiers have in common.
macro_rules! signed_by_a_raw_key {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("only TLS 1.3 is spoken".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let key = SubjectPublicKeyInfoDer::from(key.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

/// Takes one relay for the relay.
#[derive(Debug)]
struct OnlyPinned {
    pin: PublicKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OnlyPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if identity::decode(end_entity) == Some(self.pin) { Ok(ServerCertVerified::assertion()) } else { Err(REFUSED) }
    }

    signed_by_a_raw_key!();
}

/// Takes those for observers who are allowed at this moment.
#[derive(Debug)]
struct OnlyAllowed {
    allowed: Allowed,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for OnlyAllowed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = identity::decode(end_entity).is_some_and(|key| self.allowed.name(&key).is_some());
        if known { Ok(ClientCertVerified::assertion()) } else { Err(REFUSED) }
    }

    signed_by_a_raw_key!();
}
