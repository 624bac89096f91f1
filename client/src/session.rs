//! When a session begins and what each of its frames is stamped with: SPEC, "Sender".
//!
//! Nothing here reads a clock, draws randomness or sends: time and jitter come in as arguments, so that a simulator can
//! drive it. There is one [`Session`] for each audience, and one [`Starts`] for the whole process.

use std::sync::atomic::{AtomicU64, Ordering};

use varta_vlp::sealed::Flags;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// A clock that was set back by no more than this keeps its sessions ordered.
const SMALL_STEP_BACK_NS: u64 = 10 * SECOND;
/// A timeline this far from the wall clock is given up.
const MAX_DRIFT_NS: u64 = 500 * MS;
/// A new timeline this far from the old one is said to have stepped.
const STEPPED_NS: u64 = 50 * MS;
/// The age of a process's first session.
const FIRST_AGE_NS: u64 = 15 * SECOND;
/// The least age of any other, and the width of its jitter: 10 min, 10 % either way.
const LEAST_AGE_NS: u64 = 540 * SECOND;
const AGE_JITTER_NS: u64 = 120 * SECOND;
/// A session ends before this counter.
const COUNTER_END: u64 = 1 << 32;

/// The two clocks of a sender, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderTime {
    /// Nanoseconds since the Unix epoch. May step either way.
    pub realtime_ns: u64,
    /// Nanoseconds since the host was booted, sleep included. Never steps back while the host runs.
    pub boottime_ns: u64,
}

/// The session starts that this process has used, whatever their audience.
#[derive(Debug, Default)]
pub struct Starts {
    last: AtomicU64,
    largest: AtomicU64,
    before_step: AtomicU64,
}

impl Clone for Starts {
    /// What a copied memory image holds. Two copies give out the same starts under the same clock.
    fn clone(&self) -> Self {
        let copy = |value: &AtomicU64| AtomicU64::new(value.load(Ordering::Acquire));
        Self { last: copy(&self.last), largest: copy(&self.largest), before_step: copy(&self.before_step) }
    }
}

impl Starts {
    /// No start used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: AtomicU64::new(0), largest: AtomicU64::new(0), before_step: AtomicU64::new(0) }
    }

    /// The start that a session beginning at `realtime_ns` would have, and whether the clock was set back too far for
    /// it to stand above the last.
    fn next(last: u64, realtime_ns: u64) -> (u64, bool) {
        if realtime_ns > last {
            (realtime_ns, false)
        } else if last - realtime_ns <= SMALL_STEP_BACK_NS {
            (last.saturating_add(1), false)
        } else {
            (realtime_ns, true)
        }
    }

    fn candidate(&self, realtime_ns: u64) -> u64 {
        Self::next(self.last.load(Ordering::Acquire), realtime_ns).0
    }

    /// Takes a start. Two calls give the same one only if the clock was set back by more than 10 s between them.
    fn take(&self, realtime_ns: u64) -> u64 {
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let (start, far_back) = Self::next(last, realtime_ns);
            if far_back {
                let largest = self.largest.load(Ordering::Acquire).max(last);
                self.before_step.fetch_max(largest, Ordering::AcqRel);
            }
            match self.last.compare_exchange_weak(last, start, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.largest.fetch_max(start, Ordering::AcqRel);
                    return start;
                }
                Err(now) => last = now,
            }
        }
    }
}

/// Why a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The first of its process for this audience and unit, or the first of a handle.
    Connect,
    /// The transport was connected anew.
    Reconnect,
    /// The process was forked.
    Fork,
    /// The last session said goodbye.
    Farewell,
    /// The wall clock and the session's timeline are more than 500 ms apart.
    Clock,
    /// The wall clock has passed the largest start that was used before it was set back.
    CaughtUp,
    /// The counter has come to 2^32.
    Counter,
    /// The session has lived its time.
    Age,
}

/// What a frame is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the session began, nanoseconds since the Unix epoch.
    pub session_start: u64,
    /// The frame's place in the session, from 0. Never given out twice.
    pub counter: u64,
    /// Nanoseconds since the Unix epoch on the session's own timeline.
    pub sent_at: u64,
    /// CONTINUES and STEPPED, as they stand for the whole session.
    pub flags: Flags,
    /// Why a session began with this frame, if one did.
    pub began: Option<Cause>,
    /// Whether the session that began starts below the one before it.
    pub regressed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Timeline {
    start: u64,
    boottime_ns: u64,
    max_age_ns: u64,
    counter: u64,
    sent_at: u64,
    flags: Flags,
}

