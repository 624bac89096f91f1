//! The replay window: SPEC, "Replay window".

/// Which of the newest 128 counters of a session were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    newest: u64,
    /// Bit `i` stands for `newest - i`.
    seen: u128,
}

/// What a window says of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Above everything accepted.
    Newest,
    /// Inside the window and not yet accepted.
    Late,
    /// The newest counter, accepted before.
    NewestAgain,
    /// Inside the window and accepted before.
    Replayed,
    /// Below the window.
    TooOld,
}

impl Window {
    /// How many counters a window remembers.
    pub const SIZE: u64 = 128;

    /// A window in which only `counter` was accepted.
    #[must_use]
    pub const fn starting_at(counter: u64) -> Self {
        Self { newest: counter, seen: 1 }
    }

    /// A window read back from disk; bit 0 of `seen`, the newest counter itself, is always set.
    #[must_use]
    pub const fn from_parts(newest: u64, seen: u128) -> Self {
        Self { newest, seen: seen | 1 }
    }

    /// The newest counter, and the bits of those below it.
    #[must_use]
    pub const fn parts(&self) -> (u64, u128) {
        (self.newest, self.seen)
    }

    /// The newest counter accepted.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// Where `counter` stands. Changes nothing.
    #[must_use]
    pub const fn place(&self, counter: u64) -> Place {
        if counter > self.newest {
            return Place::Newest;
        }
        let age = self.newest - counter;
        if age >= Self::SIZE {
            Place::TooOld
        } else if age == 0 {
            Place::NewestAgain
        } else if self.seen >> age & 1 == 1 {
            Place::Replayed
        } else {
            Place::Late
        }
    }

    /// Marks `counter` as accepted; one that is below the window changes nothing.
    pub const fn accept(&mut self, counter: u64) {
        if counter > self.newest {
            let step = counter - self.newest;
            self.seen = if step >= Self::SIZE { 0 } else { self.seen << step } | 1;
            self.newest = counter;
        } else if self.newest - counter < Self::SIZE {
            self.seen |= 1 << (self.newest - counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// The window as the specification says it: a set of all accepted counters.
    struct Model(BTreeSet<u64>);

    impl Model {
        fn newest(&self) -> u64 {
            *self.0.last().unwrap()
        }

        fn place(&self, counter: u64) -> Place {
            let newest = self.newest();
            match counter {
                above if above > newest => Place::Newest,
                same if same == newest => Place::NewestAgain,
                below if below + 128 <= newest => Place::TooOld,
                seen if self.0.contains(&seen) => Place::Replayed,
                _ => Place::Late,
            }
        }
    }

    /// Counters near one another and near the ends, with now and then a leap.
    fn counters() -> impl Strategy<Value = (u64, Vec<i64>)> {
        let start = prop_oneof![0..300u64, (1u64 << 48) - 300..1 << 48];
        let step = prop_oneof![
            6 => -10..10i64,
            3 => -140..140i64,
            1 => prop_oneof![Just(-128i64), Just(-127), Just(127), Just(128), Just(129), 1000..100_000i64],
        ];
        (start, proptest::collection::vec(step, 1..if cfg!(miri) { 20 } else { 200 }))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 3 } else { 2000 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn agrees_with_a_set((start, steps) in counters()) {
            let mut window = Window::starting_at(start);
            let mut model = Model(BTreeSet::from([start]));
            for step in steps {
                let counter = window.newest().saturating_add_signed(step).min((1 << 48) - 1);
                let before = window;
                let place = window.place(counter);
                prop_assert_eq!(window, before);
                prop_assert_eq!(place, model.place(counter), "{} in a window at {}", counter, model.newest());
                // An observer accepts these two only; anything else must leave the window as it is.
                window.accept(counter);
                if matches!(place, Place::Newest | Place::Late) {
                    model.0.insert(counter);
                } else {
                    prop_assert_eq!(window, before);
                }
                prop_assert_eq!(window.newest(), model.newest());
                let (newest, seen) = window.parts();
                prop_assert_eq!(Window::from_parts(newest, seen), window);
            }
        }
    }

    #[test]
    fn edges() {
        let mut window = Window::starting_at(1000);
        window.accept(1127);
        for (counter, place) in [
            (1128, Place::Newest),
            (u64::MAX, Place::Newest),
            (1127, Place::NewestAgain),
            (1126, Place::Late),
            (1001, Place::Late),
            (1000, Place::Replayed),
            (999, Place::TooOld),
            (0, Place::TooOld),
        ] {
            assert_eq!(window.place(counter), place, "{counter}");
        }
        for step in [128, 129, u64::MAX - 1127] {
            let mut leapt = window;
            leapt.accept(1127 + step);
            assert_eq!(leapt.parts(), (1127 + step, 1), "a leap of {step} forgets all");
        }
    }

    #[test]
    fn a_window_read_back_has_seen_its_newest() {
        assert_eq!(Window::from_parts(9, 0), Window::starting_at(9));
        assert_eq!(Window::from_parts(9, 0b100).place(7), Place::Replayed);
        assert_eq!(Window::from_parts(9, 0b100).place(8), Place::Late);
    }
}
