//! The one place of this program that reads a clock.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CPU time of this thread.
#[expect(clippy::disallowed_methods, reason = "this is the clock's room")]
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(std::time::Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
