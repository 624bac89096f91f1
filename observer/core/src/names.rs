//! What announces say of slots. Names differ from agent to agent; a unit's name, a version and labels are the same for
//! many, and are kept once.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;
use varta_vlp::sealed::Metadata;

use crate::slot::NONE;

/// What is hardly ever the same for two agents.
fn is_own(key: &str) -> bool {
    matches!(key, "agent" | "host")
}

/// A slot's newest accepted announce.
pub(crate) struct Announce {
    /// Its own pairs, written one after another as metadata are.
    own: Box<[u8]>,
    /// Where the others stand in [`Texts`], or [`NONE`].
    shared: u32,
}

const _: () = assert!(size_of::<Announce>() <= 24, "there may be a million");

/// An announce to be read. Its pairs are those that were received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced<'a> {
    own: Option<Metadata<'a>>,
    shared: Option<Metadata<'a>>,
}

impl<'a> Announced<'a> {
    /// The pairs, in ascending order of their keys.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = |part: Option<Metadata<'a>>| part.into_iter().flat_map(|part| part.iter()).peekable();
        let (mut own, mut shared) = (pairs(self.own), pairs(self.shared));
        std::iter::from_fn(move || match (own.peek(), shared.peek()) {
            (Some(first), Some(second)) if second.0 < first.0 => shared.next(),
            (None, _) => shared.next(),
            _ => own.next(),
        })
    }

    /// The value of `key`.
    pub(crate) fn get(self, key: &str) -> Option<&'a str> {
        if is_own(key) { self.own } else { self.shared }?.get(key)
    }

    /// As one text, as it was received.
    pub(crate) fn bytes(self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.iter().map(len_of).sum());
        self.iter().for_each(|pair| write(&mut bytes, pair));
        bytes.into()
    }
}

/// How long a pair of metadata is where it is written.
fn len_of((key, value): (&str, &str)) -> usize {
    2 + key.len() + value.len()
}

/// Writes a pair as it stands in metadata.
fn write(bytes: &mut Vec<u8>, (key, value): (&str, &str)) {
    for text in [key, value] {
        // What was parsed has lengths of one byte.
        bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// A text that is kept once, and for how many.
struct Text {
    bytes: Box<[u8]>,
    users: u32,
}

/// Texts that many slots have, each once.
#[derive(Default)]
pub(crate) struct Texts {
    texts: Vec<Text>,
    /// Places of texts nobody has.
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Room to write in.
    scratch: Vec<u8>,
}

impl Texts {
    /// How many different texts there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// What is to be kept of an announce.
    pub(crate) fn keep(&mut self, hasher: &FixedState, announce: &Metadata<'_>) -> Announce {
        let len: usize = announce.iter().filter(|(key, _)| is_own(key)).map(len_of).sum();
        let (mut own, mut shared) = (Vec::with_capacity(len), std::mem::take(&mut self.scratch));
        for pair in announce.iter() {
            write(if is_own(pair.0) { &mut own } else { &mut shared }, pair);
        }
        let place = if shared.is_empty() { NONE } else { self.take(hasher, &shared) };
        shared.clear();
        self.scratch = shared;
        Announce { own: own.into(), shared: place }
    }

    /// Gives an announce back.
    pub(crate) fn release(&mut self, hasher: &FixedState, announce: &Announce) {
        let Some(text) = self.texts.get_mut(announce.shared as usize) else { return };
        text.users -= 1;
        if text.users > 0 {
            return;
        }
        let bytes = std::mem::take(&mut text.bytes);
        if let Ok(entry) = self.index.find_entry(hasher.hash_one(&*bytes), |place| *place == announce.shared) {
            entry.remove();
        }
        self.free.push(announce.shared);
    }

    /// Reads an announce.
    pub(crate) fn read<'a>(&'a self, announce: &'a Announce) -> Announced<'a> {
        let parsed = |bytes: &'a [u8]| Metadata::parse(bytes).ok();
        let shared = self.texts.get(announce.shared as usize);
        Announced { own: parsed(&announce.own), shared: shared.and_then(|text| parsed(&text.bytes)) }
    }

    fn bytes(&self, place: u32) -> &[u8] {
        self.texts.get(place as usize).map_or(&[], |text| &text.bytes)
    }

    fn take(&mut self, hasher: &FixedState, bytes: &[u8]) -> u32 {
        let hash = hasher.hash_one(bytes);
        let known = self.index.find(hash, |place| self.bytes(*place) == bytes).copied();
        if let Some(text) = known.and_then(|place| self.texts.get_mut(place as usize)) {
            text.users += 1;
            return known.unwrap_or(NONE);
        }
        let text = Text { bytes: bytes.into(), users: 1 };
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(freed) = self.texts.get_mut(place as usize) {
                    *freed = text;
                }
                place
            }
            None => {
                self.texts.push(text);
                // There are never more texts than slots.
                u32::try_from(self.texts.len() - 1).unwrap_or(NONE)
            }
        };
        let texts = &self.texts;
        let hash_of = |place: &u32| hasher.hash_one(texts.get(*place as usize).map_or(&[][..], |text| &text.bytes));
        self.index.insert_unique(hash, place, hash_of);
        place
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;
    use varta_vlp::sealed::METADATA_MAX_LEN;

    use super::*;

    type Pairs = BTreeMap<&'static str, String>;

    fn pairs() -> impl Strategy<Value = Pairs> {
        let key = prop::sample::select(vec!["a", "agent", "b", "host", "site", "unit", "zone"]);
        prop::collection::btree_map(key, "[a-c]{1,2}", 1..5)
    }

    fn pairs_of(pairs: &Pairs) -> impl Iterator<Item = (&str, &str)> {
        pairs.iter().map(|(key, value)| (*key, &**value))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_a_list_of_whole_announces(steps in prop::collection::vec((0..8_usize, pairs()), 1..120)) {
            let hasher = FixedState::with_seed(1);
            let mut texts = Texts::default();
            let mut kept: Vec<Option<(Announce, Pairs)>> = (0..8).map(|_| None).collect();
            for (place, pairs) in steps {
                if let Some((announce, _)) = kept[place].take() {
                    texts.release(&hasher, &announce);
                } else {
                    let mut room = [0; METADATA_MAX_LEN];
                    let metadata = Metadata::write(pairs_of(&pairs), &mut room).unwrap();
                    let announce = texts.keep(&hasher, &metadata);
                    prop_assert_eq!(&*texts.read(&announce).bytes(), metadata.bytes());
                    kept[place] = Some((announce, pairs));
                }
                let shared = |pairs: &Pairs| -> Vec<_> {
                    pairs.iter().filter(|(key, _)| !is_own(key)).map(|(k, v)| (*k, v.clone())).collect()
                };
                let mut different: HashSet<_> = kept.iter().flatten().map(|(_, pairs)| shared(pairs)).collect();
                different.remove(&vec![]);
                prop_assert_eq!(texts.len(), different.len(), "each text once");
                prop_assert_eq!(texts.texts.len() - texts.free.len(), different.len());
                for (announce, pairs) in kept.iter().flatten() {
                    let read = texts.read(announce);
                    prop_assert!(read.iter().eq(pairs_of(pairs)));
                    for key in ["a", "agent", "b", "host", "site", "unit", "zone", "none"] {
                        prop_assert_eq!(read.get(key), pairs.get(key).map(|value| &**value));
                    }
                }
            }
            prop_assert!(texts.texts.len() <= 8, "places are used again");
        }
    }
}
