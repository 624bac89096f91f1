//! What one target is still to be told: pure.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use varta_vlp::time::{MonoNs, nanos};

use super::Notice;

/// Most notices that wait; the oldest gives way.
const MOST: usize = 10_000;

/// How a target is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// The longest first wait; each further one is at most twice the one before.
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// For how long one notice is tried.
    pub(super) retry_for: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60), retry_for: Duration::from_secs(3600) }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    timing: Timing,
    waiting: VecDeque<(MonoNs, Notice)>,
    /// Incidents that were told as open, or wait to be.
    told: HashSet<u64>,
    /// Those of them that are open.
    open: BTreeMap<u64, Notice>,
    /// Whether one of those became another after it was told.
    changed: bool,
    /// When the next try may be, and how long it was waited for the last one.
    next: MonoNs,
    wait: Duration,
}

impl Queue {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            waiting: VecDeque::new(),
            told: HashSet::new(),
            open: BTreeMap::new(),
            changed: false,
            next: MonoNs(0),
            wait: Duration::ZERO,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Incidents that were told as open and are.
    pub(super) fn open(&self) -> impl Iterator<Item = &Notice> {
        self.open.values()
    }

    /// Whether an incident became another after it was told as open, since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// An incident opened, became another, or is over. What is silenced waits until it is not.
    pub(super) fn update(&mut self, now: MonoNs, notice: Notice) {
        let id = notice.id;
        if notice.open {
            if notice.silenced {
                return;
            }
            if let Some((_, waiting)) = self.waiting.iter_mut().find(|(_, waiting)| waiting.id == id && waiting.open) {
                // It was not told yet: then it is told as it is now.
                *waiting = notice.clone();
            } else if self.told.insert(id) {
                self.push(now, notice.clone());
            } else {
                self.changed |= self.open.get(&id).is_some_and(|before| before.incident != notice.incident);
            }
            self.open.insert(id, notice);
            return;
        }
        self.open.remove(&id);
        if !self.told.remove(&id) {
            return;
        }
        // One that nobody was told of while it was open is told once, as over.
        self.waiting.retain(|(_, waiting)| waiting.id != id);
        self.push(now, notice);
    }

