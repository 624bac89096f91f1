//! Agents and slots by number, and the two indices that find them.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::{collections::HashMap, hash::BuildHasher as _, net::IpAddr};
use varta_vlp::{AgentId, Generation, UnitId, sealed::Metadata};

use crate::{
    agent::{Agent, AgentMarks, Rare, Realm},
    deadlines::Deadlines,
    names::{Announced, Texts},
    slot::{Marks, NONE, Previous, Slot},
    trust::{Owner, Sender},
};

/// Room for so many sessions before is never given back.
const PREVIOUS_KEPT: usize = 1024;

/// All agents and slots. Numbers of removed ones are used again.
pub(crate) struct Table {
    hasher: FixedState,
    agents: Vec<Agent>,
    free_agents: Vec<u32>,
    rare: HashMap<u32, Rare>,
    agent_index: HashTable<u32>,
    /// Local processes by pid.
    processes: HashMap<u32, u32>,
    /// Sources of plaintext by address, and the address of each.
    addresses: HashMap<IpAddr, u32>,
    address_of: HashMap<u32, IpAddr>,
    slots: Vec<Slot>,
    free_slot: u32,
    slot_count: usize,
    /// The slots of agents that have more than one; an only slot is found from its agent.
    slot_index: HashTable<u32>,
    /// Without gaps: few slots have one at a time, but for a while after the start of a fleet nearly all.
    previous: Vec<Previous>,
    texts: Texts,
    pub(crate) deadlines: Deadlines,
}

#[expect(clippy::expect_used, reason = "limits keep every table far below 2^32")]
fn number(len: usize) -> u32 {
    u32::try_from(len).expect("numbers have 32 bits")
}

fn key_of(unit: UnitId, pid: u32) -> u64 {
    if unit == UnitId::NONE { u64::from(pid) } else { u64::from(unit.0) << 32 }
}

