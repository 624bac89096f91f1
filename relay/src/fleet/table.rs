//! Units by place and by key.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher as _,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use varta_vlp::key::{AgentId, Name};

use super::{
    At,
    unit::{NOWHERE, Unit, UnitKey},
};

/// What those who look at a unit have not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dirty {
    /// Nothing.
    Clean,
    /// Its newest beat.
    Touched,
    /// All of it.
    Changed,
}

/// Units. A place is a unit's as long as it is known, and another's afterwards.
#[derive(Debug)]
pub(super) struct Units {
    places: Vec<Option<Unit>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hash: RandomState,
    most: usize,
    /// The first unit of each agent.
    agents: HashMap<AgentId, u32, RandomState>,
    /// By place; those that are not clean are in the list, once.
    marks: Vec<Dirty>,
    dirty: VecDeque<u32>,
}

impl Units {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hash: RandomState::default(),
            most,
            agents: HashMap::default(),
            marks: Vec::new(),
            dirty: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&Unit> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Unit> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Places that are, or were, in use.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    /// The units of an agent.
    pub(super) fn of_agent(&self, agent: AgentId) -> impl Iterator<Item = (u32, &Unit)> {
        let mut place = self.agents.get(&agent).copied().unwrap_or(NOWHERE);
        std::iter::from_fn(move || {
            let unit = self.get(place)?;
            Some((std::mem::replace(&mut place, unit.sibling), unit))
        })
    }

    /// The units of the agent of this name.
    pub(super) fn of_agent_named(&self, name: &str) -> impl Iterator<Item = (u32, &Unit)> {
        let agent = Name::new(name).ok().map(Name::agent_id);
        agent.into_iter().flat_map(|agent| self.of_agent(agent))
    }

    pub(super) fn find(&self, key: &UnitKey) -> Option<u32> {
        let hash = self.hash.hash_one(key);
        self.by_key.find(hash, |place| self.get(*place).is_some_and(|unit| unit.key == *key)).copied()
    }

    /// The place of the unit of this key, a new one if need be; `None` where there is no room.
    pub(super) fn find_or_add(&mut self, key: UnitKey, now: At) -> Option<u32> {
        if let Some(place) = self.find(&key) {
            return Some(place);
        }
        if self.by_key.len() >= self.most {
            return None;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                let place = u32::try_from(self.places.len()).ok()?;
                self.places.push(None);
                self.marks.push(Dirty::Clean);
                place
            }
        };
        let mut unit = Unit::new(key, now);
        if let Some(agent) = key.owner.agent() {
            unit.sibling = self.agents.insert(agent, place).unwrap_or(NOWHERE);
            if let Some(next) = self.get_mut(unit.sibling) {
                next.before = place;
            }
        }
        *self.places.get_mut(place as usize)? = Some(unit);
        let (places, state) = (&self.places, &self.hash);
        let hash_of = |place: &u32| {
            let unit = places.get(*place as usize).and_then(Option::as_ref);
            unit.map_or(0, |unit| state.hash_one(unit.key))
        };
        self.by_key.insert_unique(state.hash_one(key), place, hash_of);
        Some(place)
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Unit> {
        let unit = self.places.get_mut(place as usize)?.take()?;
        self.mark(place, Dirty::Changed);
        let hash = self.hash.hash_one(unit.key);
        if let Ok(entry) = self.by_key.find_entry(hash, |known| *known == place) {
            entry.remove();
        }
        if let Some(agent) = unit.key.owner.agent() {
            self.unlink(agent, unit.before, unit.sibling);
        }
        self.free.push(place);
        Some(unit)
    }

    /// Takes what was a unit out of its agent's list, where it stood between these two.
    fn unlink(&mut self, agent: AgentId, before: u32, next: u32) {
        if let Some(unit) = self.get_mut(next) {
            unit.before = before;
        }
        if let Some(unit) = self.get_mut(before) {
            unit.sibling = next;
        } else if next == NOWHERE {
            self.agents.remove(&agent);
        } else {
            self.agents.insert(agent, next);
        }
    }

    /// Notes that those who look at units are to be told of this one.
    pub(super) fn mark(&mut self, place: u32, dirty: Dirty) {
        let Some(mark) = self.marks.get_mut(place as usize) else { return };
        if *mark == Dirty::Clean {
            self.dirty.push_back(place);
        }
        *mark = dirty.max(*mark);
    }

