//! The only file of these tests that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longer than anything takes; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is the clock's room")]
pub(crate) fn realtime() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Asks again and again until there is an answer.
#[expect(clippy::disallowed_methods, reason = "this is the clock's room")]
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(3));
    }
}
