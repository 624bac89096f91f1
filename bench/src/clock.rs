//! The one place of the benchmarks that reads clocks.

use std::time::Duration;

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "this is the clocks' room; every Linux has these")]
fn read(clock: ClockId) -> Duration {
    Duration::from(nix::time::clock_gettime(clock).expect("the kernel keeps this clock"))
}

/// Time since this host booted.
pub(crate) fn boottime() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Time since the Unix epoch.
pub(crate) fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Lets `duration` pass.
pub(crate) fn pass(duration: Duration) {
    let until = boottime() + duration;
    while boottime() < until {
        // An interrupted sleep goes on.
        let _ = clock_nanosleep(
            ClockId::CLOCK_BOOTTIME,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &TimeSpec::from_duration(until),
        );
    }
}

/// Asks every few milliseconds until there is an answer, at most for `limit`.
pub(crate) fn wait_for<T>(
    limit: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let until = boottime() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if boottime() >= until {
            return Ok(None);
        }
        pass(Duration::from_millis(5));
    }
}
