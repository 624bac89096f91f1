//! What bounds the core, and what an operator may set.

use crate::time::{MILLI, SECOND};

/// Bounds on everything a peer can make the core hold. Fixed for the life of a [`crate::Core`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most agent records.
    pub agents: u32,
    /// Most slots of one agent, and how many of them it may open at once.
    pub slots_per_agent: u16,
    /// Most local processes that speak without a key.
    pub processes: u32,
    /// Most addresses from which plaintext is heard.
    pub addresses: u32,
    /// Most changes waiting for [`crate::Core::poll_change`]; further ones are counted as lost.
    pub changes: usize,
    /// While overloaded, how many datagrams of agents without a record are opened in one loop turn.
    pub strangers_per_turn: u32,
    /// This shard's number and how many there are: it owns the agents whose id modulo the second is the first.
    pub shard: (u32, u32),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agents: 1_000_000,
            slots_per_agent: 64,
            processes: 65_536,
            addresses: 1024,
            changes: 65_536,
            strangers_per_turn: 64,
            shard: (0, 1),
        }
    }
}

/// What an operator may change while the observer runs. Durations in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How far a sender's clock may be off.
    pub skew: u64,
    /// Silence that is a stall for senders that promise nothing.
    pub threshold: u64,
    /// Promised beats that may be lost before a stall; at least 1.
    pub misses: u32,
    /// Added to every promised deadline.
    pub margin: u64,
    /// Longer promises are held to this.
    pub max_promise: u64,
    /// Longer planned absences are held to this.
    pub max_hold: u64,
    /// Blindness longer than this makes the observer itself critical.
    pub blind_limit: u64,
    /// For how long a lower generation is accepted once a higher one was.
    pub generation_overlap: u64,
    /// A required agent is missing when none of its units was heard for this long.
    pub return_within: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            skew: 5 * SECOND,
            threshold: 2 * SECOND,
            misses: 2,
            margin: 250 * MILLI,
            max_promise: 3600 * SECOND,
            max_hold: 3600 * SECOND,
            blind_limit: 60 * SECOND,
            generation_overlap: 7 * 86_400 * SECOND,
            return_within: 600 * SECOND,
        }
    }
}

/// A conflict keeps a slot contested for this long: longer than any session lives.
pub(crate) const CONTEST: u64 = 660 * SECOND;
/// The part of a promise that a lost beat may cost again.
const PROMISE_REPEAT_MAX: u64 = 60 * SECOND;
/// A new slot of an agent that has used up its first ones, once in this time.
pub(crate) const SLOT_REFILL: u64 = 10 * SECOND;
/// Changes of one agent told at once; after that one a second.
pub(crate) const CHANGES_AT_ONCE: u32 = 100;
/// The slot of a local process that has ended is forgotten after this.
pub(crate) const FORGET_PROCESS: u64 = 3600 * SECOND;
/// Room for senders without a key is looked for no more often than this.
pub(crate) const ROOM_EVERY: u64 = SECOND;
/// An agent record without slots is forgotten after this.
pub(crate) const FORGET: u64 = 7 * 86_400 * SECOND;
/// How fast a session's minimum offset leaks upwards: one in a thousand.
const LEAK: u64 = 1000;

impl Settings {
    /// How long a frame may have been held back: SPEC, "Acceptance". `next_due` in nanoseconds.
    #[must_use]
    pub fn max_delay(&self, next_due: u64) -> u64 {
        (self.threshold / 2).min(SECOND).max(next_due / 2).min(self.skew)
    }

    /// From a beat's (mapped) send time to the deadline of its promise.
    #[must_use]
    pub fn promise_span(&self, next_due: u64) -> u64 {
        let repeats = u64::from(self.misses.max(1) - 1) * next_due.min(PROMISE_REPEAT_MAX);
        next_due + repeats + self.margin
    }

    /// For how long frames of the previous session are late rather than proof of a second process.
    #[must_use]
    pub fn late_window(&self, next_due: u64) -> u64 {
        2 * self.skew + self.max_delay(next_due)
    }

    /// Silence after which a slot counts as idle: its pin and its place may be taken.
    #[must_use]
    pub fn idle(&self, next_due: u64) -> u64 {
        self.skew + self.max_delay(next_due)
    }
}

/// What the minimum offset has leaked in `elapsed` nanoseconds.
pub(crate) const fn leaked(elapsed: u64) -> u64 {
    elapsed / LEAK
}
