//! The phi-accrual detector of Hayashibara, Defago, Yared and Katayama (2004): the last thousand times between two arrivals
//! taken for normal, and suspicion when a silence is so long that a longer one has the probability 10^-phi.

use std::collections::VecDeque;

use super::{Detector, Heard};
use crate::detection::Ns;

const WINDOW: usize = 1000;
/// Until there are so many, the pace itself stands in.
const LEAST: usize = 2;

/// The detector for one threshold.
pub(in crate::detection) struct Phi {
    every: Ns,
    /// Deviations above the mean at which the threshold lies.
    deviations: f64,
    last: Option<Ns>,
    window: VecDeque<Ns>,
    /// Of the differences to the pace, so that squares stay small enough to be exact.
    sum: i128,
    squares: i128,
}

impl Phi {
    pub(in crate::detection) fn new(every: Ns, threshold: f64) -> Self {
        let window = VecDeque::with_capacity(WINDOW + 1);
        Self { every, deviations: deviations(threshold), last: None, window, sum: 0, squares: 0 }
    }

    fn note(&mut self, interval: Ns) {
        let off = i128::from(interval - self.every);
        self.window.push_back(interval);
        self.sum += off;
        self.squares += off * off;
        if self.window.len() > WINDOW
            && let Some(old) = self.window.pop_front()
        {
            let off = i128::from(old - self.every);
            self.sum -= off;
            self.squares -= off * off;
        }
    }
}

impl Detector for Phi {
    fn heard(&mut self, beat: Heard) -> Ns {
        if let Some(last) = self.last.replace(beat.at) {
            self.note(beat.at - last);
        }
        if self.window.len() < LEAST {
            return beat.at + 10 * self.every;
        }
        let count = self.window.len() as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.squares as f64 / count - mean * mean).max(0.0);
        beat.at + self.every + (mean + self.deviations * variance.sqrt()) as Ns
    }
}

/// Where the upper tail of the normal distribution has the probability 10^-phi.
fn deviations(phi: f64) -> f64 {
    let wanted = -phi * std::f64::consts::LN_10;
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if log_tail(middle) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The logarithm of the upper tail at `x`, by the continued fraction of Laplace; good from about 1 on.
fn log_tail(x: f64) -> f64 {
    let fraction = (1..=200).rev().fold(x, |below, k| x + f64::from(k) / below);
    -x * x / 2.0 - (std::f64::consts::TAU.sqrt()).ln() - fraction.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_points_of_the_normal_tail() {
        // Tables: a tail of 10^-3 begins at 3.0902, of 10^-8 at 5.6120, of 10^-12 at 7.0345.
        for (phi, wanted) in [(3.0, 3.0902), (8.0, 5.6120), (12.0, 7.0345)] {
            assert!((deviations(phi) - wanted).abs() < 1e-4, "{}", deviations(phi));
        }
    }

    #[test]
    fn the_deadline_is_the_mean_and_so_many_deviations() {
        let mut detector = Phi::new(1_000_000, 8.0);
        let mut at = 0;
        let mut deadline = 0;
        for number in 1..=2000 {
            at += if number % 2 == 0 { 900_000 } else { 1_100_000 };
            deadline = detector.heard(Heard { number, at });
        }
        let wanted = at as f64 + 1_000_000.0 + 5.6120 * 100_000.0;
        assert!((deadline as f64 - wanted).abs() < 20.0, "{deadline} for {wanted}");
    }
}
