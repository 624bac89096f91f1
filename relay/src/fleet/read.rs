//! Reading the picture, in bounded steps.

use std::sync::Arc;

use varta_vlp::{
    frame::Status,
    subject::{Class, Verdict},
    time::{MILLI, Now},
};

use super::{
    At, Fleet, IncidentId, ObserverState, ObserverView, UnitKey, UnitName,
    labels::NO_LABELS,
    record::{Record, ViewId},
    unit::{Cause, Unit},
};

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Units by combined verdict, in the order of [`Verdict::ALL`].
    pub verdicts: [u32; Verdict::ALL.len()],
    /// Agents.
    pub agents: usize,
    /// Observers by state, in the order of [`ObserverState::ALL`].
    pub observers: [u32; ObserverState::ALL.len()],
    /// Incidents that are open.
    pub incidents: usize,
    /// Units of which observers say different things.
    pub disputed: u32,
    /// Silences in force.
    pub silences: usize,
    /// Entries that found no room.
    pub full: u64,
}

/// Which units are asked for; an empty one matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these verdicts.
    pub verdicts: Vec<Verdict>,
    /// With this text in the name of agent or unit, or in a label; lower case.
    pub text: String,
    /// With these labels.
    pub labels: Vec<(String, String)>,
    /// Of which this observer has a word.
    pub observer: Option<String>,
}

/// A unit, for those who look.
#[derive(Clone, Copy, Debug)]
pub struct UnitView<'a> {
    fleet: &'a Fleet,
    unit: &'a Unit,
    place: u32,
    verdict: Verdict,
}

/// One observer's view of a unit.
#[derive(Clone, Copy, Debug)]
pub struct ViewOfUnit<'a> {
    fleet: &'a Fleet,
    /// The observer's name.
    pub observer: &'a str,
    /// Whether it can be heard.
    pub state: ObserverState,
    /// Whether its word counts: not that of one who came back and has not said everything yet.
    pub counts: bool,
    record: &'a Record,
}

impl Fleet {
    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut observers = [0; ObserverState::ALL.len()];
        for observer in self.observers.iter().filter(|observer| observer.allowed) {
            observers[observer.shown_state() as usize] += 1;
        }
        Counts {
            verdicts: self.verdicts,
            agents: self.units.agents(),
            observers,
            incidents: self.incidents.open().filter(|incident| incident.is_told()).count(),
            disputed: self.disputed,
            silences: self.silences().count(),
            full: self.full,
        }
    }

    /// Hands units to `read` from place `cursor` on, looking at no more than `most` places, until it has had enough; where to
    /// go on, or `None` at the end. `read` says whether it wants more.
    pub fn units<'a>(
        &'a self,
        cursor: u32,
        most: u32,
        filter: &Filter,
        mut read: impl FnMut(UnitView<'a>) -> bool,
    ) -> Option<u32> {
        let end = self.units.places();
        let until = end.min(cursor.saturating_add(most));
        let observer = filter.observer.as_deref().map(|name| self.by_name.get(name).copied());
        for place in cursor..until {
            let Some(view) = self.unit_at(place) else { continue };
            if view.fits(filter, observer) && !read(view) {
                return Some(place + 1).filter(|next| *next < end);
            }
        }
        Some(until).filter(|next| *next < end)
    }

    /// The unit in a place, if it is shown.
    #[must_use]
    pub fn unit_at(&self, place: u32) -> Option<UnitView<'_>> {
        let unit = self.units.get(place)?;
        Some(UnitView { fleet: self, unit, place, verdict: unit.verdict? })
    }

    /// The unit of this key, if it is shown.
    #[must_use]
    pub fn unit(&self, key: &UnitKey) -> Option<UnitView<'_>> {
        self.unit_at(self.units.find(key)?)
    }

    /// The number of the observer of this name, as it stands in keys.
    #[must_use]
    pub fn number_of_observer(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).map(|number| super::link::number_of(*number))
    }

    /// Observers on the list.
    pub fn observers(&self, now: Now) -> impl Iterator<Item = ObserverView<'_>> {
        let at = At::of(now.mono);
        self.observers.iter().filter(|observer| observer.allowed).map(move |observer| ObserverView {
            name: &observer.name,
            site: observer.site.as_deref(),
            state: observer.shown_state(),
            since_ms: observer.since.wall_ms(now),
            remote: &observer.remote,
            version: &observer.version,
            units: observer.views(),
            verdicts: observer.said.verdicts,
            blindness: &observer.said.blindness,
            datagrams: observer.said.datagrams,
            stalls: observer.said.stalls,
            rejects: &observer.said.rejects,
            quiet_ms: (observer.boot != 0).then(|| at.since(observer.last_heard) / MILLI),
            foreign: observer.foreign,
            reports: observer.reports,
            resyncs: observer.resyncs,
        })
    }
}

impl<'a> UnitView<'a> {
    /// Its place: its number as long as it is known.
    #[must_use]
    pub const fn place(&self) -> u32 {
        self.place
    }

    /// By what it is known.
    #[must_use]
    pub fn name(&self) -> UnitName {
        self.fleet.name_of(self.unit)
    }

