//! What is true of each slot's life, and of what the observer could not see.

use varta_core::{ListenerCounters, Now, Start};
use varta_vlp::Reject;

use super::Observer;
use crate::{
    clock::EPOCH,
    model::{self, Expected, key_of},
    process::Sealed,
};

/// The newest accepted frame of a slot, in true time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// When it was accepted.
    pub(super) heard: u64,
    /// When it was sealed.
    pub(super) sent: u64,
    /// Alive at most until this, on a timeline without what lengthens lives.
    pub(super) until: u64,
    /// How much further ahead than its own the sender's clock was when the slot's minimum offset was seen, nanoseconds.
    pub(super) fallen_behind: u64,
    /// How far its deadline was moved since, by the observer's boottime.
    pub(super) moved: u64,
}

/// What the observer did not see, in true time.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    intervals: Vec<(u64, u64)>,
    /// Waits for a barrier that a stop ended early. What is heard after that was not kept from being seen by them.
    cut: Vec<(u64, u64)>,
    wait: Option<(u64, u64)>,
    lengthened: u64,
    down_since: Option<u64>,
}

impl Unseen {
    /// Nothing was seen from `from` to `to`.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from < to {
            self.intervals.push((from, to));
        }
    }

    /// A barrier is waited out from `from` to `to`.
    fn wait(&mut self, from: u64, to: u64) {
        self.wait = (from < to).then_some((from, to));
    }

    /// The observer stops, and with it the wait for its barrier.
    fn end_wait(&mut self, t: u64) {
        if let Some((from, to)) = self.wait.take() {
            let list = if to <= t { &mut self.intervals } else { &mut self.cut };
            list.push((from, to.min(t)));
        }
    }

    /// All deadlines were moved by this.
    pub(super) const fn lengthen(&mut self, by: u64) {
        self.lengthened += by;
    }

    /// World time without what lengthened lives.
    pub(super) const fn shortened(&self, t: u64) -> u64 {
        t.saturating_sub(self.lengthened)
    }

    /// How much of the time from `from` to `to` was not seen, for what was heard at `heard`.
    pub(super) fn between(&self, from: u64, to: u64, heard: u64) -> u64 {
        let cut = self.cut.iter().filter(|(_, end)| heard <= *end);
        let mut all: Vec<_> = self.intervals.iter().chain(cut).chain(self.wait.as_ref()).copied().collect();
        all.sort_unstable();
        let (mut sum, mut done) = (0, from);
        for (a, b) in all {
            let (a, b) = (a.max(done), b.min(to));
            sum += b.saturating_sub(a);
            done = done.max(b);
        }
        sum
    }
}

/// What should have been counted, by listener.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub [ListenerCounters; 2]);

impl Tally {
    pub(super) fn count(&mut self, listener: usize, got: Expected) {
        let counters = &mut self.0[listener];
        counters.received += 1;
        match got {
            Expected::Accepted => counters.accepted += 1,
            Expected::Late => counters.accepted_late += 1,
            Expected::Rejected(reject) => counters.rejected[reject.index()] += 1,
        }
    }

    /// How many were refused for this reason.
    #[must_use]
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.0.iter().map(|counters| counters.rejected[reject.index()]).sum()
    }

    /// How many were accepted as the newest, and how many late.
    #[must_use]
    pub fn accepted(&self) -> (u64, u64) {
        let sum = |of: fn(&ListenerCounters) -> u64| self.0.iter().map(of).sum();
        (sum(|counters| counters.accepted), sum(|counters| counters.accepted_late))
    }
}

impl Observer {
    /// A frame was accepted as the newest of its slot.
    pub(super) fn heard(&mut self, now: Now, t: u64, sealed: &Sealed) {
        let due = model::clamped(&self.settings, &sealed.body);
        let hold = sealed.body.flags.has(varta_vlp::sealed::Flags::HOLD);
        let span = model::span(&self.settings, due, hold);
        // Freshness by the wall clocks bounds how old it can be, whoever held it back.
        let ahead = sealed.ahead - (now.wall.0.cast_signed() - (EPOCH + t).cast_signed());
        let oldest = self.settings.skew + model::max_delay(&self.settings, due) + self.model.queued_for(now);
        let latest = sealed.t.saturating_add(oldest).saturating_add_signed(ahead);
        // A host's clock may run a little slower than the true time.
        let until = t.min(latest).saturating_add(span).saturating_add(span / 500 + 2_000_000);
        let slot = (sealed.header.agent.0, key_of(&sealed.body));
        let known = self.model.slot(slot.0, slot.1);
        let most_ahead = known.map_or(sealed.ahead, |known| known.most_ahead);
        let mapped = known.and_then(model::Slot::mapped_send_time);
        let unseen = |mapped: u64| self.gaps.iter().map(|(from, to)| to.saturating_sub(*from.max(&mapped))).sum();
        let moved = mapped.map_or(0, unseen);
        let life = Life {
            heard: t,
            sent: sealed.t,
            until: self.unseen.shortened(until) + moved,
            fallen_behind: most_ahead.abs_diff(sealed.ahead),
            moved,
        };
        self.lives.insert(slot, life);
    }

    /// The observer is not there any more.
    pub(super) fn went_down(&mut self, t: u64) {
        self.unseen.down_since = Some(t);
    }

    /// It is there again, and sees once its barrier is waited out.
    pub(super) fn began(&mut self, t: u64, now: Now, how: Start) {
        self.gaps.clear();
        let Some(from) = self.unseen.down_since.take() else { return };
        let wait = match how {
            Start::Crash { .. } | Start::Lost => {
                let barrier = if how == Start::Lost { now.wall.0 + self.settings.skew } else { self.model.barrier };
                (barrier + self.settings.skew).saturating_sub(now.wall.0)
            }
            Start::First | Start::Clean { .. } => 0,
        };
        if let Start::Clean { away, .. } = how {
            self.gaps.push((now.mono.0.saturating_sub(away), now.mono.0));
        }
        self.unseen.end_wait(from);
        self.unseen.add(from, t);
        self.unseen.wait(t, t + wait);
        self.unseen.lengthen(t - from);
    }
}
