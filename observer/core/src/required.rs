//! The roster in force: who was never seen, who is required and away, who is revoked.

use std::collections::{BTreeSet, HashMap};

use varta_vlp::AgentId;

use crate::{
    Core,
    agent::AgentMarks,
    event::{AgentChange, Change, SlotChange, Verdict},
    roster::Roster,
    slot::{Marks, Phase},
    time::{MonoNs, Now},
};

/// Agents whose absence is to be told, and when to look.
#[derive(Default)]
pub(crate) struct Required {
    due: BTreeSet<(MonoNs, AgentId)>,
    /// When to look at each required agent, or that it was told as missing.
    watched: HashMap<AgentId, Watch>,
    /// Agents of the roster that have a slot.
    seen: usize,
    /// Agents told as missing that have a slot all the same.
    away: usize,
}

#[derive(Clone, Copy)]
enum Watch {
    Due(MonoNs),
    Told,
}

impl Required {
    pub(crate) fn next(&self) -> MonoNs {
        self.due.first().map_or(MonoNs::NEVER, |(at, _)| *at)
    }

    /// Whether the agent was told as missing.
    pub(crate) fn is_told(&self, agent: AgentId) -> bool {
        matches!(self.watched.get(&agent), Some(Watch::Told))
    }

    /// The agent, `missing` or not, got its first slot.
    pub(crate) fn seen(&mut self, roster: Option<&Roster>, agent: AgentId, missing: bool) {
        if roster.is_some_and(|roster| roster.get(agent).is_some()) {
            self.seen += 1;
            self.away += usize::from(missing);
        }
    }

    /// The agent, `missing` or not, lost its last slot.
    pub(crate) fn unseen(&mut self, roster: Option<&Roster>, agent: AgentId, missing: bool) {
        if roster.is_some_and(|roster| roster.get(agent).is_some()) {
            self.seen -= 1;
            self.away -= usize::from(missing);
        }
    }

    /// How many agents are missing.
    fn missing(&self, roster: Option<&Roster>) -> usize {
        roster.map_or(0, |roster| roster.len() - self.seen + self.away)
    }

    fn look_at(&mut self, agent: AgentId, at: MonoNs) {
        if let Some(Watch::Due(old)) = self.watched.insert(agent, Watch::Due(at)) {
            self.due.remove(&(old, agent));
        }
        self.due.insert((at, agent));
    }
}

impl Core {
    /// The roster in force.
    #[must_use]
    pub const fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// Puts another roster in force, for live sessions too: slots of revoked or removed agents depart at once and keep
    /// their windows until they are idle.
    pub fn set_roster(&mut self, now: Now, roster: Option<Roster>) {
        self.roster = roster;
        self.apply_roster(now);
    }

    /// Makes everything known agree with the roster in force.
    pub(crate) fn apply_roster(&mut self, now: Now) {
        self.watch_required(now);
        for number in 0..self.table.agent_numbers() {
            let Some(agent) = self.table.live_agent(number) else {
                continue;
            };
            let (id, has_slots) = (agent.id, agent.slots > 0);
            let (watched, missing) = (self.is_watched(id), self.required.is_told(id));
            let record = self.table.agent_mut(number);
            record.marks.set(AgentMarks::WATCHED, watched);
            record.marks.set(AgentMarks::MISSING, missing);
            if has_slots {
                self.required.seen(self.roster.as_ref(), id, missing);
            }
        }
        for number in 0..self.table.slot_numbers() {
            self.revoke_if_named(now, number);
        }
    }

    /// Who is required now; for those that were before, the time goes on.
    fn watch_required(&mut self, now: Now) {
        let before = std::mem::take(&mut self.required);
        let Some(roster) = &self.roster else { return };
        for (agent, entry) in roster.iter().filter(|(_, entry)| entry.required) {
            let at = now.mono.after(entry.return_within.unwrap_or(self.settings.return_within));
            match before.watched.get(agent) {
                None => self.required.look_at(*agent, at),
                // Never later than a whole time from now, should it have become shorter.
                Some(Watch::Due(due)) => self.required.look_at(*agent, at.min(*due)),
                Some(Watch::Told) => {
                    self.required.watched.insert(*agent, Watch::Told);
                }
            }
        }
    }

