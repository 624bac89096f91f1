//! Every choice of a world, from its seed.

/// Splitmix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The choices of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ b >> 31
    }

    /// A number below `end`; 0 if that is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        let bits = self.next();
        if end == 0 { 0 } else { bits % end }
    }

    /// A number from `first` to `last`, both included.
    pub const fn range(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// A number from `first` to `last`, small ones as likely as large ones on a scale of powers.
    pub fn wide(&mut self, first: u64, last: u64) -> u64 {
        let low = u64::from(first.max(1).ilog2());
        let high = u64::from(last.max(1).ilog2());
        let bits = self.range(low, high);
        self.range(1 << bits, (2 << bits) - 1).clamp(first, last)
    }

    /// A number from `-most` to `most`.
    pub const fn around(&mut self, most: u64) -> i64 {
        self.range(0, 2 * most).cast_signed() - most.cast_signed()
    }

    /// True in so many of a thousand cases.
    pub const fn often(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[place]
    }

    /// A place in a list of that length, if it has any.
    pub fn place(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| usize::try_from(self.below(len as u64)).unwrap_or(0))
    }
}
