//! Taking in what an observer says of its slots.

use varta_vlp::report::{Entry, Item};

use super::{
    Change, Fleet, ObserverChange,
    groups::GroupKind,
    labels::NO_LABELS,
    link::number_of,
    record::{Record, ViewId},
    table::Dirty,
    unit::{Unit, UnitKey},
};

/// Set in the handle of a place in the roster.
const ROSTER: u32 = 1 << 31;

impl Fleet {
    fn view_id(&self, number: usize, handle: u32) -> Result<ViewId, &'static str> {
        let (handle, roster) = (handle & !ROSTER, handle & ROSTER != 0);
        if handle >= self.limits.slots {
            return Err("a handle is beyond the slots that an observer may have");
        }
        let lane = self.observers.get(number).map(|observer| observer.lane(roster)).ok_or("no such observer")?;
        Ok(ViewId { handle, observer: number_of(number), lane })
    }

    pub(super) fn apply(&mut self, number: usize, item: &Item<'_>) -> Result<(), &'static str> {
        let at = self.at();
        match item {
            Item::Entry(entry) => {
                let view = self.view_id(number, entry.handle)?;
                self.enter(view, entry);
            }
            Item::Touch(touch) => {
                let view = self.view_id(number, touch.handle)?;
                let Some(observer) = self.observers.get_mut(number) else { return Ok(()) };
                if let Some(seen) = &mut observer.seen {
                    seen.mark(view);
                }
                // Of a slot that found no room there is nothing to touch.
                if let Some(record) = observer.record_mut(view) {
                    record.touch(at, touch);
                    self.units.mark(record.unit, Dirty::Touched);
                }
            }
            Item::Gone(handle) => {
                let view = self.view_id(number, *handle)?;
                self.remove_view(view);
            }
        }
        Ok(())
    }

    fn enter(&mut self, view: ViewId, entry: &Entry<'_>) {
        let number = usize::from(view.observer);
        let name = entry.agent_name.map(|name| name.as_str());
        let Some(observer) = self.observers.get_mut(number) else { return };
        if let Some(seen) = &mut observer.seen {
            seen.mark(view);
        }
        let shown = if entry.owner.agent().is_some() { name } else { Some("local") };
        if !observer.may_report(shown) {
            observer.foreign += 1;
            let told = std::mem::replace(&mut observer.foreign_told, true);
            self.remove_view(view);
            if !told {
                let name = name.map_or_else(|| entry.owner.to_string(), str::to_owned);
                self.tell_observer(number, ObserverChange::Foreign(name));
            }
            return;
        }
        let key = UnitKey::of(entry, view.observer);
        let before = observer.record(view).map(|record| record.unit);
        if before.is_some_and(|unit| self.units.get(unit).is_none_or(|unit| unit.key != key)) {
            self.remove_view(view);
        }
        let Some(place) = self.units.find_or_add(key, self.at()) else {
            self.full += 1;
            if self.full == 1 {
                self.tell(Change::Full);
            }
            return;
        };
        let labels = self.labels.take(entry.labels);
        self.name_unit(place, entry);
        self.label_unit(place, labels);
        let mut record = Record::new(self.at(), entry, place, labels);
        let Some(observer) = self.observers.get_mut(number) else { return };
        if let Some(known) = observer.record_mut(view) {
            record.next = known.next;
            if entry.since_ms.is_none() && known.verdict == record.verdict {
                record.since = known.since;
            }
            self.labels.give_back(known.labels);
            *known = record;
            self.units.mark(place, Dirty::Changed);
        } else if let Some(unit) = self.units.get_mut(place) {
            record.next = std::mem::replace(&mut unit.first, view);
            observer.put(view, record);
            self.judge_absence(place);
            // A unit has one slot at an observer: it has moved, and what was said of the one before is void.
            let before = self.units.get(place).and_then(|unit| self.twin(unit, view));
            if let Some(before) = before {
                self.remove_view(before);
            }
        }
        // What is said before the first snapshot of an observer is complete is judged then, all of it.
        if self.observers.get(number).is_some_and(|observer| observer.heard) {
            self.judge(place);
        }
    }

    /// Another view of a unit in the present life of a view's observer.
    fn twin(&self, unit: &Unit, view: ViewId) -> Option<ViewId> {
        let is_twin = |other: &ViewId| {
            *other != view && other.observer == view.observer && other.lane.is_odd() == view.lane.is_odd()
        };
        self.views(unit).map(|(other, _)| other).find(is_twin)
    }

    fn name_unit(&mut self, place: u32, entry: &Entry<'_>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        for (known, told) in [(&mut unit.agent, entry.agent_name), (&mut unit.name, entry.unit_name)] {
            if let Some(told) = told.filter(|told| **known != *told.as_str()) {
                *known = told.as_str().into();
            }
        }
    }

    /// Gives a unit the label set that was told last, and counts it with its host and its site. A host without a label is
    /// the agent itself: a key is not shared between hosts.
    pub(super) fn label_unit(&mut self, place: u32, labels: u32) {
        let Some(unit) = self.units.get(place) else { return };
        if unit.labels == labels && (labels != NO_LABELS || unit.host != super::unit::NOWHERE) {
            return;
        }
        let counted = (unit.is_expected(), unit.is_bad());
        let host = self.labels.get(labels, &self.settings.host_label).map(str::to_owned);
        let host = host.or_else(|| unit.key.owner.agent().map(|_| unit.agent_text())).unwrap_or_default();
        let site = self.labels.get(labels, &self.settings.site_label).unwrap_or_default().to_owned();
        let joined = [self.groups.join(GroupKind::Host, &host), self.groups.join(GroupKind::Site, &site)];
        let labels = self.labels.share(labels);
        let Some(unit) = self.units.get_mut(place) else { return };
        let left = [std::mem::replace(&mut unit.host, joined[0]), std::mem::replace(&mut unit.site, joined[1])];
        let before = std::mem::replace(&mut unit.labels, labels);
        self.labels.give_back(before);
        for (left, joined) in left.into_iter().zip(joined) {
            self.groups.count(joined, counted, true);
            self.groups.count(left, counted, false);
            self.groups.leave(left);
        }
    }

    /// Takes a view away, and its unit with it where it was the last one.
    pub(super) fn remove_view(&mut self, view: ViewId) {
        let Some(observer) = self.observers.get_mut(usize::from(view.observer)) else { return };
        let Some(record) = observer.take(view) else { return };
        self.labels.give_back(record.labels);
        let place = record.unit;
        let Some(first) = self.units.get(place).map(|unit| unit.first) else { return };
        if first == view {
            if let Some(unit) = self.units.get_mut(place) {
                unit.first = record.next;
            }
        } else {
            let mut at = first;
            while let Some(known) = self.record_mut(at) {
                if known.next == view {
                    known.next = record.next;
                    break;
                }
                at = known.next;
            }
        }
        self.judge_absence(place);
        self.judge(place);
    }

    pub(super) fn record(&self, view: ViewId) -> Option<&Record> {
        self.observers.get(usize::from(view.observer))?.record(view)
    }

    fn record_mut(&mut self, view: ViewId) -> Option<&mut Record> {
        self.observers.get_mut(usize::from(view.observer))?.record_mut(view)
    }

    /// Has it judged soon whether an agent is missing, now that another of its units is known to another observer, or is
    /// not: once, however many of its units that is so of.
    pub(super) fn judge_absence(&mut self, place: u32) {
        let Some(key) = self.units.get(place).map(|unit| unit.key) else { return };
        if key.owner.agent().is_some()
            && !key.is_absence()
            && let Some(absence) = self.units.find(&UnitKey::absence_of(key.owner))
        {
            self.set_recheck(absence, self.at());
        }
    }
}
