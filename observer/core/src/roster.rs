//! The roster as the core needs it. Its file form is not known here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use varta_vlp::{AgentId, Generation};

use crate::time::WallNs;

/// Labels by key.
pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// One agent's entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterEntry {
    /// The agent's name.
    pub name: Box<str>,
    /// Labels that decide; they win over announced ones.
    pub labels: Arc<Labels>,
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

impl RosterEntry {
    /// Whether it has something to say of every frame of the agent.
    pub(crate) fn is_asked(&self) -> bool {
        !self.revoked.is_empty() || self.expires.is_some() || self.generation_overlap.is_some()
    }
}

/// Who may speak at all.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    entries: Vec<(AgentId, RosterEntry)>,
    places: HashMap<u64, u32>,
}

impl Roster {
    /// A roster of these agents; a later entry of the same id replaces an earlier one. Equal labels of many are kept once.
    #[must_use]
    pub fn new(agents: impl IntoIterator<Item = (AgentId, RosterEntry)>) -> Self {
        let mut roster = Self::default();
        let mut different: HashSet<Arc<Labels>> = HashSet::new();
        for (agent, mut entry) in agents {
            match different.get(&entry.labels) {
                Some(known) => entry.labels = Arc::clone(known),
                None => drop(different.insert(Arc::clone(&entry.labels))),
            }
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

    /// The place of `agent`, in the order given.
    pub(crate) fn place(&self, agent: AgentId) -> Option<u32> {
        self.places.get(&agent.0).copied()
    }

    /// The entry at `place`, in the order given.
    pub(crate) fn at(&self, place: usize) -> Option<&(AgentId, RosterEntry)> {
        self.entries.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_are_kept_once() {
        let labels = |site: &str| Arc::new(Labels::from([("site".into(), site.into())]));
        let entry = |name: &str, site| {
            (
                AgentId(u64::from(name.as_bytes()[0])),
                RosterEntry { name: name.into(), labels: labels(site), ..RosterEntry::default() },
            )
        };
        let roster = Roster::new([entry("a", "zrh"), entry("b", "ams"), entry("c", "zrh"), entry("a", "ams")]);
        let of = |name: u8| &roster.get(AgentId(u64::from(name))).unwrap().labels;
        assert_eq!([of(b'a'), of(b'b'), of(b'c')].map(|known| &*known["site"]), ["ams", "ams", "zrh"]);
        assert!(Arc::ptr_eq(of(b'a'), of(b'b')), "the later entry's, and another's");
        assert!(!Arc::ptr_eq(of(b'a'), of(b'c')));
    }
}
