//! What the sweep saw of each slot last, to tell whether there is anything to say.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use std::hash::RandomState;

use varta_core::SlotId;

use crate::{command::PLACE, row::RawRow};

/// By slot, and by place in the roster.
#[derive(Debug, Default)]
pub(super) struct Seen {
    slots: Vec<Sight>,
    places: Vec<Sight>,
    hash: RandomState,
}

/// 0 of what is not there.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    digest: u64,
    beats: u64,
}

/// What is new of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Nothing,
    /// Its beats.
    Beats,
    /// More than that.
    More,
}

/// The handle of a row.
pub(super) fn handle_of(row: &RawRow<'_>) -> u32 {
    match row.slot {
        Ok(SlotId(number)) => number,
        Err(place) => place | PLACE,
    }
}

impl Seen {
    fn sight(&mut self, handle: u32) -> &mut Sight {
        let sights = if handle & PLACE == 0 { &mut self.slots } else { &mut self.places };
        let number = (handle & !PLACE) as usize;
        if sights.len() <= number {
            sights.resize(number + 1, Sight::default());
        }
        &mut sights[number]
    }

    /// Looks at a row, and says what is new.
    pub(super) fn look(&mut self, row: &RawRow<'_>) -> News {
        let mut hasher = self.hash.build_hasher();
        (row.agent, row.unit, row.names, &row.labels, row.pid).hash(&mut hasher);
        (row.verdict, row.status as u8, row.class, row.session, row.restarts, row.stalls).hash(&mut hasher);
        let digest = hasher.finish().max(1);
        let sight = self.sight(handle_of(row));
        let before = std::mem::replace(sight, Sight { digest, beats: row.beats });
        match (before.digest == digest, before.beats == row.beats) {
            (false, _) => News::More,
            (true, false) => News::Beats,
            (true, true) => News::Nothing,
        }
    }

    /// Slots of a range that were seen before and were not read now, which is as good as gone. `read` is in order.
    pub(super) fn missed(&mut self, from: u32, to: u32, read: &[u32]) -> Vec<u32> {
        let mut read = read.iter().copied().peekable();
        let mut missed = Vec::new();
        for handle in from..to {
            while read.peek().is_some_and(|next| *next < handle) {
                read.next();
            }
            if read.peek() == Some(&handle) {
                continue;
            }
            let sights = if handle & PLACE == 0 { &self.slots } else { &self.places };
            if (handle & !PLACE) as usize >= sights.len() {
                break;
            }
            if std::mem::take(self.sight(handle)).digest != 0 {
                missed.push(handle);
            }
        }
        missed
    }

    /// Forgets places in the roster: they are others now.
    pub(super) fn forget_places(&mut self) {
        self.places.clear();
    }
}
