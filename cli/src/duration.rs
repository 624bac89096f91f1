//! Durations as people write them.

use std::time::Duration;

/// "250ms", "1s", "5m": more than nothing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, as in 250ms, 1s, 5m"))?;
    if duration.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(duration) }
}
