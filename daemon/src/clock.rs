//! The only place of this crate that reads clocks.

use nix::time::{ClockId, clock_gettime};
use varta_vlp::time::{MonoNs, Now, WallNs};

/// A daemon's clocks.
pub struct Clock;

impl Clock {
    /// CLOCK_BOOTTIME and CLOCK_REALTIME, in this order. A wall clock before 1970 reads as 0.
    #[must_use]
    pub fn now() -> Now {
        let mono = MonoNs(read(ClockId::CLOCK_BOOTTIME));
        Now { mono, wall: WallNs(read(ClockId::CLOCK_REALTIME)) }
    }

    /// CLOCK_MONOTONIC in microseconds: the timeline of a service manager.
    #[must_use]
    pub fn monotonic_usec() -> u64 {
        read(ClockId::CLOCK_MONOTONIC) / 1000
    }
}

#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "this is the clocks' room; every Linux has these")]
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the kernel keeps this clock");
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
