//! What a handle counts, promises and plans from beat to beat, whatever the way they travel.

use std::time::Duration;

use varta_vlp::{
    Frame, Status, UnitId,
    sealed::{Body, Flags},
};

use crate::client::{Beat, BeatKind};

/// A promise above this is long.
const LONG_PROMISE_MS: u32 = 60_000;

/// The run of a handle's beats.
pub(super) struct Course {
    promise_ms: u32,
    /// When the sender's own plan has the next beat, by boottime.
    planned_ns: Option<u64>,
    nonce: u64,
    last: (Status, u32),
}

impl Course {
    /// No beat yet; each is to promise another within `promise_ms`, 0 for no promise.
    pub(super) const fn new(promise_ms: u32) -> Self {
        Self { promise_ms, planned_ns: None, nonce: 1, last: (Status::Ok, 0) }
    }

    /// The next beat has nonce 1.
    pub(super) const fn count_anew(&mut self) {
        self.nonce = 1;
    }

    /// This is a forked child, which has not beaten yet and has planned nothing.
    pub(super) const fn enter_child(&mut self) {
        self.nonce = 1;
        self.planned_ns = None;
    }

    /// The last beat's status and payload again, and an absence.
    pub(super) fn hold(&self, absence: Duration) -> Beat {
        let (status, payload) = self.last;
        Beat { status, payload, kind: BeatKind::Hold(whole_ms(absence).max(1)) }
    }

    /// What `beat` says at `boottime_ns`, without a unit, a boot and `sent_at`. Takes its nonce.
    pub(super) fn body(&mut self, beat: Beat, pid: u32, boottime_ns: u64, first_connect_ns: u64) -> Body {
        let nonce = match beat.kind {
            BeatKind::Terminal => Frame::TERMINAL,
            BeatKind::Life | BeatKind::Final | BeatKind::Hold(_) => {
                let nonce = self.nonce;
                self.nonce = Frame::next_nonce(nonce);
                nonce
            }
        };
        let (next_due_ms, flags) = match beat.kind {
            BeatKind::Life => (self.promise_ms, Flags::default()),
            BeatKind::Hold(absence_ms) => (absence_ms, Flags::HOLD),
            BeatKind::Final => (0, Flags::FINAL),
            BeatKind::Terminal => (0, Flags::default()),
        };
        let late_us = self.planned_ns.map_or(0, |planned| boottime_ns.saturating_sub(planned) / 1_000);
        Body {
            frame: Frame {
                status: beat.status,
                pid,
                timestamp: boottime_ns.saturating_sub(first_connect_ns),
                nonce,
                payload: beat.payload,
            },
            sent_at: 0,
            next_due_ms,
            lag_us: u32::try_from(late_us).unwrap_or(u32::MAX),
            unit: UnitId::NONE,
            flags,
            boot: 0,
        }
    }

    /// `body` was made and handed on at `boottime_ns`: the plan is what it promises.
    pub(super) fn said(&mut self, body: &Body, boottime_ns: u64) {
        self.last = (body.frame.status, body.frame.payload);
        self.planned_ns =
            (body.next_due_ms > 0).then(|| boottime_ns.saturating_add(u64::from(body.next_due_ms) * 1_000_000));
    }
}

/// Whether `body` had better not be lost: it ends something, or promises another beat only after long.
pub(super) const fn matters(body: &Body) -> bool {
    body.frame.is_terminal() || body.flags.has(Flags::FINAL) || body.next_due_ms > LONG_PROMISE_MS
}

/// Whole milliseconds, rounded up, held to what the protocol can carry (49 days).
pub(super) fn whole_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        assert_eq!(whole_ms(Duration::ZERO), 0);
        assert_eq!(whole_ms(Duration::from_nanos(1)), 1);
        assert_eq!(whole_ms(Duration::from_millis(7)), 7);
        assert_eq!(whole_ms(Duration::MAX), u32::MAX);
    }

    #[test]
    fn ends_and_long_promises_matter() {
        let mut course = Course::new(60_000);
        let mut matter = |kind| matters(&course.body(Beat { status: Status::Critical, payload: 0, kind }, 2, 0, 0));
        assert!(matter(BeatKind::Final));
        assert!(matter(BeatKind::Terminal));
        assert!(matter(BeatKind::Hold(60_001)));
        assert!(!matter(BeatKind::Hold(60_000)));
        assert!(!matter(BeatKind::Life));
    }
}
