//! The one place of this program that reads a clock.

use std::{sync::OnceLock, time::Instant};

/// Nanoseconds since this was first called.
pub(crate) fn now() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}
