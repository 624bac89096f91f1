//! What one observer says of one slot.

use varta_vlp::{
    frame::Status,
    report::{Entry, Touch},
    subject::{Class, Verdict},
    time::MILLI,
};

use super::At;

/// Where a view is kept: whose it is, and where in that observer's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViewId {
    pub(super) handle: u32,
    pub(super) observer: u16,
    pub(super) lane: Lane,
}

/// One of an observer's tables: those of one life are beside those of the life before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(u8);

impl Lane {
    pub(super) const COUNT: usize = 4;
    const ROSTER: u8 = 2;

    pub(super) const ALL: [Self; Self::COUNT] = [Self(0), Self(1), Self(2), Self(3)];

    /// Slots, or places in the roster, of an odd or an even life.
    pub(super) const fn new(odd: bool, roster: bool) -> Self {
        Self((odd as u8) | if roster { Self::ROSTER } else { 0 })
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const fn is_odd(self) -> bool {
        self.0 & 1 == 1
    }
}

impl ViewId {
    /// No view.
    pub(super) const NONE: Self = Self { handle: u32::MAX, observer: u16::MAX, lane: Lane(0) };

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// One observer's view of one unit.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) unit: u32,
    /// The unit's next view.
    pub(super) next: ViewId,
    pub(super) verdict: Verdict,
    pub(super) status: Status,
    pub(super) class: Class,
    /// A terminal beat ended it.
    pub(super) ended: bool,
    pub(super) payload: u32,
    /// When its newest beat left it.
    pub(super) heard: Option<At>,
    /// From that beat to its deadline, milliseconds.
    pub(super) span_ms: Option<u32>,
    /// Since when it has this verdict.
    pub(super) since: At,
    pub(super) session: u64,
    pub(super) restarts: u32,
    pub(super) stalls: u32,
    pub(super) beats: u64,
    pub(super) lag_us: u32,
    pub(super) pid: u32,
    /// The observer's reasons; none where the verdict needs none.
    pub(super) why: Option<Box<str>>,
    pub(super) labels: u32,
}

fn ago(now: At, ms: u32) -> At {
    now.before(u64::from(ms) * MILLI)
}

impl Record {
    /// The view that `entry` tells at `now`, of `unit`, whose label set is `labels`.
    pub(super) fn new(now: At, entry: &Entry<'_>, unit: u32, labels: u32) -> Self {
        Self {
            unit,
            next: ViewId::NONE,
            verdict: entry.verdict,
            status: entry.status,
            class: entry.class,
            ended: entry.ended,
            payload: entry.payload,
            heard: entry.age_ms.map(|ms| ago(now, ms)),
            span_ms: entry.span_ms,
            since: entry.since_ms.map_or(now, |ms| ago(now, ms)),
            session: entry.session,
            restarts: entry.restarts,
            stalls: entry.stalls,
            beats: entry.beats,
            lag_us: entry.lag_us,
            pid: entry.pid,
            why: (!entry.why.is_empty()).then(|| entry.why.into()),
            labels,
        }
    }

    /// Takes over what moves all the time.
    pub(super) fn touch(&mut self, now: At, touch: &Touch) {
        self.heard = touch.age_ms.map(|ms| ago(now, ms)).or(self.heard);
        self.span_ms = touch.span_ms;
        self.payload = touch.payload;
        self.lag_us = touch.lag_us;
    }

    /// Whether it says that its process lives.
    pub(super) fn is_alive(&self) -> bool {
        match self.verdict {
            Verdict::Up | Verdict::Degraded => true,
            Verdict::Critical => !self.ended,
            _ => false,
        }
    }
}
