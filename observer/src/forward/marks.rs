//! Which slots have changed: a set that the ingest thread fills and whoever forwards empties.

use std::sync::Arc;

use tokio::sync::Notify;
use varta_core::{Change, Core, ObserverChange, Owner, SlotChange};

use crate::command::{Changed, PLACE};

/// Handles, each once, in the order in which they were marked first.
#[derive(Debug, Default)]
pub(super) struct Handles {
    list: Vec<u32>,
    /// A bit for each slot, and for each place in the roster.
    slots: Vec<u64>,
    places: Vec<u64>,
}

impl Handles {
    fn bit(&mut self, handle: u32) -> (&mut u64, u64) {
        let bits = if handle & PLACE == 0 { &mut self.slots } else { &mut self.places };
        let number = (handle & !PLACE) as usize;
        if bits.len() <= number / 64 {
            bits.resize(number / 64 + 1, 0);
        }
        (&mut bits[number / 64], 1 << (number % 64))
    }

    pub(super) fn mark(&mut self, handle: u32) {
        let (word, bit) = self.bit(handle);
        if *word & bit == 0 {
            *word |= bit;
            self.list.push(handle);
        }
    }

    #[cfg(test)]
    pub(super) fn has(&self, handle: u32) -> bool {
        self.list.contains(&handle)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// At most `most` of them, put into `room`.
    pub(super) fn take(&mut self, most: usize, room: &mut Vec<u32>) {
        room.clear();
        let from = self.list.len().saturating_sub(most);
        room.extend(self.list.drain(from..));
        for handle in room {
            let (word, bit) = self.bit(*handle);
            *word &= !bit;
        }
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.slots.fill(0);
        self.places.fill(0);
    }
}

/// The ingest thread's end.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Whom to tell; `None` where nobody forwards.
    news: Option<Arc<Notify>>,
    handles: Handles,
    more: bool,
    rosters: u64,
    lost: u64,
    /// Whether they were told since it was taken last.
    told: bool,
}

impl Marks {
    /// For nobody.
    pub(crate) fn off() -> Self {
        Self { news: None, handles: Handles::default(), more: false, rosters: 0, lost: 0, told: false }
    }

    /// For whoever waits for `news`.
    pub(crate) fn new(news: Arc<Notify>) -> Self {
        Self { news: Some(news), ..Self::off() }
    }

    /// Notes a change.
    pub(crate) fn note(&mut self, core: &Core, change: &Change) {
        if self.news.is_none() {
            return;
        }
        match change {
            Change::Slot { slot, subject, what, .. } => {
                self.handles.mark(slot.0);
                if matches!(what, SlotChange::New(_) | SlotChange::Evicted(_) | SlotChange::Revoked) {
                    self.mark_place(core, subject.agent);
                }
            }
            Change::Agent { agent, .. } => self.mark_place(core, *agent),
            Change::Observer { what: ObserverChange::Blind { .. } | ObserverChange::Sighted(_), .. } => {
                self.more = true
            }
            Change::Observer { .. } => {}
        }
    }

    fn mark_place(&mut self, core: &Core, agent: Owner) {
        if let Some(place) = core.place_of(agent) {
            self.handles.mark(place | PLACE);
        }
    }

    /// Another roster is being put in force: places are others.
    pub(crate) fn another_roster(&mut self) {
        self.rosters += 1;
        self.more = true;
    }

    /// Tells whoever waits, once until it is taken. `lost` counts changes that nobody was told of.
    pub(crate) fn announce(&mut self, lost: u64) {
        let Some(news) = &self.news else { return };
        self.more |= std::mem::replace(&mut self.lost, lost) != lost;
        if (self.more || self.handles.len() > 0) && !std::mem::replace(&mut self.told, true) {
            news.notify_one();
        }
    }

    /// What changed, put into `room`.
    pub(crate) fn take(&mut self, mut room: Vec<u32>) -> Changed {
        self.handles.take(usize::MAX, &mut room);
        self.told = false;
        Changed { handles: room, more: std::mem::take(&mut self.more), rosters: self.rosters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handle_is_kept_once_until_it_is_taken() {
        let mut handles = Handles::default();
        for handle in [5, 7, 5, PLACE | 5, 700, 7] {
            handles.mark(handle);
        }
        let mut room = vec![1, 2, 3];
        handles.take(2, &mut room);
        assert_eq!((room.clone(), handles.len()), (vec![PLACE | 5, 700], 2));
        handles.mark(700);
        handles.take(9, &mut room);
        assert_eq!(room, [5, 7, 700]);
        handles.mark(5);
        handles.clear();
        handles.mark(5);
        assert_eq!(handles.len(), 1);
    }
}
