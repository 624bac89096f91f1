//! Letting datagrams gather: waking for each costs more than judging it, so where more come soon the loop sleeps past them
//! and reads them together. Pure.
//!
//! What comes after a silence is read at once; only then, and only while datagrams keep coming, does the loop pause.

use varta_core::{MILLI, MonoNs};

/// A pause that gathers fewer than this is not worth it.
const WORTH: u64 = 2;
/// Gathering more than this saves nothing more.
const ENOUGH: u64 = 128;
/// What a queue may charge for a datagram, bytes: a page of the driver's.
const CHARGED: u64 = 4096;
/// Pauses that gathered nothing are followed by at most so many drains without one: what comes in bursts further apart than
/// a pause is not gathered by it.
const MOST_SKIPPED: u32 = 16;
/// For so long after a question the loop listens for the next one.
const ASKED: u64 = 5 * MILLI;

/// How long to pause.
#[derive(Debug)]
pub(super) struct Gather {
    /// At most, nanoseconds; 0 never pauses.
    most: u64,
    /// Datagrams that may gather.
    enough: u64,
    /// When the newest drain ended, and what it read.
    drained: MonoNs,
    read: u64,
    /// How long it took to come in, nanoseconds.
    took: u64,
    /// When the newest question came.
    asked: Option<MonoNs>,
    /// Whether the newest drain came after a pause.
    paused: bool,
    /// Drains to go without a pause, and how many there were at first.
    skip: u32,
    skipped: u32,
}

impl Gather {
    /// Pauses `most` nanoseconds at most, and not for more than a quarter of the smallest queue, of `queue` bytes.
    pub(super) fn new(most: u64, queue: u64) -> Self {
        // The kernel grants twice the bytes that it was asked for.
        let room = 2 * queue / CHARGED / 4;
        let (drained, asked, enough) = (MonoNs(0), None, ENOUGH.min(room));
        Self { most, enough, drained, read: 0, took: 0, asked, paused: false, skip: 0, skipped: 0 }
    }

    /// A drain ended at `now` and had read `read` datagrams.
    pub(super) fn drained(&mut self, now: MonoNs, read: u64) {
        (self.took, self.read) = (now.since(self.drained), read);
        self.drained = now;
        if std::mem::take(&mut self.paused) {
            self.skipped = if read < WORTH { (2 * self.skipped).clamp(1, MOST_SKIPPED) } else { 0 };
            self.skip = self.skipped;
        }
    }

    /// A question came.
    pub(super) fn asked(&mut self, now: MonoNs) {
        self.asked = Some(now);
    }

    /// Until when to pause after the newest drain, if at all: never until `wake`, when something else is to be done.
    pub(super) fn until(&mut self, wake: MonoNs) -> Option<MonoNs> {
        let took = self.took.max(1);
        if self.read.saturating_mul(self.most) / took < WORTH {
            return None;
        }
        if self.asked.is_some_and(|asked| self.drained.since(asked) < ASKED) {
            return None;
        }
        let pause = self.most.min(took.saturating_mul(self.enough) / self.read);
        let until = self.drained.after(pause);
        if pause == 0 || until >= wake {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.paused = true;
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: u64 = 1000;
    const BUFFER: u64 = 8 << 20;

    /// A drain that read `read` datagrams, `took` after the one before.
    fn after(queue: u64, read: u64, took: u64) -> Option<u64> {
        let mut gather = Gather::new(500 * MICRO, queue);
        gather.drained(MonoNs(1_000 * MILLI), 7);
        let now = MonoNs(1_000 * MILLI + took);
        gather.drained(now, read);
        gather.until(MonoNs::NEVER).map(|until| until.since(now))
    }

    #[test]
    fn what_comes_alone_is_not_waited_for() {
        assert_eq!(after(BUFFER, 0, 20 * MICRO), None);
        assert_eq!(after(BUFFER, 1, 1_000 * MILLI), None);
        assert_eq!(after(BUFFER, 1, 400 * MICRO), None);
        assert_eq!(after(BUFFER, 40, 100 * MILLI), None);
    }

    #[test]
    fn what_comes_often_gathers_and_no_longer_than_is_allowed() {
        assert_eq!(after(BUFFER, 1, 20 * MICRO), Some(500 * MICRO));
        assert_eq!(after(BUFFER, 25, 500 * MICRO), Some(500 * MICRO));
        // A million a second: 128 of them take 128 us.
        assert_eq!(after(BUFFER, 50, 50 * MICRO), Some(128 * MICRO));
        assert_eq!(after(BUFFER, 5_000, 0), None, "no time at all");
        assert!(Gather::new(0, BUFFER).until(MonoNs::NEVER).is_none());
    }

    #[test]
    fn a_small_queue_is_not_filled() {
        // 208 KiB, as Linux has it by default, hold 277 small datagrams, or 52 that are charged a page each.
        assert_eq!(after(106_496, 50, 50 * MICRO), Some(13 * MICRO));
    }

    #[test]
    fn pauses_that_gather_nothing_become_rare_and_one_that_does_brings_them_back() {
        let mut gather = Gather::new(500 * MICRO, BUFFER);
        let mut now = MonoNs(1_000 * MILLI);
        gather.drained(now, 0);
        let (mut pauses, mut bursts) = (0, 0);
        // Bursts of 32, a millisecond apart: after a pause there is nothing, and the next burst wakes the loop.
        while bursts < 200 {
            now = now.after(1_000 * MICRO);
            gather.drained(now, 32);
            bursts += 1;
            if let Some(until) = gather.until(MonoNs::NEVER) {
                pauses += 1;
                gather.drained(until, 0);
                assert_eq!(gather.until(MonoNs::NEVER), None);
                now = until;
            }
        }
        assert!((10..25).contains(&pauses), "{pauses} of {bursts}");
        // They come evenly now.
        for _ in 0..MOST_SKIPPED + 2 {
            now = now.after(500 * MICRO);
            gather.drained(now, 25);
            gather.until(MonoNs::NEVER);
        }
        for _ in 0..100 {
            now = now.after(500 * MICRO);
            gather.drained(now, 25);
            assert!(gather.until(MonoNs::NEVER).is_some());
        }
    }

    #[test]
    fn a_question_is_not_kept_waiting_for_the_next() {
        let mut gather = Gather::new(500 * MICRO, BUFFER);
        gather.drained(MonoNs(1_000 * MILLI), 7);
        gather.asked(MonoNs(1_000 * MILLI));
        gather.drained(MonoNs(1_001 * MILLI), 50);
        assert_eq!(gather.until(MonoNs::NEVER), None);
        gather.drained(MonoNs(1_005 * MILLI), 200);
        assert_eq!(gather.until(MonoNs(1_005 * MILLI + 500 * MICRO)), None, "a deadline ends no pause: there is none");
        assert_eq!(gather.until(MonoNs::NEVER), Some(MonoNs(1_005 * MILLI + 500 * MICRO)));
    }
}