    /// The combined verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why, in words.
    #[must_use]
    pub fn why(&self) -> String {
        self.fleet.why(self.unit)
    }

    /// Since when, milliseconds since the Unix epoch.
    #[must_use]
    pub fn since_ms(&self, now: Now) -> u64 {
        self.unit.since.wall_ms(now)
    }

    /// Whether its observers say different things.
    #[must_use]
    pub const fn is_disputed(&self) -> bool {
        matches!(self.unit.cause, Cause::Disputed(_))
    }

    /// The incident that it is part of.
    #[must_use]
    pub fn incident(&self) -> Option<&'a super::Incident> {
        self.fleet.incident(self.unit.incident).filter(|_| self.unit.incident != IncidentId::NONE)
    }

    /// Those who have a word on it, by number.
    #[must_use]
    pub fn observers(&self) -> Vec<u16> {
        self.fleet.observers_of(self.unit)
    }

    /// Labels by key.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.fleet.labels.iter(self.unit.labels)
    }

    /// The number of its label set; units of the same number have the same. 0 is the empty set.
    #[must_use]
    pub const fn label_set(&self) -> u32 {
        self.unit.labels
    }

    /// The view that the verdict comes from, or any where it comes from none.
    #[must_use]
    pub fn chosen(&self) -> Option<ViewOfUnit<'a>> {
        let chosen = if self.fleet.record(self.unit.chosen).is_some() { self.unit.chosen } else { self.unit.first };
        self.fleet.view_of(chosen)
    }

    /// What each observer says.
    pub fn views(&self) -> impl Iterator<Item = ViewOfUnit<'a>> + use<'a> {
        let fleet = self.fleet;
        fleet.views(self.unit).filter_map(|(view, _)| fleet.view_of(view))
    }

    fn fits(&self, filter: &Filter, observer: Option<Option<usize>>) -> bool {
        if !filter.verdicts.is_empty() && !filter.verdicts.contains(&self.verdict) {
            return false;
        }
        let has = |(key, value): &(String, String)| self.fleet.labels.get(self.unit.labels, key) == Some(value);
        if !filter.labels.iter().all(has) {
            return false;
        }
        if let Some(wanted) = observer {
            let numbers = self.observers();
            if !wanted.is_some_and(|wanted| numbers.iter().any(|number| usize::from(*number) == wanted)) {
                return false;
            }
        }
        let contains = |text: &str| text.to_lowercase().contains(&filter.text);
        filter.text.is_empty()
            || contains(&self.unit.agent_text())
            || contains(&self.unit.unit_text())
            || (self.unit.labels != NO_LABELS && self.labels().any(|(_, value)| contains(value)))
    }
}

impl Fleet {
    fn view_of(&self, view: ViewId) -> Option<ViewOfUnit<'_>> {
        let observer = self.observers.get(usize::from(view.observer))?;
        let record = observer.record(view)?;
        Some(ViewOfUnit {
            fleet: self,
            observer: &observer.name,
            state: observer.shown_state(),
            counts: observer.heard,
            record,
        })
    }
}

impl ViewOfUnit<'_> {
    /// What it says.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.record.verdict
    }

    /// The newest status.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.record.status
    }

    /// How far the origin can be trusted.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.record.class
    }

    /// The newest payload.
    #[must_use]
    pub const fn payload(&self) -> u32 {
        self.record.payload
    }

    /// Its reasons, where the verdict needs any.
    #[must_use]
    pub fn why(&self) -> &str {
        self.record.why.as_deref().unwrap_or_default()
    }

    /// Since the newest beat left its sender, milliseconds.
    #[must_use]
    pub fn age_ms(&self, now: Now) -> Option<u64> {
        self.record.heard.map(|heard| At::of(now.mono).since(heard) / MILLI)
    }

    /// When that was, milliseconds since the Unix epoch.
    #[must_use]
    pub fn heard_ms(&self, now: Now) -> Option<u64> {
        self.record.heard.map(|heard| heard.wall_ms(now))
    }

    /// From that beat to its deadline, milliseconds.
    #[must_use]
    pub const fn span_ms(&self) -> Option<u32> {
        self.record.span_ms
    }

    /// Since when it says so, milliseconds since the Unix epoch.
    #[must_use]
    pub fn since_ms(&self, now: Now) -> u64 {
        self.record.since.wall_ms(now)
    }

    /// The session's start, nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.record.session
    }

    /// The pid; 0 where none was heard.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.record.pid
    }

    /// Restarts seen, stalls told.
    #[must_use]
    pub const fn restarts_and_stalls(&self) -> (u32, u32) {
        (self.record.restarts, self.record.stalls)
    }

    /// Beats accepted.
    #[must_use]
    pub const fn beats(&self) -> u64 {
        self.record.beats
    }

    /// The sender's own lateness at its newest beat, microseconds.
    #[must_use]
    pub const fn lag_us(&self) -> u32 {
        self.record.lag_us
    }

    /// Labels as this observer tells them.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fleet.labels.iter(self.record.labels)
    }
}

/// Names of observers by number, for those who read numbers out of [`UnitView::observers`].
impl Fleet {
    /// Every observer's name, in the order of their numbers.
    pub fn observer_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.observers.iter().map(|observer| &observer.name)
    }
}
