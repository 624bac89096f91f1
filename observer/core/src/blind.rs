//! What the observer could not see: its own sleep, a restart, a suspect clock, datagrams lost in the kernel.
//! Blindness delays an accusation and never cancels it.

use std::collections::VecDeque;

use crate::time::{MILLI, MonoNs, SECOND};

/// Why the observer could not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was not running, or waits out the barrier of a restart.
    Restart,
    /// A turn of its loop took too long.
    Gap,
    /// Its own clock is suspect.
    Clock,
    /// The kernel dropped datagrams.
    Drops,
}

impl Cause {
    /// Every cause, in declared order.
    pub const ALL: [Self; 4] = [Self::Restart, Self::Gap, Self::Clock, Self::Drops];

    /// The cause's published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Gap => "gap",
            Self::Clock => "clock",
            Self::Drops => "drops",
        }
    }
}

/// So many gaps are remembered: more than a beat that is accepted can have waited through.
const GAPS: usize = 16;

/// How long the observer has been blind without one turn of sight between.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// End of the blindness of a restart.
    pub(crate) restart_until: Option<MonoNs>,
    /// Whether the clock is suspect, and since when.
    pub(crate) clock_since: Option<MonoNs>,
    /// Slots unknown for lost datagrams.
    pub(crate) drops_unknown: u32,
    /// A gap was handled since the last turn was accounted for.
    pub(crate) after_gap: bool,
    /// What is read now may have waited through a gap.
    pub(crate) draining: bool,
    /// A turn has ended since that gap.
    pub(crate) drained_once: bool,
    /// The last gaps, newest first, the time between a clean stop and the start among them. None overlaps another.
    gaps: [(MonoNs, MonoNs); GAPS],
    /// Until when the barrier of a restart was, or is, waited out.
    pub(crate) waited: Option<MonoNs>,
    /// Whether blindness for lost datagrams was told.
    pub(crate) drops_told: bool,
    /// Blind time that adds up until a turn that is not blind, nanoseconds.
    pub(crate) run: u64,
    /// Whether the limit was told.
    pub(crate) limit_told: bool,
    /// The last turn.
    pub(crate) turn: MonoNs,
}

impl Sight {
    /// Nothing was seen from `from` to `now`.
    pub(crate) fn note_gap(&mut self, from: MonoNs, now: MonoNs) {
        self.run = self.run.saturating_add(now.since(from));
        self.after_gap = true;
        self.draining = true;
        self.drained_once = false;
        self.add_gap(from, now);
        self.waited = self.waited.map(|until| if from <= until { until.max(now) } else { until });
        self.turn = self.turn.max(now);
    }

    /// Nothing was read between these two instants; what came meanwhile may still be read.
    pub(crate) fn add_gap(&mut self, from: MonoNs, to: MonoNs) {
        self.gaps.rotate_right(1);
        if let Some(first) = self.gaps.first_mut() {
            *first = (from, to);
        }
    }

    /// From when to when the last gap was.
    pub(crate) fn last_gap(&self) -> Option<(MonoNs, MonoNs)> {
        self.gaps.first().copied().filter(|(_, to)| *to > MonoNs(0))
    }

    /// For so long at most what is read now may have waited for an observer that did not look, nanoseconds: in the first
    /// drain after a gap, since that began; else 0.
    pub(crate) fn queued_for(&self, now: MonoNs) -> u64 {
        self.last_gap().filter(|_| self.draining).map_or(0, |(from, _)| now.since(from))
    }

    /// How much of the time since `sent` fell into gaps, nanoseconds.
    pub(crate) fn unseen_since(&self, sent: MonoNs) -> u64 {
        self.gaps.iter().map(|(from, to)| to.since(*from.max(&sent))).sum()
    }

    /// The cause of the blindness in force.
    pub(crate) fn cause(&self) -> Option<Cause> {
        if self.restart_until.is_some() {
            Some(Cause::Restart)
        } else if self.clock_since.is_some() {
            Some(Cause::Clock)
        } else if self.drops_unknown > 0 {
            Some(Cause::Drops)
        } else {
            None
        }
    }
}

/// How many datagrams were lost and read, over time. Older samples lie further apart.
#[derive(Default)]
pub(crate) struct Losses {
    samples: VecDeque<Sample>,
    newest: Sample,
}

#[derive(Clone, Copy, Default)]
struct Sample {
    at: MonoNs,
    lost: u64,
    read: u64,
}

