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
}

impl Gather {
    /// Pauses `most` nanoseconds at most, and not for more than a quarter of the smallest queue, of `queue` bytes.
    pub(super) fn new(most: u64, queue: u64) -> Self {
        // The kernel grants twice the bytes that it was asked for.
        let room = 2 * queue / CHARGED / 4;
        Self { most, enough: ENOUGH.min(room), drained: MonoNs(0), read: 0, took: 0, asked: None }
    }

    /// A drain ended at `now` and had read `read` datagrams.
    pub(super) fn drained(&mut self, now: MonoNs, read: u64) {
        (self.took, self.read) = (now.since(self.drained), read);
        self.drained = now;
    }

    /// A question came.
    pub(super) fn asked(&mut self, now: MonoNs) {
        self.asked = Some(now);
    }

    /// Until when to pause after the newest drain, if at all.
    pub(super) fn until(&self) -> Option<MonoNs> {
        let took = self.took.max(1);
        if self.read.saturating_mul(self.most) / took < WORTH {
            return None;
        }
        if self.asked.is_some_and(|asked| self.drained.since(asked) < ASKED) {
            return None;
        }
        let pause = self.most.min(took.saturating_mul(self.enough) / self.read);
        (pause > 0).then(|| self.drained.after(pause))
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
        gather.until().map(|until| until.since(now))
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
        assert!(Gather::new(0, BUFFER).until().is_none());
    }

    #[test]
    fn a_small_queue_is_not_filled() {
        // 208 KiB, as Linux has it by default, hold 277 small datagrams, or 52 that are charged a page each.
        assert_eq!(after(106_496, 50, 50 * MICRO), Some(13 * MICRO));
    }

    #[test]
    fn a_question_is_not_kept_waiting_for_the_next() {
        let mut gather = Gather::new(500 * MICRO, BUFFER);
        gather.drained(MonoNs(1_000 * MILLI), 7);
        gather.asked(MonoNs(1_000 * MILLI));
        gather.drained(MonoNs(1_001 * MILLI), 50);
        assert_eq!(gather.until(), None);
        gather.drained(MonoNs(1_005 * MILLI), 200);
        assert_eq!(gather.until(), Some(MonoNs(1_005 * MILLI + 500 * MICRO)));
    }
}