    /// At most `most` places of which there is something to tell: those that wait longest.
    pub(super) fn take_dirty(&mut self, most: usize) -> Vec<(u32, Dirty)> {
        let taken = self.dirty.drain(..most.min(self.dirty.len()));
        let marks = &mut self.marks;
        let told = |place: u32| {
            let mark = marks.get_mut(place as usize)?;
            Some((place, std::mem::replace(mark, Dirty::Clean)))
        };
        taken.filter_map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use varta_vlp::{key::UnitId, subject::Owner};

    use super::*;

    fn key(agent: u64, unit: u32) -> UnitKey {
        UnitKey { owner: Owner::Agent(AgentId(agent)), unit: UnitId(unit), pid: 0, observer: UnitKey::SHARED }
    }

    #[test]
    fn units_are_found_by_key_and_by_agent_until_they_are_removed() {
        let mut units = Units::new(4);
        let places: Vec<_> = (1..=3).map(|unit| units.find_or_add(key(7, unit), At(0)).unwrap()).collect();
        let other = units.find_or_add(key(8, 1), At(0)).unwrap();
        assert_eq!(units.find_or_add(key(9, 1), At(0)), None, "there is no room");
        assert_eq!(units.find_or_add(key(7, 2), At(0)), Some(places[1]));
        let of = |units: &Units, agent| {
            let mut found: Vec<_> = units.of_agent(AgentId(agent)).map(|(place, _)| place).collect();
            found.sort_unstable();
            found
        };
        assert_eq!((of(&units, 7), of(&units, 8), units.agents()), (places.clone(), vec![other], 2));
        for (removed, left) in [(1, vec![0, 2]), (2, vec![0]), (0, vec![])] {
            assert_eq!(units.remove(places[removed]).unwrap().key, key(7, u32::try_from(removed).unwrap() + 1));
            assert_eq!(of(&units, 7), left.into_iter().map(|place: usize| places[place]).collect::<Vec<_>>());
        }
        assert_eq!((units.agents(), units.find(&key(7, 1)), units.find(&key(8, 1))), (1, None, Some(other)));
        assert!(units.find_or_add(key(9, 1), At(0)).is_some_and(|place| places.contains(&place)), "a place again");
    }

    #[test]
    fn an_agents_list_holds_whatever_comes_and_goes() {
        let mut units = Units::new(64);
        let mut held = std::collections::BTreeMap::new();
        for turn in 0..5000_u32 {
            // Every unit comes and goes again, in an order of its own.
            let unit = turn.wrapping_mul(2_654_435_761) >> 27;
            match held.remove(&unit) {
                Some(place) => drop(units.remove(place)),
                None => drop(held.insert(unit, units.find_or_add(key(7, unit), At(0)).unwrap())),
            }
            let mut listed: Vec<_> = units.of_agent(AgentId(7)).map(|(place, _)| place).collect();
            listed.sort_unstable();
            let mut places: Vec<_> = held.values().copied().collect();
            places.sort_unstable();
            assert_eq!(listed, places);
        }
    }

    #[test]
    fn who_waits_longest_is_told_first() {
        let mut units = Units::new(4);
        let places: Vec<_> = (1..=3).map(|unit| units.find_or_add(key(1, unit), At(0)).unwrap()).collect();
        places.iter().for_each(|place| units.mark(*place, Dirty::Touched));
        for turn in 0..9 {
            let expected = places[turn % 3];
            assert_eq!(units.take_dirty(1), [(expected, Dirty::Touched)]);
            units.mark(expected, Dirty::Touched);
        }
    }

    #[test]
    fn each_place_is_told_once_whatever_happens_to_it() {
        let mut units = Units::new(4);
        let place = units.find_or_add(key(1, 1), At(0)).unwrap();
        units.mark(place, Dirty::Touched);
        for _ in 0..100 {
            units.mark(place, Dirty::Changed);
            units.remove(place);
            assert_eq!(units.find_or_add(key(1, 1), At(0)), Some(place));
        }
        units.mark(place, Dirty::Touched);
        assert_eq!(units.take_dirty(9), [(place, Dirty::Changed)]);
        assert_eq!(units.take_dirty(9), []);
    }
}
