//! Bertier, Marin and Sens (2002): Chen's expected arrival, with a margin that follows the errors as TCP's timeout does.

use super::{Detector, Heard, chen::Expected};
use crate::detection::Ns;

const GAMMA: f64 = 0.1;
const BETA: f64 = 1.0;
const PHI: f64 = 4.0;

/// The detector, with the constants of the paper.
pub(in crate::detection) struct Bertier {
    expected: Expected,
    /// For the newest beat heard: its number and the expected arrival of the one after it.
    last: Option<(u32, Ns)>,
    every: Ns,
    delay: f64,
    spread: f64,
}

impl Bertier {
    pub(in crate::detection) fn new(every: Ns) -> Self {
        Self { expected: Expected::new(every, 1000), last: None, every, delay: 0.0, spread: 0.0 }
    }
}

impl Detector for Bertier {
    fn heard(&mut self, beat: Heard) -> Ns {
        if let Some((number, next)) = self.last {
            let expected = next + Ns::from(beat.number - number - 1) * self.every;
            let error = (beat.at - expected) as f64 - self.delay;
            self.delay += GAMMA * error;
            self.spread += GAMMA * (error.abs() - self.spread);
        }
        let next = self.expected.heard(beat);
        self.last = Some((beat.number, next));
        next + (BETA * self.delay + PHI * self.spread) as Ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_follows_the_errors() {
        let mut detector = Bertier::new(1000);
        assert_eq!(detector.heard(Heard { number: 1, at: 1000 }), 2000);
        // 100 late: the mean delay is 50; delay 10, spread 10, so a margin of 10 + 40.
        assert_eq!(detector.heard(Heard { number: 2, at: 2100 }), 3100);
        // Expected at 3050, 40 early by the margin's own delay: delay 10 - 6, spread 10 + 5.
        let deadline = detector.heard(Heard { number: 3, at: 3000 });
        assert_eq!(deadline, 3000 + 1000 + 33 + (4 + 60));
    }
}