impl Timeline {
    fn elapsed(&self, now: SenderTime) -> u64 {
        now.boottime_ns.saturating_sub(self.boottime_ns)
    }

    fn at(&self, now: SenderTime) -> u64 {
        self.start.saturating_add(self.elapsed(now))
    }

    fn expired(&self, now: SenderTime, starts: &Starts) -> Option<Cause> {
        let before_step = starts.before_step.load(Ordering::Acquire);
        // Against the start that a new session would get, not the bare wall clock: while starts are held above a clock
        // that was set back a little, a new session would bring the timeline no nearer to it.
        if self.at(now).abs_diff(starts.candidate(now.realtime_ns)) > MAX_DRIFT_NS {
            Some(Cause::Clock)
        } else if self.start < before_step && now.realtime_ns > before_step {
            Some(Cause::CaughtUp)
        } else if self.counter >= COUNTER_END {
            Some(Cause::Counter)
        } else if self.elapsed(now) > self.max_age_ns {
            Some(Cause::Age)
        } else {
            None
        }
    }
}

/// The sessions of one audience, one after another.
#[derive(Clone, Debug)]
pub struct Session {
    timeline: Option<Timeline>,
    continues: bool,
    wanted: Option<Cause>,
}

impl Session {
    /// The first frame begins a session. It continues an earlier one if this process had one for the same audience and
    /// unit.
    #[must_use]
    pub const fn new(continues: bool) -> Self {
        Self { timeline: None, continues, wanted: Some(Cause::Connect) }
    }

    /// The next frame begins a session that continues this one.
    pub fn renew(&mut self, cause: Cause) {
        self.wanted.get_or_insert(cause);
    }

    /// The next frame begins a session that continues nothing, or one that this process had under another unit.
    pub fn restart(&mut self, cause: Cause, continues: bool) {
        *self = Self { timeline: None, continues, wanted: Some(cause) };
    }

    /// Whether any frame was stamped since the session was made or restarted.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.timeline.is_some()
    }

    /// Stamps the next frame, which begins a new session where one is due. The counter is spent whatever becomes of the
    /// frame. `jitter` is any random number; it spreads the ages of sessions.
    pub fn stamp(&mut self, now: SenderTime, starts: &Starts, jitter: u64) -> Stamp {
        let due = self.wanted.take().or_else(|| self.timeline.and_then(|timeline| timeline.expired(now, starts)));
        let (mut timeline, regressed) = match (self.timeline, due) {
            (Some(timeline), None) => (timeline, false),
            (old, _) => self.begin(old, now, starts, jitter),
        };
        let sent_at = timeline.sent_at.saturating_add(1).max(timeline.at(now));
        let stamp = Stamp {
            session_start: timeline.start,
            counter: timeline.counter,
            sent_at,
            flags: timeline.flags,
            began: due,
            regressed,
        };
        timeline.counter += 1;
        timeline.sent_at = sent_at;
        self.timeline = Some(timeline);
        stamp
    }

    fn begin(&mut self, old: Option<Timeline>, now: SenderTime, starts: &Starts, jitter: u64) -> (Timeline, bool) {
        let start = starts.take(now.realtime_ns);
        let mut flags = Flags::default();
        if self.continues {
            flags = flags.with(Flags::CONTINUES);
        }
        if old.is_some_and(|old| old.at(now).abs_diff(start) > STEPPED_NS) {
            flags = flags.with(Flags::STEPPED);
        }
        let max_age_ns = if self.continues { LEAST_AGE_NS + jitter % (AGE_JITTER_NS + 1) } else { FIRST_AGE_NS };
        self.continues = true;
        let timeline = Timeline {
            start,
            boottime_ns: now.boottime_ns,
            max_age_ns,
            counter: 0,
            // The first frame is stamped with the start itself.
            sent_at: start.saturating_sub(1),
            flags,
        };
        (timeline, old.is_some_and(|old| start < old.start))
    }
}

#[cfg(test)]
mod tests;
