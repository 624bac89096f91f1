//! When the loop should have turned, and when it did. Pure.

use varta_core::{MILLI, MonoNs};

use crate::command::WAKEUP_BUCKETS;

/// A turn that begins later than this after it should have is a gap: the observer did not see.
const GAP: u64 = 500 * MILLI;

/// The loop's own punctuality.
#[derive(Debug)]
pub(super) struct Turns {
    /// When the clock was last read.
    last: MonoNs,
    /// When it should be read again at the latest.
    expected: MonoNs,
}

impl Turns {
    pub(super) const fn new(now: MonoNs) -> Self {
        Self { last: now, expected: now }
    }

    /// The clock was read. If that was late by more than a gap: since when nothing was seen.
    pub(super) fn tick(&mut self, now: MonoNs) -> Option<MonoNs> {
        let from = (now.since(self.expected) > GAP).then_some(self.last);
        (self.last, self.expected) = (now, now);
        from
    }

    /// The loop goes to sleep and is to be woken at `wake`, or by a datagram.
    pub(super) fn sleep_until(&mut self, wake: MonoNs) {
        self.expected = self.last.max(wake);
    }

    /// The first datagram after a sleep came in at `arrived` and should have woken the loop, which began this turn at
    /// `now` and its sleep at `slept`. If it lay there for longer than a gap: since when nothing was seen.
    pub(super) fn overslept(slept: MonoNs, arrived: MonoNs, now: MonoNs) -> Option<MonoNs> {
        (now.since(arrived.max(slept)) > GAP).then_some(slept)
    }

    /// The newest reading.
    pub(super) const fn last(&self) -> MonoNs {
        self.last
    }
}

/// How late the timer's wake-ups were.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pub(super) buckets: [u64; WAKEUP_BUCKETS.len() + 1],
    pub(super) sum_ns: u64,
}

impl Wakeups {
    #[expect(clippy::cast_precision_loss, reason = "a bucket bound needs no 53 bits")]
    pub(super) fn record(&mut self, late: u64) {
        let seconds = late as f64 / 1e9;
        let place = WAKEUP_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(WAKEUP_BUCKETS.len());
        self.buckets[place] += 1;
        self.sum_ns += late;
    }
}

#[cfg(test)]
mod tests {
    use varta_core::SECOND;

    use super::*;

    const fn at(ms: u64) -> MonoNs {
        MonoNs(ms * MILLI)
    }

    #[test]
    fn a_punctual_turn_is_no_gap_however_long_the_sleep() {
        let mut turns = Turns::new(at(0));
        turns.sleep_until(at(3_600_000));
        assert_eq!(turns.tick(at(3_600_400)), None);
        turns.sleep_until(MonoNs::NEVER);
        assert_eq!(turns.tick(at(90_000_000)), None);
    }

    #[test]
    fn a_late_turn_is_a_gap_from_the_last_sign_of_life() {
        let mut turns = Turns::new(at(0));
        turns.sleep_until(at(1_000));
        assert_eq!(turns.tick(at(1_501)), Some(at(0)));
        // Within a turn the next reading is due at once.
        assert_eq!(turns.tick(at(2_001)), None);
        assert_eq!(turns.tick(at(2_502)), Some(at(2_001)));
        // A wake-up that lies in the past is due at once, too.
        turns.sleep_until(at(1));
        assert_eq!(turns.tick(at(3_002)), None);
    }

    #[test]
    fn a_datagram_that_lay_there_tells_of_a_gap_in_a_sleep_without_end() {
        assert_eq!(Turns::overslept(at(0), at(5_000), at(5_400)), None);
        assert_eq!(Turns::overslept(at(1_000), at(5_000), at(5_501)), Some(at(1_000)));
        // A stamp from before the sleep, by a wall clock that was set, counts from the sleep on.
        assert_eq!(Turns::overslept(at(5_200), at(0), at(5_501)), None);
    }

    #[test]
    fn wakeups_fall_into_their_buckets() {
        let mut wakeups = Wakeups::default();
        for late in [0, 100_000, 100_001, SECOND] {
            wakeups.record(late);
        }
        assert_eq!(wakeups.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(wakeups.sum_ns, SECOND + 200_001);
    }
}
