//! One picture of the fleet out of every observer's: pure, like the core of an observer.
//!
//! What each observer says of each unit is kept as it was said; the combined verdict of a unit is worked out from these
//! views and never replaces them. Time comes in as an argument; messages go in by [`Fleet::handle`], what follows from them
//! and from time alone comes out of [`Fleet::poll_change`]; the picture itself is read through views.

mod apply;
mod causes;
mod change;
mod groups;
mod incident;
mod judge;
mod labels;
mod limits;
mod link;
mod observer;
mod pattern;
mod read;
mod record;
mod restore;
mod silence;
mod sweep;
mod table;
mod unit;
mod words;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use varta_vlp::{
    subject::Verdict,
    time::{MonoNs, Now},
};

pub use change::{Change, ObserverChange, UnitName};
pub use incident::{Acknowledgement, Incident, IncidentId, Kind, Severity};
pub use limits::{Limits, Settings};
pub use link::{LinkId, Reaction, Refusal};
pub use observer::{Blindness, ObserverState, ObserverView};
pub use pattern::Pattern;
pub use read::{Counts, Filter, UnitView, ViewOfUnit};
pub use restore::{SavedIncident, SavedUnit};
pub use silence::{Matcher, Silence, SilenceId};
pub use table::Dirty;
pub use unit::UnitKey;

use groups::Groups;
use incident::Incidents;
use labels::LabelSets;
use observer::Observer;
use silence::Silences;
use sweep::Sweep;
use table::Units;

/// An instant on the timeline of the relay's own clock, nanoseconds. What happened before the host's start is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(i64);

impl At {
    const NEVER: Self = Self(i64::MAX);

    fn of(mono: MonoNs) -> Self {
        Self(i64::try_from(mono.0).unwrap_or(i64::MAX))
    }

    const fn after(self, ns: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ns))
    }

    const fn before(self, ns: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(ns))
    }

    /// Nanoseconds since `earlier`; 0 if that is later.
    fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// This instant on the wall clock, milliseconds since the Unix epoch.
    fn wall_ms(self, now: Now) -> u64 {
        let behind = Self::of(now.mono).0.saturating_sub(self.0);
        let wall = i64::try_from(now.wall.0).unwrap_or(i64::MAX).saturating_sub(behind);
        u64::try_from(wall / 1_000_000).unwrap_or(0)
    }
}

/// An observer that is allowed, and what it may report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Its name.
    pub name: String,
    /// The agents it may report. One that is known by its id alone is matched by `*` only.
    pub agents: Vec<Pattern>,
    /// Where it stands.
    pub site: Option<String>,
}

/// The relay's knowledge.
#[derive(Debug)]
pub struct Fleet {
    limits: Limits,
    settings: Settings,
    observers: Vec<Observer>,
    by_name: HashMap<Arc<str>, usize>,
    units: Units,
    labels: LabelSets,
    groups: Groups,
    silences: Silences,
    incidents: Incidents,
    changes: VecDeque<Change>,
    /// What is done in bounded steps.
    sweeps: VecDeque<Sweep>,
    verdicts: [u32; Verdict::ALL.len()],
    disputed: u32,
    /// When units are to be judged again though nothing is said of them.
    rechecks: BTreeSet<(At, u32)>,
    /// Until when nothing is made of an observer that has not come yet.
    grace: At,
    links: u64,
    /// Entries that found no room.
    full: u64,
    now: Now,
}

/// What happens in one call.
const STEP: usize = 10_000;

impl Fleet {
    /// A relay that has heard nobody.
    #[must_use]
    pub fn new(now: Now, limits: Limits, settings: Settings) -> Self {
        let grace = At::of(now.mono).after(settings.restart_grace);
        Self {
            units: Units::new(limits.units),
            labels: LabelSets::new(limits.label_sets),
            groups: Groups::default(),
            silences: Silences::default(),
            incidents: Incidents::new(),
            limits,
            settings,
            observers: Vec::new(),
            by_name: HashMap::new(),
            changes: VecDeque::new(),
            sweeps: VecDeque::new(),
            verdicts: [0; Verdict::ALL.len()],
            disputed: 0,
            rechecks: BTreeSet::new(),
            grace,
            links: 0,
            full: 0,
            now,
        }
    }

    /// When [`Self::handle_timeout`] is next to be called; [`MonoNs::NEVER`] while nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> MonoNs {
        if !self.sweeps.is_empty() {
            return MonoNs(0);
        }
        let observers = self.observers.iter().filter_map(Observer::due);
        let recheck = self.rechecks.first().map(|(at, _)| *at);
        let next = observers.chain(recheck).chain(self.incidents.due()).chain(self.silences.due());
        let next = next.min().unwrap_or(At::NEVER);
        if next == At::NEVER { MonoNs::NEVER } else { MonoNs(u64::try_from(next.0).unwrap_or(0)) }
    }

    /// Does what is due, in a bounded step; [`Self::poll_timeout`] says whether there is more.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.observers_due();
        self.sweep(STEP);
        self.recheck(STEP);
        self.silences_due();
        if self.sweeps.is_empty() {
            self.incidents_due(STEP);
        }
    }

    /// The next thing that changed.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Puts other settings in force.
    pub fn set_settings(&mut self, now: Now, settings: Settings) {
        self.now = now;
        self.settings = settings;
    }

    fn at(&self) -> At {
        At::of(self.now.mono)
    }

    fn tell(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// Judges again those units whose time has come.
    fn recheck(&mut self, most: usize) {
        for _ in 0..most {
            match self.rechecks.first().copied() {
                Some((at, unit)) if at <= self.at() => {
                    self.rechecks.remove(&(at, unit));
                    if let Some(known) = self.units.get_mut(unit) {
                        known.recheck = At::NEVER;
                    }
                    self.judge(unit);
                }
                _ => return,
            }
        }
    }
}
