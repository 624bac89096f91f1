//! What becomes of a datagram on its way: lost, delayed, doubled, overtaken.

use varta_core::MILLI;

use crate::rng::Rng;

/// The way between agents and observers. Shares in thousandths, times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Lost.
    pub loss: u64,
    /// The least delay.
    pub delay: u64,
    /// Up to so much more.
    pub jitter: u64,
    /// Held up for long.
    pub spikes: u64,
    /// Up to so long.
    pub spike: u64,
    /// Delivered twice.
    pub doubles: u64,
    /// Taken by the attacker.
    pub withheld: u64,
}

impl Network {
    /// A way on which nothing happens but a delay of a millisecond.
    #[must_use]
    pub const fn calm() -> Self {
        Self { loss: 0, delay: MILLI, jitter: 0, spikes: 0, spike: 0, doubles: 0, withheld: 0 }
    }

    /// The delays after which a datagram is delivered, once for each time.
    pub fn fates(&self, rng: &mut Rng) -> Vec<u64> {
        if rng.often(self.loss) {
            return Vec::new();
        }
        let times = if rng.often(self.doubles) { 2 } else { 1 };
        let delay = |rng: &mut Rng| {
            let spike = if rng.often(self.spikes) { rng.below(self.spike + 1) } else { 0 };
            self.delay + rng.below(self.jitter + 1) + spike
        };
        (0..times).map(|_| delay(rng)).collect()
    }
}
