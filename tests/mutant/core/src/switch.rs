//! Which rule is switched off, in this thread.

use std::cell::Cell;

/// Every rule that can be switched off, by its name.
pub const RULES: [&str; 15] = [
    "barrier",
    "horizon",
    "session order",
    "delay bound",
    "offset leak",
    "eviction rule",
    "agent barrier",
    "per-frame salt",
    "STEPPED",
    "promise ceiling",
    "freshness",
    "replay window",
    "generation",
    "death",
    "blindness",
];

thread_local! {
    static OFF: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Switches a rule off in this thread, and every other on.
pub fn set_off(rule: Option<&'static str>) {
    OFF.set(rule);
}

/// Whether that rule is off.
#[must_use]
pub fn off(rule: &str) -> bool {
    OFF.get().is_some_and(|off| off == rule)
}
