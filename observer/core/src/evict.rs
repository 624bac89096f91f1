//! Slots and agents that are no more: SPEC, "Eviction".

use crate::{
    Core, SlotKey,
    agent::AgentMarks,
    event::SlotChange,
    limits::FORGET,
    slot::{Marks, Phase},
    tell::seconds,
    time::{MonoNs, Now, SECOND},
    trust::Owner,
};

impl Core {
    /// Takes a slot out of the table; nothing that was sent in its time is accepted again.
    pub(crate) fn evict(&mut self, now: Now, number: u32) {
        self.tell_slot(now.mono, number, |slot| SlotChange::Evicted(slot.verdict));
        let slot = self.table.slot(number);
        let (agent, largest) = (slot.agent, self.largest_sent(number));
        let key = SlotKey { agent: self.table.owner(agent), unit: slot.unit, pid: slot.pid };
        self.drop_slot(now, number);
        // Beyond the limit nobody takes them: the disk refuses, or there is none.
        if self.removed.len() < self.limits.changes && !matches!(key.agent, Owner::Plain(_)) {
            self.removed.push(key);
        }
        self.counters.evictions += 1;
        if key.agent.agent().is_none() {
            return self.forget_sender(agent);
        }
        let rare = self.table.rare_mut(agent);
        rare.barrier = rare.barrier.max(largest);
        self.mark_agent(agent);
        self.lost_slot(now, agent);
    }

    /// Takes a slot out of the table and of every count, and tells nothing.
    pub(crate) fn drop_slot(&mut self, now: Now, number: u32) {
        self.set_gone(number, false);
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

#[cfg(test)]
mod tests {
    use varta_vlp::{AgentId, Generation, UnitId, key::AgentSecret};

    use super::*;
    use crate::{Limits, Saved, Settings, agent::NO_AUDIENCE, slot::Slot};

    fn at(seconds: u64) -> Now {
        Now { mono: MonoNs(seconds * SECOND), ..Now::default() }
    }

    fn core() -> Core {
        Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 1)
    }

    fn add(core: &mut Core, id: u64) -> u32 {
        let agent = core.add_agent(AgentId(id), Generation(1), AgentSecret::from_bytes([0; 32]), NO_AUDIENCE);
        core.mark_agent(agent);
        agent
    }

    /// A slot that comes and goes.
    fn pass(core: &mut Core, now: Now, agent: u32) {
        let slot = core.table.add_slot(Slot::blank(agent, UnitId::NONE, 4242));
        core.verdicts_add(crate::Verdict::Critical, 1);
        core.evict(now, slot);
    }

    #[test]
    fn who_comes_and_goes_waits_once_to_be_forgotten_and_is_from_the_last_time_on() {
        let mut core = core();
        let agent = add(&mut core, 1);
        for second in 100..200 {
            pass(&mut core, at(second), agent);
            assert_eq!(core.slotless.len(), 1);
        }
        let week = FORGET / SECOND;
        core.forget_agents(at(100 + week));
        core.forget_agents(at(198 + week));
        assert_eq!((core.sizes().1, core.slotless.len()), (1, 1), "not for a week yet");
        pass(&mut core, at(199 + week), agent);
        assert_eq!(core.slotless.len(), 1, "still waits once");
        core.forget_agents(at(201 + week));
        assert_eq!((core.sizes().1, core.slotless.len()), (1, 1));
        core.forget_agents(at(201 + 2 * week));
        assert_eq!((core.sizes().1, core.slotless.len()), (0, 0));
    }

    #[test]
    fn who_takes_the_place_of_a_forgotten_agent_is_saved_once() {
        let mut core = core();
        let first = add(&mut core, 1);
        pass(&mut core, at(100), first);
        core.forget_agents(at(101 + FORGET / SECOND));
        assert_eq!(add(&mut core, 2), first, "its place is used again");
        let mut saved = Vec::new();
        while core.take_dirty(10, |record| saved.push(record)) {}
        let agents = saved.iter().filter_map(|record| match record {
            Saved::Agent(agent) => Some(agent.agent),
            _ => None,
        });
        assert_eq!(agents.collect::<Vec<_>>(), [AgentId(2)]);
        core.mark_agent(first);
        assert!(core.is_dirty(), "marked again after it was taken");
    }
}
