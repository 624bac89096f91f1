//! The only place of this crate that reads a clock.

use std::io;

use nix::time::{ClockId, clock_gettime};

use crate::session::SenderTime;

/// Reads CLOCK_REALTIME and CLOCK_BOOTTIME. A wall clock before 1970 reads as 0.
///
/// # Errors
/// The operating system's, where a clock is missing or may not be read.
pub(crate) fn now() -> io::Result<SenderTime> {
    Ok(SenderTime { realtime_ns: read(ClockId::CLOCK_REALTIME)?, boottime_ns: read(ClockId::CLOCK_BOOTTIME)? })
}

#[expect(clippy::disallowed_methods, reason = "this is the room where clocks are read")]
fn read(clock: ClockId) -> io::Result<u64> {
    let time = clock_gettime(clock)?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
