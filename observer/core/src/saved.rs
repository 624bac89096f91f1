//! What outlives the observer, and how it is taken up again: SPEC, "Restart".

use varta_vlp::{AgentId, Generation, Status, UnitId, key::AgentSecret, replay::Window, sealed::Metadata};

use crate::{
    Core,
    agent::{AgentMarks, NO_AUDIENCE},
    blind::Cause,
    event::Verdict,
    names::Announced,
    slot::{Aside, Goodbye, Marks, NONE, PackedWindow, Phase, Previous, Slot},
    time::{MonoNs, Now, WallNs},
    trust::{Owner, Sender},
};

/// Whom a slot stands for, over restarts: the pid counts only where the unit is [`UnitId::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The agent, or whoever speaks without a key.
    pub agent: Owner,
    /// Its unit.
    pub unit: UnitId,
    /// Its pid.
    pub pid: u32,
}

/// One record to be kept, or to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// An agent; comes before its slots.
    Agent(SavedAgent),
    /// A slot, whole.
    Slot(Box<SavedSlot>),
    /// A slot that is no more.
    Removed(SlotKey),
}

/// What is kept of an agent. Its key is derived again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAgent {
    /// The agent.
    pub agent: AgentId,
    /// The highest generation that authenticated.
    pub floor: Generation,
    /// When it first did, seconds since the Unix epoch.
    pub floor_since: u32,
    /// Nothing sent at or before this is accepted.
    pub barrier: WallNs,
}

/// What is kept of a slot. Instants are on the saving observer's boot timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSlot {
    /// Whom it stands for.
    pub key: SlotKey,
    /// Fixed by the session's first accepted frame.
    pub generation: Generation,
    /// The session's start.
    pub session: u64,
    /// Newest counter and the bits below it.
    pub window: (u64, u128),
    /// The start, newest counter and bits of the session before, where frames of it may still come.
    pub previous: Option<(u64, u64, u128)>,
    /// The counter of the session's FINAL.
    pub last_counter: Option<u64>,
    /// The boot of the sender's host.
    pub boot: u64,
    /// The newest base timestamp.
    pub timestamp: u64,
    /// The largest accepted.
    pub sent_at: WallNs,
    /// The session's minimum offset as of `arrival`, where known.
    pub offset: Option<i64>,
    /// When the newest frame was accepted.
    pub arrival: MonoNs,
    /// When the session was first heard.
    pub heard: MonoNs,
    /// When it is to be judged.
    pub deadline: MonoNs,
    /// Until when it is contested.
    pub contested_until: Option<MonoNs>,
    /// Beats accepted.
    pub beats: u64,
    /// The promise in force, milliseconds.
    pub next_due_ms: u32,
    /// The newest payload.
    pub payload: u32,
    /// Restarts seen.
    pub restarts: u32,
    /// Stalls told.
    pub stalls: u32,
    /// The newest status.
    pub status: Status,
    /// In which part of its life it is.
    pub phase: Phase,
    /// Whether the promise is a planned absence.
    pub hold: bool,
    /// Whether the session had a terminal beat.
    pub terminal: bool,
    /// The newest announce, as received; what is no metadata is not taken back.
    pub announce: Option<Box<[u8]>>,
}

impl Core {
    fn saved_agent(&self, number: u32) -> Option<Saved> {
        let agent = self.table.live_agent(number)?;
        Some(Saved::Agent(SavedAgent {
            agent: agent.id,
            floor: self.table.floor(number),
            floor_since: agent.floor_since,
            barrier: self.table.rare(number).barrier,
        }))
    }