#[expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "numbers come from this table and are valid until removed"
)]
impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            agents: Vec::new(),
            free_agents: Vec::new(),
            rare: HashMap::new(),
            agent_index: HashTable::new(),
            processes: HashMap::new(),
            addresses: HashMap::new(),
            address_of: HashMap::new(),
            slots: Vec::new(),
            free_slot: NONE,
            slot_count: 0,
            slot_index: HashTable::new(),
            previous: Vec::new(),
            texts: Texts::default(),
            deadlines: Deadlines::default(),
        }
    }

    pub(crate) fn agent(&self, number: u32) -> &Agent {
        &self.agents[number as usize]
    }

    pub(crate) fn agent_mut(&mut self, number: u32) -> &mut Agent {
        &mut self.agents[number as usize]
    }

    /// What few agents have; of the others, nothing.
    pub(crate) fn rare(&self, agent: u32) -> Rare {
        if self.agent(agent).marks.has(AgentMarks::RARE) {
            self.rare.get(&agent).copied().unwrap_or_default()
        } else {
            Rare::default()
        }
    }

    pub(crate) fn rare_mut(&mut self, agent: u32) -> &mut Rare {
        self.agent_mut(agent).marks.set(AgentMarks::RARE, true);
        self.rare.entry(agent).or_default()
    }

    /// The highest generation of an agent that authenticated.
    pub(crate) fn floor(&self, agent: u32) -> Generation {
        let record = self.agent(agent);
        let above = record.marks.has(AgentMarks::BELOW_FLOOR).then(|| self.rare(agent).floor).flatten();
        above.unwrap_or(record.generation)
    }

    /// Says which generation the key last used is of; the floor is never below it.
    pub(crate) fn set_generation(&mut self, agent: u32, generation: Generation, floor: Generation) {
        let record = self.agent_mut(agent);
        record.generation = generation;
        let below = generation < floor;
        record.marks.set(AgentMarks::BELOW_FLOOR, below);
        if below {
            self.rare_mut(agent).floor = Some(floor);
        }
    }

    pub(crate) fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    pub(crate) fn slot_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.slots[number as usize]
    }

    /// The slot of that number, if one is in use.
    pub(crate) fn live_slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize).filter(|slot| slot.agent != NONE)
    }

    /// How many slot numbers were ever used.
    pub(crate) fn slot_numbers(&self) -> u32 {
        number(self.slots.len())
    }

    pub(crate) fn agent_numbers(&self) -> u32 {
        number(self.agents.len())
    }

    pub(crate) fn agent_count(&self) -> usize {
        self.agent_index.len()
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slot_count
    }

    /// The agent of that number, if it is in use and holds a key.
    pub(crate) fn live_agent(&self, number: u32) -> Option<&Agent> {
        self.agents.get(number as usize).filter(|agent| self.find_agent(agent.id) == Some(number))
    }

    /// Whose record it is.
    pub(crate) fn owner(&self, number: u32) -> Owner {
        let agent = self.agent(number);
        match agent.realm {
            Realm::Agent => Owner::Agent(agent.id),
            Realm::Process => Owner::Local,
            Realm::Address => Owner::Plain(self.address_of[&number]),
        }
    }

    /// The record of a sender without a key.
    pub(crate) fn find_sender(&self, sender: Sender) -> Option<u32> {
        match sender {
            Sender::Local { pid, .. } => self.processes.get(&pid).copied(),
            Sender::Plain(address) => self.addresses.get(&address).copied(),
        }
    }

    /// The record that holds the slots of `owner` that are known by `pid`.
    pub(crate) fn find_owner(&self, owner: Owner, pid: u32) -> Option<u32> {
        match owner {
            Owner::Agent(agent) => self.find_agent(agent),
            Owner::Local => self.processes.get(&pid).copied(),
            Owner::Plain(address) => self.addresses.get(&address).copied(),
        }
    }

    /// How many records there are of senders without a key: local processes, addresses.
    pub(crate) fn sender_counts(&self) -> (usize, usize) {
        (self.processes.len(), self.addresses.len())
    }

    /// Makes the record of a sender that has none.
    pub(crate) fn add_sender(&mut self, sender: Sender) -> u32 {
        match sender {
            Sender::Local { pid, .. } => {
                let place = self.place_agent(Agent::unsealed(Realm::Process, pid));
                self.processes.insert(pid, place);
                place
            }
            Sender::Plain(address) => {
                let place = self.place_agent(Agent::unsealed(Realm::Address, 0));
                self.addresses.insert(address, place);
                self.address_of.insert(place, address);
                place
            }
        }
    }

    pub(crate) fn find_agent(&self, id: AgentId) -> Option<u32> {
        self.agent_index.find(self.hash_of(id), |place| self.agents[*place as usize].id == id).copied()
    }

    /// Where the index has an agent of that id.
    pub(crate) fn hash_of(&self, id: AgentId) -> u64 {
        self.hasher.hash_one(id.0)
    }

    /// An agent that may be the one of the id of that hash, by a look at the index only; `None` where there is none.
    pub(crate) fn guess_agent(&self, hash: u64) -> Option<u32> {
        self.agent_index.iter_hash(hash).next().copied()
    }

    /// The agent of that id, which a guess at most a batch old is likely to be.
    pub(crate) fn confirm_agent(&self, guess: u32, id: AgentId) -> Option<u32> {
        let agent = self.agent(guess);
        if agent.id == id && agent.realm == Realm::Agent { Some(guess) } else { self.find_agent(id) }
    }

    /// Reads from all over what a beat of this agent changes. The value means nothing; the waits for memory do.
    pub(crate) fn touch(&self, agent: u32) -> u64 {
        let Some(slot) = self.live_slot(self.agent(agent).first_slot) else { return 0 };
        let number = self.agent(agent).first_slot;
        slot.session ^ slot.boot ^ slot.heard.0 ^ slot.beats ^ u64::from(slot.previous) ^ self.deadlines.get(number).0
    }

    pub(crate) fn add_agent(&mut self, agent: Agent) -> u32 {
        let id = agent.id;
        let place = self.place_agent(agent);
        let (hasher, agents) = (&self.hasher, &self.agents);
        self.agent_index
            .insert_unique(hasher.hash_one(id.0), place, |other| hasher.hash_one(agents[*other as usize].id.0));
        place
    }

    fn place_agent(&mut self, mut agent: Agent) -> u32 {
        match self.free_agents.pop() {
            Some(place) => {
                // Still in the list of what is to be saved, if the one before was.
                let dirty = self.agents[place as usize].marks.has(AgentMarks::DIRTY);
                agent.marks.set(AgentMarks::DIRTY, dirty);
                self.agents[place as usize] = agent;
                place
            }
            None => {
                self.agents.push(agent);
                number(self.agents.len() - 1)
            }
        }
    }

    /// Removes an agent that has no slots.
    pub(crate) fn remove_agent(&mut self, place: u32) {
        let agent = &self.agents[place as usize];
        assert!(agent.slots == 0, "an agent with slots is not removed");
        let known = match agent.realm {
            Realm::Agent => {
                let hash = self.hasher.hash_one(agent.id.0);
                self.agent_index.find_entry(hash, |other| *other == place).map(|entry| entry.remove()).is_ok()
            }
            Realm::Process => {
                let pid = u32::try_from(agent.id.0);
                pid.is_ok_and(|pid| self.processes.remove(&pid).is_some())
            }
            Realm::Address => {
                self.address_of.remove(&place).is_some_and(|address| self.addresses.remove(&address).is_some())
            }
        };
        if known {
            self.rare.remove(&place);
            self.free_agents.push(place);
        }
    }

    fn slot_hash(&self, agent: u32, unit: UnitId, pid: u32) -> u64 {
        self.hasher.hash_one((agent, key_of(unit, pid)))
    }

    pub(crate) fn find_slot(&self, agent: u32, unit: UnitId, pid: u32) -> Option<u32> {
        let key = key_of(unit, pid);
        let record = &self.agents[agent as usize];
        if record.slots < 2 {
            let only = (record.slots == 1).then_some(record.first_slot)?;
            let slot = &self.slots[only as usize];
            return (key_of(slot.unit, slot.pid) == key).then_some(only);
        }
        self.slot_index
            .find(self.slot_hash(agent, unit, pid), |place| {
                let slot = &self.slots[*place as usize];
                slot.agent == agent && key_of(slot.unit, slot.pid) == key
            })
            .copied()
    }

    pub(crate) fn add_slot(&mut self, mut slot: Slot) -> u32 {
        let agent = &mut self.agents[slot.agent as usize];
        slot.next = agent.first_slot;
        let (owner, first) = (slot.agent, slot.next);
        let place = if self.free_slot == NONE {
            self.slots.push(slot);
            self.deadlines.push();
            number(self.slots.len() - 1)
        } else {
            let place = self.free_slot;
            let freed = &self.slots[place as usize];
            self.free_slot = freed.next;
            // Still in the list of what is to be saved, if the one before was.
            slot.marks.set(Marks::DIRTY, freed.marks.has(Marks::DIRTY));
            self.slots[place as usize] = slot;
            place
        };
        let agent = &mut self.agents[owner as usize];
        agent.first_slot = place;
        agent.slots = agent.slots.checked_add(1).expect("an agent's slots are counted in 16 bits");
        self.slot_count += 1;
        match agent.slots {
            1 => {}
            2 => {
                self.index_slot(first);
                self.index_slot(place);
            }
            _ => self.index_slot(place),
        }
        place
    }

    fn index_slot(&mut self, place: u32) {
        let (hasher, slots) = (&self.hasher, &self.slots);
        let hash = |place: &u32| {
            let slot = &slots[*place as usize];
            hasher.hash_one((slot.agent, key_of(slot.unit, slot.pid)))
        };
        self.slot_index.insert_unique(hash(&place), place, hash);
    }

    fn unindex_slot(&mut self, place: u32) {
        let slot = &self.slots[place as usize];
        let hash = self.slot_hash(slot.agent, slot.unit, slot.pid);
        if let Ok(entry) = self.slot_index.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }

    pub(crate) fn remove_slot(&mut self, place: u32) {
        let slot = &self.slots[place as usize];
        let (agent, next) = (slot.agent, slot.next);
        let several = self.agents[agent as usize].slots > 1;
        if several {
            self.unindex_slot(place);
        }
        self.drop_previous(place);
        self.set_announce(place, None);
        let before = self.slots_of(agent).find(|other| self.slots[*other as usize].next == place);
        match before {
            Some(other) => self.slots[other as usize].next = next,
            None => self.agents[agent as usize].first_slot = next,
        }
        let record = &mut self.agents[agent as usize];
        record.slots -= 1;
        let (left, first) = (record.slots, record.first_slot);
        if several && left == 1 {
            self.unindex_slot(first);
        }
        self.slot_count -= 1;
        self.deadlines.set(place, crate::time::MonoNs::NEVER);
        let slot = &mut self.slots[place as usize];
        slot.agent = NONE;
        slot.next = self.free_slot;
        self.free_slot = place;
    }

    /// The slots of an agent, newest first.
    pub(crate) fn slots_of(&self, agent: u32) -> impl Iterator<Item = u32> + use<'_> {
        let mut next = self.agents[agent as usize].first_slot;
        std::iter::from_fn(move || {
            let place = (next != NONE).then_some(next)?;
            next = self.slots[place as usize].next;
            Some(place)
        })
    }

    /// What a slot's newest announce says, if it had one.
    pub(crate) fn announced(&self, slot: u32) -> Option<Announced<'_>> {
        self.slots[slot as usize].announce.as_deref().map(|announce| self.texts.read(announce))
    }

    /// Keeps an announce in the place of the one before.
    pub(crate) fn set_announce(&mut self, slot: u32, announce: Option<&Metadata<'_>>) {
        let kept = announce.map(|announce| Box::new(self.texts.keep(&self.hasher, announce)));
        let before = std::mem::replace(&mut self.slots[slot as usize].announce, kept);
        if let Some(before) = before {
            self.texts.release(&self.hasher, &before);
        }
    }

    pub(crate) fn previous(&self, slot: u32) -> Option<&Previous> {
        match self.slots[slot as usize].previous {
            NONE => None,
            place => Some(&self.previous[place as usize]),
        }
    }

    pub(crate) fn previous_mut(&mut self, slot: u32) -> Option<&mut Previous> {
        match self.slots[slot as usize].previous {
            NONE => None,
            place => Some(&mut self.previous[place as usize]),
        }
    }

    /// `previous` names `slot` as its owner.
    pub(crate) fn set_previous(&mut self, slot: u32, previous: Previous) {
        assert!(previous.owner == slot, "a session is kept for its own slot");
        if let Some(known) = self.previous_mut(slot) {
            *known = previous;
            return;
        }
        self.slots[slot as usize].previous = number(self.previous.len());
        self.previous.push(previous);
    }

    pub(crate) fn drop_previous(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.slots[slot as usize].previous, NONE);
        if place == NONE {
            return;
        }
        self.previous.swap_remove(place as usize);
        if let Some(moved) = self.previous.get(place as usize) {
            self.slots[moved.owner as usize].previous = place;
        }
        let room = self.previous.capacity();
        let len = self.previous.len();
        if room > PREVIOUS_KEPT && len < room / 2 {
            // What was written to stays resident: not much more than there is.
            self.previous.shrink_to(len + len / 8);
        }
    }
}

#[cfg(test)]
mod tests;
