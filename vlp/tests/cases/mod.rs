//! How many cases the property tests try: few where every step is slow.

use proptest::test_runner::Config;

pub(crate) fn cases(native: u32, interpreted: u32) -> Config {
    Config { cases: if cfg!(miri) { interpreted } else { native }, failure_persistence: None, ..Config::default() }
}
