//! When a ticker beats, and whether it may: pure, times come in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Nothing is expected of it.
const RESTS: u64 = 1;
/// It is over.
const ENDED: u64 = 2;
/// One piece of work.
const PIECE: u64 = 4;

/// What one part of a program says of itself: a count of its work, and two flags below it.
#[derive(Debug, Default)]
pub(super) struct Watch(AtomicU64);

impl Watch {
    pub(super) fn made(&self) {
        // A race of two loses a count and no change.
        self.0.store((self.0.load(Ordering::Relaxed) & !RESTS).wrapping_add(PIECE), Ordering::Release);
    }

    pub(super) fn rests(&self) {
        self.0.fetch_or(RESTS, Ordering::Release);
    }

    pub(super) fn ends(&self) {
        self.0.fetch_or(ENDED, Ordering::Release);
    }
}

/// A watch as it was seen last, and since when it is like that.
struct Seen {
    watch: Arc<Watch>,
    state: u64,
    since: Duration,
}

/// When to beat.
pub(super) struct Pace {
    every: Duration,
    within: Duration,
    seen: Vec<Seen>,
    next: Duration,
    /// Whether the last turn that was due had nobody to vouch for it.
    silent: bool,
}

impl Pace {
    /// A first turn that is due at once.
    pub(super) const fn new(every: Duration, within: Duration) -> Self {
        Self { every, within, seen: Vec::new(), next: Duration::ZERO, silent: true }
    }

    /// Looks at everybody; whether to beat now. `news`: there is something else to say than before.
    pub(super) fn turn(&mut self, now: Duration, newcomers: Vec<Arc<Watch>>, news: bool) -> bool {
        let fresh = |watch: Arc<Watch>| Seen { state: watch.0.load(Ordering::Acquire), watch, since: now };
        self.seen.extend(newcomers.into_iter().map(fresh));
        self.seen.retain_mut(|seen| {
            let state = seen.watch.0.load(Ordering::Acquire);
            if state != seen.state {
                (seen.state, seen.since) = (state, now);
            }
            state & ENDED == 0
        });
        let gets_on = |seen: &Seen| seen.state & RESTS != 0 || now.saturating_sub(seen.since) <= self.within;
        let vouched = !self.seen.is_empty() && self.seen.iter().all(gets_on);
        let due = now >= self.next;
        let beats = vouched && (due || news || self.silent);
        if beats || due {
            // On its own beat, unless that is over already.
            let planned = if due { self.next + self.every } else { now + self.every };
            self.next = if planned > now { planned } else { now + self.every };
        }
        if beats || !vouched {
            self.silent = !vouched;
        }
        beats
    }

    /// When the next turn is due.
    pub(super) const fn next(&self) -> Duration {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A pace of 10 ms within 25, with so many parts.
    fn paced(parts: usize) -> (Pace, Vec<Arc<Watch>>) {
        let mut pace = Pace::new(ms(10), ms(25));
        let watches: Vec<_> = (0..parts).map(|_| Arc::new(Watch::default())).collect();
        assert_eq!(pace.turn(ms(0), watches.clone(), false), parts > 0);
        (pace, watches)
    }

    /// The times, up to `end`, at which it beats, looking whenever it is due.
    fn beats(pace: &mut Pace, end: u64) -> Vec<u64> {
        let mut beats = Vec::new();
        while pace.next() < ms(end) {
            let now = pace.next();
            if pace.turn(now, Vec::new(), false) {
                beats.push(u64::try_from(now.as_millis()).unwrap());
            }
        }
        beats
    }

    #[test]
    fn who_gets_on_is_vouched_for_and_who_is_stuck_is_not() {
        let (mut pace, watches) = paced(2);
        assert_eq!(beats(&mut pace, 50), [10, 20], "25 ms after the last piece of work there is silence");
        watches[0].made();
        assert_eq!(beats(&mut pace, 80), [], "both have to get on");
        watches.iter().for_each(|watch| watch.made());
        assert_eq!(beats(&mut pace, 130), [80, 90, 100]);
    }

    #[test]
    fn who_rests_need_not_get_on_and_who_works_again_does() {
        let (mut pace, watches) = paced(1);
        watches[0].rests();
        assert_eq!(beats(&mut pace, 100).len(), 9);
        watches[0].made();
        assert_eq!(beats(&mut pace, 200), [100, 110, 120]);
    }

    #[test]
    fn who_is_over_is_not_waited_for_and_nobody_vouches_for_nothing() {
        let (mut pace, watches) = paced(2);
        watches[0].ends();
        for turn in 1..10 {
            watches[1].made();
            assert_eq!(beats(&mut pace, turn * 10 + 1), [turn * 10]);
        }
        watches[1].ends();
        assert_eq!(beats(&mut pace, 200), []);
        assert_eq!(beats(&mut paced(0).0, 100), []);
    }

    #[test]
    fn what_is_new_is_said_at_once_and_the_pace_goes_on_from_there() {
        let (mut pace, watches) = paced(1);
        assert!(!pace.turn(ms(3), Vec::new(), false));
        assert!(pace.turn(ms(4), Vec::new(), true));
        assert_eq!(beats(&mut pace, 24), [14]);
        watches[0].made();
        // Nobody looked for long: what was missed is not made up for.
        assert!(pace.turn(ms(500), Vec::new(), false));
        assert_eq!(pace.next(), ms(510));
    }

    #[test]
    fn the_first_part_is_vouched_for_as_soon_as_it_comes() {
        let (mut pace, _) = paced(0);
        let watch = Arc::new(Watch::default());
        assert!(pace.turn(ms(3), vec![watch], false));
        assert_eq!(pace.next(), ms(13));
        assert!(!pace.turn(ms(4), vec![Arc::new(Watch::default())], false), "a second one is no reason");
    }
}
