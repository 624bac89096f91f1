//! The combined verdict of a unit, out of what its observers say.
//!
//! Alive if anybody hears it; stalled only if all who can see agree. How a process ended is the last that anybody can have
//! heard of it, so that word stands against beats that are older. Views are compared by when the beat left that they come
//! from: an agent has a session of its own with each observer, so that those cannot be.

use std::{cmp::Reverse, sync::Arc};

use varta_vlp::{
    subject::Verdict,
    time::{MILLI, SECOND},
};

use super::{
    At, Change, Fleet, UnitName,
    observer::State,
    record::{Record, ViewId},
    table::Dirty,
    unit::{Cause, Unit},
};

/// Two observers' clocks may differ by so much in when the same beat left its sender, nanoseconds.
const TIE: u64 = 100 * MILLI;
/// A stalled view speaks against a live one if its observer heard the unit within this time, nanoseconds.
const HEARD_LATELY: u64 = 3600 * SECOND;
/// The deadline of a unit that none is known of, milliseconds.
const NO_SPAN_MS: u32 = 2000;
/// Units of an agent among which one is looked for that shows that it is there: as many as an observer can keep.
const AGENT_UNITS: usize = 65_535;

/// What the views of a unit come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// `None`: it is not shown.
    verdict: Option<Verdict>,
    chosen: ViewId,
    cause: Cause,
    recheck: At,
}

