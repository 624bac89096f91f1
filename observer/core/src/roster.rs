//! The roster as the core needs it. Its file form is not known here.

use std::collections::{BTreeMap, HashMap};

use varta_vlp::{AgentId, Generation};

use crate::time::WallNs;

/// One agent's entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterEntry {
    /// The agent's name.
    pub name: Box<str>,
    /// Labels that decide; they win over announced ones.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Generations refused for good.
    pub revoked: Vec<Generation>,
    /// From when on the agent is refused.
    pub expires: Option<WallNs>,
    /// Whether it is missing when none of its units is heard.
    pub required: bool,
    /// Whether recovery may act on it over an attested listener.
    pub recovery: bool,
    /// Its own ceiling for promises, nanoseconds.
    pub max_promise: Option<u64>,
    /// Its own ceiling for planned absences, nanoseconds.
    pub max_hold: Option<u64>,
    /// For how long its lower generations are accepted, nanoseconds.
    pub generation_overlap: Option<u64>,
    /// How long it may be away, nanoseconds.
    pub return_within: Option<u64>,
}

/// Who may speak at all.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    entries: Vec<(AgentId, RosterEntry)>,
    places: HashMap<u64, u32>,
}

impl Roster {
    /// A roster of these agents; a later entry of the same id replaces an earlier one.
    #[must_use]
    pub fn new(agents: impl IntoIterator<Item = (AgentId, RosterEntry)>) -> Self {
        let mut roster = Self::default();
        for (agent, entry) in agents {
            match roster.places.get(&agent.0).and_then(|place| roster.entries.get_mut(*place as usize)) {
                Some(known) => known.1 = entry,
                None => {
                    let place = u32::try_from(roster.entries.len()).unwrap_or(u32::MAX);
                    roster.places.insert(agent.0, place);
                    roster.entries.push((agent, entry));
                }
            }
        }
        roster
    }

    /// How many agents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it names nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of `agent`.
    #[must_use]
    pub fn get(&self, agent: AgentId) -> Option<&RosterEntry> {
        self.places.get(&agent.0).and_then(|place| self.entries.get(*place as usize)).map(|(_, entry)| entry)
    }

    /// The entry at `place`, in the order given.
    pub(crate) fn at(&self, place: usize) -> Option<&(AgentId, RosterEntry)> {
        self.entries.get(place)
    }
}