    fn push(&mut self, now: MonoNs, notice: Notice) {
        if self.waiting.len() >= MOST {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now, notice));
    }

    /// When something is to be tried; never where nothing waits.
    pub(super) fn due(&self) -> MonoNs {
        if self.waiting.is_empty() { MonoNs::NEVER } else { self.next }
    }

    /// What is to be tried now.
    pub(super) fn next(&self, now: MonoNs) -> Option<&Notice> {
        self.waiting.front().filter(|_| self.next <= now).map(|(_, notice)| notice)
    }

    /// It was taken, or never will be.
    pub(super) fn done(&mut self, now: MonoNs) {
        self.waiting.pop_front();
        (self.next, self.wait) = (now, Duration::ZERO);
    }

    /// It was not taken: it is tried again, after `share` of the longest wait that is due.
    pub(super) fn retry(&mut self, now: MonoNs, share: f64) {
        self.wait = (self.wait * 2).clamp(self.timing.first, self.timing.longest);
        self.next = now.after(nanos(self.wait.mul_f64(share.clamp(0.0, 1.0))));
    }

    /// Gives up what was tried for too long; how many that were.
    pub(super) fn expire(&mut self, now: MonoNs) -> u64 {
        let before = self.waiting.len();
        let limit = nanos(self.timing.retry_for);
        self.waiting.retain(|(since, _)| now.since(*since) <= limit);
        (before - self.waiting.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use varta_vlp::time::SECOND;

    use super::*;

    fn notice(id: u64, open: bool) -> Notice {
        Notice { id, open, silenced: false, incident: Arc::new(Value::Null) }
    }

    fn waiting(queue: &Queue) -> Vec<(u64, bool)> {
        queue.waiting.iter().map(|(_, notice)| (notice.id, notice.open)).collect()
    }

    const T: MonoNs = MonoNs(1000 * SECOND);

    #[test]
    fn each_incident_is_told_once_as_open_and_once_as_over() {
        let mut queue = Queue::new(Timing::default());
        queue.update(T, notice(1, true));
        queue.update(T, notice(2, true));
        queue.update(T, notice(1, true));
        assert_eq!(waiting(&queue), [(1, true), (2, true)]);
        assert_eq!(queue.next(T).map(|notice| notice.id), Some(1));
        queue.done(T);
        queue.update(T, notice(1, true));
        queue.update(T, notice(1, false));
        queue.update(T, notice(1, false));
        assert_eq!(waiting(&queue), [(2, true), (1, false)], "what is repeated meanwhile is no news");
        queue.update(T, notice(2, false));
        assert_eq!(waiting(&queue), [(1, false), (2, false)], "who was away is told of what is over once");
        assert!(!queue.has_open());
        queue.update(T, notice(3, false));
        assert_eq!(queue.len(), 2, "what was never told as open is not told as over");
    }

    #[test]
    fn what_became_another_after_it_was_told_is_known() {
        let named = |title: &str| Notice { incident: Arc::new(Value::from(title)), ..notice(1, true) };
        let mut queue = Queue::new(Timing::default());
        queue.update(T, named("lost"));
        queue.update(T, named("lost: 1 unit"));
        assert!(!queue.take_changed(), "it waits, and is told as it is then");
        assert_eq!(queue.next(T).map(|notice| notice.incident.as_str()), Some(Some("lost: 1 unit")));
        queue.done(T);
        queue.update(T, named("lost: 1 unit"));
        assert!(!queue.take_changed());
        queue.update(T, named("lost: 2 units"));
        assert_eq!((queue.take_changed(), queue.take_changed(), queue.len()), (true, false, 0));
        assert_eq!(queue.open().map(|notice| notice.incident.as_str()).collect::<Vec<_>>(), [Some("lost: 2 units")]);
    }

    #[test]
    fn what_is_silenced_waits_until_it_is_not() {
        let mut queue = Queue::new(Timing::default());
        let silenced = Notice { silenced: true, ..notice(1, true) };
        queue.update(T, silenced.clone());
        assert_eq!(queue.len(), 0);
        queue.update(T, notice(1, true));
        assert_eq!(waiting(&queue), [(1, true)]);
        queue.done(T);
        queue.update(T, silenced);
        queue.update(T, notice(1, false));
        assert_eq!(waiting(&queue), [(1, false)], "whoever was told of it is told of its end");
        queue.update(T, Notice { silenced: true, ..notice(2, true) });
        queue.update(T, notice(2, false));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn waits_grow_to_a_bound_and_start_over_with_success() {
        let mut queue = Queue::new(Timing::default());
        queue.update(T, notice(1, true));
        queue.update(T, notice(2, true));
        let mut waits = Vec::new();
        for _ in 0..9 {
            queue.retry(T, 1.0);
            waits.push(queue.due().since(T) / SECOND);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(queue.next(T.after(59 * SECOND)).is_none() && queue.next(T.after(60 * SECOND)).is_some());
        queue.retry(T, 0.5);
        assert_eq!(queue.due(), T.after(30 * SECOND));
        queue.done(T);
        assert!(queue.next(T).is_some());
        queue.retry(T, 1.0);
        assert_eq!(queue.due(), T.after(SECOND));
    }

    #[test]
    fn nothing_is_tried_for_ever_or_kept_without_bound() {
        let mut queue = Queue::new(Timing::default());
        queue.update(T, notice(1, true));
        queue.update(T.after(1800 * SECOND), notice(2, true));
        assert_eq!((queue.expire(T.after(3600 * SECOND)), queue.expire(T.after(3601 * SECOND))), (0, 1));
        for id in 3..20_000 {
            queue.update(T.after(3601 * SECOND), notice(id, true));
        }
        assert_eq!(queue.len(), MOST);
        assert_eq!(Queue::new(Timing::default()).due(), MonoNs::NEVER);
    }
}
