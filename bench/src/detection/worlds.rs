//! The four worlds: how a sender plans, what the path loses and delays, and how the sender's own machine stalls it.

use super::{Ns, random::Random, units::*};

/// A sender and the path to its observer.
#[derive(Clone, Copy)]
pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Between two planned beats, which is also what each beat promises; for the promise rounded up to milliseconds.
    pub(super) every: Ns,
    pub(super) loss: Loss,
    pub(super) delay: Delay,
    /// Stalls of the sender: on average one in this time, as long as ..
    pub(super) stalls: Option<SenderStalls>,
}

#[derive(Clone, Copy)]
pub(super) struct SenderStalls {
    /// From one to the next, on average.
    pub(super) every: Ns,
    /// The longest; all lengths up to it are equally frequent.
    pub(super) longest: Ns,
}

#[derive(Clone, Copy)]
pub(super) enum Loss {
    None,
    /// Each beat by itself.
    Independent(f64),
    /// In runs, of which the share of those longer than n beats is about 1 / n, up to the longest.
    Bursts {
        share: f64,
        longest: f64,
    },
}

#[derive(Clone, Copy)]
pub(super) enum Delay {
    /// Nothing fixed, and this on average.
    Exponential(Ns),
    /// 135 ms, a log-normal part of 4 ms in the median, and now and then some seconds of a full queue on the way.
    Wan,
    /// 0.1 ms and 0.05 ms on average.
    Lan,
}

/// W1 to W4.
pub(super) const WORLDS: [World; 4] = [
    World {
        name: "W1",
        what: "a beat a second, 1 % lost, each by itself; delay Exp(20 ms)",
        every: SECOND,
        loss: Loss::Independent(0.01),
        delay: Delay::Exponential(20 * MILLI),
        stalls: None,
    },
    World {
        name: "W2",
        what: "a beat each 103.5 ms over a WAN, 0.4 % lost in heavy-tailed bursts, a few of minutes",
        every: 103_500_000,
        loss: Loss::Bursts { share: 0.004, longest: 1500.0 },
        delay: Delay::Wan,
        stalls: None,
    },
    World {
        name: "W3",
        what: "a beat each 300 ms on a LAN, the sender stalled once a minute for up to 1.3 s",
        every: 300 * MILLI,
        loss: Loss::None,
        delay: Delay::Lan,
        stalls: Some(SenderStalls { every: 60 * SECOND, longest: 1300 * MILLI }),
    },
    World {
        name: "W4",
        what: "a beat each 100 ms on a LAN that loses nothing",
        every: 100 * MILLI,
        loss: Loss::None,
        delay: Delay::Lan,
        stalls: None,
    },
];

/// A slow sender on a lossy path, heard by an observer that is held up: not one of the four worlds, but the one in which a
/// beat that had to wait through a stall of the observer is missed most.
pub(super) const SLOW: World = World {
    name: "slow",
    what: "a beat each 10 s, 1 % lost, each by itself; delay Exp(20 ms)",
    every: 10 * SECOND,
    loss: Loss::Independent(0.01),
    delay: Delay::Exponential(20 * MILLI),
    stalls: None,
};

impl World {
    /// What each beat promises, milliseconds.
    pub(super) fn promise_ms(&self) -> u32 {
        u32::try_from((self.every + MILLI - 1) / MILLI).unwrap_or(u32::MAX)
    }
}

/// What a path does to one beat after another.
pub(super) struct Path {
    loss: Loss,
    delay: Delay,
    random: Random,
    /// Beats of the present burst that are still to be lost.
    burst: u32,
    /// What the full queue on the way adds, and by how much it shrinks with each beat.
    queue: f64,
    arrived: Ns,
}

impl Path {
    pub(super) fn new(world: &World, random: Random) -> Self {
        Self { loss: world.loss, delay: world.delay, random, burst: 0, queue: 0.0, arrived: 0 }
    }

    /// When a beat sent at `sent` arrives, if it does. A path keeps the order.
    pub(super) fn carry(&mut self, sent: Ns) -> Option<Ns> {
        let lost = self.loses();
        let delay = self.delay();
        if lost {
            return None;
        }
        self.arrived = (sent + delay as Ns).max(self.arrived + 1);
        Some(self.arrived)
    }

    fn loses(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Independent(share) => self.random.chance(share),
            Loss::Bursts { share, longest } => {
                if self.burst == 0 {
                    // The mean length of whole beats is half a beat below that of the continuous lengths.
                    let mean = longest.ln() / (1.0 - 1.0 / longest) - 0.5;
                    let begins = share / (mean * (1.0 - share));
                    if !self.random.chance(begins) {
                        return false;
                    }
                    self.burst = self.random.heavy_tailed(longest) as u32;
                }
                self.burst -= 1;
                true
            }
        }
    }

    fn delay(&mut self) -> f64 {
        let milli = MILLI as f64;
        match self.delay {
            Delay::Exponential(mean) => self.random.exponential(mean as f64),
            Delay::Lan => 0.1 * milli + self.random.exponential(0.05 * milli),
            Delay::Wan => {
                self.queue *= 0.9;
                if self.random.chance(1.0 / 5000.0) {
                    self.queue += self.random.exponential(80.0 * milli).min(400.0 * milli);
                }
                135.0 * milli + self.queue + 4.0 * milli * (0.8 * self.random.normal()).exp()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_its_share_and_keeps_the_order() {
        // Few bursts are most of what is lost in the second world.
        for (world, share, tolerance) in [(0, 0.01, 0.1), (1, 0.004, 0.35), (3, 0.0, 0.0)] {
            let world = &WORLDS[world];
            let mut path = Path::new(world, Random::new(3, 0));
            let (mut lost, mut last, mut longest, mut run) = (0, 0, 0, 0);
            let count = 3_000_000;
            for number in 0..count {
                match path.carry(number * world.every) {
                    Some(arrived) => {
                        assert!(arrived > last && arrived > number * world.every);
                        (last, run) = (arrived, 0);
                    }
                    None => {
                        (lost, run) = (lost + 1, run + 1);
                        longest = longest.max(run);
                    }
                }
            }
            let found = f64::from(lost) / count as f64;
            assert!((found - share).abs() <= share * tolerance, "{}: {found} lost", world.name);
            if matches!(world.loss, Loss::Bursts { .. }) {
                assert!(longest > 580, "a burst of a minute, not of {longest} beats");
            }
        }
    }

    #[test]
    fn a_promise_is_not_shorter_than_the_plan() {
        assert_eq!(WORLDS.map(|world| world.promise_ms()), [1000, 104, 300, 100]);
    }
}
