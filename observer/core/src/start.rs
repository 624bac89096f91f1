//! How an observer begins, whatever it finds of its own past: SPEC, "Restart".

use crate::{
    Core,
    agent::AgentMarks,
    blind::Cause,
    event::ObserverChange,
    limits::CONTEST,
    slot::{Marks, Phase},
    time::{MonoNs, Now, WallNs},
};

/// In what state an observer finds its own past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// There is none, and there should be none.
    First,
    /// It was stopped cleanly at this instant of its boot timeline.
    Clean {
        /// When it stopped.
        stopped: MonoNs,
        /// For how long it was away, nanoseconds.
        away: u64,
        /// The barrier that was in force.
        barrier: WallNs,
    },
    /// It was not stopped cleanly; nothing sent after the horizon was accepted.
    Crash {
        /// The horizon on disk.
        horizon: WallNs,
        /// For how long it was away at most, nanoseconds.
        away: u64,
    },
    /// State is corrupt, or missing where there was some, or has no place to be.
    Lost,
}

impl Core {
    /// Begins to observe. Everything restored that was neither departed, ended nor stalled is unknown until it is heard or
    /// its deadline comes. `blind_run` is what [`Self::blind_run`] said when it was last saved.
    pub fn start(&mut self, now: Now, how: Start, blind_run: u64) {
        self.sight.turn = now.mono;
        let skew = self.settings.skew;
        let (barrier, away) = match how {
            Start::First => (now.wall, 0),
            Start::Lost => (now.wall.after(skew), 0),
            Start::Clean { barrier, away, .. } => (barrier, away),
            Start::Crash { horizon, away } => (horizon, away),
        };
        // What is known to have been accepted is refused, however the clock was set meanwhile.
        let barrier = if how == Start::Lost { barrier.max(self.newest_sent) } else { barrier };
        self.barrier = self.barrier.max(barrier);
        self.newest_sent = self.newest_sent.max(self.barrier);
        self.sight.run = blind_run.saturating_add(away);
        let wait = barrier.after(skew).0.saturating_sub(now.wall.0);
        let sighted = match how {
            Start::Crash { .. } | Start::Lost => now.mono.after(wait),
            Start::First | Start::Clean { .. } => now.mono,
        };
        let unknown = self.restart_deadlines(now, how, sighted);
        self.blind_for(Cause::Restart, away);
        let from = MonoNs(now.mono.0.saturating_sub(away));
        match how {
            Start::Clean { .. } => self.sight.add_gap(from, now.mono),
            Start::Crash { .. } | Start::Lost => self.sight.waited = Some(sighted),
            Start::First => {}
        }
        if sighted > now.mono {
            self.sight.restart_until = Some(sighted);
        }
        if how != Start::First {
            let what = ObserverChange::Blind { cause: Cause::Restart, from, to: Some(sighted), slots: unknown };
            self.tell_observer(now.mono, what);
        }
        self.check_limit(now);
        // What was read back is on disk already.
        for number in std::mem::take(&mut self.dirty_agents) {
            self.table.agent_mut(number).marks.set(AgentMarks::DIRTY, false);
        }
        for number in std::mem::take(&mut self.dirty_slots) {
            self.table.slot_mut(number).marks.set(Marks::DIRTY, false);
        }
        for number in 0..self.table.agent_numbers() {
            if self.table.live_agent(number).is_some_and(|agent| agent.slots == 0) {
                self.list_slotless(now, number);
            }
        }
        // Nobody was counted while records were taken back.
        let roster = self.roster.take();
        self.required.count_anew();
        self.set_roster(now, roster);
    }

    fn restart_deadlines(&mut self, now: Now, how: Start, sighted: MonoNs) -> u32 {
        let mut unknown = 0;
        for number in 0..self.table.slot_numbers() {
            let Some(slot) = self.table.live_slot(number) else {
                continue;
            };
            let (phase, due) = (slot.phase, slot.next_due());
            if self.other_boot {
                // Another boot, another timeline: nothing of the old one is comparable.
                let slot = self.table.slot_mut(number);
                (slot.arrival, slot.heard) = (now.mono, now.mono);
            }
            self.restart_contest(now, how, number);
            let deadline = match (phase, how) {
                (Phase::Unknown(_), Start::Clean { stopped, away, .. }) => {
                    let left = self.table.deadlines.get(number).since(stopped);
                    now.mono.after(left.max(self.span_after_stop(now, away, number)))
                }
                (Phase::Unknown(_), _) => sighted.after(self.span_of(number, due)),
                (Phase::Departed, _) => self.contested_until(number, now.mono).unwrap_or(MonoNs::NEVER),
                _ => continue,
            };
            unknown += u32::from(matches!(phase, Phase::Unknown(_)));
            self.table.deadlines.set(number, deadline);
            self.refresh_verdict(now, number, None);
        }
        unknown
    }

    /// The whole span of a slot that promised a beat for the time in which there was no observer, and was not overdue when
    /// it was stopped; else 0. By the wall clocks, the sender's and ours: another boot has no other.
    fn span_after_stop(&self, now: Now, away: u64, number: u32) -> u64 {
        let slot = self.table.slot(number);
        let (due, skew) = (slot.next_due(), self.settings.skew);
        if due == 0 || slot.marks.has(Marks::HOLD) {
            return 0;
        }
        let span = self.span_of(number, due);
        let missed = slot.sent_at.after(due) <= now.wall.after(skew);
        let alive = slot.sent_at.after(span).after(skew).after(away) >= now.wall;
        if missed && alive { span } else { 0 }
    }

    /// A contest goes on for what was left of it; under another timeline, where that is not known, for all of it.
    fn restart_contest(&mut self, now: Now, how: Start, number: u32) {
        if !self.other_boot {
            return;
        }
        let Some(until) = self.aside.get_mut(&number).and_then(|aside| aside.contested_until.as_mut()) else {
            return;
        };
        let left = match how {
            Start::Clean { stopped, away, .. } => until.since(stopped).saturating_sub(away),
            _ => CONTEST,
        };
        *until = now.mono.after(left.min(CONTEST));
    }
}
