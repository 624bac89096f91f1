//! NFD-E of Chen, Toueg and Aguilera (2002), and the two-window detector of Tomsic, Sens, Garcia, Arantes and Sopena (2015).

use std::collections::VecDeque;

use super::{Detector, Heard};
use crate::detection::Ns;

/// The expected arrival of the next beat: the mean of the last n arrivals, each moved to number 0, and the next number.
pub(super) struct Expected {
    every: Ns,
    size: usize,
    window: VecDeque<Ns>,
    sum: i128,
}

impl Expected {
    pub(super) fn new(every: Ns, size: usize) -> Self {
        Self { every, size, window: VecDeque::with_capacity(size + 1), sum: 0 }
    }

    pub(super) fn heard(&mut self, beat: Heard) -> Ns {
        let moved = beat.at - Ns::from(beat.number) * self.every;
        self.window.push_back(moved);
        self.sum += i128::from(moved);
        if self.window.len() > self.size {
            self.sum -= self.window.pop_front().map_or(0, i128::from);
        }
        let mean = self.sum / self.window.len() as i128;
        mean as Ns + Ns::from(beat.number + 1) * self.every
    }
}

/// NFD-E: suspects at the expected arrival and a constant margin.
pub(in crate::detection) struct NfdE {
    expected: Expected,
    margin: Ns,
}

impl NfdE {
    pub(in crate::detection) fn new(every: Ns, window: usize, margin: Ns) -> Self {
        Self { expected: Expected::new(every, window), margin }
    }
}

impl Detector for NfdE {
    fn heard(&mut self, beat: Heard) -> Ns {
        self.expected.heard(beat) + self.margin
    }
}

/// Two estimates, from the last beat and from the last thousand, of which the later one counts.
pub(in crate::detection) struct TwoWindow {
    short: Expected,
    long: Expected,
    margin: Ns,
}

impl TwoWindow {
    pub(in crate::detection) fn new(every: Ns, margin: Ns) -> Self {
        Self { short: Expected::new(every, 1), long: Expected::new(every, 1000), margin }
    }
}

impl Detector for TwoWindow {
    fn heard(&mut self, beat: Heard) -> Ns {
        self.short.heard(beat).max(self.long.heard(beat)) + self.margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(number: u32, at: Ns) -> Heard {
        Heard { number, at }
    }

    #[test]
    fn the_estimate_is_the_mean_delay_of_its_window() {
        let mut detector = NfdE::new(100, 2, 5);
        assert_eq!(detector.heard(beat(1, 110)), 215);
        // Delays 10 and 30: 20 on average. A beat between was lost.
        assert_eq!(detector.heard(beat(3, 330)), 425);
        // Delays 30 and 50: the first has left the window.
        assert_eq!(detector.heard(beat(4, 450)), 545);
    }

    #[test]
    fn of_two_windows_the_later_estimate_counts() {
        let mut detector = TwoWindow::new(100, 5);
        assert_eq!(detector.heard(beat(1, 110)), 215);
        assert_eq!(detector.heard(beat(2, 230)), 335, "the last delay is above the mean");
        assert_eq!(detector.heard(beat(3, 300)), 418, "the mean of 10, 30 and 0 is above the last");
    }
}
