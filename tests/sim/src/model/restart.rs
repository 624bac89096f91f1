//! What outlives the observer: SPEC, "Restart of the observer".

use std::collections::BTreeMap;

use varta_core::{Now, Saved, SlotKey, Start};

use super::{Agent, Key, Model, Slot};

/// What the model keeps beside a record on disk.
#[derive(Clone, Debug)]
pub enum Kept {
    /// An agent: floor, since when, barrier.
    Agent(u64, u32, u64, u64),
    /// A slot, whole.
    Slot(u64, Key, Box<Slot>),
    /// A slot that is no more.
    Removed(u64, Key),
}

/// What an observer finds of its past.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// In what state.
    pub how: Start,
    /// Whether it was saved under the same boot of the observer's host.
    pub same_boot: bool,
    /// A horizon on disk, where state is lost but that is known; else 0.
    pub horizon: u64,
}

const fn key(key: &SlotKey) -> Key {
    if key.unit.0 == 0 { (0, key.pid) } else { (key.unit.0, 0) }
}

impl Model {
    /// What the model has for a record that is being kept; `None` if it knows nothing of it.
    #[must_use]
    pub fn keep(&self, saved: &Saved) -> Option<Kept> {
        match saved {
            Saved::Agent(saved) => {
                let agent = self.agents.get(&saved.agent.0)?;
                Some(Kept::Agent(saved.agent.0, agent.floor, agent.floor_since, agent.barrier))
            }
            Saved::Slot(saved) => {
                let (agent, key) = (saved.key.agent.agent()?.0, key(&saved.key));
                Some(Kept::Slot(agent, key, Box::new(self.slot(agent, key)?.clone())))
            }
            Saved::Removed(gone) => Some(Kept::Removed(gone.agent.agent()?.0, key(gone))),
        }
    }

    /// Begins anew with what was kept. What is not on disk is not known any more.
    pub fn restart<'a>(&mut self, now: Now, past: Past, kept: impl Iterator<Item = &'a Kept>) {
        self.agents.clear();
        (self.strangers, self.draining) = (None, None);
        let mut newest = past.horizon;
        let fresh = |floor| Agent { floor, floor_since: 0, barrier: 0, account: 0, slots: BTreeMap::new() };
        for record in kept {
            match record {
                Kept::Agent(id, floor, since, barrier) => {
                    let agent = self.agents.entry(*id).or_insert_with(|| fresh(*floor));
                    (agent.floor, agent.floor_since) = (*floor, *since);
                    agent.barrier = agent.barrier.max(*barrier);
                    newest = newest.max(*barrier);
                }
                Kept::Slot(id, key, slot) => {
                    let generation = slot.session.process.map_or(0, |process| process.0);
                    let agent = self.agents.entry(*id).or_insert_with(|| fresh(generation));
                    newest = newest.max(slot.largest);
                    agent.slots.insert(*key, slot.as_read_back(now, past.same_boot));
                }
                Kept::Removed(id, key) => {
                    if let Some(agent) = self.agents.get_mut(id) {
                        agent.slots.remove(key);
                    }
                }
            }
        }
        self.barrier = match past.how {
            Start::First => now.wall.0,
            Start::Lost => (now.wall.0 + self.settings.skew).max(newest),
            Start::Clean { barrier, .. } => barrier.0,
            Start::Crash { horizon, .. } => horizon.0,
        };
    }
}

impl Slot {
    fn as_read_back(&self, now: Now, same_boot: bool) -> Self {
        let mut slot = self.clone();
        slot.session.tag = None;
        slot.delayed_since = None;
        slot.unstepped = None;
        // Of a slot only its largest send time is kept.
        slot.sent_at = slot.largest;
        if let Some(previous) = &mut slot.previous {
            (previous.tag, previous.process, previous.last, previous.floor) = (None, None, None, None);
        }
        if !same_boot {
            slot.session.floor = None;
            slot.sent = None;
            (slot.arrival, slot.heard) = (now.mono.0, now.mono.0);
        }
        slot
    }
}
