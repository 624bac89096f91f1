//! When a listener is flooded with what its headers give away, and when that is over. Pure.

use varta_core::{MonoNs, SECOND};

/// A second with more refusals than this is part of a flood.
const MOST: u64 = 10_000;
/// After so many seconds without a flood it is over.
const QUIET: u64 = 10;

/// Refusals, counted by the second.
#[derive(Debug)]
pub(super) struct Flood {
    /// When the present second began.
    second: MonoNs,
    /// Refused in it.
    held: u64,
    /// Quiet seconds before it.
    quiet: u64,
}

impl Flood {
    pub(super) const fn new() -> Self {
        Self { second: MonoNs(0), held: 0, quiet: 0 }
    }

    /// So many `more` were refused up to now: whether this second is flooded. The same instant begins a watch for its end.
    pub(super) fn begins(&mut self, now: MonoNs, more: u64) -> bool {
        if now.since(self.second) >= SECOND {
            (self.second, self.held) = (now, 0);
        }
        self.held += more;
        if self.held <= MOST {
            return false;
        }
        *self = Self { second: now, ..Self::new() };
        true
    }

    /// So many `more` were refused up to now: whether enough seconds were quiet. The same instant begins a watch for the
    /// next flood.
    pub(super) fn is_over(&mut self, now: MonoNs, more: u64) -> bool {
        self.held += more;
        let passed = now.since(self.second) / SECOND;
        if passed == 0 {
            return false;
        }
        self.quiet = if self.held > MOST { 0 } else { self.quiet + passed };
        (self.second, self.held) = (now, 0);
        if self.quiet < QUIET {
            return false;
        }
        *self = Self { second: now, ..Self::new() };
        true
    }

    /// While a flood lasts, when to look again at the latest.
    pub(super) const fn next(&self) -> MonoNs {
        self.second.after(SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(tenths: u64) -> MonoNs {
        MonoNs(100 * SECOND + tenths * SECOND / 10)
    }

    #[test]
    fn a_second_with_more_than_the_most_is_flooded() {
        let mut flood = Flood::new();
        assert!(!flood.begins(at(0), MOST));
        assert!(flood.begins(at(9), 1));
        assert!(!flood.begins(at(10), MOST), "it is counted anew");
    }

    #[test]
    fn as_many_in_more_than_a_second_are_no_flood() {
        let mut flood = Flood::new();
        for second in 0..20 {
            assert!(!flood.begins(at(10 * second), MOST / 2));
            assert!(!flood.begins(at(10 * second + 5), MOST / 2));
        }
        // Nobody looked for long; what came came now.
        assert!(flood.begins(at(5000), MOST + 1));
    }

    #[test]
    fn it_is_over_after_quiet_seconds_in_a_row() {
        let mut flood = Flood::new();
        assert!(flood.begins(at(0), MOST + 1));
        for second in 1..QUIET {
            assert!(!flood.is_over(at(10 * second), MOST));
        }
        assert!(!flood.is_over(at(10 * QUIET), MOST + 1), "not quiet");
        for second in 1..QUIET {
            assert_eq!(flood.next(), at(10 * (QUIET + second)));
            assert!(!flood.is_over(at(10 * (QUIET + second)), 0));
        }
        assert!(!flood.is_over(at(20 * QUIET - 1), 0));
        assert!(flood.is_over(at(20 * QUIET), 0));
    }

    #[test]
    fn seconds_in_which_nobody_looked_count() {
        let mut flood = Flood::new();
        assert!(flood.begins(at(0), MOST + 1));
        assert!(flood.is_over(at(10 * QUIET + 3), 17));
    }
}
