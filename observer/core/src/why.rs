//! The arithmetic behind a verdict, in words.

use std::fmt::Write as _;

use varta_vlp::{Reject, Status, UnitId, sealed::shown_pid};

use crate::{
    Core,
    blind::Cause,
    event::SlotId,
    slot::{Marks, Phase, Refused},
    time::{MILLI, MonoNs, Now},
};

/// A duration as a person reads it, to the millisecond.
struct Span(u64);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 / MILLI {
            ms @ 0..10_000 => write!(f, "{ms} ms"),
            ms @ 10_000..600_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 600_000..7_200_000 => write!(f, "{} min", ms / 60_000),
            ms => write!(f, "{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
        }
    }
}

impl Core {
    /// Everything that a slot's verdict was worked out from, in one line that a person can read.
    #[must_use]
    pub fn why(&self, now: Now, id: SlotId) -> String {
        let mut text = String::new();
        if self.table.live_slot(id.0).is_some() {
            self.why_phase(&mut text, now, id.0);
            self.why_contest(&mut text, now.mono, id.0);
            self.why_refused(&mut text, id.0);
        }
        text
    }

    fn why_phase(&self, text: &mut String, now: Now, number: u32) {
        let slot = self.table.slot(number);
        let age = Span(self.age(now, number));
        let _ = match slot.phase {
            Phase::Departed if slot.marks.has(Marks::REVOKED) => write!(text, "revoked, or no longer in the roster"),
            Phase::Departed => write!(text, "said goodbye {age} ago"),
            Phase::Ended => {
                self.why_ended(text, number);
                write!(text, ", {age} ago")
            }
            Phase::Live | Phase::Held => {
                let _ = write!(text, "last beat {age} ago");
                self.why_deadline(text, number);
                let left = self.table.deadlines.get(number).since(now.mono);
                write!(text, "; due within {}", Span(left))
            }
            Phase::Stalled => {
                let _ = write!(text, "silent: last beat {age} ago");
                self.why_deadline(text, number);
                match slot.marks.has(Marks::UNLEARNED) {
                    true => Ok(()),
                    false => write!(text, "; overdue by {}", Span(now.mono.since(self.deadline_of(number)))),
                }
            }
            Phase::Unknown(cause) => {
                let _ = write!(text, "{}; last beat {age} ago", reason_unseen(cause));
                self.why_deadline(text, number);
                write!(text, "; judged in {}", Span(self.table.deadlines.get(number).since(now.mono)))
            }
        };
        if u64::from(slot.lag_us) * 1000 > self.settings.margin {
            let lag = Span(u64::from(slot.lag_us) * 1000);
            let _ = write!(text, "; the process itself said that its last beat left {lag} late");
        }
        if matches!(slot.phase, Phase::Stalled) {
            let share = self.losses.share_since(self.last_life(number), self.read_in_all());
            if share > 0.0 {
                let _ = write!(text, "; the kernel dropped {:.1} % of all datagrams since", share * 100.0);
            }
        }
    }

    fn why_ended(&self, text: &mut String, number: u32) {
        let slot = self.table.slot(number);
        let _ = match slot.payload {
            _ if !slot.marks.has(Marks::TERMINAL) => {
                write!(text, "ended: said goodbye with status {}", slot.status.name())
            }
            _ if slot.last_counter != u64::MAX && slot.status == Status::Ok => {
                write!(text, "ended: said goodbye after a last beat that told of a bad end")
            }
            0 => write!(text, "ended: panic"),
            code @ 1..=255 => write!(text, "ended: exit {code}"),
            signal @ 257..=384 => write!(text, "ended: signal {}", signal - 256),
            other => write!(text, "ended: payload {other}"),
        };
    }

    fn why_deadline(&self, text: &mut String, number: u32) {
        let slot = self.table.slot(number);
        let due = slot.next_due();
        let span = Span(self.span_of(number, due));
        let margin = Span(self.settings.margin);
        let _ = if due == 0 {
            write!(text, "; promised nothing, so the deadline is the threshold of {span} after it")
        } else if slot.marks.has(Marks::HOLD) {
            write!(
                text,
                "; announced an absence of {}, so the deadline is {span} after it (with a margin of {margin})",
                Span(due)
            )
        } else {
            let repeats = self.settings.misses.max(1) - 1;
            write!(
                text,
                "; promised the next within {}, so the deadline is {span} after it (promise, {repeats} more that may be \
                 lost, margin of {margin})",
                Span(due)
            )
        };
    }

    fn why_contest(&self, text: &mut String, now: MonoNs, number: u32) {
        let Some(until) = self.contested_until(number, now) else {
            return;
        };
        let slot = self.table.slot(number);
        let what = if slot.unit == UnitId::NONE { "this pid" } else { "this unit" };
        let _ = write!(text, "; contested for {} more: two live processes speak for {what}", Span(until.since(now)));
        if let Some((pid, boot)) = self.aside.get(&number).and_then(|aside| aside.other) {
            let (known, pid) = (shown_pid(slot.pid), shown_pid(pid));
            let _ = write!(text, ": pid {known} (boot {:016x}) and pid {pid} (boot {boot:016x})", slot.boot);
        }
    }

    fn why_refused(&self, text: &mut String, number: u32) {
        let Some(refused) = self.aside.get(&number).and_then(|aside| aside.refused) else {
            return;
        };
        let Refused { reason, by, count, older, .. } = refused;
        let frames = if count == 1 { "frame" } else { "frames" };
        if older {
            let _ = write!(
                text,
                "; {count} authentic {frames} refused since as {}: sent {} ago by the sender's clock, which was set back \
                 unless they are replays",
                reason.reason(),
                Span(by)
            );
            return;
        }
        let _ = write!(text, "; {count} authentic newer {frames} refused since, the last as {}", reason.reason());
        let off = Span(by);
        let _ = match reason {
            Reject::FromFuture => write!(text, ": the sender's clock is {off} ahead of ours"),
            Reject::Stale => write!(text, ": sent {off} ago by the sender's clock, or held back on the way"),
            Reject::Delayed => write!(text, ": held back {off} on the way"),
            _ => Ok(()),
        };
    }
}

fn reason_unseen(cause: Cause) -> &'static str {
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
