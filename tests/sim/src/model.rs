//! The slow, obvious model of the acceptance: SPEC, "Acceptance", step by step, over sets and lists of what was accepted.
//! It shares no code with the core and opens nothing: whether a datagram is genuine it is told.

mod commit;
mod judge;
mod restart;

use std::collections::{BTreeMap, BTreeSet};

use varta_core::{MILLI, Reject, SECOND, Settings, Verdict};
use varta_vlp::sealed::{Body, Flags};

pub use judge::{Judgement, Plan};
pub use restart::{Kept, Past};

use crate::rules::Rule;

/// Unit and pid; the pid is 0 where there is a unit.
pub type Key = (u32, u32);
/// The verdicts of an agent's slots, where they matter.
pub type Verdicts = BTreeMap<(u64, Key), Verdict>;

/// The slot that a body speaks for.
#[must_use]
pub const fn key_of(body: &Body) -> Key {
    if body.unit.0 == 0 { (0, body.frame.pid) } else { (body.unit.0, 0) }
}

/// What an observer should know.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    slots_per_agent: u32,
    strangers_per_turn: u32,
    shard: (u32, u32),
    audience: u32,
    /// Everything sent at or before this is refused.
    pub barrier: u64,
    /// The agents by id.
    pub agents: BTreeMap<u64, Agent>,
    strangers: Option<u32>,
    /// When the last gap began, while what waited through it is read; and whether a turn has ended since.
    draining: Option<(u64, bool)>,
}

/// What is known of an agent.
#[derive(Clone, Debug)]
pub struct Agent {
    floor: u32,
    floor_since: u64,
    barrier: u64,
    /// When its allowance of new slots is whole again, seconds.
    account: u64,
    /// Its slots.
    pub slots: BTreeMap<Key, Slot>,
}

/// What was accepted of one session.
#[derive(Clone, Debug)]
struct Session {
    start: u64,
    /// Generation, pid and boot; not known of a previous session that was read back.
    process: Option<(u32, u32, u64)>,
    newest: u64,
    seen: BTreeSet<u64>,
    /// Of the newest; not known of one that was read back.
    tag: Option<[u8; 16]>,
    last: Option<u64>,
    /// The smallest offset, and when it was seen.
    floor: Option<Floor>,
    terminal: bool,
}

/// A smallest offset: arrival less send time, and the arrival since which it leaks.
#[derive(Clone, Copy, Debug)]
struct Floor {
    offset: i128,
    at: u64,
}

impl Floor {
    fn now(self, mono: u64) -> i128 {
        self.offset + i128::from(mono.saturating_sub(self.at)) / 1000
    }
}

/// How a process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    Departed,
    Ended,
}

/// What is known of a slot.
#[derive(Clone, Debug)]
pub struct Slot {
    session: Session,
    previous: Option<Session>,
    /// When the current session was first heard.
    heard: u64,
    /// When its newest frame was accepted.
    pub arrival: u64,
    /// Of the newest frame.
    pub sent_at: u64,
    /// When that was sent by the observer's boottime.
    sent: Option<u64>,
    /// How much of that is leak.
    pub leaked: u64,
    largest: u64,
    timestamp: u64,
    /// The newest promise or hold after clamping, nanoseconds.
    pub due: u64,
    /// Whether it is a hold.
    pub hold: bool,
    delayed_since: Option<u64>,
    /// The furthest that the sender's clock was ahead of the right time since the minimum offset was learnt: no part of
    /// what an observer knows, but kept with it.
    pub most_ahead: i64,
    farewell: Option<Farewell>,
    /// What the floor would be had STEPPED been left out of account.
    unstepped: Option<Floor>,
    /// Whether the newest promise was above its ceiling.
    pub clamped: bool,
}

impl Session {
    fn first(start: u64, process: (u32, u32, u64), counter: u64) -> Self {
        let seen = BTreeSet::from([counter]);
        Self {
            start,
            process: Some(process),
            newest: counter,
            seen,
            tag: None,
            last: None,
            floor: None,
            terminal: false,
        }
    }

