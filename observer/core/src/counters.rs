//! What is counted. `received == accepted + accepted_late + Σ rejected` holds between any two calls of the core.

use crate::{Outcome, blind::Cause};
use varta_vlp::Reject;

/// Datagrams of one listener.
#[derive(Clone, Debug)]
pub struct ListenerCounters {
    /// Handed to the core.
    pub received: u64,
    /// The newest of their sessions.
    pub accepted: u64,
    /// Genuine, and not the newest.
    pub accepted_late: u64,
    /// Refused, by [`Reject::index`].
    pub rejected: [u64; Reject::REASONS.len()],
}

impl Default for ListenerCounters {
    fn default() -> Self {
        Self { received: 0, accepted: 0, accepted_late: 0, rejected: [0; Reject::REASONS.len()] }
    }
}

impl ListenerCounters {
    /// All that were refused.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.received += 1;
        match outcome {
            Outcome::Accepted(_) => self.accepted += 1,
            Outcome::AcceptedLate(_) => self.accepted_late += 1,
            Outcome::Rejected(reject) => {
                if let Some(count) = self.rejected.get_mut(reject.index()) {
                    *count += 1;
                }
            }
            Outcome::Waiting(_) => self.received -= 1,
        }
    }
}

/// Upper bounds of [`Histogram`]'s buckets, seconds.
pub const STALL_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// A histogram over [`STALL_BUCKETS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram {
    /// How many fell into each bucket, not cumulative; the last is for what is above all bounds.
    pub buckets: [u64; STALL_BUCKETS.len() + 1],
    /// The sum of all, nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    #[expect(clippy::cast_precision_loss, reason = "a bucket bound needs no 53 bits")]
    pub(crate) fn record(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let place = STALL_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(STALL_BUCKETS.len());
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.sum_ns += ns;
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Everything the core counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By listener.
    pub listeners: Vec<ListenerCounters>,
    /// Time not seen, nanoseconds, by [`Cause`].
    pub blind_ns: [u64; Cause::ALL.len()],
    /// Frames of a lower class than their slot's.
    pub origin_conflicts: u64,
    /// Stalls told.
    pub stalls: u64,
    /// Verdict time minus deadline of each stall.
    pub stall_detection: Histogram,
    /// Changes that found the queue full.
    pub changes_lost: u64,
    /// Slots that gave way to others.
    pub evictions: u64,
}
