//! Sets of labels, each kept once however many units have it.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use varta_vlp::sealed::Metadata;

/// Sets by number. 0 is the empty one.
#[derive(Debug)]
pub(super) struct LabelSets {
    sets: Vec<Option<Set>>,
    free: Vec<u32>,
    by_bytes: HashTable<u32>,
    hash: RandomState,
    most: usize,
}

#[derive(Debug)]
struct Set {
    bytes: Box<[u8]>,
    uses: u32,
}

/// The empty set.
pub(super) const NO_LABELS: u32 = 0;

impl LabelSets {
    pub(super) fn new(most: usize) -> Self {
        Self { sets: vec![None], free: Vec::new(), by_bytes: HashTable::new(), hash: RandomState::default(), most }
    }

    /// The number of this set, used once more; the empty one where there is no room.
    pub(super) fn take(&mut self, labels: Option<Metadata<'_>>) -> u32 {
        let Some(labels) = labels else { return NO_LABELS };
        let bytes = labels.bytes();
        let hash = self.hash.hash_one(bytes);
        let sets = &self.sets;
        let is_same = |number: &u32| get(sets, *number).is_some_and(|set| *set.bytes == *bytes);
        if let Some(number) = self.by_bytes.find(hash, is_same).copied() {
            if let Some(Some(set)) = self.sets.get_mut(number as usize) {
                set.uses += 1;
            }
            return number;
        }
        if self.by_bytes.len() >= self.most {
            return NO_LABELS;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.sets.push(None);
            u32::try_from(self.sets.len() - 1).unwrap_or(NO_LABELS)
        });
        let Some(place) = self.sets.get_mut(number as usize).filter(|_| number != NO_LABELS) else { return NO_LABELS };
        *place = Some(Set { bytes: bytes.into(), uses: 1 });
        let (sets, state) = (&self.sets, &self.hash);
        self.by_bytes
            .insert_unique(hash, number, |number| get(sets, *number).map_or(0, |set| state.hash_one(&*set.bytes)));
        number
    }

    /// One more use of a set that is in use.
    pub(super) fn share(&mut self, number: u32) -> u32 {
        if let Some(Some(set)) = self.sets.get_mut(number as usize) {
            set.uses += 1;
        }
        number
    }

    /// One use less.
    pub(super) fn give_back(&mut self, number: u32) {
        let Some(place) = self.sets.get_mut(number as usize) else { return };
        let Some(set) = place else { return };
        set.uses -= 1;
        if set.uses > 0 {
            return;
        }
        let hash = self.hash.hash_one(&*set.bytes);
        *place = None;
        if let Ok(entry) = self.by_bytes.find_entry(hash, |known| *known == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    /// As they were told; nothing of the empty one.
    pub(super) fn bytes(&self, number: u32) -> &[u8] {
        get(&self.sets, number).map_or(&[], |set| &set.bytes)
    }

    /// Keys and values.
    pub(super) fn iter(&self, number: u32) -> impl Iterator<Item = (&str, &str)> {
        let set = get(&self.sets, number).and_then(|set| Metadata::parse(&set.bytes).ok());
        set.into_iter().flat_map(|set| set.iter())
    }

    pub(super) fn get(&self, number: u32, key: &str) -> Option<&str> {
        self.iter(number).find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

fn get(sets: &[Option<Set>], number: u32) -> Option<&Set> {
    sets.get(number as usize)?.as_ref()
}

#[cfg(test)]
mod tests {
    use varta_vlp::sealed::METADATA_MAX_LEN;

    use super::*;

    #[test]
    fn equal_sets_are_one_until_the_last_use_ends() {
        let mut room = [0; METADATA_MAX_LEN];
        let ams = Metadata::write([("site", "ams")], &mut room).unwrap();
        let mut room = [0; METADATA_MAX_LEN];
        let fra = Metadata::write([("site", "fra")], &mut room).unwrap();
        let mut sets = LabelSets::new(1);
        let first = sets.take(Some(ams));
        assert_eq!((sets.take(Some(ams)), sets.share(first)), (first, first));
        assert_eq!((sets.take(None), sets.take(Some(fra))), (NO_LABELS, NO_LABELS), "there is room for one");
        assert_eq!(sets.get(first, "site"), Some("ams"));
        (0..3).for_each(|_| sets.give_back(first));
        assert_eq!((sets.get(first, "site"), sets.iter(NO_LABELS).count()), (None, 0));
        let second = sets.take(Some(fra));
        assert_eq!(sets.iter(second).collect::<Vec<_>>(), [("site", "fra")]);
        sets.give_back(NO_LABELS);
    }
}
