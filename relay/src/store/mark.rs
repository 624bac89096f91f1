//! What webhooks were told.

use std::collections::BTreeMap;

/// How far a webhook's target knows of an incident. It outlives the relay, so that a restart tells nothing twice and keeps
/// nothing back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is still to be told that it opened.
    Waits = 0,
    /// It was told, or was tried for too long, and is to be told that it is over.
    Told = 1,
}

/// Marks by target, by incident.
pub(crate) type Marks = BTreeMap<u64, BTreeMap<u64, Mark>>;
