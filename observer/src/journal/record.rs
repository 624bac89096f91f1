//! A change as those who follow read it.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use varta_core::{AgentChange, Change, Class, MILLI, MonoNs, Now, ObserverChange, SlotChange, Verdict, WallNs};
use varta_vlp::{UnitId, sealed::shown_pid};

use super::{
    note::{What, Whom},
    words,
};

/// One event. What does not apply to its kind is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRecord {
    /// Rises by one from event to event, and over restarts.
    pub id: u64,
    /// When it happened: RFC 3339, microseconds.
    pub at: String,
    /// What happened.
    pub kind: &'static str,
    /// The agent's name, or its id as 16 hex digits.
    pub agent: Option<String>,
    /// The unit's name, its id as 8 hex digits, or "" for a slot known by its pid.
    pub unit: Option<String>,
    /// The pid as a person reads it; of a refused datagram, the one that its frame named.
    pub pid: Option<u32>,
    /// The name of the slot's origin class, where the slot is still there.
    pub origin: Option<&'static str>,
    /// The verdict before.
    pub from: Option<&'static str>,
    /// The verdict from now on.
    pub to: Option<&'static str>,
    /// Why, in words.
    pub why: String,
    /// What only this kind says; its fields stand beside those above.
    #[serde(flatten)]
    pub detail: Detail,
}

impl EventRecord {
    /// The event as a JSON object in one line.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings and numbers under string keys always have a JSON form")]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("an event has a JSON form")
    }
}

/// A process that speaks for a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its pid as a person reads it.
    pub pid: u32,
    /// The boot of its host, 16 hex digits; zeros where unknown.
    pub boot: String,
}

/// What only one kind of event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    /// Nothing more.
    Nothing {},
    /// Of a verdict of stalled.
    Stall {
        /// The deadline that passed, RFC 3339.
        deadline: String,
        /// From the deadline to the verdict, microseconds.
        late_us: u64,
    },
    /// Of a restart.
    Restart {
        /// The pid before.
        old_pid: u32,
    },
    /// Of a unit conflict.
    Conflict {
        /// The process that the slot knows.
        known: Process,
        /// The other.
        other: Process,
    },
    /// Of a relearned offset.
    Offset {
        /// By how much the path is longer, milliseconds.
        by_ms: u64,
    },
    /// Of a clamped promise.
    Promise {
        /// What was promised, milliseconds.
        asked_ms: u32,
        /// What it was held to, milliseconds.
        held_ms: u32,
    },
    /// Of an origin conflict.
    Origin {
        /// The class of the refused frame.
        observed: &'static str,
        /// The class of the slot.
        pinned: &'static str,
    },
    /// Of a new generation.
    Generation {
        /// The generation.
        generation: u32,
    },
    /// Of flapping.
    Flapping {
        /// How many changes were not told.
        untold: u32,
    },
    /// Of blindness.
    Blind {
        /// Its cause.
        cause: &'static str,
        /// From when on, RFC 3339.
        since: String,
        /// Until when, RFC 3339; null while that is not known.
        until: Option<String>,
        /// How many slots are unknown for it.
        slots: u32,
    },
    /// Of sight.
    Sighted {
        /// The cause that is over.
        cause: &'static str,
    },
    /// Of the blind limit.
    BlindLimit {
        /// The limit, milliseconds.
        limit_ms: u64,
    },
    /// Of a refused datagram of a local process, whose frame named `pid`.
    Refusal {
        /// The sender's pid as the kernel says it; 0 where it does not, or where the observer's PID namespace has none for it.
        sender_pid: u32,
        /// The sender's user as the kernel says it.
        sender_uid: Option<u32>,
        /// The inode of the sender's PID namespace, where it was read.
        namespace: Option<u64>,
        /// The inode of the observer's.
        observer_namespace: Option<u64>,
    },
    /// Of a suspect clock.
    Clock {
        /// Agents that were refused for their times.
        witnesses: u32,
        /// Active agents.
        active: u32,
        /// "future" where their frames seem to come from there, else "past".
        sign: &'static str,
    },
}

/// RFC 3339 in UTC, to the microsecond.
pub(super) fn rfc3339(at: WallNs) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(at.0)).to_string()
}

/// The event of a change.
pub(super) fn record(now: Now, id: u64, what: &What, whom: Whom) -> EventRecord {
    let change = &what.change;
    let at = change_at(change);
    let (from, to) = verdicts(change);
    let agent = whom.agent.map(|id| whom.agent_name.map_or_else(|| id.to_string(), String::from));
    let unit = whom.unit.map(|id| match whom.unit_name {
        _ if id == UnitId::NONE => String::new(),
        Some(name) => name.into(),
        None => id.to_string(),
    });
    EventRecord {
        id,
        at: rfc3339(wall_of(now, at)),
        kind: kind(change),
        why: words::why(what, whom.reasons.as_ref()),
        agent,
        unit,
        pid: whom.pid,
        origin: whom.class.map(Class::name),
        from: from.map(Verdict::name),
        to: to.map(Verdict::name),
        detail: match change {
            Change::Slot { what, .. } => slot_detail(now, at, *what),
            Change::Agent { what, .. } => agent_detail(*what),
            Change::Observer { what: change, .. } => observer_detail(now, what.blind_limit, *change),
        },
    }
}

