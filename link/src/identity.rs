//! Who this side is.

use std::{fmt, sync::Arc};

use rustls::{
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use varta_vlp::key::{IdentitySecret, PublicKey};
use zeroize::Zeroizing;

/// RFC 8410, section 7: an Ed25519 private key of 32 bytes follows.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// RFC 8410, section 4: an Ed25519 public key of 32 bytes follows.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key pair by which this side is known. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    public: PublicKey,
}

impl Identity {
    /// The key pair of this seed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "every seed is one of an Ed25519 key")]
    pub fn new(secret: &IdentitySecret) -> Self {
        let public = secret.public();
        let pkcs8 = Zeroizing::new([PKCS8_PREFIX.as_slice(), secret.expose()].concat());
        // No copy of the seed is made that would not be wiped.
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice())).expect("ring takes any seed");
        let key = CertifiedKey::new(vec![CertificateDer::from(encode(&public))], key);
        Self { key: Arc::new(key), public }
    }

    /// By what the other side knows this one.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A public key as it stands in the handshake.
pub(crate) fn encode(key: &PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), &key.0].concat()
}

/// The public key that stands so in a handshake, if it is one of ours.
pub(crate) fn decode(spki: &[u8]) -> Option<PublicKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(PublicKey(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_tls_itself_gives_a_key() {
        let identity = Identity::new(&IdentitySecret::from_bytes([7; 32]));
        let key = identity.key();
        let spki = key.key.public_key().unwrap();
        assert_eq!(decode(&spki), Some(identity.public()));
        assert_eq!(encode(&identity.public()), spki.as_ref());
        assert_eq!(decode(&spki[..spki.len() - 1]), None);
        assert_eq!(decode(&[0; 44]), None);
        assert_eq!(format!("{identity:?}"), format!("Identity {{ public: {:?}, .. }}", identity.public()));
    }
}
