//! How changes are told, within each agent's allowance, and marked for the disk.

use crate::{
    Core,
    agent::AgentMarks,
    event::{AgentChange, Change, ObserverChange, SlotChange, SlotId},
    limits::CHANGES_AT_ONCE,
    slot::{Marks, Slot},
    time::{MonoNs, Now, SECOND},
};

#[expect(clippy::cast_possible_truncation, reason = "seconds fit 32 bits until 2106")]
pub(crate) fn seconds(ns: u64) -> u32 {
    (ns / SECOND) as u32
}

/// Room for so many slots, or agents, to be saved is never given back.
const DIRTY_KEPT: usize = 16_384;

impl Core {
    /// Tells a change of a slot, within its agent's allowance.
    pub(crate) fn tell_slot(&mut self, at: MonoNs, number: u32, what: impl FnOnce(&Slot) -> SlotChange) {
        let slot = self.table.slot(number);
        let (agent, what) = (slot.agent, what(slot));
        let subject = slot.subject(self.table.owner(agent));
        if self.take_allowance(at, agent) {
            self.changes.push(Change::Slot { slot: SlotId(number), subject, at, what });
            return;
        }
        let rare = self.table.rare_mut(agent);
        rare.untold = rare.untold.saturating_add(1);
        if rare.untold == 1 {
            self.flapping.push_back(agent);
        }
    }

    /// Whether one more change of an agent may be told.
    fn take_allowance(&mut self, at: MonoNs, agent: u32) -> bool {
        let now = seconds(at.0);
        let record = self.table.agent_mut(agent);
        let room = record.changes_full.max(now) < now + CHANGES_AT_ONCE;
        if room {
            record.changes_full = record.changes_full.max(now) + 1;
        }
        room
    }

    /// When the next count of untold changes can be told.
    pub(crate) fn next_flapping(&self) -> MonoNs {
        self.flapping.front().map_or(MonoNs::NEVER, |agent| {
            let room = self.table.agent(*agent).changes_full + 1 - CHANGES_AT_ONCE;
            MonoNs(u64::from(room) * SECOND)
        })
    }

    /// Tells how many changes of flapping agents were not told, as soon as their allowance has room again.
    pub(crate) fn tell_flapping(&mut self, now: Now) {
        while self.next_flapping() <= now.mono {
            let Some(agent) = self.flapping.pop_front() else { return };
            self.take_allowance(now.mono, agent);
            let untold = std::mem::take(&mut self.table.rare_mut(agent).untold);
            let what = AgentChange::Flapping(untold);
            self.changes.push(Change::Agent { agent: self.table.owner(agent), at: now.mono, what });
            self.forget_sender(agent);
        }
    }

    pub(crate) fn tell_observer(&mut self, at: MonoNs, what: ObserverChange) {
        self.changes.push(Change::Observer { at, what });
    }

    pub(crate) fn mark_slot(&mut self, number: u32) {
        let marks = &mut self.table.slot_mut(number).marks;
        if !marks.has(Marks::DIRTY) {
            marks.set(Marks::DIRTY, true);
            self.dirty_slots.push(number);
        }
    }

    /// Gives the room of the lists of what is to be saved back, now that they are empty.
    pub(crate) fn shrink_dirty(&mut self) {
        for list in [&mut self.dirty_slots, &mut self.dirty_agents] {
            if list.is_empty() && list.capacity() > DIRTY_KEPT {
                *list = Vec::new();
            }
        }
    }

    pub(crate) fn mark_agent(&mut self, number: u32) {
        let record = self.table.agent_mut(number);
        if !record.marks.put(AgentMarks::DIRTY) {
            self.dirty_agents.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use varta_vlp::{AgentId, Generation, UnitId, key::AgentSecret};

    use super::*;
    use crate::{Limits, Settings, agent::NO_AUDIENCE};

    #[test]
    fn room_for_what_is_to_be_saved_is_given_back() {
        let mut core = Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 1);
        let count = 2 * DIRTY_KEPT;
        for id in 0..count as u64 {
            let agent = core.add_agent(AgentId(id), Generation(1), AgentSecret::from_bytes([0; 32]), NO_AUDIENCE);
            let slot = core.table.add_slot(Slot::blank(agent, UnitId::NONE, 4242));
            core.mark_agent(agent);
            core.mark_slot(slot);
        }
        let mut taken = 0;
        while core.take_dirty(1000, |_| taken += 1) {}
        assert_eq!(taken, 2 * count);
        let room = core.dirty_slots.capacity().max(core.dirty_agents.capacity());
        assert!(room <= DIRTY_KEPT, "room for {room}");
    }
}