/// When it happened.
pub(super) const fn change_at(change: &Change) -> MonoNs {
    match change {
        Change::Slot { at, .. } | Change::Agent { at, .. } | Change::Observer { at, .. } => *at,
    }
}

/// An instant near `now` on the wall's timeline, by the distance from `now`.
const fn wall_of(now: Now, at: MonoNs) -> WallNs {
    let earlier = now.wall.0.saturating_sub(now.mono.since(at));
    WallNs(earlier).after(at.since(now.mono))
}

const fn verdicts(change: &Change) -> (Option<Verdict>, Option<Verdict>) {
    match change {
        Change::Slot { what: SlotChange::New(to), .. } => (None, Some(*to)),
        Change::Slot { what: SlotChange::Verdict { from, to, .. }, .. } => (Some(*from), Some(*to)),
        Change::Slot { what: SlotChange::Evicted(from), .. } => (Some(*from), None),
        Change::Agent { what: AgentChange::Missing, .. } => (None, Some(Verdict::Missing)),
        Change::Agent { what: AgentChange::Returned, .. } => (Some(Verdict::Missing), None),
        _ => (None, None),
    }
}

fn slot_detail(now: Now, at: MonoNs, what: SlotChange) -> Detail {
    let process = |(pid, boot): (u32, u64)| Process { pid: shown_pid(pid), boot: format!("{boot:016x}") };
    match what {
        SlotChange::Verdict { deadline: Some(deadline), .. } => {
            Detail::Stall { deadline: rfc3339(wall_of(now, deadline)), late_us: at.since(deadline) / 1000 }
        }
        SlotChange::Restarted { old_pid } => Detail::Restart { old_pid: shown_pid(old_pid) },
        SlotChange::UnitConflict { known, other } => Detail::Conflict { known: process(known), other: process(other) },
        SlotChange::OffsetRelearned(by) => Detail::Offset { by_ms: by / MILLI },
        SlotChange::PromiseClamped { asked, held } => Detail::Promise { asked_ms: asked, held_ms: held },
        SlotChange::OriginConflict { observed, pinned } => {
            Detail::Origin { observed: observed.name(), pinned: pinned.name() }
        }
        SlotChange::New(_)
        | SlotChange::Verdict { deadline: None, .. }
        | SlotChange::CloneSuspected
        | SlotChange::Evicted(_)
        | SlotChange::Revoked => Detail::Nothing {},
    }
}

const fn agent_detail(what: AgentChange) -> Detail {
    match what {
        AgentChange::Generation(generation) => Detail::Generation { generation: generation.0 },
        AgentChange::Flapping(untold) => Detail::Flapping { untold },
        AgentChange::Missing | AgentChange::Returned => Detail::Nothing {},
    }
}

fn observer_detail(now: Now, blind_limit: u64, what: ObserverChange) -> Detail {
    match what {
        ObserverChange::Blind { cause, from, to, slots } => Detail::Blind {
            cause: cause.name(),
            since: rfc3339(wall_of(now, from)),
            until: to.map(|to| rfc3339(wall_of(now, to))),
            slots,
        },
        ObserverChange::Sighted(cause) => Detail::Sighted { cause: cause.name() },
        ObserverChange::BlindLimit => Detail::BlindLimit { limit_ms: blind_limit / MILLI },
        ObserverChange::ClockSuspect { witnesses, active, future } => {
            Detail::Clock { witnesses, active, sign: if future { "future" } else { "past" } }
        }
    }
}

/// The event kind of a change.
pub(crate) const fn kind(change: &Change) -> &'static str {
    match change {
        Change::Slot { what, .. } => match what {
            SlotChange::New(_) => "new",
            SlotChange::Verdict { .. } => "verdict",
            SlotChange::Restarted { .. } => "restarted",
            SlotChange::UnitConflict { .. } => "unit_conflict",
            SlotChange::CloneSuspected => "clone_suspected",
            SlotChange::OffsetRelearned(_) => "offset_relearned",
            SlotChange::PromiseClamped { .. } => "promise_clamped",
            SlotChange::OriginConflict { .. } => "origin_conflict",
            SlotChange::Evicted(_) => "evicted",
            SlotChange::Revoked => "revoked",
        },
        Change::Agent { what, .. } => match what {
            AgentChange::Generation(_) => "generation",
            AgentChange::Missing => "missing",
            AgentChange::Returned => "returned",
            AgentChange::Flapping(_) => "flapping",
        },
        Change::Observer { what, .. } => match what {
            ObserverChange::Blind { .. } => "blind",
            ObserverChange::Sighted(_) => "sighted",
            ObserverChange::BlindLimit => "blind_limit",
            ObserverChange::ClockSuspect { .. } => "clock_suspect",
        },
    }
}
