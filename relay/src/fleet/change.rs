//! What the fleet tells of itself.

use std::sync::Arc;

use varta_vlp::subject::Verdict;

use super::{incident::IncidentId, unit::UnitKey};

/// By what people know a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName {
    /// The unit.
    pub key: UnitKey,
    /// The agent's name, or its id, `local`, or an address.
    pub agent: String,
    /// The unit's name, its id, or "" where it is known by its pid.
    pub unit: String,
    /// The pid; 0 where none is known.
    pub pid: u32,
    /// The observer, of one that holds no key.
    pub observer: Option<Arc<str>>,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A unit's combined verdict.
    Unit {
        /// Its place, as long as it is known.
        place: u32,
        /// By what it is known.
        name: UnitName,
        /// The verdict before; `None` where it was not known, or not shown.
        from: Option<Verdict>,
        /// The verdict now; `None` where it is known, or shown, no longer.
        to: Option<Verdict>,
        /// Why, in words.
        why: String,
        /// Since when, milliseconds since the Unix epoch.
        since_ms: u64,
        /// Who reports it.
        observers: Vec<Arc<str>>,
    },
    /// An observer.
    Observer {
        /// Its name.
        name: Arc<str>,
        /// What.
        what: ObserverChange,
    },
    /// An incident began, became another, or is over; [`super::Fleet::incident`] has it.
    Opened(IncidentId),
    /// It gathered or lost members, or was acknowledged or silenced.
    Changed(IncidentId),
    /// It is over.
    Closed(IncidentId),
    /// There is no room for what is told; once until there was room again.
    Full,
}

/// What changed about an observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserverChange {
    /// It is connected.
    Connected,
    /// Its link ended, and it did not come back in time.
    Lost,
    /// It has been blind for longer than its limit.
    Blind(String),
    /// It sees again.
    Sighted,
    /// It reported an agent that it may not report; once for each of its lives.
    Foreign(String),
}
