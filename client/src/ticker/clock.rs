//! The only place of the ticker that reads a clock.

use std::time::{Duration, Instant};

/// A stopwatch that starts now, and stands still while the host sleeps, as the program does.
#[expect(clippy::disallowed_methods, reason = "this is the room where clocks are read")]
pub(super) fn stopwatch() -> impl Fn() -> Duration {
    let began = Instant::now();
    move || began.elapsed()
}
