//! Changes in plain words, and how important they are.

use varta_core::{AgentChange, Cause, Change, MILLI, ObserverChange, Reasons, SlotChange, Verdict};

use super::{EventRecord, Refusal, note::What};

/// What the log line says.
const fn message(change: &Change) -> &'static str {
    match change {
        Change::Slot { what, .. } => match what {
            SlotChange::New(_) => "first heard",
            SlotChange::Verdict { to, .. } => verdict_message(*to),
            SlotChange::Restarted { .. } => "restarted",
            SlotChange::UnitConflict { .. } => "two live processes speak for one slot",
            SlotChange::CloneSuspected => "two copies of one process are suspected",
            SlotChange::OffsetRelearned(_) => "the path from the agent has become longer",
            SlotChange::PromiseClamped { .. } => "a promise is longer than allowed",
            SlotChange::OriginConflict { .. } => "a frame of a less trusted origin was refused",
            SlotChange::Evicted(_) => "its place was taken back",
            SlotChange::Revoked => "revoked",
        },
        Change::Agent { what, .. } => match what {
            AgentChange::Generation(_) => "a new key generation is in use",
            AgentChange::Missing => "missing: required, and none of its units is heard",
            AgentChange::Returned => "heard again after it was missing",
            AgentChange::Flapping(_) => "flapping: changes came faster than they are told",
        },
        Change::Observer { what, .. } => match what {
            ObserverChange::Blind { .. } => "the observer could not see",
            ObserverChange::Sighted(_) => "the observer sees again",
            ObserverChange::BlindLimit => "the observer has been blind for longer than the limit",
            ObserverChange::ClockSuspect { .. } => "the observer's own clock is suspect",
        },
    }
}

const fn verdict_message(to: Verdict) -> &'static str {
    match to {
        Verdict::Up => "up",
        Verdict::Degraded => "degraded",
        Verdict::Critical => "critical",
        Verdict::Stalled => "stalled",
        Verdict::Departed => "said goodbye",
        Verdict::Held => "in a planned absence",
        Verdict::Missing => "missing",
        Verdict::Unknown => "unknown: the observer could not see",
    }
}

/// Whether somebody may have to be woken.
const fn warns(change: &Change) -> bool {
    match change {
        Change::Slot { what, .. } => matches!(
            what,
            SlotChange::New(Verdict::Critical)
                | SlotChange::Verdict { to: Verdict::Stalled | Verdict::Critical, .. }
                | SlotChange::UnitConflict { .. }
                | SlotChange::CloneSuspected
                | SlotChange::OriginConflict { .. }
        ),
        Change::Agent { what, .. } => matches!(what, AgentChange::Missing | AgentChange::Flapping(_)),
        Change::Observer { what, .. } => !matches!(what, ObserverChange::Sighted(_)),
    }
}

macro_rules! say {
    ($level:ident, $event:expr, $message:expr) => {
        tracing::$level!(
            id = $event.id,
            kind = $event.kind,
            agent = $event.agent.as_deref(),
            unit = $event.unit.as_deref(),
            pid = $event.pid,
            origin = $event.origin,
            from = $event.from,
            to = $event.to,
            why = $event.why.as_str(),
            "{}",
            $message
        )
    };
}

pub(super) fn log(event: &EventRecord, change: &Change) {
    if warns(change) {
        say!(warn, event, message(change));
    } else {
        say!(info, event, message(change));
    }
}

pub(super) fn log_refusal(event: &EventRecord, refusal: &Refusal) {
    say!(warn, event, refusal.offence.message());
}

/// Why, in words; `slot` is the arithmetic behind the slot's verdict, where the slot is still there.
pub(super) fn why(what: &What, slot: Option<&Reasons>) -> String {
    match &what.change {
        Change::Slot { what, .. } => slot_why(*what, slot),
        Change::Agent { what, .. } => agent_why(*what),
        Change::Observer { what: change, .. } => observer_why(what.blind_limit, *change),
    }
}

fn slot_why(what: SlotChange, slot: Option<&Reasons>) -> String {
    let slot = || slot.map(ToString::to_string).unwrap_or_default();
    match what {
        SlotChange::New(_)
        | SlotChange::Verdict { .. }
        | SlotChange::Restarted { .. }
        | SlotChange::UnitConflict { .. } => slot(),
        SlotChange::CloneSuspected => format!("its newest counter came again under another tag; {}", slot()),
        SlotChange::OffsetRelearned(by) => {
            format!("nothing but frames held back came for so long that {} ms more are taken as the path's", by / MILLI)
        }
        SlotChange::PromiseClamped { asked, held } => {
            format!("promised a beat within {asked} ms, held to the ceiling of {held} ms")
        }
        SlotChange::OriginConflict { observed, pinned } => {
            format!("the frame came as {}, the slot is {}", observed.name(), pinned.name())
        }
        SlotChange::Evicted(verdict) => {
            format!("idle while {}: it gave way to another slot of its agent, or was revoked", verdict.name())
        }
        SlotChange::Revoked => "its generation is revoked, or its agent is no longer in the roster".to_owned(),
    }
}

fn agent_why(what: AgentChange) -> String {
    match what {
        AgentChange::Generation(generation) => {
            format!("generation {generation} authenticated for the first time; lower ones retire after the overlap")
        }
        AgentChange::Missing => "required by the roster, and not heard within its return_within".to_owned(),
        AgentChange::Returned => "one of its units was heard".to_owned(),
        AgentChange::Flapping(untold) => format!("{untold} changes were not told"),
    }
}

fn observer_why(blind_limit: u64, what: ObserverChange) -> String {
    match what {
        ObserverChange::Blind { cause, from, to, slots } => {
            let length = to.map_or_else(String::new, |to| format!(" for {} ms", to.since(from) / MILLI));
            format!("{}{length}; slots unknown for it: {slots}", cause_words(cause))
        }
        ObserverChange::Sighted(cause) => format!("no longer: {}", cause_words(cause)),
        ObserverChange::BlindLimit => {
            format!("blind for more than {} ms without one turn of sight between", blind_limit / MILLI)
        }
        ObserverChange::ClockSuspect { witnesses, active, future } => {
            let sign = if future { "ahead of" } else { "behind" };
            format!("{witnesses} of {active} active agents send times {sign} this host's clock")
        }
    }
}

const fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Restart => "the observer was not running, or waits out the barrier of its restart",
        Cause::Gap => "a turn of the observer's loop took too long",
        Cause::Clock => "the observer's own clock is suspect",
        Cause::Drops => "the kernel dropped too many datagrams",
    }
}
