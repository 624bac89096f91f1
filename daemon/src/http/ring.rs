//! Events to those who follow them: a ring of the newest, which is all that followers read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// How many events are kept for those who come back.
pub const KEPT: usize = 4096;

/// An event as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: u64,
    /// Its kind.
    pub kind: &'static str,
    /// All of it, as a JSON object.
    pub json: String,
}

/// The newest events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ring {
    entries: Arc<Mutex<VecDeque<Arc<Entry>>>>,
    newest: watch::Sender<u64>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { entries: Arc::default(), newest: watch::Sender::new(0) }
    }
}

impl Ring {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, in the place of the oldest where all are taken. [`Self::announce`] wakes those who follow.
    pub fn push(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let mut entries = self.entries();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Wakes those who follow, if there is news for them.
    pub fn announce(&self) {
        let Some(newest) = self.newest() else { return };
        self.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }

    /// The id of the newest event, or `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.entries().back().map(|entry| entry.id)
    }

    /// The newest announced event's id, 0 before the first; wakes its holder when it changes.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// At most `limit` events whose ids are above `seen`, oldest first; from the oldest kept where `seen` is `None` or
    /// above all of them.
    #[must_use]
    pub fn after(&self, seen: Option<u64>, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries();
        let newest = entries.back().map_or(0, |entry| entry.id);
        let first = match seen {
            Some(seen) if seen <= newest => entries.partition_point(|entry| entry.id <= seen),
            _ => 0,
        };
        entries.iter().skip(first).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> Entry {
        Entry { id, kind: "blind_limit", json: String::new() }
    }

    fn ids(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn the_ring_keeps_the_newest_and_resumes_anywhere() {
        let ring = Ring::default();
        assert_eq!((ring.newest(), ring.after(None, 9).len()), (None, 0));
        let last = 100 + KEPT as u64;
        (101..=last + 10).for_each(|id| ring.push(event(id)));
        assert_eq!(ring.newest(), Some(last + 10));
        assert_eq!(ids(&ring.after(None, 2)), [111, 112]);
        assert_eq!(ids(&ring.after(Some(5), 1)), [111], "what is gone is gone");
        assert_eq!(ids(&ring.after(Some(last + 8), 9)), [last + 9, last + 10]);
        assert_eq!(ids(&ring.after(Some(last + 10), 9)), [] as [u64; 0]);
        assert_eq!(ids(&ring.after(Some(u64::MAX), 1)), [111], "an id of another life says nothing");
        assert_eq!(ring.after(None, usize::MAX).len(), KEPT);
    }
}
