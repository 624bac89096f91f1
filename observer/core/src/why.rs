//! The arithmetic behind a verdict: taken from a slot as plain values, put in words wherever there is time for it.

use std::fmt::{self, Write as _};

use varta_vlp::{Reject, Status, UnitId, sealed::shown_pid};

use crate::{
    Core,
    blind::Cause,
    event::SlotId,
    slot::{Exit, Goodbye, Marks, Phase, Refused},
    time::{MILLI, Now},
};

/// A duration as a person reads it, to the millisecond.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 / MILLI {
            ms @ 0..10_000 => write!(f, "{ms} ms"),
            ms @ 10_000..600_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 600_000..7_200_000 => write!(f, "{} min", ms / 60_000),
            ms => write!(f, "{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
        }
    }
}

/// Everything that a slot's verdict was worked out from, at one instant. [`Display`](fmt::Display) puts it in one line
/// that a person can read. Durations are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Reasons {
    phase: Phase,
    /// Since the newest beat.
    age: u64,
    /// The promise in force; 0 without one.
    due: u64,
    /// From the newest beat to the deadline.
    span: u64,
    /// From now to when it is to be judged.
    left: u64,
    /// From the deadline to now, where the deadline can be mapped.
    overdue: Option<u64>,
    margin: u64,
    misses: u32,
    lag: u64,
    /// Of all datagrams since the newest beat, the share that the kernel dropped; of stalled slots only.
    dropped: f64,
    payload: u32,
    status: Status,
    marks: Marks,
    /// Whether the session had a FINAL.
    finished: bool,
    contest: Option<Contest>,
    refused: Option<Refused>,
    /// How its process ended, if it is known to have.
    exit: Option<Exit>,
}

/// Two live processes that speak for one slot.
#[derive(Clone, Copy, Debug)]
struct Contest {
    left: u64,
    /// What they both speak for.
    what: &'static str,
    pid: u32,
    boot: u64,
    other: Option<(u32, u64)>,
}

impl Reasons {
    /// From the newest beat to the deadline, nanoseconds; `None` where nothing is due.
    #[must_use]
    pub fn span(&self) -> Option<u64> {
        matches!(self.phase, Phase::Live | Phase::Held | Phase::Stalled).then_some(self.span)
    }

    /// Whether a terminal beat, or the kernel's word, ended it badly.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
}

impl Core {
    /// What a slot's verdict was worked out from; `None` if there is no such slot.
    #[must_use]
    pub fn reasons(&self, now: Now, id: SlotId) -> Option<Reasons> {
        let (number, slot) = (id.0, self.table.live_slot(id.0)?);
        let due = slot.next_due();
        let stalled = matches!(slot.phase, Phase::Stalled);
        let unlearned = slot.marks.has(Marks::UNLEARNED);
        let aside = self.aside.get(&number);
        let contest = self.contested_until(number, now.mono).map(|until| Contest {
            left: until.since(now.mono),
            what: if slot.unit == UnitId::NONE { "this pid" } else { "this unit" },
            pid: slot.pid,
            boot: slot.boot,
            other: aside.and_then(|aside| aside.other),
        });
        Some(Reasons {
            phase: slot.phase,
            age: self.age(now, number),
            due,
            span: self.span_of(number, due),
            left: self.table.deadlines.get(number).since(now.mono),
            overdue: (stalled && !unlearned).then(|| now.mono.since(self.deadline_of(number))),
            margin: self.settings.margin,
            misses: self.settings.misses,
            lag: u64::from(slot.lag_us) * 1000,
            dropped: if stalled { self.losses.share_since(self.last_life(number), self.read_in_all()) } else { 0.0 },
            payload: slot.payload,
            status: slot.status,
            marks: slot.marks,
            finished: slot.goodbye != Goodbye::NONE,
            contest,
            refused: aside.and_then(|aside| aside.refused),
            exit: aside.and_then(|aside| aside.exit),
        })
    }

    /// [`Self::reasons`] in words; empty if there is no such slot.
    #[must_use]
    pub fn why(&self, now: Now, id: SlotId) -> String {
        let mut text = String::new();
        if let Some(reasons) = self.reasons(now, id) {
            // Writing to memory does not fail.
            let _ = write!(text, "{reasons}");
        }
        text
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phase(f)?;
        if self.lag > self.margin {
            write!(f, "; the process itself said that its last beat left {} late", Span(self.lag))?;
        }
        if self.dropped > 0.0 {
            write!(f, "; the kernel dropped {:.1} % of all datagrams since", self.dropped * 100.0)?;
        }
        self.contest.map_or(Ok(()), |contest| write!(f, "{contest}"))?;
        self.refused(f)
    }
}

