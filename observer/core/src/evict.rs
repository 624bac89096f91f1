//! Slots and agents that are no more: SPEC, "Eviction".

use crate::{
    Core, SlotKey,
    agent::AgentMarks,
    event::SlotChange,
    limits::FORGET,
    slot::{Marks, Phase},
    tell::seconds,
    time::{MonoNs, Now, SECOND},
};

impl Core {
    /// Takes a slot out of the table; nothing that was sent in its time is accepted again.
    pub(crate) fn evict(&mut self, now: Now, number: u32) {
        self.tell_slot(now.mono, number, |slot| SlotChange::Evicted(slot.verdict));
        let slot = self.table.slot(number);
        let (agent, largest) = (slot.agent, self.largest_sent(number));
        let key = SlotKey { agent: self.table.agent(agent).id, unit: slot.unit, pid: slot.pid };
        self.drop_slot(now, number);
        // Beyond the limit nobody takes them: the disk refuses, or there is none.
        if self.removed.len() < self.limits.changes {
            self.removed.push(key);
        }
        self.counters.evictions += 1;
        let rare = self.table.rare_mut(agent);
        rare.barrier = rare.barrier.max(largest);
        self.mark_agent(agent);
        self.lost_slot(now, agent);
    }

    /// Takes a slot out of the table and of every count, and tells nothing.
    pub(crate) fn drop_slot(&mut self, now: Now, number: u32) {
        self.table.slot_mut(number).marks.set(Marks::QUIET, true);
        self.set_phase(now, number, Phase::Ended, MonoNs::NEVER);
        self.verdicts_add(self.table.slot(number).verdict, -1);
        self.drop_aside(number);
        self.table.remove_slot(number);
    }

    /// An agent may have lost its last slot.
    pub(crate) fn lost_slot(&mut self, now: Now, agent: u32) {
        let record = self.table.agent_mut(agent);
        if record.slots == 0 {
            let (id, missing) = (record.id, record.marks.has(AgentMarks::MISSING));
            if self.is_counted(agent, id) {
                self.required.unseen(missing);
            }
            self.list_slotless(now, agent);
        }
    }

    /// From now on the agent has no slot, and is forgotten in time.
    pub(crate) fn list_slotless(&mut self, now: Now, agent: u32) {
        self.table.rare_mut(agent).slotless_since = seconds(now.mono.0);
        if !self.table.agent_mut(agent).marks.put(AgentMarks::SLOTLESS) {
            self.slotless.push_back((now.mono, agent));
        }
    }

    /// When the next agent may have to be forgotten.
    pub(crate) fn next_forgotten(&self) -> MonoNs {
        self.slotless.front().map_or(MonoNs::NEVER, |(since, _)| since.after(FORGET))
    }

    /// Forgets agents that have had no slot for seven days; the fleet's barrier takes the place of their own.
    pub(crate) fn forget_agents(&mut self, now: Now) {
        while self.next_forgotten() <= now.mono {
            let Some((_, agent)) = self.slotless.pop_front() else { return };
            let rare = self.table.rare(agent);
            let record = self.table.agent_mut(agent);
            record.marks.set(AgentMarks::SLOTLESS, false);
            if record.slots > 0 {
                continue;
            }
            let since = MonoNs(u64::from(rare.slotless_since) * SECOND);
            if since.after(FORGET) > now.mono || record.marks.has(AgentMarks::LISTED) || rare.untold > 0 {
                record.marks.set(AgentMarks::SLOTLESS, true);
                self.slotless.push_back((since.max(MonoNs(now.mono.0 - FORGET + SECOND)), agent));
                continue;
            }
            self.barrier = self.barrier.max(rare.barrier);
            self.table.remove_agent(agent);
        }
    }
}
