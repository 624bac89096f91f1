//! Reading the state out, in bounded steps.

use varta_vlp::{Status, UnitId, sealed::shown_pid};

use crate::{
    Core,
    agent::AgentMarks,
    event::{SlotId, Verdict},
    names::Announced,
    roster::RosterEntry,
    slot::Marks,
    time::{MonoNs, Now, WallNs},
    trust::{Class, Owner},
};

/// Where a reading of the state goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// A row: a slot, or an agent of the roster that is not here (then [`SlotView::slot`] is `None`): missing, or unknown
/// while agents without a record are shed.
pub struct SlotView<'a> {
    /// The slot.
    pub slot: Option<SlotId>,
    /// The agent's place in the roster, where the row is that of one that is not here.
    pub place: Option<u32>,
    /// The agent, or whoever speaks without a key.
    pub agent: Owner,
    /// Its name, once the roster or an announce told it.
    pub agent_name: Option<&'a str>,
    /// The unit's id.
    pub unit: UnitId,
    /// Its name, once an announce told it.
    pub unit_name: Option<&'a str>,
    /// The pid as a person reads it; 0 where none was heard.
    pub pid: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The newest status.
    pub status: Status,
    /// The newest payload.
    pub payload: u32,
    /// The newest nonce below the terminal one, of a slot without a key; sealed frames are told apart by their counters.
    pub nonce: Option<u64>,
    /// When the newest accepted frame was handed in. `None` where none was heard.
    pub arrival: Option<MonoNs>,
    /// Whether it is a local process whose PID namespace was read, and is the observer's own.
    pub ours: bool,
    /// How far its origin can be trusted.
    pub class: Class,
    /// Since the newest accepted beat left its sender, by the session's minimum offset where that is known, else by the
    /// wall clocks; nanoseconds. `None` where none was heard.
    pub last_beat_age: Option<u64>,
    /// The session's start, nanoseconds since the Unix epoch.
    pub session: u64,
    /// Restarts seen.
    pub restarts: u32,
    /// Stalls told.
    pub stalls: u32,
    /// Beats accepted.
    pub beats: u64,
    /// The sender's own lateness at its newest beat, microseconds.
    pub lag_us: u32,
    announce: Option<Announced<'a>>,
    roster: Option<&'a RosterEntry>,
}

impl<'a> SlotView<'a> {
    /// Labels by key: the roster's win over announced ones.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let roster = self.roster;
        let announced = self.announce.into_iter().flat_map(Announced::iter).filter(move |(key, _)| {
            !matches!(*key, "agent" | "unit") && roster.is_none_or(|entry| !entry.labels.contains_key(*key))
        });
        let decided = roster.into_iter().flat_map(|entry| entry.labels.iter()).map(|(key, value)| (&**key, &**value));
        decided.chain(announced)
    }
}

/// Where the roster begins in a [`Cursor`], whatever slots are added meanwhile.
const ROSTER: u64 = 1 << 32;

