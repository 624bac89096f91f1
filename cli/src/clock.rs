//! The one place of the command line that reads clocks.

use std::time::Duration;

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn read(clock: ClockId) -> u64 {
    nix::time::clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn realtime() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// Nanoseconds since this host booted.
pub(crate) fn boottime() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Returns when [`boottime`] has reached `at`.
pub(crate) fn sleep_until(at: u64) {
    let until = TimeSpec::from_duration(Duration::from_nanos(at));
    while boottime() < at {
        // An interrupted sleep goes on.
        let _ = clock_nanosleep(ClockId::CLOCK_BOOTTIME, ClockNanosleepFlags::TIMER_ABSTIME, &until);
    }
}