impl Reasons {
    fn phase(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = Span(self.age);
        match self.phase {
            Phase::Departed if self.marks.has(Marks::REVOKED) => write!(f, "revoked, or no longer in the roster"),
            Phase::Departed => write!(f, "said goodbye {age} ago"),
            Phase::Ended => {
                self.end(f)?;
                write!(f, ", {age} ago")
            }
            Phase::Live | Phase::Held => {
                write!(f, "last beat {age} ago")?;
                self.deadline(f)?;
                write!(f, "; due within {}", Span(self.left))
            }
            Phase::Stalled => {
                if let Some(exit) = self.exit {
                    return write!(f, "its process ended without a word ({exit}); last beat {age} ago");
                }
                write!(f, "silent: last beat {age} ago")?;
                self.deadline(f)?;
                self.overdue.map_or(Ok(()), |overdue| write!(f, "; overdue by {}", Span(overdue)))
            }
            Phase::Unknown(cause) => {
                write!(f, "{}; last beat {age} ago", reason_unseen(cause))?;
                self.deadline(f)?;
                write!(f, "; judged in {}", Span(self.left))
            }
        }
    }

    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload {
            _ if !self.marks.has(Marks::TERMINAL) => {
                write!(f, "ended: said goodbye with status {}", self.status.name())
            }
            _ if self.finished && self.status == Status::Ok => {
                write!(f, "ended: said goodbye after a last beat that told of a bad end")
            }
            0 => write!(f, "ended: panic"),
            code @ 1..=255 => write!(f, "ended: exit {code}"),
            signal @ 257..=384 => write!(f, "ended: signal {}", signal - 256),
            other => write!(f, "ended: payload {other}"),
        }
    }

    fn deadline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (due, span, margin) = (Span(self.due), Span(self.span), Span(self.margin));
        if self.due == 0 {
            write!(f, "; promised nothing, so the deadline is the threshold of {span} after it")
        } else if self.marks.has(Marks::HOLD) {
            write!(f, "; announced an absence of {due}, so the deadline is {span} after it (with a margin of {margin})")
        } else {
            let repeats = self.misses.max(1) - 1;
            write!(
                f,
                "; promised the next within {due}, so the deadline is {span} after it (promise, {repeats} more that may be \
                 lost, margin of {margin})"
            )
        }
    }

    fn refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Refused { reason, by, count, older, .. }) = self.refused else { return Ok(()) };
        let frames = if count == 1 { "frame" } else { "frames" };
        let off = Span(by);
        if older {
            return write!(
                f,
                "; {count} authentic {frames} refused since as {}: sent {off} ago by the sender's clock, which was set back \
                 unless they are replays",
                reason.reason()
            );
        }
        write!(f, "; {count} authentic newer {frames} refused since, the last as {}", reason.reason())?;
        match reason {
            Reject::FromFuture => write!(f, ": the sender's clock is {off} ahead of ours"),
            Reject::Stale => write!(f, ": sent {off} ago by the sender's clock, or held back on the way"),
            Reject::Delayed => write!(f, ": held back {off} on the way"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("how is not known"),
            Self::Status(status) => write!(f, "exit {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, what, pid: known, boot, other } = *self;
        write!(f, "; contested for {} more: two live processes speak for {what}", Span(left))?;
        let Some((pid, other)) = other else { return Ok(()) };
        let (known, pid) = (shown_pid(known), shown_pid(pid));
        write!(f, ": pid {known} (boot {boot:016x}) and pid {pid} (boot {other:016x})")
    }
}

const fn reason_unseen(cause: Cause) -> &'static str {
    match cause {
        Cause::Restart => "the observer was restarted and has not heard it since",
        Cause::Gap => "the observer's own loop was held up when the deadline passed",
        Cause::Clock => "the observer's own clock is suspect",
        Cause::Drops => "the kernel dropped so many datagrams that its beats may have been among them",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn spans_read_well() {
        let shown = |ns| Span(ns).to_string();
        assert_eq!(shown(850 * MILLI), "850 ms");
        assert_eq!(shown(12_340 * MILLI), "12.3 s");
        assert_eq!(shown(900 * SECOND), "15 min");
        assert_eq!(shown(9_000 * SECOND), "2 h 30 min");
    }
}
