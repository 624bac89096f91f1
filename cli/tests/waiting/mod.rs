//! Waiting for what another process does.

use std::time::Duration;

/// Looks, and the pause after each: together far longer than anything here takes.
pub(crate) const TURNS: u32 = 12_000;
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TURNS {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::park_timeout(PAUSE);
    }
    panic!("waited in vain: {what}");
}