    fn saved_slot(&self, number: u32) -> Option<Saved> {
        let slot = self.table.live_slot(number)?;
        let owner = self.table.owner(slot.agent);
        if matches!(owner, Owner::Plain(_)) {
            // Nothing of it can be believed, so nothing is worth keeping.
            return None;
        }
        let previous = self.table.previous(number).map(|previous| {
            let (newest, seen) = previous.window.unpack().parts();
            (previous.start, newest, seen)
        });
        Some(Saved::Slot(Box::new(SavedSlot {
            key: SlotKey { agent: owner, unit: slot.unit, pid: slot.pid },
            generation: slot.generation,
            session: slot.session,
            window: slot.window().parts(),
            previous,
            last_counter: slot.goodbye.counter(slot.window().newest()),
            boot: slot.boot,
            timestamp: slot.timestamp,
            sent_at: self.largest_sent(number),
            offset: (!slot.marks.has(Marks::UNLEARNED)).then_some(slot.offset),
            arrival: slot.arrival,
            heard: slot.heard,
            deadline: self.deadline_to_keep(number),
            contested_until: self.aside.get(&number).and_then(|aside| aside.contested_until),
            beats: slot.beats,
            next_due_ms: slot.next_due_ms,
            payload: slot.payload,
            restarts: slot.restarts,
            stalls: slot.stalls,
            status: slot.status,
            phase: slot.phase,
            hold: slot.marks.has(Marks::HOLD),
            terminal: slot.marks.has(Marks::TERMINAL),
            announce: self.table.announced(number).map(Announced::bytes),
        })))
    }

    /// When a slot is to be judged; a wait for a barrier that excuses it is not known to the next observer.
    fn deadline_to_keep(&self, number: u32) -> MonoNs {
        let deadline = self.table.deadlines.get(number);
        deadline.max(self.end_of_wait(number).unwrap_or_default())
    }

    /// Hands out what changed since it was last saved, at most `limit` records; false when nothing is left.
    pub fn take_dirty(&mut self, limit: usize, mut keep: impl FnMut(Saved)) -> bool {
        let mut left = limit;
        let mut enough = || {
            left = left.saturating_sub(1);
            left == 0
        };
        while let Some(key) = self.removed.pop() {
            keep(Saved::Removed(key));
            if enough() {
                return true;
            }
        }
        while let Some(number) = self.dirty_agents.pop() {
            self.table.agent_mut(number).marks.set(AgentMarks::DIRTY, false);
            self.saved_agent(number).into_iter().for_each(&mut keep);
            if enough() {
                return true;
            }
        }
        while let Some(number) = self.dirty_slots.pop() {
            self.table.slot_mut(number).marks.set(Marks::DIRTY, false);
            self.saved_slot(number).into_iter().for_each(&mut keep);
            if enough() {
                return true;
            }
        }
        self.shrink_dirty();
        false
    }

