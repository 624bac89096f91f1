//! The chain: its key, its links, and how a line carries one.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use varta_vlp::key::IdentitySecret;
use zeroize::Zeroizing;

/// What stands before the hex digits of a line's own link.
const BEFORE_LINK: &[u8] = b",\"link\":\"";
/// What stands behind them, the end of the line apart.
const BEHIND_LINK: &[u8] = b"\"}";

/// The key of a chain. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct AuditKey {
    ready: Hmac<Sha256>,
    keyed: bool,
}

impl AuditKey {
    /// The key of the observer of this identity: HKDF-SHA-256, salt `vlp1 audit`, info `audit chain`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "32 bytes are within what HKDF can give")]
    pub fn of(identity: &IdentitySecret) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let expander = Hkdf::<Sha256>::new(Some(b"vlp1 audit"), identity.expose());
        expander.expand(b"audit chain", key.as_mut_slice()).expect("32 bytes are one block");
        Self::new(&key, true)
    }

    /// The key of an observer without an identity: 32 zero bytes, so that anyone can make such a chain.
    #[must_use]
    pub fn unkeyed() -> Self {
        Self::new(&[0; 32], false)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn new(key: &[u8; 32], keyed: bool) -> Self {
        Self { ready: Hmac::new_from_slice(key).expect("any length will do"), keyed }
    }

    /// Whether it comes from an identity.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// The word for it in the first line of a file.
    pub(super) const fn word(&self) -> &'static str {
        if self.keyed { "keyed" } else { "unkeyed" }
    }

    /// The link of a line that follows `before`. `open` is the line up to its link, without the closing brace.
    fn hash(&self, before: &[u8; 32], open: &[u8]) -> [u8; 32] {
        let mac = self.ready.clone().chain_update(before).chain_update(open).chain_update(b"}");
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({}, ..)", self.word())
    }
}

/// A link of the chain: the number of a line and what it and everything before it hash to. Its text is `SEQ:HEX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The number of the line, from 1; 0 is before the first.
    pub seq: u64,
    /// HMAC-SHA-256 over the link before and the line; zeros before the first line.
    pub hash: [u8; 32],
}

impl Link {
    /// What the first line of a chain follows.
    pub const START: Self = Self { seq: 0, hash: [0; 32] };

    /// The hash in 64 hex digits.
    pub(super) fn hex(&self) -> String {
        HEXLOWER.encode(&self.hash)
    }

    /// The link of the line whose text up to its link is `open`, which has no closing brace yet.
    pub(super) fn next(&self, key: &AuditKey, open: &[u8]) -> Self {
        Self { seq: self.seq.saturating_add(1), hash: key.hash(&self.hash, open) }
    }

    /// Closes the line that is `open`, with this link for its own.
    pub(super) fn close(&self, open: &mut Vec<u8>) {
        open.extend(BEFORE_LINK);
        open.extend(self.hex().as_bytes());
        open.extend(BEHIND_LINK);
        open.push(b'\n');
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hex())
    }
}

/// A text that is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link is SEQ:HEX, the number of a line and 64 hex digits, as `varta audit verify` prints it")]
pub struct LinkError;

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (seq, hex) = text.split_once(':').ok_or(LinkError)?;
        let digits = (1..=20).contains(&seq.len()) && seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| digits).ok_or(LinkError)?;
        Ok(Self { seq, hash: hash(hex.as_bytes()).ok_or(LinkError)? })
    }
}

/// Reads 64 lower-case hex digits.
pub(super) fn hash(hex: &[u8]) -> Option<[u8; 32]> {
    HEXLOWER.decode(hex).ok()?.try_into().ok()
}

/// Takes a whole line apart: its text up to its link, without the closing brace, and that link's hash.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let (rest, hex) = line.strip_suffix(b"\n")?.strip_suffix(BEHIND_LINK)?.split_last_chunk::<64>()?;
    Some((rest.strip_suffix(BEFORE_LINK)?, hash(hex)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_key_is_derived_as_the_document_says() {
        // HKDF with two HMACs, as RFC 5869 has it for one block.
        let mac = |key: &[u8], data: &[u8]| -> [u8; 32] {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().into()
        };
        let key = mac(&mac(b"vlp1 audit", &[8; 32]), b"audit chain\x01");
        let expected = mac(&key, &[&[3; 32][..], b"{\"seq\":4}"].concat());
        let link = Link { seq: 3, hash: [3; 32] };
        let identity = IdentitySecret::from_bytes([8; 32]);
        assert_eq!(link.next(&AuditKey::of(&identity), b"{\"seq\":4"), Link { seq: 4, hash: expected });
        let unkeyed = mac(&[0; 32], &[&[3; 32][..], b"{\"seq\":4}"].concat());
        assert_eq!(link.next(&AuditKey::unkeyed(), b"{\"seq\":4"), Link { seq: 4, hash: unkeyed });
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = AuditKey::of(&IdentitySecret::from_bytes([8; 32]));
        assert_eq!(format!("{key:?} {:?}", AuditKey::unkeyed()), "AuditKey(keyed, ..) AuditKey(unkeyed, ..)");
    }

    #[test]
    fn other_texts_are_no_links() {
        let hex = "0".repeat(64);
        for text in ["", ":", "1", &hex, &format!("+1:{hex}"), &format!("1:{hex}0"), &format!(" 1:{hex}"), "1:zz"] {
            assert_eq!(text.parse::<Link>(), Err(LinkError), "{text}");
        }
        assert_eq!(format!("18446744073709551616:{hex}").parse::<Link>(), Err(LinkError));
        assert_eq!(format!("0:{hex}").parse(), Ok(Link::START));
    }

    proptest! {
        #[test]
        fn links_are_read_as_they_are_written(seq in any::<u64>(), hash in any::<[u8; 32]>()) {
            let link = Link { seq, hash };
            prop_assert_eq!(link.to_string().parse(), Ok(link));
        }

        #[test]
        fn a_closed_line_is_taken_apart_again(open in proptest::collection::vec(any::<u8>(), 0..200), hash in any::<[u8; 32]>()) {
            let mut line = open.clone();
            Link { seq: 1, hash }.close(&mut line);
            prop_assert_eq!(split(&line), Some((open.as_slice(), hash)));
        }
    }
}
