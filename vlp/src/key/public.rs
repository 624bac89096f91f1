//! Public keys of observers and relays, and their typed text: SPEC, "Text form of public keys".

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

use super::IdentitySecret;

const KEY_LEN: usize = 32;
const CHECK_LEN: usize = 4;
/// 36 bytes in base32 without padding.
const DIGITS: usize = 58;
const TEXT_MAX_LEN: usize = 15 + DIGITS;

/// What a public key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The relay that an observer forwards to.
    Relay,
    /// An observer that a relay takes reports from.
    Observer,
}

impl Peer {
    /// What the text of such a key begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Relay => "varta-relay:",
            Self::Observer => "varta-observer:",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Relay => Self::Observer,
            Self::Observer => Self::Relay,
        }
    }
}

/// The Ed25519 public key of an observer or a relay. No secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; KEY_LEN]);

/// Why a text is not the public key that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyError {
    /// It does not begin as it should.
    NotAPublicKey(Peer),
    /// It is that of the other kind of peer.
    WrongPeer(Peer),
    /// Not 58 characters of base32 behind the prefix.
    BadDigits,
    /// The checksum does not agree.
    BadChecksum,
}

impl core::fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotAPublicKey(peer) => write!(f, "not a public key: it should begin with {}", peer.prefix()),
            Self::WrongPeer(peer) => {
                write!(f, "a key of the form {}.. where {}.. belongs", peer.other().prefix(), peer.prefix())
            }
            Self::BadDigits => write!(f, "the prefix is not followed by {DIGITS} characters out of A-Z and 2-7"),
            Self::BadChecksum => f.write_str("the checksum does not agree: the key was mistyped"),
        }
    }
}

impl core::error::Error for PublicKeyError {}

/// The text form of a public key; shown by its `Display`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKeyText {
    bytes: [u8; TEXT_MAX_LEN],
    len: usize,
}

impl PublicKeyText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl core::fmt::Display for PublicKeyText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::fmt::Debug for PublicKeyText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PublicKey {
    /// Reads the text form of the key of a `peer`.
    ///
    /// # Errors
    /// [`PublicKeyError`] if the text is another kind of key, or mistyped.
    pub fn from_text(peer: Peer, text: &str) -> Result<Self, PublicKeyError> {
        let Some(digits) = text.strip_prefix(peer.prefix()) else {
            let other = text.starts_with(peer.other().prefix());
            return Err(if other { PublicKeyError::WrongPeer(peer) } else { PublicKeyError::NotAPublicKey(peer) });
        };
        let mut raw = [0; KEY_LEN + CHECK_LEN];
        if digits.len() != DIGITS || BASE32_NOPAD.decode_mut(digits.as_bytes(), &mut raw).is_err() {
            return Err(PublicKeyError::BadDigits);
        }
        let (key, check) = raw.split_first_chunk::<KEY_LEN>().ok_or(PublicKeyError::BadDigits)?;
        if checksum(peer, key) == check { Ok(Self(*key)) } else { Err(PublicKeyError::BadChecksum) }
    }

    /// The text form, as the key of a `peer`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "all lengths are constants")]
    pub fn to_text(&self, peer: Peer) -> PublicKeyText {
        let mut raw = [0; KEY_LEN + CHECK_LEN];
        let (head, tail) = raw.split_first_chunk_mut().expect("36 is more than 32");
        *head = self.0;
        tail.copy_from_slice(&checksum(peer, &self.0));
        let mut bytes = [0; TEXT_MAX_LEN];
        let prefix = peer.prefix();
        let len = prefix.len() + DIGITS;
        let (front, digits) = bytes.get_mut(..len).expect("the longer prefix fits").split_at_mut(prefix.len());
        front.copy_from_slice(prefix.as_bytes());
        BASE32_NOPAD.encode_mut(&raw, digits);
        PublicKeyText { bytes, len }
    }
}

fn checksum(peer: Peer, key: &[u8; KEY_LEN]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::new().chain_update(peer.prefix()).chain_update(key).finalize().into();
    [a, b, c, d]
}

impl IdentitySecret {
    /// The public key of this seed (RFC 8032, section 5.1.5).
    #[cfg(feature = "ring")]
    #[must_use]
    #[expect(clippy::expect_used, reason = "every 32 bytes are a seed, and every public key has 32")]
    pub fn public(&self) -> PublicKey {
        use ring::signature::{Ed25519KeyPair, KeyPair as _};
        let pair = Ed25519KeyPair::from_seed_unchecked(self.expose()).expect("any 32 bytes are a seed");
        PublicKey(pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn a_text_reads_back_as_its_own_kind_only() {
        let key = PublicKey(core::array::from_fn(|place| place as u8));
        for peer in [Peer::Relay, Peer::Observer] {
            let text = key.to_text(peer).to_string();
            assert_eq!(PublicKey::from_text(peer, &text), Ok(key));
            assert_eq!(PublicKey::from_text(peer.other(), &text), Err(PublicKeyError::WrongPeer(peer.other())));
            assert_eq!(PublicKey::from_text(peer, &text[1..]), Err(PublicKeyError::NotAPublicKey(peer)));
            assert_eq!(PublicKey::from_text(peer, &text[..text.len() - 1]), Err(PublicKeyError::BadDigits));
            assert_eq!(PublicKey::from_text(peer, &text.to_lowercase()), Err(PublicKeyError::BadDigits));
            let mistyped = text.replacen("AAAQ", "ABAQ", 1);
            assert_eq!(PublicKey::from_text(peer, &mistyped), Err(PublicKeyError::BadChecksum));
        }
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    #[cfg(feature = "ring")]
    fn the_public_key_is_that_of_the_standard() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap();
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(IdentitySecret::from_bytes(seed).public(), PublicKey(public));
    }
}