    fn revoke_if_named(&mut self, now: Now, number: u32) {
        let Some(slot) = self.table.live_slot(number) else {
            return;
        };
        let Some(roster) = &self.roster else { return };
        let id = self.table.agent(slot.agent).id;
        let revoked = roster.get(id).is_none_or(|entry| entry.revoked.contains(&slot.generation));
        if !revoked || slot.marks.has(Marks::REVOKED) {
            return;
        }
        let idle = slot.arrival.after(self.settings.idle(slot.next_due()));
        self.table.slot_mut(number).marks.set(Marks::REVOKED, true);
        self.tell_slot(now.mono, number, |_| SlotChange::Revoked);
        self.set_phase(now, number, Phase::Departed, MonoNs::NEVER);
        self.table.deadlines.set(number, idle.max(now.mono));
    }

    fn last_heard(&self, agent: u32) -> MonoNs {
        self.table.slots_of(agent).map(|slot| self.table.slot(slot).arrival).max().unwrap_or_default()
    }

    fn return_within(&self, id: AgentId) -> u64 {
        let entry = self.roster.as_ref().and_then(|roster| roster.get(id));
        entry.and_then(|entry| entry.return_within).unwrap_or(self.settings.return_within)
    }

    /// When the agent will have been away for too long, as things stand.
    fn next_look(&self, id: AgentId) -> MonoNs {
        let within = self.return_within(id);
        let heard = self.table.find_agent(id).map_or(MonoNs(0), |agent| self.last_heard(agent));
        // Nobody is missing while strangers are turned away.
        heard.max(self.last_shed.unwrap_or_default()).after(within)
    }

    /// The observer saw nothing for `gap` nanoseconds: absences are told later by as much.
    pub(crate) fn delay_required(&mut self, gap: u64) {
        for (at, id) in std::mem::take(&mut self.required.due) {
            let at = at.max(self.next_look(id)).after(gap);
            self.required.look_at(id, at);
        }
    }

    pub(crate) fn judge_required(&mut self, now: Now) {
        while let Some((_, id)) = self.required.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            let within = self.return_within(id);
            // Drops excuse nobody here: who can cause them must not be able to hide an absence.
            let blind = self.sight.restart_until.is_some() || self.sight.clock_since.is_some();
            let next = self.next_look(id).max(if blind { now.mono.after(within) } else { MonoNs(0) });
            if next > now.mono {
                self.required.look_at(id, next);
                continue;
            }
            self.required.due.pop_first();
            self.required.watched.insert(id, Watch::Told);
            if let Some(agent) = self.table.find_agent(id) {
                let record = self.table.agent_mut(agent);
                record.marks.set(AgentMarks::MISSING, true);
                self.required.away += usize::from(record.slots > 0);
            }
            self.changes.push(Change::Agent { agent: id, at: now.mono, what: AgentChange::Missing });
        }
    }

    /// A missing agent with a slot was heard.
    pub(crate) fn agent_returned(&mut self, now: Now, agent: u32) {
        let record = self.table.agent_mut(agent);
        record.marks.set(AgentMarks::MISSING, false);
        let id = record.id;
        self.required.away -= 1;
        let at = now.mono.after(self.return_within(id));
        self.required.look_at(id, at);
        self.changes.push(Change::Agent { agent: id, at: now.mono, what: AgentChange::Returned });
    }

    /// What is said of an agent of the roster that is not here: nobody is missing while strangers are turned away.
    pub(crate) fn absence(&self) -> Verdict {
        let shed = self.last_shed.is_some_and(|at| self.sight.turn < at.after(self.settings.return_within));
        if shed { Verdict::Unknown } else { Verdict::Missing }
    }

    /// How many rows have each verdict, in the order of [`Verdict::ALL`].
    #[must_use]
    pub fn verdict_counts(&self) -> [u32; Verdict::ALL.len()] {
        let mut counts = self.verdicts;
        let missing = u32::try_from(self.required.missing(self.roster.as_ref())).unwrap_or(u32::MAX);
        if let Some(count) = counts.get_mut(self.absence() as usize) {
            *count = count.saturating_add(missing);
        }
        counts
    }
}
