//! Reference detectors, from their papers: each maps what was heard to the instant from which it suspects.
//!
//! All of them know the pace of the sender, as their papers have it, and see a beat's number and its arrival; none sees
//! more but the oracle, which knows the sender's plan on the observer's own clock.

mod bertier;
mod chen;
mod phi;

pub(super) use bertier::Bertier;
pub(super) use chen::{NfdE, TwoWindow};
pub(super) use phi::Phi;

use super::Ns;

/// A beat as a detector sees it.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    pub(super) number: u32,
    /// When the observer read it.
    pub(super) at: Ns,
}

/// A detector of one sender.
pub(super) trait Detector {
    /// The instant from which the sender is suspected unless a newer beat is heard. Beats come in order.
    fn heard(&mut self, beat: Heard) -> Ns;
}

/// Suspects after a fixed silence.
pub(super) struct FixedTimeout(pub(super) Ns);

impl Detector for FixedTimeout {
    fn heard(&mut self, beat: Heard) -> Ns {
        beat.at + self.0
    }
}

/// NFD-S of Chen, Toueg and Aguilera: beat i is planned for `i * every` on the observer's own clock, and at each freshness
/// point `i * every + delta` the sender is suspected unless a beat numbered i or above was heard.
pub(super) struct NfdS {
    pub(super) every: Ns,
    pub(super) delta: Ns,
}

impl Detector for NfdS {
    fn heard(&mut self, beat: Heard) -> Ns {
        Ns::from(beat.number + 1) * self.every + self.delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_of_the_simple_ones() {
        let beat = Heard { number: 4, at: 403 };
        assert_eq!(FixedTimeout(200).heard(beat), 603);
        assert_eq!(NfdS { every: 100, delta: 50 }.heard(beat), 550);
    }
}