    /// Whether [`Self::take_dirty`] has something to hand out.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !(self.removed.is_empty() && self.dirty_agents.is_empty() && self.dirty_slots.is_empty())
    }

    /// Hands out everything, agents first, from `cursor` on, about `limit` records at a time; `None` when done.
    pub fn save_page(&self, cursor: u64, limit: u32, mut keep: impl FnMut(Saved)) -> Option<u64> {
        let agents = u64::from(self.table.agent_numbers());
        let end = agents + u64::from(self.table.slot_numbers());
        let stop = end.min(cursor + u64::from(limit));
        for place in cursor..stop {
            let record = match place.checked_sub(agents) {
                None => self.saved_agent(u32::try_from(place).unwrap_or(NONE)),
                Some(slot) => self.saved_slot(u32::try_from(slot).unwrap_or(NONE)),
            };
            record.into_iter().for_each(&mut keep);
        }
        (stop < end).then_some(stop)
    }

    /// Takes back one record, before [`Self::start`]. A later record replaces an earlier one of the same key.
    /// `same_boot` says whether the saving observer ran under the same boot of this host; offsets mean nothing otherwise.
    pub fn restore(&mut self, saved: Saved, same_boot: bool) {
        self.other_boot |= !same_boot;
        match saved {
            Saved::Agent(agent) => {
                let number = self.agent_for(agent.agent, agent.floor);
                self.table.set_generation(number, agent.floor, agent.floor);
                self.table.agent_mut(number).floor_since = agent.floor_since;
                if agent.barrier > WallNs(0) {
                    self.table.rare_mut(number).barrier = agent.barrier;
                }
                self.newest_sent = self.newest_sent.max(agent.barrier);
            }
            Saved::Slot(slot) => self.restore_slot(*slot, same_boot),
            Saved::Removed(key) => {
                let agent = self.table.find_owner(key.agent, key.pid);
                if let Some(number) = agent.and_then(|agent| self.table.find_slot(agent, key.unit, key.pid)) {
                    self.drop_restored(number);
                }
            }
        }
    }

    /// Takes back what was taken back of a slot.
    fn drop_restored(&mut self, number: u32) {
        let agent = self.table.slot(number).agent;
        self.drop_slot(Now::default(), number);
        self.forget_sender(agent);
    }

    fn agent_for(&mut self, id: AgentId, generation: Generation) -> u32 {
        self.table
            .find_agent(id)
            .unwrap_or_else(|| self.add_agent(id, generation, AgentSecret::from_bytes([0; 32]), NO_AUDIENCE))
    }

    fn restore_slot(&mut self, saved: SavedSlot, same_boot: bool) {
        let SavedSlot { key, .. } = saved;
        let known = self.table.find_owner(key.agent, key.pid);
        if let Some(number) = known.and_then(|agent| self.table.find_slot(agent, key.unit, key.pid)) {
            self.drop_restored(number);
        }
        let agent = match key.agent {
            Owner::Agent(agent) => {
                self.newest_sent = self.newest_sent.max(saved.sent_at);
                self.agent_for(agent, saved.generation)
            }
            // Processes end with their host.
            Owner::Local if same_boot => {
                self.table.add_sender(Sender::Local { pid: key.pid, process: saved.boot, ours: false })
            }
            Owner::Local | Owner::Plain(_) => return,
        };
        if self.table.agent(agent).slots == u16::MAX {
            // No room for another: as if it had been evicted.
            let rare = self.table.rare_mut(agent);
            rare.barrier = rare.barrier.max(saved.sent_at);
            return;
        }
        let mut marks = Marks::default();
        marks.set(Marks::QUIET, true);
        marks.set(Marks::UNPINNED, true);
        marks.set(Marks::HOLD, saved.hold);
        marks.set(Marks::TERMINAL, saved.terminal);
        marks.set(Marks::UNLEARNED, !same_boot || saved.offset.is_none());
        let number = self.table.add_slot(Slot {
            generation: saved.generation,
            session: saved.session,
            window: PackedWindow::pack(Window::from_parts(saved.window.0, saved.window.1)),
            boot: saved.boot,
            timestamp: saved.timestamp,
            sent_at: saved.sent_at,
            offset: saved.offset.unwrap_or(0),
            arrival: saved.arrival,
            heard: saved.heard,
            beats: saved.beats,
            next_due_ms: saved.next_due_ms,
            payload: saved.payload,
            restarts: saved.restarts,
            stalls: saved.stalls,
            status: saved.status,
            marks,
            goodbye: saved.last_counter.map_or(Goodbye::NONE, |counter| Goodbye::at(saved.window.0, counter)),
            ..Slot::blank(agent, key.unit, key.pid)
        });
        if let Some(announce) = saved.announce.as_deref().and_then(|bytes| Metadata::parse(bytes).ok()) {
            self.table.set_announce(number, Some(&announce));
        }
        self.verdicts_add(Verdict::Critical, 1);
        if let Some((start, newest, seen)) = saved.previous {
            let window = PackedWindow::pack(Window::from_parts(newest, seen));
            let (offset, goodbye) = (i64::MAX, Goodbye::NONE);
            let previous = Previous { start, window, offset, tag: 0, process: 0, goodbye, owner: number };
            self.table.set_previous(number, previous);
        }
        if let Some(until) = saved.contested_until {
            *self.aside_mut(number) = Aside { contested_until: Some(until), ..Aside::default() };
        }
        let phase = match saved.phase {
            Phase::Live | Phase::Held | Phase::Unknown(_) => Phase::Unknown(Cause::Restart),
            told => told,
        };
        self.set_phase(Now::default(), number, phase, saved.deadline);
        let marks = &mut self.table.slot_mut(number).marks;
        marks.set(Marks::QUIET, false);
        // Nobody saw what became of it meanwhile.
        marks.set(Marks::UNSEEN, phase == Phase::Stalled);
    }

    /// Says that frames up to `sent` may have been accepted: before [`Self::start`], where a horizon is known.
    pub fn may_have_accepted(&mut self, sent: WallNs) {
        self.newest_sent = self.newest_sent.max(sent);
    }
}
