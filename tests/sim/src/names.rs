//! Ids of the world's names, and the keys that its audiences hold.

use varta_vlp::{
    AgentId, AudienceId, UnitId,
    key::{AudienceKey, Name, RootSecret},
};

#[expect(clippy::expect_used, reason = "the world's names are names")]
fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

/// An agent's id.
#[must_use]
pub fn agent(text: &str) -> AgentId {
    name(text).agent_id()
}

/// A unit's id; [`UnitId::NONE`] for an empty name.
#[must_use]
pub fn unit(text: &str) -> UnitId {
    if text.is_empty() { UnitId::NONE } else { name(text).unit_id() }
}

/// An audience's id and key.
#[must_use]
pub fn audience(text: &str) -> (AudienceId, AudienceKey) {
    let secret = RootSecret::from_bytes([7; 32]).audience(name(text));
    (name(text).audience_id(), AudienceKey::new(&secret))
}
