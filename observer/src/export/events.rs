//! Events on their way from the journal to those who follow them: a bounded queue that is never waited for, and a ring of
//! the newest, which is all that followers read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};

use crate::journal::EventRecord;

/// How many events are kept for those who come back.
pub const KEPT: usize = 1024;
/// Most events between the journal and the ring; further ones leave a gap in the ids.
const WAITING: usize = 4096;

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

/// The end that the journal holds.
#[derive(Clone, Debug)]
pub struct EventSink(mpsc::Sender<EventRecord>);

impl EventSink {
    /// Hands an event on without waiting; it is lost where too many wait or nobody reads. Followers see that by its id.
    pub fn send(&self, event: EventRecord) {
        let _ = self.0.try_send(event);
    }
}

/// The end that [`crate::export::http::serve`] turns.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<EventRecord>,
    ring: Ring,
}

/// The newest events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ring {
    entries: Arc<Mutex<VecDeque<Arc<Entry>>>>,
    newest: watch::Sender<u64>,
}

/// A queue from the journal to a ring.
#[must_use]
pub fn channel() -> (EventSink, Feed) {
    let (sender, events) = mpsc::channel(WAITING);
    let ring = Ring { entries: Arc::default(), newest: watch::Sender::new(0) };
    (EventSink(sender), Feed { events, ring })
}

impl Feed {
    /// Where the events are read.
    #[must_use]
    pub fn ring(&self) -> Ring {
        self.ring.clone()
    }

    /// Moves events into the ring until the journal is gone.
    pub async fn pump(mut self) {
        while let Some(event) = self.events.recv().await {
            self.ring.push(&event);
        }
    }
}

impl Ring {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &EventRecord) {
        let entry = Arc::new(Entry { id: event.id, kind: event.kind, json: event.json() });
        let mut entries = self.entries();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
        drop(entries);
        self.newest.send_replace(event.id);
    }

    /// The id of the newest event, or `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.entries().back().map(|entry| entry.id)
    }

    /// Wakes its holder when there are newer events.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
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
    use crate::journal::Detail;

    fn event(id: u64) -> EventRecord {
        EventRecord {
            id,
            at: String::new(),
            kind: "blind_limit",
            agent: None,
            unit: None,
            pid: None,
            from: None,
            to: None,
            why: String::new(),
            detail: Detail::Nothing {},
        }
    }

    fn ids(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn the_ring_keeps_the_newest_and_resumes_anywhere() {
        let (_, feed) = channel();
        let ring = feed.ring();
        assert_eq!((ring.newest(), ring.after(None, 9).len()), (None, 0));
        let last = 100 + KEPT as u64;
        (101..=last + 10).for_each(|id| ring.push(&event(id)));
        assert_eq!(ring.newest(), Some(last + 10));
        assert_eq!(ids(&ring.after(None, 2)), [111, 112]);
        assert_eq!(ids(&ring.after(Some(5), 1)), [111], "what is gone is gone");
        assert_eq!(ids(&ring.after(Some(last + 8), 9)), [last + 9, last + 10]);
        assert_eq!(ids(&ring.after(Some(last + 10), 9)), [] as [u64; 0]);
        assert_eq!(ids(&ring.after(Some(u64::MAX), 1)), [111], "an id of another life says nothing");
        assert_eq!(ring.after(None, usize::MAX).len(), KEPT);
    }

    #[test]
    fn a_full_queue_costs_events_and_never_waits() {
        let (sink, feed) = channel();
        (1..=WAITING as u64 + 5).for_each(|id| sink.send(event(id)));
        drop(sink);
        let ring = feed.ring();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(feed.pump());
        assert_eq!(ring.newest(), Some(WAITING as u64));
    }
}
