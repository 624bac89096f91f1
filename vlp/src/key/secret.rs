//! Secrets and their typed text: SPEC, "Text form of secrets".

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

const SECRET_LEN: usize = 32;
const CHECK_LEN: usize = 4;
/// 36 bytes in base32 without padding.
const DIGITS: usize = 58;
const TEXT_MAX_LEN: usize = 23 + DIGITS;

const PREFIXES: [&str; 4] = [RootSecret::PREFIX, AudienceSecret::PREFIX, AgentSecret::PREFIX, IdentitySecret::PREFIX];

/// Why a text is not the secret that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It begins with none of the known prefixes.
    NotASecret {
        /// The prefix that was wanted.
        wanted: &'static str,
    },
    /// A secret of another kind.
    WrongKind {
        /// The prefix that was wanted.
        wanted: &'static str,
        /// The prefix that was found.
        found: &'static str,
    },
    /// Not 58 characters behind the prefix.
    BadLength {
        /// How many there are.
        found: usize,
    },
    /// A character that is not base32 (`A-Z`, `2-7`).
    BadCharacter {
        /// Its place in the whole text, counted from 1.
        position: usize,
    },
    /// The checksum does not agree: a character was mistyped.
    BadChecksum,
}

impl core::fmt::Display for TokenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotASecret { wanted } => write!(f, "not a secret: it should begin with {wanted}"),
            Self::WrongKind { wanted, found } => write!(f, "a {found}.. where a {wanted}.. belongs"),
            Self::BadLength { found } => {
                write!(
                    f,
                    "{found} characters behind the prefix where {DIGITS} belong: part of the secret is missing or doubled"
                )
            }
            Self::BadCharacter { position } => {
                write!(f, "character {position} is not one of A-Z and 2-7: the secret was mistyped")
            }
            Self::BadChecksum => f.write_str("the checksum does not agree: the secret was mistyped"),
        }
    }
}

impl core::error::Error for TokenError {}

/// The text form of a secret; it is a secret itself and is wiped when dropped.
pub struct SecretText {
    bytes: Zeroizing<[u8; TEXT_MAX_LEN]>,
    len: usize,
}

impl SecretText {
    /// The text. Write it to a file of mode 0600 and nowhere else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl ZeroizeOnDrop for SecretText {}

impl core::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretText(..)")
    }
}

fn checksum(prefix: &str, secret: &[u8; SECRET_LEN]) -> [u8; CHECK_LEN] {
    let digest: [u8; 32] = Sha256::new().chain_update(prefix).chain_update(secret).finalize().into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

#[expect(clippy::expect_used, reason = "all lengths are constants")]
fn render(prefix: &str, secret: &[u8; SECRET_LEN]) -> SecretText {
    let mut raw = Zeroizing::new([0; SECRET_LEN + CHECK_LEN]);
    let (head, tail) = raw.split_first_chunk_mut().expect("36 is more than 32");
    *head = *secret;
    tail.copy_from_slice(&checksum(prefix, secret));
    let mut bytes = Zeroizing::new([0; TEXT_MAX_LEN]);
    let len = prefix.len() + DIGITS;
    let text = bytes.get_mut(..len).expect("the longest prefix fits");
    let (front, digits) = text.split_at_mut(prefix.len());
    front.copy_from_slice(prefix.as_bytes());
    BASE32_NOPAD.encode_mut(&*raw, digits);
    SecretText { bytes, len }
}

fn parse(wanted: &'static str, text: &str) -> Result<Zeroizing<[u8; SECRET_LEN]>, TokenError> {
    let found = PREFIXES.into_iter().find(|prefix| text.starts_with(prefix));
    let found = found.ok_or(TokenError::NotASecret { wanted })?;
    if found != wanted {
        return Err(TokenError::WrongKind { wanted, found });
    }
    let digits = text.as_bytes().get(wanted.len()..).unwrap_or_default();
    if let Some(offset) = digits.iter().position(|byte| !matches!(byte, b'A'..=b'Z' | b'2'..=b'7')) {
        return Err(TokenError::BadCharacter { position: wanted.len() + offset + 1 });
    }
    if digits.len() != DIGITS {
        return Err(TokenError::BadLength { found: digits.len() });
    }
    let mut raw = Zeroizing::new([0; SECRET_LEN + CHECK_LEN]);
    BASE32_NOPAD.decode_mut(digits, &mut *raw).map_err(|_| TokenError::BadChecksum)?;
    let (secret, check) = raw.split_first_chunk::<SECRET_LEN>().ok_or(TokenError::BadChecksum)?;
    if bool::from(checksum(wanted, secret).ct_eq(check)) {
        Ok(Zeroizing::new(*secret))
    } else {
        Err(TokenError::BadChecksum)
    }
}

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal,)+) => {$(
        $(#[$doc])*
        ///
        /// Wiped when dropped, never copied, never shown.
        pub struct $name([u8; SECRET_LEN]);

        impl $name {
            /// What its text form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Takes 32 secret bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; SECRET_LEN]) -> Self {
                Self(bytes)
            }

            /// Reads the text form.
            ///
            /// # Errors
            /// [`TokenError`] if the text is another kind of secret, or mistyped.
            pub fn from_text(text: &str) -> Result<Self, TokenError> {
                parse(Self::PREFIX, text).map(|secret| Self(*secret))
            }

            /// The text form.
            #[must_use]
            pub fn to_text(&self) -> SecretText {
                render(Self::PREFIX, &self.0)
            }

            /// The bytes themselves.
            #[must_use]
            pub const fn expose(&self) -> &[u8; SECRET_LEN] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

secrets! {
    /// R: the fleet's root, in the operator's vault only.
    RootSecret = "VARTA-ROOT-SECRET-1",
    /// K(o): what an observer holds.
    AudienceSecret = "VARTA-AUDIENCE-SECRET-1",
    /// P(a, g, o): what an agent holds for one audience.
    AgentSecret = "VARTA-AGENT-SECRET-1",
    /// The Ed25519 seed by which an observer is known to a relay.
    IdentitySecret = "VARTA-IDENTITY-SECRET-1",
}
