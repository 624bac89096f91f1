//! What the observer could not see, and when its own clock is not to be trusted: SPEC, "The observer's own clock".

use crate::{
    Core,
    agent::{AgentMarks, Witness},
    blind::Cause,
    event::ObserverChange,
    slot::Phase,
    time::{MILLI, MonoNs, Now},
};

/// At least so many agents must agree before the observer's own clock is doubted.
const WITNESSES: u32 = 3;
/// How often, at most, the list of witnesses is gone through.
const WITNESS_PACE: u64 = 100 * MILLI;

#[expect(clippy::cast_possible_truncation, reason = "compared by wrapping subtraction")]
fn wrapping_millis(at: MonoNs) -> u32 {
    (at.0 / MILLI) as u32
}

impl Core {
    /// Begins a turn of the loop. While `overloaded` (the sockets could not be emptied within the budget of the turn
    /// before), agents without a record are shed beyond [`crate::Limits::strangers_per_turn`]. The first drain after a
    /// gap ends with the first turn that begins otherwise.
    pub fn begin_turn(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
        self.strangers = self.limits.strangers_per_turn;
        if self.sight.drained_once && !overloaded {
            self.sight.draining = false;
        }
    }

    /// A turn of the loop took so long, from `from` to now, that what was due in it cannot be judged: deadlines move by
    /// the whole of it, and slots whose unmoved deadline fell in it are unknown until heard or until the moved one.
    pub fn handle_gap(&mut self, from: MonoNs, now: Now) {
        // Two gaps told for one turn do not count twice.
        let from = self.sight.last_gap().map_or(from, |(_, to)| from.max(to));
        let gap = now.mono.since(from);
        if gap == 0 {
            return;
        }
        let mut unknown = 0;
        for number in 0..self.table.slot_numbers() {
            let Some(slot) = self.table.live_slot(number) else {
                continue;
            };
            let deadline = self.table.deadlines.get(number);
            let moved = deadline.after(gap);
            match slot.phase {
                Phase::Live | Phase::Held if deadline <= now.mono => {
                    unknown += 1;
                    self.set_phase(now, number, Phase::Unknown(Cause::Gap), moved);
                }
                Phase::Live | Phase::Held | Phase::Unknown(_) => self.table.deadlines.set(number, moved),
                Phase::Departed | Phase::Ended | Phase::Stalled => {}
            }
        }
        self.delay_required(gap);
        self.sight.note_gap(from, now.mono);
        self.blind_for(Cause::Gap, gap);
        let what = ObserverChange::Blind { cause: Cause::Gap, from, to: Some(now.mono), slots: unknown };
        self.tell_observer(now.mono, what);
        self.check_limit(now);
    }

    pub(crate) fn blind_for(&mut self, cause: Cause, ns: u64) {
        if let Some(sum) = self.counters.blind_ns.get_mut(cause as usize) {
            *sum = sum.saturating_add(ns);
        }
    }

    /// Accounts for the time since the last turn: seen, or not.
    pub(crate) fn look_back(&mut self, now: Now) {
        let elapsed = now.mono.since(self.sight.turn);
        self.sight.turn = self.sight.turn.max(now.mono);
        self.sight.drained_once = true;
        let gap = std::mem::take(&mut self.sight.after_gap);
        if let Some(cause) = self.sight.cause() {
            self.blind_for(cause, elapsed);
            self.sight.run = self.sight.run.saturating_add(elapsed);
            self.check_limit(now);
        } else if !gap {
            self.sight.run = 0;
            self.sight.limit_told = false;
        }
        if self.sight.restart_until.is_some_and(|until| until <= now.mono) {
            self.sight.restart_until = None;
            self.tell_observer(now.mono, ObserverChange::Sighted(Cause::Restart));
        }
    }

    pub(crate) fn check_limit(&mut self, now: Now) {
        if self.sight.run > self.settings.blind_limit && !self.sight.limit_told {
            self.sight.limit_told = true;
            self.tell_observer(now.mono, ObserverChange::BlindLimit);
        }
    }

    /// Tells that slots begin, or no longer, to be unknown for lost datagrams.
    pub(crate) fn tell_drops(&mut self, now: Now) {
        let slots = self.sight.drops_unknown;
        if (slots > 0) == self.sight.drops_told {
            return;
        }
        self.sight.drops_told = slots > 0;
        self.tell_observer(
            now.mono,
            match slots {
                0 => ObserverChange::Sighted(Cause::Drops),
                _ => ObserverChange::Blind { cause: Cause::Drops, from: now.mono, to: None, slots },
            },
        );
    }

    /// The blindness in force, and whether it has lasted so long that the observer itself is critical.
    #[must_use]
    pub fn blindness(&self) -> (Option<Cause>, bool) {
        (self.sight.cause(), self.sight.run > self.settings.blind_limit)
    }

    /// Blind time in nanoseconds that adds up until a turn of sight; kept over a restart.
    #[must_use]
    pub const fn blind_run(&self) -> u64 {
        self.sight.run
    }

    /// When the witnesses are to be gone through again.
    pub(crate) fn next_witnesses(&self) -> MonoNs {
        match self.sight.clock_since {
            Some(_) => self.witnesses_judged.after(WITNESS_PACE),
            None => MonoNs::NEVER,
        }
    }

    /// The slot's agent had a frame refused for its times that is newer than all accepted and refused before.
    pub(crate) fn witness(&mut self, now: Now, number: u32, sign: Witness) {
        let slot = self.table.slot(number);
        if self.sight.draining || matches!(slot.phase, Phase::Departed | Phase::Ended) {
            return;
        }
        let agent = slot.agent;
        let record = self.table.agent_mut(agent);
        record.witness = sign;
        if !record.marks.put(AgentMarks::LISTED) {
            self.witnesses.push(agent);
        }
        self.table.rare_mut(agent).witness_at = wrapping_millis(now.mono);
    }

    /// Goes through the witnesses: the observer's clock is suspect when more than half of the active agents, and at least
    /// three, had a frame refused within skew, with one sign, and none accepted since.
    pub(crate) fn judge_witnesses(&mut self, now: Now) {
        if self.witnesses.is_empty() && self.sight.clock_since.is_none() {
            return;
        }
        if now.mono < self.witnesses_judged.after(WITNESS_PACE) {
            return;
        }
        self.witnesses_judged = now.mono;
        let fresh = u32::try_from(self.settings.skew / MILLI).unwrap_or(u32::MAX);
        let (mut future, mut past) = (0, 0);
        let mut list = std::mem::take(&mut self.witnesses);
        list.retain(|agent| {
            let last = self.table.rare(*agent).witness_at;
            let record = self.table.agent_mut(*agent);
            if wrapping_millis(now.mono).wrapping_sub(last) > fresh {
                record.witness = Witness::None;
            }
            match record.witness {
                Witness::None => record.marks.set(AgentMarks::LISTED, false),
                Witness::Future => future += 1,
                Witness::Past => past += 1,
            }
            record.marks.has(AgentMarks::LISTED)
        });
        self.witnesses = list;
        let witnesses = u32::max(future, past);
        let suspect = witnesses >= WITNESSES && witnesses > self.active_agents / 2;
        match (suspect, self.sight.clock_since) {
            (true, None) => {
                self.sight.clock_since = Some(now.mono);
                let what =
                    ObserverChange::ClockSuspect { witnesses, active: self.active_agents, future: future > past };
                self.tell_observer(now.mono, what);
            }
            (false, Some(_)) => {
                self.sight.clock_since = None;
                self.tell_observer(now.mono, ObserverChange::Sighted(Cause::Clock));
            }
            _ => {}
        }
    }
}