    fn take(&mut self, counter: u64, tag: [u8; 16]) {
        if counter >= self.newest {
            self.newest = counter;
            self.tag = Some(tag);
        }
        self.seen.insert(counter);
        while self.seen.first().is_some_and(|first| self.newest - first >= 128) {
            self.seen.pop_first();
        }
    }
}

impl Slot {
    /// When the newest beat was sent by the observer's boottime.
    #[must_use]
    pub const fn mapped_send_time(&self) -> Option<u64> {
        self.sent
    }

    /// When the newest beat is overdue by the observer's boottime, blindness left out of account.
    #[must_use]
    pub fn deadline(&self, settings: &Settings) -> Option<u64> {
        Some(self.sent?.saturating_add(span(settings, self.due, self.hold)))
    }

    /// Whether its process said that it ends.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.farewell.is_some()
    }

    /// Whether the current session began on another timeline.
    #[must_use]
    pub const fn has_stepped(&self) -> bool {
        self.unstepped.is_some()
    }
}

/// How long a frame with this promise may have been held back.
#[must_use]
pub fn max_delay(settings: &Settings, due: u64) -> u64 {
    let least = if settings.threshold / 2 < SECOND { settings.threshold / 2 } else { SECOND };
    least.max(due / 2).min(settings.skew)
}

/// From a beat to its deadline.
#[must_use]
pub fn span(settings: &Settings, due: u64, hold: bool) -> u64 {
    match due {
        0 => settings.threshold,
        due if hold => due + settings.margin,
        due => due + u64::from(settings.misses - 1) * due.min(60 * SECOND) + settings.margin,
    }
}

/// A body's promise or hold in nanoseconds, held to its ceiling.
#[must_use]
pub fn clamped(settings: &Settings, body: &Body) -> u64 {
    let ceiling = if body.flags.has(Flags::HOLD) { settings.max_hold } else { settings.max_promise };
    (u64::from(body.next_due_ms) * MILLI).min(ceiling)
}

impl Model {
    /// A model that knows nobody, of a shard of an audience.
    #[must_use]
    pub const fn new(settings: Settings, limits: &varta_core::Limits, audience: u32) -> Self {
        Self {
            settings,
            slots_per_agent: limits.slots_per_agent as u32,
            strangers_per_turn: limits.strangers_per_turn,
            shard: limits.shard,
            audience,
            barrier: 0,
            agents: BTreeMap::new(),
            strangers: None,
            draining: None,
        }
    }

    /// The slot of an agent, if it is known.
    #[must_use]
    pub fn slot(&self, agent: u64, key: Key) -> Option<&Slot> {
        self.agents.get(&agent)?.slots.get(&key)
    }

    /// A turn of the observer's loop begins.
    pub fn begin_turn(&mut self, overloaded: bool) {
        self.draining = self.draining.filter(|(_, ended)| overloaded || !ended);
        self.strangers = if overloaded { Some(self.strangers_per_turn) } else { None };
    }

    /// It ends.
    pub const fn end_turn(&mut self) {
        if let Some((_, ended)) = &mut self.draining {
            *ended = true;
        }
    }

    /// The observer did not look, from this instant of its boottime to now.
    pub const fn note_gap(&mut self, from: u64) {
        self.draining = Some((from, false));
    }

    /// For so long what is read now may have waited for the observer.
    #[must_use]
    pub fn queued_for(&self, now: varta_core::Now) -> u64 {
        self.draining.map_or(0, |(from, _)| now.mono.0.saturating_sub(from))
    }

    /// How many slots and agents there are.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.agents.values().map(|agent| agent.slots.len()).sum(), self.agents.len())
    }
}

/// What should become of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Life.
    Accepted,
    /// Loss statistics only.
    Late,
    /// Refused.
    Rejected(Reject),
}

type Refused = (Reject, Rule);
