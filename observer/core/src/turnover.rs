//! Another roster, put in force in bounded steps.
//!
//! The new roster decides about every frame at once. What is kept of agents, their watches and flags and counts, is made
//! to agree with it agent by agent; until an agent's turn has come, its frames are judged by asking the roster itself, and
//! it is counted as the roster before would count it.

use crate::{
    Core,
    agent::AgentMarks,
    event::SlotChange,
    limits::Settings,
    required::Required,
    roster::{Roster, RosterEntry},
    slot::{Marks, Phase},
    time::{MonoNs, Now},
    trust::Owner,
};
use varta_vlp::AgentId;

/// A roster that was in force and no longer is. Dropping a large one takes long: let that be where there is time for it.
#[derive(Debug, Default)]
pub struct Retired(pub Option<Roster>);

/// How far the turn has come.
pub(crate) struct Turnover {
    before: Option<Roster>,
    stage: Stage,
    /// Agents missing when it began: what is told until it is over.
    missing: usize,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Agents with a record, by number.
    Records(u32),
    /// Entries of the roster before.
    Before(usize),
    /// Entries of the new one.
    New(usize),
}

impl Core {
    /// Puts another roster in force, for live sessions too: slots of revoked or removed agents depart at once and keep
    /// their windows until they are idle.
    pub fn set_roster(&mut self, now: Now, roster: Option<Roster>) {
        self.begin_roster(now, roster);
        while self.continue_roster(now, u32::MAX).is_none() {}
    }

    /// Puts another roster in force: it decides about every frame from now on. What is known is made to agree with it by
    /// [`Self::continue_roster`]. A turn that was not over is brought to its end first.
    pub fn begin_roster(&mut self, now: Now, roster: Option<Roster>) {
        while self.turnover.is_some() && self.continue_roster(now, u32::MAX).is_none() {}
        let missing = self.required.missing(self.roster.as_ref());
        let before = std::mem::replace(&mut self.roster, roster);
        self.turnover = Some(Box::new(Turnover { before, stage: Stage::Records(0), missing }));
    }

    /// Goes on with what [`Self::begin_roster`] began, looking at about `steps` agents and slots. At the end hands out the
    /// roster that was in force before; `None` while there is more to do.
    pub fn continue_roster(&mut self, now: Now, steps: u32) -> Option<Retired> {
        let mut left = steps;
        while left > 0 {
            let Some(turnover) = &mut self.turnover else { return Some(Retired::default()) };
            match turnover.stage {
                Stage::Records(number) if number < self.table.agent_numbers() => {
                    left = left.saturating_sub(1 + self.agree(now, number));
                    self.proceed(Stage::Records(number + 1));
                }
                Stage::Records(_) => self.proceed(Stage::Before(0)),
                Stage::Before(place) => match turnover.before.as_ref().and_then(|before| before.at(place)) {
                    Some((agent, entry)) => {
                        // Nobody else of that roster was watched for.
                        let required = entry.required.then_some(*agent);
                        left -= 1;
                        self.proceed(Stage::Before(place + 1));
                        if let Some(agent) = required {
                            let entry = self.roster.as_ref().and_then(|roster| roster.get(agent));
                            watch(&mut self.required, &self.settings, now, agent, entry);
                        }
                    }
                    None => self.proceed(Stage::New(0)),
                },
                Stage::New(place) => match self.roster.as_ref().and_then(|roster| roster.at(place)) {
                    Some((agent, entry)) => {
                        left -= 1;
                        if entry.required {
                            watch(&mut self.required, &self.settings, now, *agent, Some(entry));
                        }
                        self.proceed(Stage::New(place + 1));
                    }
                    None => return self.turnover.take().map(|turnover| Retired(turnover.before)),
                },
            }
        }
        None
    }

    fn proceed(&mut self, stage: Stage) {
        if let Some(turnover) = &mut self.turnover {
            turnover.stage = stage;
        }
    }

    /// Whether the roster is to be asked of every frame of an agent.
    pub(crate) fn asks_roster(&self, agent: u32) -> bool {
        self.table.agent(agent).marks.has(AgentMarks::WATCHED) || self.turnover.is_some()
    }

    /// The roster by which the agent of that number is counted.
    fn counting(&self, number: u32) -> Option<&Roster> {
        match self.turnover.as_deref() {
            Some(Turnover { before, stage: Stage::Records(turned), .. }) if number >= *turned => before.as_ref(),
            _ => self.roster.as_ref(),
        }
    }

    /// Whether the agent of that number counts as one of the roster.
    pub(crate) fn is_counted(&self, number: u32, id: AgentId) -> bool {
        self.counting(number).is_some_and(|roster| roster.get(id).is_some())
    }

    /// Agents missing, as they are told: while another roster is put in force, as it was before.
    pub(crate) fn missing(&self) -> usize {
        let turning = self.turnover.as_ref().map(|turnover| turnover.missing);
        turning.unwrap_or_else(|| self.required.missing(self.roster.as_ref()))
    }

    /// Makes an agent with a record agree with the roster in force. Returns how many slots it has.
    fn agree(&mut self, now: Now, number: u32) -> u32 {
        let Some(agent) = self.table.live_agent(number) else { return 0 };
        let (id, slots, missing) = (agent.id, u32::from(agent.slots), agent.marks.has(AgentMarks::MISSING));
        if slots > 0 && self.is_counted(number, id) {
            self.required.unseen(missing);
        }
        let entry = self.roster.as_ref().and_then(|roster| roster.get(id));
        watch(&mut self.required, &self.settings, now, id, entry);
        let asked = self.roster.is_some() && entry.is_none_or(RosterEntry::is_asked);
        let missing = entry.is_some_and(|entry| entry.required) && self.required.is_told(id);
        if slots > 0 && entry.is_some() {
            self.required.seen(missing);
        }
        let marks = &mut self.table.agent_mut(number).marks;
        marks.set(AgentMarks::WATCHED, asked);
        marks.set(AgentMarks::MISSING, missing);
        let mut slot = self.table.agent(number).first_slot;
        for _ in 0..slots {
            let next = self.table.slot(slot).next;
            self.revoke_if_named(now, slot);
            slot = next;
        }
        slots
    }

    fn revoke_if_named(&mut self, now: Now, number: u32) {
        let Some(slot) = self.table.live_slot(number) else {
            return;
        };
        let Some(roster) = &self.roster else { return };
        let Owner::Agent(id) = self.table.owner(slot.agent) else { return };
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
}

/// Watches for an agent that is required now, `entry` being the roster's of it, and no longer for one that is not. For one
/// that was watched for before the time goes on.
fn watch(required: &mut Required, settings: &Settings, now: Now, id: AgentId, entry: Option<&RosterEntry>) {
    match entry.filter(|entry| entry.required) {
        None => required.forget(id),
        Some(entry) => {
            let within = entry.return_within.unwrap_or(settings.return_within);
            required.watch(id, now.mono.after(within));
        }
    }
}
