//! What one target is still to be told: pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use varta_vlp::time::{MonoNs, nanos};

use super::Notice;
use crate::store::Mark;

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
    /// Incidents that opened and are not known to be over.
    told: BTreeMap<u64, Mark>,
    /// Those of them that are open, as they were last.
    open: BTreeMap<u64, Notice>,
    /// Whether one of those became another after it was told.
    changed: bool,
    /// Marks that became others; none where nothing is owed any more.
    marked: BTreeMap<u64, Option<Mark>>,
    /// When the next try may be, and how long it was waited for the last one.
    next: MonoNs,
    wait: Duration,
}

impl Queue {
    /// A queue of a target that knows so much already.
    pub(super) fn new(timing: Timing, told: BTreeMap<u64, Mark>) -> Self {
        Self {
            timing,
            waiting: VecDeque::new(),
            told,
            open: BTreeMap::new(),
            changed: false,
            marked: BTreeMap::new(),
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

    /// Whether there is something to be noted, or to be told again.
    pub(super) fn has_news(&self) -> bool {
        self.changed || !self.marked.is_empty()
    }

    /// The marks that became others since this was last asked.
    pub(super) fn take_marked(&mut self) -> BTreeMap<u64, Option<Mark>> {
        std::mem::take(&mut self.marked)
    }

    /// An incident opened, became another, or is over. What is silenced waits until it is not. How many older notices gave
    /// way to this one.
    pub(super) fn update(&mut self, now: MonoNs, notice: Notice) -> u64 {
        let id = notice.id;
        if notice.open {
            if notice.silenced {
                return 0;
            }
            let before = self.open.insert(id, notice.clone());
            if let Some((_, waiting)) = self.waiting.iter_mut().find(|(_, waiting)| waiting.id == id && waiting.open) {
                // It was not told yet: then it is told as it is now.
                *waiting = notice;
            } else if self.told.get(&id) == Some(&Mark::Told) {
                self.changed |= before.is_some_and(|before| before.incident != notice.incident);
            } else {
                self.mark(id, Mark::Waits);
                return self.push(now, notice);
            }
            return 0;
        }
        self.open.remove(&id);
        if self.told.remove(&id).is_none() {
            return 0;
        }
        // One that nobody was told of while it was open is told once, as over.
        self.waiting.retain(|(_, waiting)| waiting.id != id);
        self.push(now, notice)
    }

    fn mark(&mut self, id: u64, mark: Mark) {
        self.told.insert(id, mark);
        self.marked.insert(id, Some(mark));
    }

    fn push(&mut self, now: MonoNs, notice: Notice) -> u64 {
        let surplus = if self.waiting.len() >= MOST { self.waiting.pop_front() } else { None };
        self.waiting.push_back((now, notice));
        surplus.into_iter().map(|(_, notice)| self.settle(&notice)).count() as u64
    }

    /// What was to be told of it was told, or never will be.
    fn settle(&mut self, notice: &Notice) {
        if notice.open {
            self.mark(notice.id, Mark::Told);
        } else {
            self.marked.insert(notice.id, None);
        }
    }

    /// When something is to be tried; never where nothing waits.
    pub(super) fn due(&self) -> MonoNs {
        if self.waiting.is_empty() { MonoNs::NEVER } else { self.next }
    }

    /// What is to be tried now.
    pub(super) fn next(&self, now: MonoNs) -> Option<&Notice> {
        self.waiting.front().filter(|_| self.next <= now).map(|(_, notice)| notice)
    }

    /// This was taken, or never will be. Meanwhile it may have become another, or be over.
    pub(super) fn done(&mut self, now: MonoNs, sent: &Notice) {
        let is_it = |(_, notice): &(MonoNs, Notice)| notice.id == sent.id && notice.open == sent.open;
        if self.waiting.front().is_some_and(is_it)
            && let Some((_, notice)) = self.waiting.pop_front()
        {
            self.settle(&notice);
            self.changed |= notice.open && notice.incident != sent.incident;
        }
        (self.next, self.wait) = (now, Duration::ZERO);
    }

    /// It was not taken: it is tried again, after `share` of the longest wait that is due.
    pub(super) fn retry(&mut self, now: MonoNs, share: f64) {
        self.wait = (self.wait * 2).clamp(self.timing.first, self.timing.longest);
        self.next = now.after(nanos(self.wait.mul_f64(share.clamp(0.0, 1.0))));
    }

    /// Gives up what was tried for too long; how many that were.
    pub(super) fn expire(&mut self, now: MonoNs) -> u64 {
        let limit = nanos(self.timing.retry_for);
        let mut expired = 0;
        // The oldest is the first.
        while self.waiting.front().is_some_and(|(since, _)| now.since(*since) > limit) {
            self.waiting.pop_front().into_iter().for_each(|(_, notice)| self.settle(&notice));
            expired += 1;
        }
        expired
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

    fn fresh() -> Queue {
        Queue::new(Timing::default(), BTreeMap::new())
    }

    /// The target takes what is told next.
    fn take(queue: &mut Queue) {
        let sent = queue.next(queue.due()).cloned().unwrap();
        queue.done(T, &sent);
    }

    const T: MonoNs = MonoNs(1000 * SECOND);

    /// A relay's marks, and a queue that goes on with them after its restart.
    fn restarted(queue: &mut Queue, marks: &mut BTreeMap<u64, Mark>) -> Queue {
        for (id, mark) in queue.take_marked() {
            match mark {
                Some(mark) => drop(marks.insert(id, mark)),
                None => drop(marks.remove(&id)),
            }
        }
        Queue::new(Timing::default(), marks.clone())
    }

    #[test]
    fn a_restart_tells_nothing_twice_and_keeps_nothing_back() {
        let (mut queue, mut marks) = (fresh(), BTreeMap::new());
        queue.update(T, notice(1, true));
        take(&mut queue);
        queue.update(T, notice(2, true));
        queue.update(T, Notice { silenced: true, ..notice(3, true) });
        let mut queue = restarted(&mut queue, &mut marks);
        assert_eq!(marks, BTreeMap::from([(1, Mark::Told), (2, Mark::Waits)]));
        for id in [1, 2, 3] {
            queue.update(T, Notice { silenced: id == 3, ..notice(id, true) });
        }
        assert_eq!(waiting(&queue), [(2, true)], "1 was told, 2 was not, 3 is silenced");
        assert!(queue.has_open() && !queue.take_changed());
        for id in [1, 2, 3] {
            queue.update(T, notice(id, false));
        }
        assert_eq!(waiting(&queue), [(1, false), (2, false)]);
        // The end of both was not told yet when the relay was killed again; then one of them is.
        let mut queue = restarted(&mut queue, &mut marks);
        assert_eq!(marks.len(), 2);
        for id in [1, 2, 3] {
            queue.update(T, notice(id, false));
        }
        assert_eq!(waiting(&queue), [(1, false), (2, false)]);
        take(&mut queue);
        let mut queue = restarted(&mut queue, &mut marks);
        assert_eq!(marks.keys().collect::<Vec<_>>(), [&2]);
        queue.update(T, notice(2, false));
        // What was tried for too long is not tried anew.
        assert_eq!(queue.expire(T.after(3601 * SECOND)), 1);
        restarted(&mut queue, &mut marks);
        assert!(marks.is_empty(), "{marks:?}");
    }

    #[test]
    fn an_opening_that_was_given_up_is_not_tried_anew_and_its_end_is_told() {
        let (mut queue, mut marks) = (fresh(), BTreeMap::new());
        queue.update(T, notice(1, true));
        assert_eq!(queue.expire(T.after(3601 * SECOND)), 1);
        let mut queue = restarted(&mut queue, &mut marks);
        queue.update(T, notice(1, true));
        assert_eq!(queue.len(), 0);
        queue.update(T, notice(1, false));
        assert_eq!(waiting(&queue), [(1, false)]);
    }

    #[test]
    fn each_incident_is_told_once_as_open_and_once_as_over() {
        let mut queue = fresh();
        queue.update(T, notice(1, true));
        queue.update(T, notice(2, true));
        queue.update(T, notice(1, true));
        assert_eq!(waiting(&queue), [(1, true), (2, true)]);
        assert_eq!(queue.next(T).map(|notice| notice.id), Some(1));
        take(&mut queue);
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
        let mut queue = fresh();
        queue.update(T, named("lost"));
        queue.update(T, named("lost: 1 unit"));
        assert!(!queue.take_changed(), "it waits, and is told as it is then");
        assert_eq!(queue.next(T).map(|notice| notice.incident.as_str()), Some(Some("lost: 1 unit")));
        take(&mut queue);
        queue.update(T, named("lost: 1 unit"));
        assert!(!queue.take_changed());
        queue.update(T, named("lost: 2 units"));
        assert_eq!((queue.take_changed(), queue.take_changed(), queue.len()), (true, false, 0));
        assert_eq!(queue.open().map(|notice| notice.incident.as_str()).collect::<Vec<_>>(), [Some("lost: 2 units")]);
    }

    #[test]
    fn what_happens_while_it_is_sent_is_told_after_it() {
        let named = |title: &str| Notice { incident: Arc::new(Value::from(title)), ..notice(1, true) };
        let mut queue = fresh();
        queue.update(T, named("lost"));
        let sent = queue.next(T).cloned().unwrap();
        queue.update(T, named("lost: 1 unit"));
        queue.done(T, &sent);
        assert_eq!((queue.len(), queue.take_changed()), (0, true));
        queue.update(T, notice(2, true));
        let sent = queue.next(T).cloned().unwrap();
        queue.update(T, notice(2, false));
        queue.update(T, notice(3, true));
        queue.done(T, &sent);
        assert_eq!(waiting(&queue), [(2, false), (3, true)], "its end is still to be told");
    }

    #[test]
    fn what_is_silenced_waits_until_it_is_not() {
        let mut queue = fresh();
        let silenced = Notice { silenced: true, ..notice(1, true) };
        queue.update(T, silenced.clone());
        assert_eq!(queue.len(), 0);
        queue.update(T, notice(1, true));
        assert_eq!(waiting(&queue), [(1, true)]);
        take(&mut queue);
        queue.update(T, silenced);
        queue.update(T, notice(1, false));
        assert_eq!(waiting(&queue), [(1, false)], "whoever was told of it is told of its end");
        queue.update(T, Notice { silenced: true, ..notice(2, true) });
        queue.update(T, notice(2, false));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn waits_grow_to_a_bound_and_start_over_with_success() {
        let mut queue = fresh();
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
        take(&mut queue);
        assert!(queue.next(T).is_some());
        queue.retry(T, 1.0);
        assert_eq!(queue.due(), T.after(SECOND));
    }

    #[test]
    fn nothing_is_tried_for_ever_or_kept_without_bound() {
        let mut queue = fresh();
        queue.update(T, notice(1, true));
        queue.update(T.after(1800 * SECOND), notice(2, true));
        assert_eq!((queue.expire(T.after(3600 * SECOND)), queue.expire(T.after(3601 * SECOND))), (0, 1));
        let lost: u64 = (3..20_000).map(|id| queue.update(T.after(3601 * SECOND), notice(id, true))).sum();
        assert_eq!((queue.len(), lost), (MOST, 20_000 - 3 + 1 - MOST as u64));
        assert_eq!(fresh().due(), MonoNs::NEVER);
    }
}
