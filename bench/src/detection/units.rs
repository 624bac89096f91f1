//! Spans of simulated time.

use super::Ns;

pub(super) const MILLI: Ns = 1_000_000;
pub(super) const SECOND: Ns = 1_000_000_000;
pub(super) const DAY: Ns = 86_400 * SECOND;

pub(super) fn seconds(ns: Ns) -> f64 {
    ns as f64 / SECOND as f64
}
