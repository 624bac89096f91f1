//! Randomness from a seed: the same numbers on every machine.

/// Splitmix64.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A stream of its own for each `purpose` of one seed.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut mixed = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        mixed.next();
        mixed
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ b >> 31
    }

    /// Uniform, above 0 and at most 1.
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform from `from` up to `to`.
    pub(super) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Uniform in the logarithm.
    pub(super) fn log_between(&mut self, from: f64, to: f64) -> f64 {
        self.between(from.ln(), to.ln()).exp()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() <= probability
    }

    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Mean 0, deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A length from 1 to `longest` of which the share of those above n is about 1 / n.
    pub(super) fn heavy_tailed(&mut self, longest: f64) -> f64 {
        let least = 1.0 / longest;
        1.0 / self.between(least, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draws: u32, mut draw: impl FnMut(&mut Random) -> f64) -> f64 {
        let mut random = Random::new(1, 1);
        (0..draws).map(|_| draw(&mut random)).sum::<f64>() / f64::from(draws)
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        let near = |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.03, "{value} for {wanted}");
        near(mean(100_000, Random::unit), 0.5);
        near(mean(100_000, |random| random.exponential(3.0)), 3.0);
        near(mean(100_000, |random| random.normal().powi(2)), 1.0);
        near(mean(100_000, |random| f64::from(u8::from(random.chance(0.25)))), 0.25);
        near(mean(400_000, |random| random.heavy_tailed(100.0)), 100.0_f64.ln() / (1.0 - 0.01));
        near(mean(100_000, |random| f64::from(u8::from(random.log_between(1.0, 100.0) < 10.0))), 0.5);
    }

    #[test]
    fn a_seed_is_a_stream_and_each_purpose_has_its_own() {
        let first = |seed, purpose| Random::new(seed, purpose).next();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }
}
