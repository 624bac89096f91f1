//! What the core tells: outcomes by datagram, changes by state. The paged state is the truth; a consumer that lost
//! changes reads it again and is right.

use std::collections::VecDeque;

pub use varta_vlp::subject::Verdict;
use varta_vlp::{Generation, Reject, Status, UnitId, sealed::Kind};

use crate::{
    blind::Cause,
    time::{MonoNs, WallNs},
    trust::{Class, Owner},
};

/// A slot's number within one core; another slot may get it once this one was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

/// Whom a slot stands for: (owner, unit), or (owner, pid) where the unit is [`UnitId::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The agent, or whoever speaks without a key.
    pub agent: Owner,
    /// Its unit, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// The pid of its newest accepted beat, as the sender wrote it.
    pub pid: u32,
}

/// An accepted beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The slot that it belongs to.
    pub slot: SlotId,
    /// Whom it speaks for.
    pub subject: Subject,
    /// What it says.
    pub status: Status,
    /// Opaque.
    pub payload: u32,
    /// The base frame's nonce.
    pub nonce: u64,
    /// Beat or announce.
    pub kind: Kind,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Life.
    Accepted(Beat),
    /// Genuine and not the newest: loss statistics only.
    AcceptedLate(Beat),
    /// Refused and counted.
    Rejected(Reject),
    /// Genuine, but above the horizon on disk: make the horizon at least this durable, then call
    /// [`crate::Core::resume`]. Nothing else may be handed in before.
    Waiting(WallNs),
}

/// A state change, in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of one slot.
    Slot {
        /// The slot.
        slot: SlotId,
        /// Whom it stands for.
        subject: Subject,
        /// When.
        at: MonoNs,
        /// What.
        what: SlotChange,
    },
    /// Of an agent as a whole.
    Agent {
        /// The agent; whoever speaks without a key can only flap.
        agent: Owner,
        /// When.
        at: MonoNs,
        /// What.
        what: AgentChange,
    },
    /// Of the observer itself.
    Observer {
        /// When.
        at: MonoNs,
        /// What.
        what: ObserverChange,
    },
}

/// What can happen to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// First heard.
    New(Verdict),
    /// Another verdict.
    Verdict {
        /// What it was.
        from: Verdict,
        /// What it is.
        to: Verdict,
        /// For a stall, the deadline that passed.
        deadline: Option<MonoNs>,
    },
    /// Another process, or another life of the same one, began to speak for the slot.
    Restarted {
        /// Its pid before.
        old_pid: u32,
    },
    /// Two live processes speak for the slot.
    UnitConflict {
        /// The pid and boot that the slot knows.
        known: (u32, u64),
        /// The pid and boot of the other.
        other: (u32, u64),
    },
    /// The newest counter came again under another tag: two copies of one process.
    CloneSuspected,
    /// Nothing but delayed frames came for so long that the path is taken to have changed, by this many nanoseconds.
    OffsetRelearned(u64),
    /// A promise or hold of this many milliseconds was held to the ceiling, in milliseconds.
    PromiseClamped {
        /// What the sender promised.
        asked: u32,
        /// What it was held to.
        held: u32,
    },
    /// A frame of a lower class than the slot's was refused.
    OriginConflict {
        /// The frame's.
        observed: Class,
        /// The slot's.
        pinned: Class,
    },
    /// Gave way to another slot of its agent.
    Evicted(Verdict),
    /// Its agent's generation was revoked.
    Revoked,
}

/// What can happen to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// A higher generation of its key authenticated for the first time.
    Generation(Generation),
    /// Required, and none of its units was heard for its `return_within`.
    Missing,
    /// Heard again after it was missing.
    Returned,
    /// Changes came faster than they are told; this many were not.
    Flapping(u32),
}

/// What can happen to the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObserverChange {
    /// Could not see, or will not until `to`.
    Blind {
        /// Why.
        cause: Cause,
        /// From when.
        from: MonoNs,
        /// Until when, if that is known.
        to: Option<MonoNs>,
        /// Slots that are unknown for it.
        slots: u32,
    },
    /// Sees again.
    Sighted(Cause),
    /// Blind for longer than the limit: the observer itself is critical.
    BlindLimit,
    /// Its own clock is suspect: so many of the active agents were refused for their times, with one sign.
    ClockSuspect {
        /// Agents refused.
        witnesses: u32,
        /// Active agents.
        active: u32,
        /// Whether the frames seem to come from the future.
        future: bool,
    },
}

/// Changes waiting to be read, bounded.
pub(crate) struct Changes {
    queue: VecDeque<Change>,
    limit: usize,
    pub(crate) lost: u64,
}

impl Changes {
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), limit, lost: 0 }
    }

    pub(crate) fn push(&mut self, change: Change) {
        if self.queue.len() < self.limit {
            self.queue.push_back(change);
        } else {
            self.lost += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Change> {
        self.queue.pop_front()
    }
}