/// Views of one unit that can be compared.
#[derive(Default)]
struct Weighed<'a> {
    alive: Option<(ViewId, &'a Record)>,
    /// Held, departed or ended.
    word: Option<(ViewId, &'a Record)>,
    stalled: Option<(ViewId, &'a Record)>,
    missing: Option<ViewId>,
    unknown: Option<ViewId>,
    /// Of those who cannot be heard, the one since the latest: whether it ever came, since when, and its number.
    silent: Option<(bool, At, u16)>,
}

impl<'a> Weighed<'a> {
    fn weigh(&mut self, view: ViewId, record: &'a Record) {
        let heard = |known: &Option<(ViewId, &Record)>| known.as_ref().map(|(_, known)| known.heard);
        let place = match record.verdict {
            Verdict::Unknown => {
                self.unknown.get_or_insert(view);
                return;
            }
            Verdict::Missing => {
                self.missing.get_or_insert(view);
                return;
            }
            _ if record.is_alive() => &mut self.alive,
            Verdict::Stalled => &mut self.stalled,
            _ => &mut self.word,
        };
        // Of two words at one instant the worse one holds.
        let ranks = |known: Option<At>| record.heard > known || (record.heard == known && record.ended);
        if heard(place).is_none_or(ranks) {
            *place = Some((view, record));
        }
    }
}

impl Fleet {
    /// The views of a unit that count: of an observer that has begun another life, what it said in the one before only where
    /// it has not spoken of the unit since.
    pub(super) fn views<'a>(&'a self, unit: &Unit) -> impl Iterator<Item = (ViewId, &'a Record)> + use<'a> {
        let first = unit.first;
        self.all_views(first).filter(move |(view, _)| {
            let odd = self.observers.get(usize::from(view.observer)).is_some_and(|observer| observer.odd);
            let is_now = |view: ViewId| view.lane.is_odd() == odd;
            let spoken = |(other, _): (ViewId, &Record)| other.observer == view.observer && is_now(other);
            is_now(*view) || !self.all_views(first).any(spoken)
        })
    }

    fn all_views(&self, first: ViewId) -> impl Iterator<Item = (ViewId, &Record)> {
        let mut at = first;
        std::iter::from_fn(move || {
            let record = self.record(at)?;
            Some((std::mem::replace(&mut at, record.next), record))
        })
    }

    fn hears(&self, view: ViewId) -> bool {
        self.observers.get(usize::from(view.observer)).is_some_and(|observer| observer.heard)
    }

    fn weigh(&self, unit: &Unit) -> Judgement {
        let mut weighed = Weighed::default();
        for (view, record) in self.views(unit) {
            match self.observers.get(usize::from(view.observer)) {
                Some(observer) if !observer.heard => {
                    let came = !matches!(observer.state, State::Never(_));
                    weighed.silent = weighed.silent.max(Some((came, observer.since, view.observer)));
                }
                _ => weighed.weigh(view, record),
            }
        }
        self.conclude(unit, &weighed)
    }

    fn conclude(&self, unit: &Unit, weighed: &Weighed<'_>) -> Judgement {
        let said =
            |verdict, chosen| Judgement { verdict: Some(verdict), chosen, cause: Cause::Said, recheck: At::NEVER };
        let heard = |record: &Record| record.heard.unwrap_or(At(i64::MIN));
        match (weighed.word, weighed.alive) {
            (Some((view, word)), other)
                if other.or(weighed.stalled).is_none_or(|(_, other)| heard(word).after(TIE) >= heard(other)) =>
            {
                said(word.verdict, view)
            }
            (_, Some((view, alive))) => self.dispute(said(alive.verdict, view), alive, weighed.stalled),
            _ => match (weighed.stalled, weighed.missing, weighed.unknown, weighed.silent) {
                (Some((view, _)), ..) => said(Verdict::Stalled, view),
                (None, Some(view), ..) if self.is_known_elsewhere(unit) => {
                    Judgement { verdict: None, ..said(Verdict::Missing, view) }
                }
                (None, Some(view), ..) => said(Verdict::Missing, view),
                (None, None, Some(view), _) => said(Verdict::Unknown, view),
                (None, None, None, Some((came, _, observer))) => {
                    let cause = if came { Cause::Lost(observer) } else { Cause::NotYet(observer) };
                    Judgement { cause, ..said(Verdict::Unknown, unit.first) }
                }
                (None, None, None, None) => Judgement { verdict: None, ..said(Verdict::Unknown, ViewId::NONE) },
            },
        }
    }

    /// Whether somebody who hears an agent speaks against it: for two deadlines nobody believes them.
    fn dispute(&self, said: Judgement, alive: &Record, stalled: Option<(ViewId, &Record)>) -> Judgement {
        let Some((view, stalled)) = stalled else { return said };
        let now = self.at();
        if stalled.heard.is_none_or(|heard| now.since(heard) > HEARD_LATELY) {
            return said;
        }
        let span = alive.span_ms.or(stalled.span_ms).unwrap_or(NO_SPAN_MS).max(1);
        let due = stalled.since.after(2 * u64::from(span) * MILLI);
        if due > now {
            return Judgement { recheck: due, ..said };
        }
        let verdict = if alive.verdict == Verdict::Critical { Verdict::Critical } else { Verdict::Degraded };
        let lately = stalled.heard.map_or(At::NEVER, |heard| heard.after(HEARD_LATELY + 1));
        Judgement { verdict: Some(verdict), cause: Cause::Disputed(view.observer), recheck: lately, ..said }
    }

    /// Whether the unit is an agent's place in a roster, and an observer that does not miss the agent knows a unit of it.
    fn is_known_elsewhere(&self, unit: &Unit) -> bool {
        let Some(agent) = unit.key.owner.agent().filter(|_| unit.key.is_absence()) else { return false };
        let misses = |observer: u16| self.views(unit).any(|(view, _)| view.observer == observer && self.hears(view));
        let mut others = self.units.of_agent(agent).take(AGENT_UNITS).filter(|(_, other)| !other.key.is_absence());
        others.any(|(_, other)| self.views(other).any(|(view, _)| self.hears(view) && !misses(view.observer)))
    }

    /// Judges a unit, and tells what changed. One without views is forgotten.
    pub(super) fn judge(&mut self, place: u32) {
        let Some(unit) = self.units.get(place) else { return };
        let gone = unit.first.is_none();
        let judgement = self.weigh(unit);
        let (before, cause, chosen) = (unit.verdict, unit.cause, unit.chosen);
        if gone || before != judgement.verdict || cause != judgement.cause {
            self.turn(place, judgement);
        } else if chosen != judgement.chosen
            && let Some(unit) = self.units.get_mut(place)
        {
            unit.chosen = judgement.chosen;
            self.units.mark(place, Dirty::Changed);
        }
        self.set_recheck(place, judgement.recheck);
        if gone {
            self.forget(place);
        }
    }

    pub(super) fn set_recheck(&mut self, place: u32, at: At) {
        let Some(unit) = self.units.get_mut(place) else { return };
        let before = std::mem::replace(&mut unit.recheck, at);
        if before != at {
            self.rechecks.remove(&(before, place));
            if at != At::NEVER {
                self.rechecks.insert((at, place));
            }
        }
    }

    fn forget(&mut self, place: u32) {
        self.set_recheck(place, At::NEVER);
        let Some(unit) = self.units.remove(place) else { return };
        self.labels.give_back(unit.labels);
        self.groups.leave(unit.host);
        self.groups.leave(unit.site);
    }

    /// Puts another verdict in force.
    fn turn(&mut self, place: u32, judgement: Judgement) {
        let now = self.at();
        let said_since = self.record(judgement.chosen).map(|record| (record.verdict, record.since));
        let Some(unit) = self.units.get_mut(place) else { return };
        let (from, was) = (unit.verdict, (unit.is_expected(), unit.is_bad()));
        let was_disputed = matches!(unit.cause, Cause::Disputed(_)) && from.is_some();
        let since = match said_since {
            Some((verdict, since)) if Some(verdict) == judgement.verdict && judgement.cause == Cause::Said => {
                since.min(now)
            }
            _ => now,
        };
        // What is told late of a verdict does not move its begin before that of the one that it followed, unless that was
        // but the relay's own ignorance after its start.
        let told_since = if from.is_some() { since.max(unit.since) } else { since };
        unit.since = if matches!(unit.cause, Cause::NotYet(_)) { since } else { told_since };
        unit.verdict = judgement.verdict;
        unit.cause = judgement.cause;
        unit.chosen = judgement.chosen;
        let is = (unit.is_expected(), unit.is_bad());
        let is_disputed = matches!(unit.cause, Cause::Disputed(_)) && unit.verdict.is_some();
        for group in [unit.host, unit.site] {
            self.groups.count(group, is, true);
            self.groups.count(group, was, false);
        }
        if let Some(from) = from {
            self.verdicts[from as usize] -= 1;
        }
        if let Some(to) = judgement.verdict {
            self.verdicts[to as usize] += 1;
        }
        self.disputed = self.disputed + u32::from(is_disputed) - u32::from(was_disputed);
        self.units.mark(place, Dirty::Changed);
        self.note_turn(place, is.1);
        if from != judgement.verdict {
            let change = self.change_of(place, from, told_since);
            self.changes.extend(change);
        }
    }

    fn change_of(&self, place: u32, from: Option<Verdict>, since: At) -> Option<Change> {
        let unit = self.units.get(place)?;
        let mut observers: Vec<_> = self.views(unit).map(|(view, _)| view.observer).collect();
        observers.sort_unstable();
        observers.dedup();
        Some(Change::Unit {
            place,
            name: self.name_of(unit),
            from,
            to: unit.verdict,
            why: self.why(unit),
            since_ms: since.wall_ms(self.now),
            observers: observers.into_iter().filter_map(|number| self.observer_name(number)).collect(),
        })
    }

    pub(super) fn observer_name(&self, number: u16) -> Option<Arc<str>> {
        self.observers.get(usize::from(number)).map(|observer| Arc::clone(&observer.name))
    }

    pub(super) fn name_of(&self, unit: &Unit) -> UnitName {
        let pid =
            if unit.key.pid == 0 { self.record(unit.chosen).map_or(0, |record| record.pid) } else { unit.key.pid };
        UnitName {
            key: unit.key,
            agent: unit.agent_text(),
            unit: unit.unit_text(),
            pid,
            observer: self.observer_name(unit.key.observer),
        }
    }

    /// Why a unit has its verdict, in words.
    pub(super) fn why(&self, unit: &Unit) -> String {
        let name = |number: u16| self.observer_name(number).unwrap_or_default();
        let now = self.at();
        let lost = |number: u16| {
            let since = self.observers.get(usize::from(number)).map_or(now, |observer| observer.since);
            now.since(since) / SECOND
        };
        match unit.cause {
            Cause::Lost(observer) => format!("observer {} was lost {} s ago", name(observer), lost(observer)),
            Cause::NotYet(observer) => {
                format!("observer {} has not come back since the relay's start", name(observer))
            }
            Cause::Disputed(observer) => {
                let alive = name(unit.chosen.observer);
                format!("{alive} hears it, and {} has not for longer than two deadlines", name(observer))
            }
            Cause::Said => self.record(unit.chosen).map_or_else(String::new, |record| self.why_said(unit, record)),
        }
    }

    fn why_said(&self, unit: &Unit, record: &Record) -> String {
        let observer = self.observer_name(unit.chosen.observer).unwrap_or_default();
        if let Some(why) = &record.why {
            return format!("{observer}: {why}");
        }
        let now = self.at();
        match (record.heard, record.span_ms) {
            (Some(heard), Some(span)) => {
                let age = now.since(heard) / MILLI;
                format!("{observer}: last beat {age} ms ago, the deadline is {span} ms after it")
            }
            (Some(heard), None) => format!("{observer}: last beat {} ms ago, nothing is due", now.since(heard) / MILLI),
            (None, _) => format!("{observer}: not heard"),
        }
    }

    /// Places of units that nobody looks at any more are not told of; this is for those who look.
    pub fn take_dirty(&mut self, most: usize) -> Vec<(u32, Dirty)> {
        self.units.take_dirty(most)
    }

    /// Observers that have a word on a unit, by number, once each.
    pub(super) fn observers_of(&self, unit: &Unit) -> Vec<u16> {
        let mut observers: Vec<_> = self.views(unit).map(|(view, _)| view.observer).collect();
        observers.sort_unstable_by_key(|number| Reverse(*number));
        observers.dedup();
        observers.reverse();
        observers
    }
}
