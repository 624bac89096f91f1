//! Names, ids and the key hierarchy: SPEC, "Keys".

mod public;
mod secret;

pub use public::{Peer, PublicKey, PublicKeyError, PublicKeyText};
pub use secret::{AgentSecret, AudienceSecret, IdentitySecret, RootSecret, SecretText, TokenError};

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// A name of an agent, unit, audience or relay: `[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a str);

/// A name of bad form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl core::fmt::Display for BadName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a name is 1 to 64 letters, digits or any of . _ : @ + - and begins with a letter or digit")
    }
}

impl core::error::Error for BadName {}

impl<'a> Name<'a> {
    /// Checks the form of `text`.
    ///
    /// # Errors
    /// [`BadName`] if it is not of the form above.
    pub fn new(text: &'a str) -> Result<Self, BadName> {
        let (first, rest) = text.as_bytes().split_first().ok_or(BadName)?;
        let legal = first.is_ascii_alphanumeric()
            && rest.len() < 64
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:@+-".contains(byte));
        if legal { Ok(Self(text)) } else { Err(BadName) }
    }

    /// The name itself.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The id of the agent of this name.
    #[must_use]
    pub fn agent_id(self) -> AgentId {
        let [a, b, c, d, e, f, g, h, ..] = self.hash("vlp1 agent id");
        AgentId(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The id of the unit of this name; never 0, which says that there is none.
    #[must_use]
    pub fn unit_id(self) -> UnitId {
        let [a, b, c, d, ..] = self.hash("vlp1 unit id");
        UnitId(u32::from_le_bytes([a, b, c, d]).max(1))
    }

    /// The id of the audience of this name.
    #[must_use]
    pub fn audience_id(self) -> AudienceId {
        let [a, b, c, d, ..] = self.hash("vlp1 audience id");
        AudienceId(u32::from_le_bytes([a, b, c, d]))
    }

    fn hash(self, domain: &str) -> [u8; 32] {
        Sha256::new().chain_update(domain).chain_update([0]).chain_update(self.0).finalize().into()
    }
}

/// An agent: the first eight bytes of a hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u64);

/// A unit: the first four bytes of a hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u32);

/// An audience: the first four bytes of a hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceId(pub u32);

/// The generation of an agent's key, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl UnitId {
    /// No unit: the process is known by its pid.
    pub const NONE: Self = Self(0);
}

impl core::fmt::Display for AgentId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl core::fmt::Display for UnitId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl core::fmt::Display for AudienceId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl core::fmt::Display for Generation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl RootSecret {
    /// K(o): what the observer of audience `name` holds.
    #[must_use]
    pub fn audience(&self, name: Name<'_>) -> AudienceSecret {
        let root = extract(b"vlp1 root", self.expose());
        AudienceSecret::from_bytes(expand(&root, &[b"vlp1 audience", &[0], name.as_str().as_bytes()]))
    }
}

/// An audience secret made ready: what is common to all its agents is computed once. Wiped when dropped.
pub struct AudienceKey(Hkdf<Sha256>);

impl AudienceKey {
    /// Makes `secret` ready.
    #[must_use]
    pub fn new(secret: &AudienceSecret) -> Self {
        Self(extract(b"vlp1 audience", secret.expose()))
    }

    /// Whether both derive the same keys. Takes the same time whether they do or not.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|key| key.agent(AgentId(0), Generation(0)));
        own.expose().ct_eq(others.expose()).into()
    }

    /// P(a, g, o): the key that agent `agent` in `generation` seals with for this audience.
    #[must_use]
    pub fn agent(&self, agent: AgentId, generation: Generation) -> AgentSecret {
        AgentSecret::from_bytes(expand(
            &self.0,
            &[b"vlp1 agent", &[0], &agent.0.to_le_bytes(), &generation.0.to_le_bytes()],
        ))
    }
}

/// The hash states inside wipe themselves.
impl ZeroizeOnDrop for AudienceKey {}

impl core::fmt::Debug for AudienceKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AudienceKey(..)")
    }
}

fn extract(salt: &[u8], secret: &[u8; 32]) -> Hkdf<Sha256> {
    let (mut pseudorandom_key, expander) = Hkdf::extract(Some(salt), secret);
    pseudorandom_key.as_mut_slice().zeroize();
    expander
}

#[expect(clippy::expect_used, reason = "32 bytes are within what HKDF can give")]
fn expand(key: &Hkdf<Sha256>, info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    key.expand_multi_info(info, &mut out).expect("32 bytes are one block");
    out
}
