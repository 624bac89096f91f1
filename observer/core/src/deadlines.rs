//! When each slot is next to be judged: packed, in blocks that know a lower bound of their earliest.
//!
//! A beat stores one number. Finding what is due looks at one number per block, and into a block only when its bound
//! has passed; looking makes the bound exact again.

use crate::time::MonoNs;

const BLOCK: usize = 512;

/// One instant per slot.
#[derive(Default)]
pub(crate) struct Deadlines {
    at: Vec<MonoNs>,
    bounds: Vec<MonoNs>,
}

#[expect(clippy::indexing_slicing, clippy::expect_used, reason = "slots are numbered by this structure's own length")]
impl Deadlines {
    pub(crate) fn push(&mut self) {
        if self.at.len().is_multiple_of(BLOCK) {
            self.bounds.push(MonoNs::NEVER);
        }
        self.at.push(MonoNs::NEVER);
    }

    pub(crate) fn get(&self, slot: u32) -> MonoNs {
        self.at[slot as usize]
    }

    pub(crate) fn set(&mut self, slot: u32, at: MonoNs) {
        let slot = slot as usize;
        self.at[slot] = at;
        let bound = &mut self.bounds[slot / BLOCK];
        if at < *bound {
            *bound = at;
        }
    }

    /// A lower bound of the earliest deadline.
    pub(crate) fn next(&self) -> MonoNs {
        self.bounds.iter().copied().min().unwrap_or(MonoNs::NEVER)
    }

    /// Adds to `due` the slots of the first block with any whose deadline is at or before `now`; false when there is none.
    pub(crate) fn take_due(&mut self, now: MonoNs, due: &mut Vec<(u32, MonoNs)>) -> bool {
        for (block, bound) in self.bounds.iter_mut().enumerate() {
            if *bound > now {
                continue;
            }
            let first = block * BLOCK;
            let end = self.at.len().min(first + BLOCK);
            let mut earliest = MonoNs::NEVER;
            for (slot, at) in (first..end).zip(&mut self.at[first..end]) {
                if *at <= now {
                    due.push((u32::try_from(slot).expect("slots are numbered in 32 bits"), *at));
                    *at = MonoNs::NEVER;
                } else {
                    earliest = earliest.min(*at);
                }
            }
            *bound = earliest;
            if !due.is_empty() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Set { slot: usize, at: u64 },
        Never { slot: usize },
        Take { now: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Push),
            6 => (0..2000_usize, 0..1000_u64).prop_map(|(slot, at)| Step::Set { slot, at }),
            1 => (0..2000_usize).prop_map(|slot| Step::Never { slot }),
            2 => (0..1100_u64).prop_map(|now| Step::Take { now }),
        ]
    }

    fn take_all(deadlines: &mut Deadlines, now: u64) -> BTreeMap<u32, u64> {
        let (mut taken, mut due) = (BTreeMap::new(), Vec::new());
        while deadlines.take_due(MonoNs(now), &mut due) {
            assert!(!due.is_empty(), "a block without anything due ends no search");
            for (slot, at) in due.drain(..) {
                assert_eq!(taken.insert(slot, at.0), None, "taken once");
            }
        }
        assert!(due.is_empty());
        taken
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_a_map_of_instants(first in 1..1600_usize, steps in prop::collection::vec(step(), 1..300)) {
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            (0..first).for_each(|_| deadlines.push());
            let mut len = first;
            for step in steps {
                match step {
                    Step::Push => {
                        deadlines.push();
                        len += 1;
                    }
                    Step::Set { slot, at } => {
                        let slot = u32::try_from(slot % len).unwrap();
                        deadlines.set(slot, MonoNs(at));
                        model.insert(slot, at);
                    }
                    Step::Never { slot } => {
                        let slot = u32::try_from(slot % len).unwrap();
                        deadlines.set(slot, MonoNs::NEVER);
                        model.remove(&slot);
                    }
                    Step::Take { now } => {
                        let due: BTreeMap<_, _> = model.iter().filter(|(_, at)| **at <= now).map(|(k, v)| (*k, *v)).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(take_all(&mut deadlines, now), due);
                        let earliest = model.values().copied().min().map_or(MonoNs::NEVER, MonoNs);
                        prop_assert!(deadlines.next() <= earliest, "never later than the earliest");
                        prop_assert!(deadlines.next().0 > now, "looking makes bounds pass now");
                    }
                }
            }
            for slot in 0..u32::try_from(len).unwrap() {
                prop_assert_eq!(deadlines.get(slot), model.get(&slot).map_or(MonoNs::NEVER, |at| MonoNs(*at)));
            }
            prop_assert_eq!(take_all(&mut deadlines, u64::MAX - 1), model);
        }
    }
}