impl Losses {
    const KEPT: usize = 4096;
    /// Between two samples with losses between them.
    const SPACING: u64 = 100 * MILLI;
    /// Between two samples without.
    const QUIET_SPACING: u64 = 10 * SECOND;

    /// Notes that `lost` more datagrams were lost up to `now`, when `read` had been read in all.
    pub(crate) fn note(&mut self, now: MonoNs, lost: u64, read: u64) {
        let lossy = |last: &Sample| lost > 0 || last.lost != self.newest.lost;
        let spacing = if self.samples.back().is_some_and(lossy) { Self::SPACING } else { Self::QUIET_SPACING };
        if self.samples.back().is_none_or(|last| self.newest.at.since(last.at) >= spacing) {
            self.samples.push_back(self.newest);
        }
        if self.samples.len() > Self::KEPT {
            let mut place = 0;
            self.samples.retain(|_| {
                place += 1;
                place > Self::KEPT / 2 || place % 2 == 1
            });
        }
        self.newest = Sample { at: self.newest.at.max(now), lost: self.newest.lost + lost, read };
    }

    /// The share of datagrams lost since `when`, 0.0 to 1.0, when `read` have been read in all by now.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub(crate) fn share_since(&self, when: MonoNs, read: u64) -> f64 {
        if self.newest.at <= when {
            return 0.0;
        }
        let before = self.samples.partition_point(|sample| sample.at <= when);
        let base = before.checked_sub(1).and_then(|place| self.samples.get(place)).copied().unwrap_or_default();
        let lost = self.newest.lost - base.lost;
        if lost == 0 {
            return 0.0;
        }
        let next = self.samples.get(before).unwrap_or(&self.newest);
        let part = when.since(base.at) as f64 / next.at.since(base.at).max(1) as f64;
        let base_read = base.read as f64 + next.read.saturating_sub(base.read) as f64 * part;
        lost as f64 / (lost as f64 + (read as f64 - base_read).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> MonoNs {
        MonoNs(second * SECOND)
    }

    #[test]
    fn a_share_counts_only_what_was_lost_since() {
        let mut losses = Losses::default();
        assert_eq!(losses.share_since(at(1), 10), 0.0);
        losses.note(at(1), 0, 100);
        losses.note(at(2), 0, 200);
        losses.note(at(3), 300, 300);
        assert_eq!(losses.share_since(at(2), 300), 0.75);
        losses.note(at(4), 0, 400);
        assert_eq!(losses.share_since(at(4), 400), 0.0);
        assert_eq!(losses.share_since(at(2), 500), 0.5);
    }

    #[test]
    fn the_very_first_losses_count() {
        let mut losses = Losses::default();
        losses.note(at(1), 50, 50);
        assert_eq!(losses.share_since(MonoNs(0), 50), 0.5);
    }

    #[test]
    fn samples_are_bounded_and_old_losses_are_not_forgotten() {
        let mut losses = Losses::default();
        losses.note(at(1), 0, 1);
        for second in 2..20_000 {
            losses.note(at(second), 1, second);
            assert!(losses.samples.len() <= Losses::KEPT + 1);
        }
        assert_eq!(losses.share_since(at(0), 19_999), 19_998.0 / (19_998.0 + 19_999.0));
        let recent = losses.share_since(at(19_000), 19_999);
        assert!((recent - 0.5).abs() < 0.01, "{recent}");
    }

    #[test]
    fn of_a_beats_time_what_fell_into_gaps_was_not_seen() {
        let mut sight = Sight::default();
        assert_eq!(sight.unseen_since(at(5)), 0);
        sight.note_gap(at(4), at(10));
        assert_eq!(sight.unseen_since(at(1)), 6 * SECOND);
        assert_eq!(sight.unseen_since(at(7)), 3 * SECOND);
        assert_eq!(sight.unseen_since(at(11)), 0);
        sight.note_gap(at(12), at(13));
        assert_eq!(sight.unseen_since(at(7)), 4 * SECOND);
        assert_eq!(sight.last_gap(), Some((at(12), at(13))));
        assert_eq!(sight.queued_for(at(13)), SECOND);
        sight.draining = false;
        assert_eq!(sight.queued_for(at(13)), 0);
    }

    #[test]
    fn a_gap_while_the_barrier_is_waited_out_lengthens_the_wait() {
        let mut sight = Sight { waited: Some(at(5)), ..Sight::default() };
        sight.note_gap(at(4), at(10));
        assert_eq!(sight.waited, Some(at(10)));
        sight.note_gap(at(11), at(20));
        assert_eq!(sight.waited, Some(at(10)));
    }
}
