//! A unit as the relay knows it: whose word there is on it, and what follows.

use varta_vlp::{
    key::UnitId,
    report::Entry,
    subject::{Owner, Verdict},
};

use super::{At, incident::IncidentId, record::ViewId};

/// What makes two observers' slots one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitKey {
    /// Whose it is.
    pub owner: Owner,
    /// Its unit, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// Its pid, where the unit is [`UnitId::NONE`].
    pub pid: u32,
    /// The number of the only observer that can know it, of one that holds no key; [`UnitKey::SHARED`] else.
    pub observer: u16,
}

impl UnitKey {
    /// No observer in particular.
    pub const SHARED: u16 = u16::MAX;

    /// That of the unit of which observer `observer` tells this.
    pub(super) fn of(entry: &Entry<'_>, observer: u16) -> Self {
        Self {
            owner: entry.owner,
            unit: entry.unit,
            pid: if entry.unit == UnitId::NONE { entry.pid } else { 0 },
            observer: if entry.owner.agent().is_some() { Self::SHARED } else { observer },
        }
    }

    /// Whether it stands for an agent of which nothing is known but that it is in a roster.
    pub(super) fn is_absence(&self) -> bool {
        self.owner.agent().is_some() && self.unit == UnitId::NONE && self.pid == 0
    }

    /// The key of an agent's absence.
    pub(super) fn absence_of(owner: Owner) -> Self {
        Self { owner, unit: UnitId::NONE, pid: 0, observer: Self::SHARED }
    }
}

/// A unit.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) key: UnitKey,
    /// The agent's name; empty where only its id is known.
    pub(super) agent: Box<str>,
    /// The unit's name; empty where only its id is known.
    pub(super) name: Box<str>,
    /// Its first view.
    pub(super) first: ViewId,
    /// The view that its verdict comes from.
    pub(super) chosen: ViewId,
    /// The next unit of its agent, and the one before.
    pub(super) sibling: u32,
    pub(super) before: u32,
    /// The combined verdict; `None` while it is not shown.
    pub(super) verdict: Option<Verdict>,
    pub(super) cause: Cause,
    /// Since when it has this verdict.
    pub(super) since: At,
    /// When it is to be judged again though nothing is said of it.
    pub(super) recheck: At,
    /// The incident it is part of; 0 none.
    pub(super) incident: IncidentId,
    /// Its label set, and the groups of its host and its site.
    pub(super) labels: u32,
    pub(super) host: u32,
    pub(super) site: u32,
}

/// What a unit's verdict comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// What the chosen view says.
    Said,
    /// Observers disagree: the number of one that says stalled.
    Disputed(u16),
    /// None of its observers can be heard: the number of the one that was lost last.
    Lost(u16),
    /// None of its observers has come since the relay's start: the number of one.
    NotYet(u16),
}

/// No place.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Unit {
    pub(super) fn new(key: UnitKey, now: At) -> Self {
        Self {
            key,
            agent: Box::default(),
            name: Box::default(),
            first: ViewId::NONE,
            chosen: ViewId::NONE,
            sibling: NOWHERE,
            before: NOWHERE,
            verdict: None,
            cause: Cause::Said,
            since: now,
            recheck: At::NEVER,
            incident: IncidentId::NONE,
            labels: 0,
            host: NOWHERE,
            site: NOWHERE,
        }
    }

    /// The agent's name as it is shown.
    pub(super) fn agent_text(&self) -> String {
        if self.agent.is_empty() { self.key.owner.to_string() } else { self.agent.to_string() }
    }

    /// The unit's name as it is shown; empty where it is known by its pid.
    pub(super) fn unit_text(&self) -> String {
        if self.key.unit == UnitId::NONE {
            String::new()
        } else if self.name.is_empty() {
            self.key.unit.to_string()
        } else {
            self.name.to_string()
        }
    }

    /// Whether somebody has to do something about it.
    pub(super) fn is_bad(&self) -> bool {
        match (self.verdict, self.cause) {
            (None, _) | (_, Cause::NotYet(_)) => false,
            (_, Cause::Disputed(_) | Cause::Lost(_)) => true,
            (Some(verdict), Cause::Said) => matches!(verdict, Verdict::Stalled | Verdict::Critical | Verdict::Missing),
        }
    }

    /// Whether it is to be alive.
    pub(super) fn is_expected(&self) -> bool {
        !matches!(self.verdict, None | Some(Verdict::Departed | Verdict::Held))
    }
}