impl Core {
    /// Hands rows to `read` from `cursor` on, looking at no more than `limit` places; `None` when all were read.
    pub fn page(&self, now: Now, cursor: Cursor, limit: u32, mut read: impl FnMut(SlotView<'_>)) -> Option<Cursor> {
        let slots = u64::from(self.table.slot_numbers());
        let end = ROSTER + self.roster.as_ref().map_or(0, |roster| roster.len() as u64);
        let (mut place, mut left) = (cursor.0, limit);
        while place < end && left > 0 {
            if (slots..ROSTER).contains(&place) {
                place = ROSTER;
                continue;
            }
            let view = match place.checked_sub(ROSTER) {
                None => u32::try_from(place).ok().and_then(|number| self.view(now, SlotId(number))),
                Some(place) => u32::try_from(place).ok().and_then(|place| self.absent(place)),
            };
            view.into_iter().for_each(&mut read);
            (place, left) = (place + 1, left - 1);
        }
        let place = if (slots..ROSTER).contains(&place) { ROSTER } else { place };
        (place < end).then_some(Cursor(place))
    }

    /// The row of one slot.
    #[must_use]
    pub fn view(&self, now: Now, id: SlotId) -> Option<SlotView<'_>> {
        let slot = self.table.live_slot(id.0)?;
        let agent = self.table.owner(slot.agent);
        let roster = agent.agent().and_then(|agent| self.roster.as_ref()?.get(agent));
        let announce = self.table.announced(id.0);
        let name = |key| announce.and_then(|announce| announce.get(key));
        Some(SlotView {
            slot: Some(id),
            place: None,
            agent,
            agent_name: roster.map(|entry| &*entry.name).or_else(|| name("agent")),
            unit: slot.unit,
            unit_name: name("unit"),
            pid: shown_pid(slot.pid),
            verdict: slot.verdict,
            status: slot.status,
            payload: slot.payload,
            nonce: agent.agent().is_none().then(|| slot.window().newest()),
            arrival: Some(slot.arrival),
            ours: agent == Owner::Local && slot.marks.has(Marks::SEEN_NAMESPACE),
            class: self.class_of(agent, slot.marks.has(Marks::ATTESTED)),
            last_beat_age: Some(self.age(now, id.0)),
            session: slot.session,
            restarts: slot.restarts,
            stalls: slot.stalls,
            beats: slot.beats,
            lag_us: slot.lag_us,
            announce,
            roster,
        })
    }

    /// Nanoseconds since the slot's newest beat left its sender.
    pub(crate) fn age(&self, now: Now, number: u32) -> u64 {
        let slot = self.table.slot(number);
        if slot.marks.has(Marks::UNLEARNED) {
            return now.wall.0.saturating_sub(slot.sent_at.0);
        }
        now.mono.since(self.mapped_send_time(number))
    }

    /// The row of the agent at a place in the roster, if it is not here.
    #[must_use]
    pub fn absent(&self, place: u32) -> Option<SlotView<'_>> {
        let (agent, entry) = self.roster.as_ref()?.at(usize::try_from(place).ok()?)?;
        let record = self.table.find_agent(*agent).map(|number| self.table.agent(number));
        let missing = record.is_none_or(|record| record.slots == 0 || record.marks.has(AgentMarks::MISSING));
        missing.then_some(SlotView {
            slot: None,
            place: Some(place),
            agent: Owner::Agent(*agent),
            agent_name: Some(&entry.name),
            unit: UnitId::NONE,
            unit_name: None,
            pid: 0,
            verdict: self.absence(),
            status: Status::Ok,
            payload: 0,
            nonce: None,
            arrival: None,
            ours: false,
            class: Class::NetworkVerified,
            last_beat_age: None,
            session: 0,
            restarts: 0,
            stalls: 0,
            beats: 0,
            lag_us: 0,
            announce: None,
            roster: Some(entry),
        })
    }

    /// The slot of a unit; by its pid where `unit` is [`UnitId::NONE`].
    #[must_use]
    pub fn find(&self, agent: impl Into<Owner>, unit: UnitId, pid: u32) -> Option<SlotId> {
        self.table.find_slot(self.table.find_owner(agent.into(), pid)?, unit, pid).map(SlotId)
    }

    /// The place in the roster of an agent that is in it.
    #[must_use]
    pub fn place_of(&self, agent: Owner) -> Option<u32> {
        self.roster.as_ref()?.place(agent.agent()?)
    }

    /// When a slot is next to be judged; [`MonoNs::NEVER`] while nothing is due from it.
    #[must_use]
    pub fn deadline(&self, id: SlotId) -> Option<MonoNs> {
        self.table.live_slot(id.0).map(|_| self.table.deadlines.get(id.0))
    }

    /// The largest accepted send time of a slot.
    #[must_use]
    pub fn newest_sent_of(&self, id: SlotId) -> Option<WallNs> {
        self.table.live_slot(id.0).map(|_| self.largest_sent(id.0))
    }
}
