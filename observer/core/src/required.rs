//! Who of the roster was never seen, and who is required and away.

use std::collections::{BTreeSet, HashMap};

use varta_vlp::AgentId;

use crate::{
    Core,
    agent::AgentMarks,
    event::{AgentChange, Change, Verdict},
    roster::Roster,
    time::{MonoNs, Now},
    trust::Owner,
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

    /// An agent of the roster, `missing` or not, got its first slot.
    pub(crate) fn seen(&mut self, missing: bool) {
        self.seen += 1;
        self.away += usize::from(missing);
    }

    /// An agent of the roster, `missing` or not, lost its last slot.
    pub(crate) fn unseen(&mut self, missing: bool) {
        self.seen -= 1;
        self.away -= usize::from(missing);
    }

    /// Nobody was counted yet.
    pub(crate) fn count_anew(&mut self) {
        (self.seen, self.away) = (0, 0);
    }

    /// How many agents are missing.
    pub(crate) fn missing(&self, roster: Option<&Roster>) -> usize {
        roster.map_or(0, |roster| roster.len() - self.seen + self.away)
    }

    /// The agent is required: looks at `at`, or earlier if that was to be; not again if it was told as missing.
    pub(crate) fn watch(&mut self, agent: AgentId, at: MonoNs) {
        match self.watched.get(&agent) {
            None => self.look_at(agent, at),
            Some(Watch::Due(due)) if *due > at => self.look_at(agent, at),
            Some(_) => {}
        }
    }

    /// The agent is not required.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        if self.watched.is_empty() {
            return;
        }
        if let Some(Watch::Due(at)) = self.watched.remove(&agent) {
            self.due.remove(&(at, agent));
        }
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

    /// Whether the roster in force asks for the agent.
    fn is_required(&self, id: AgentId) -> bool {
        self.roster.as_ref().and_then(|roster| roster.get(id)).is_some_and(|entry| entry.required)
    }

    /// Whether the agent is required and was told as missing.
    pub(crate) fn is_missing(&self, id: AgentId) -> bool {
        self.required.is_told(id) && self.is_required(id)
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
            if !self.is_required(id) {
                // Another roster is being put in force, and this agent's turn has not come.
                self.required.forget(id);
                continue;
            }
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
            self.changes.push(Change::Agent { agent: Owner::Agent(id), at: now.mono, what: AgentChange::Missing });
        }
    }

    /// A missing agent with a slot was heard.
    pub(crate) fn agent_returned(&mut self, now: Now, agent: u32) {
        let record = self.table.agent_mut(agent);
        record.marks.set(AgentMarks::MISSING, false);
        let id = record.id;
        self.required.away -= 1;
        if !self.is_required(id) {
            return self.required.forget(id);
        }
        let at = now.mono.after(self.return_within(id));
        self.required.look_at(id, at);
        self.changes.push(Change::Agent { agent: Owner::Agent(id), at: now.mono, what: AgentChange::Returned });
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
        let missing = u32::try_from(self.missing()).unwrap_or(u32::MAX);
        if let Some(count) = counts.get_mut(self.absence() as usize) {
            *count = count.saturating_add(missing);
        }
        counts
    }
}
