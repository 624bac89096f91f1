//! The one place of `varta keys` that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use varta_client::keyfile::UnixSeconds;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "this is the clock's room")]
pub(super) fn now() -> anyhow::Result<UnixSeconds> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.context("this machine's clock stands before 1970; set it")?;
    Ok(UnixSeconds(since.as_secs()))
}
