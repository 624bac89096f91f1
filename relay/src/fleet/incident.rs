//! Incidents: what is bad, told once for each common cause.
//!
//! What turns bad waits for a moment, so that others of the same cause gather; then it joins the incident of its cause, or
//! opens one. An incident is over when nothing of it has been bad for that moment.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use varta_vlp::time::{Now, SECOND};

use super::{At, Change, Fleet, SilenceId, observer::Observer};

/// Names an incident for good. They rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IncidentId(pub u64);

impl IncidentId {
    /// No incident.
    pub const NONE: Self = Self(0);
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An observer cannot be heard; its members are the units that nobody else hears.
    ObserverLost,
    /// An observer has been blind for longer than its limit.
    ObserverBlind,
    /// Every unit of a site, of more than one agent.
    Site,
    /// Every unit of a host, more than one.
    Host,
    /// One unit.
    Unit,
    /// One unit, of which observers say different things.
    Disputed,
    /// Agents of the roster that are not there.
    Missing,
}

impl Kind {
    /// Every kind, in declared order.
    pub const ALL: [Self; 7] =
        [Self::ObserverLost, Self::ObserverBlind, Self::Site, Self::Host, Self::Unit, Self::Disputed, Self::Missing];

    /// Its published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ObserverLost => "observer_lost",
            Self::ObserverBlind => "observer_blind",
            Self::Site => "site",
            Self::Host => "host",
            Self::Unit => "unit",
            Self::Disputed => "disputed",
            Self::Missing => "missing",
        }
    }

    /// Whether it shows only after more than a verdict's change, and a moment to settle.
    const fn is_slow(self) -> bool {
        matches!(self, Self::ObserverBlind | Self::Disputed | Self::Missing)
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::ObserverLost | Self::Site | Self::Host | Self::Unit => Severity::Critical,
            Self::ObserverBlind | Self::Disputed | Self::Missing => Severity::Warning,
        }
    }
}

/// How bad an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It can wait for the morning.
    Warning,
    /// It cannot.
    Critical,
}

/// Who has taken an incident on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Whoever it is.
    pub by: String,
    /// What they have to say.
    pub note: String,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its name.
    pub id: IncidentId,
    /// What it is about.
    pub kind: Kind,
    /// Whom: an observer, a host, a site, a unit.
    pub subject: String,
    /// All of it in a few words.
    pub title: String,
    /// When it began, milliseconds since the Unix epoch.
    pub opened_ms: u64,
    /// When it was over.
    pub closed_ms: Option<u64>,
    /// Most members that it had at once.
    pub most: usize,
    /// What shows it, a line each.
    pub evidence: Vec<String>,
    /// Who has taken it on.
    pub acked: Option<Acknowledgement>,
    /// The silence in force for it.
    pub silenced: Option<SilenceId>,
    /// Its members' places.
    pub(super) members: HashSet<u32>,
    /// Whether it goes on without members.
    pub(super) pinned: bool,
    /// Whether it was told, and until when it waits to be.
    told: bool,
    waits: At,
    /// When it is looked at next.
    looked_at: At,
    /// When it is over, unless something is bad again.
    pub(super) ends: At,
}

impl Incident {
    /// How many units are bad by it now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// It was told before the relay's restart.
    pub(super) const fn known(mut self) -> Self {
        self.told = true;
        self
    }

    /// Whether it was told of; one that is not yet may pass without a word.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.told
    }
}

/// Incidents, open and over.
#[derive(Debug)]
pub(super) struct Incidents {
    pub(super) open: HashMap<IncidentId, Incident>,
    pub(super) by_subject: HashMap<(Kind, String), IncidentId>,
    closed: VecDeque<Incident>,
    /// Those of the relay's life before, which the first to be bad for the same reason goes on with.
    dormant: HashMap<(Kind, String), Incident>,
    /// Since when every observer has said everything, while there are any of those.
    whole: Option<At>,
    /// Units that turned bad, each once, and until when they wait.
    pending: VecDeque<(At, u32)>,
    waiting: HashSet<u32>,
    /// When which are to be told, or to be looked at for their end: each once.
    due: BTreeSet<(At, IncidentId)>,
    touched: BTreeSet<IncidentId>,
    newest: u64,
}

impl Incidents {
    pub(super) fn new() -> Self {
        Self {
            open: HashMap::new(),
            by_subject: HashMap::new(),
            closed: VecDeque::new(),
            dormant: HashMap::new(),
            whole: None,
            pending: VecDeque::new(),
            waiting: HashSet::new(),
            due: BTreeSet::new(),
            touched: BTreeSet::new(),
            newest: 0,
        }
    }

    pub(super) fn due(&self) -> Option<At> {
        let pending = self.pending.front().map(|(at, _)| *at);
        pending.into_iter().chain(self.due.first().map(|(at, _)| *at)).min()
    }

    pub(super) fn get(&self, id: IncidentId) -> Option<&Incident> {
        self.open.get(&id).or_else(|| self.closed.iter().rev().find(|incident| incident.id == id))
    }

    pub(super) fn get_open_mut(&mut self, id: IncidentId) -> Option<&mut Incident> {
        self.open.get_mut(&id)
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    pub(super) fn closed(&self) -> impl Iterator<Item = &Incident> {
        self.closed.iter().rev()
    }

    pub(super) fn touch(&mut self, id: IncidentId) {
        self.touched.insert(id);
    }

    pub(super) fn restore(&mut self, incident: Incident) {
        self.newest = self.newest.max(incident.id.0);
        if incident.closed_ms.is_some() {
            self.closed.push_back(incident);
        } else {
            self.dormant.insert((incident.kind, incident.subject.clone()), incident);
        }
    }

    /// Has an incident looked at then, or before.
    pub(super) fn look_at(&mut self, id: IncidentId, at: At) {
        let Some(incident) = self.open.get_mut(&id).filter(|incident| at < incident.looked_at) else { return };
        let before = std::mem::replace(&mut incident.looked_at, at);
        self.due.remove(&(before, id));
        self.due.insert((at, id));
    }

    /// Has a unit that turned bad placed then.
    pub(super) fn place_at(&mut self, at: At, place: u32) {
        if self.waiting.insert(place) {
            self.pending.push_back((at, place));
        }
    }

    /// A unit that is to be placed by now.
    fn pop_pending(&mut self, now: At) -> Option<u32> {
        let (_, place) = self.pending.front().copied().filter(|(at, _)| *at <= now)?;
        self.pending.pop_front();
        self.waiting.remove(&place);
        Some(place)
    }

    /// Has what is restored looked at.
    pub(super) fn wake(&mut self, now: At) {
        if !self.dormant.is_empty() {
            self.due.insert((now, IncidentId::NONE));
        }
    }

    /// One without members.
    pub(super) fn blank(id: IncidentId, kind: Kind, subject: String, opened_ms: u64) -> Incident {
        Incident {
            id,
            kind,
            subject,
            title: String::new(),
            opened_ms,
            closed_ms: None,
            most: 0,
            evidence: Vec::new(),
            acked: None,
            silenced: None,
            members: HashSet::new(),
            pinned: false,
            told: false,
            waits: At(i64::MIN),
            looked_at: At::NEVER,
            ends: At::NEVER,
        }
    }

    /// The open incident of a subject, a new one if need be; `None` where too many are open.
    pub(super) fn find_or_open(&mut self, kind: Kind, subject: String, most: usize, now: Now) -> Option<IncidentId> {
        let key = (kind, subject);
        if let Some(id) = self.by_subject.get(&key) {
            return Some(*id);
        }
        if self.open.len() >= most {
            return None;
        }
        let incident = self.dormant.remove(&key).unwrap_or_else(|| {
            self.newest += 1;
            Self::blank(IncidentId(self.newest), kind, key.1.clone(), now.wall.0 / 1_000_000)
        });
        let id = incident.id;
        self.open.insert(id, incident);
        self.by_subject.insert(key, id);
        Some(id)
    }
}

impl Fleet {
    /// An incident, open or over.
    #[must_use]
    pub fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// Incidents that are open and were told, newest first.
    #[must_use]
    pub fn open_incidents(&self) -> Vec<&Incident> {
        let mut open: Vec<_> = self.incidents.open().filter(|incident| incident.told).collect();
        open.sort_unstable_by_key(|incident| std::cmp::Reverse(incident.id));
        open
    }

    /// Incidents that are over, the last one first.
    pub fn closed_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.closed()
    }

    /// Units of an incident, at most `most`.
    #[must_use]
    pub fn members(&self, incident: &Incident, most: usize) -> Vec<u32> {
        let mut members: Vec<_> = incident.members.iter().copied().take(most).collect();
        members.sort_unstable();
        members
    }

    /// Somebody takes an incident on, or gives it back; whether there is such an open one.
    pub fn acknowledge(&mut self, now: Now, id: IncidentId, by: Option<Acknowledgement>) -> bool {
        self.now = now;
        let Some(incident) = self.incidents.get_open_mut(id) else { return false };
        incident.acked = by;
        for member in self.members_of(id) {
            self.units.mark(member, super::Dirty::Changed);
        }
        self.tell(Change::Changed(id));
        true
    }

    pub(super) fn members_of(&self, id: IncidentId) -> Vec<u32> {
        self.incidents.get(id).map(|incident| incident.members.iter().copied().collect()).unwrap_or_default()
    }

    /// An observer's trouble begins: it is an incident whether or not it has members.
    pub(super) fn pin(&mut self, kind: Kind, observer: usize) {
        let Some(name) = self.observers.get(observer).map(|observer| observer.name.to_string()) else { return };
        let subject = name.clone();
        let id = self.incidents.find_or_open(kind, name, self.limits.incidents, self.now);
        let due = self.at().after(2 * self.settings.settle);
        let Some(incident) = id.and_then(|id| self.incidents.open.get_mut(&id)) else { return };
        (incident.pinned, incident.ends) = (true, At::NEVER);
        let id = incident.id;
        // What follows from it waits as long itself, and is to be told with it.
        incident.waits = due;
        self.incidents.look_at(id, due);
        if kind == Kind::ObserverLost {
            self.replace_peer(&subject);
        }
    }

    /// It is over.
    pub(super) fn unpin(&mut self, kind: Kind, observer: usize) {
        let Some(name) = self.observers.get(observer).map(|observer| observer.name.to_string()) else { return };
        let Some(id) = self.incidents.by_subject.get(&(kind, name.clone())).copied() else { return };
        let ends = self.at().after(self.settings.settle);
        let Some(incident) = self.incidents.open.get_mut(&id) else { return };
        incident.pinned = false;
        if incident.members.is_empty() {
            incident.ends = ends;
        }
        self.incidents.look_at(id, ends);
        if kind == Kind::ObserverLost {
            self.replace_peer(&name);
        }
    }

    /// What is due of incidents, for at most `most` units.
    pub(super) fn incidents_due(&mut self, most: usize) {
        let now = self.at();
        for _ in 0..most {
            let Some(place) = self.incidents.pop_pending(now) else { break };
            self.place_unit(place);
        }
        // What gathers at one instant is told at once.
        if self.incidents.pending.front().is_some_and(|(at, _)| *at <= now) {
            return;
        }
        while let Some((at, id)) = self.incidents.due.first().copied().filter(|(at, _)| *at <= now) {
            self.incidents.due.remove(&(at, id));
            let Some(incident) = self.incidents.open.get_mut(&id) else { continue };
            incident.looked_at = At::NEVER;
            if incident.ends <= now {
                self.close(id, None);
                continue;
            }
            let next = if incident.waits > now { incident.waits.min(incident.ends) } else { incident.ends };
            self.incidents.touch(id);
            self.incidents.look_at(id, next);
        }
        while let Some(id) = self.incidents.touched.pop_first() {
            self.tell_incident(id);
        }
        self.dormant_due();
    }

    /// Whatever of the relay's life before nothing has gone on with.
    fn dormant_due(&mut self) {
        if self.incidents.dormant.is_empty() {
            return;
        }
        let now = self.at();
        let last = self.grace.after(self.settings.settle + SECOND);
        // Once every observer has said everything, what is not bad now is not; but for what takes longer to be seen.
        let is_whole = self.observers.iter().filter(|observer| observer.allowed).all(Observer::is_whole);
        let whole = is_whole.then(|| self.incidents.whole.unwrap_or(now));
        self.incidents.whole = whole;
        let first = whole.map_or(last, |since| since.after(2 * self.settings.settle + SECOND).min(last));
        let until = |kind: Kind| if kind.is_slow() { last } else { first };
        let over = self.incidents.dormant.extract_if(|(kind, _), _| until(*kind) <= now);
        let over: Vec<_> = over.map(|(_, incident)| incident).collect();
        if let Some(next) = self.incidents.dormant.keys().map(|(kind, _)| until(*kind)).min() {
            self.incidents.due.insert((next, IncidentId::NONE));
        }
        for mut incident in over {
            incident.closed_ms = Some(self.now.wall.0 / 1_000_000);
            let id = incident.id;
            self.keep_closed(incident);
            self.tell(Change::Closed(id));
        }
    }

    fn keep_closed(&mut self, incident: Incident) {
        self.incidents.closed.push_back(incident);
        self.drop_closed();
    }

    /// Keeps as many of those that are over as are to be known, the newest.
    pub(super) fn drop_closed(&mut self) {
        while self.incidents.closed.len() > self.limits.incidents_kept {
            self.incidents.closed.pop_front();
        }
    }

    pub(super) fn close(&mut self, id: IncidentId, into: Option<IncidentId>) {
        let Some(mut incident) = self.incidents.open.remove(&id) else { return };
        self.incidents.touched.remove(&id);
        self.incidents.by_subject.remove(&(incident.kind, incident.subject.clone()));
        if !incident.told {
            return;
        }
        incident.closed_ms = Some(self.now.wall.0 / 1_000_000);
        if let Some(into) = into {
            incident.evidence.push(format!("part of incident {}", into.0));
        }
        self.keep_closed(incident);
        self.tell(Change::Closed(id));
    }

    /// Tells an incident, at first or again.
    fn tell_incident(&mut self, id: IncidentId) {
        let now = self.at();
        let waits = |incident: &&Incident| incident.told || incident.waits <= now;
        let Some(incident) = self.incidents.open.get(&id).filter(waits) else { return };
        // What is about to be over keeps the words of what it was.
        let words = (incident.pinned || !incident.members.is_empty()).then(|| self.words_of(incident));
        let silenced = self.silence_for(incident);
        let Some(incident) = self.incidents.open.get_mut(&id) else { return };
        if let Some((title, evidence)) = words {
            (incident.title, incident.evidence) = (title, evidence);
        }
        incident.silenced = silenced;
        let told = std::mem::replace(&mut incident.told, true);
        self.tell(if told { Change::Changed(id) } else { Change::Opened(id) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_waits_once() {
        let mut incidents = Incidents::new();
        let now = Now { mono: varta_vlp::time::MonoNs(SECOND), ..Now::default() };
        let id = incidents.find_or_open(Kind::Unit, "web-1/api".to_owned(), 9, now).unwrap();
        for at in (1..1000).rev().chain(500..1500) {
            incidents.place_at(At(at), 7);
            incidents.look_at(id, At(at));
        }
        assert_eq!(
            (incidents.pending.len(), incidents.due.iter().copied().collect::<Vec<_>>()),
            (1, vec![(At(1), id)])
        );
        assert_eq!((incidents.pop_pending(At(998)), incidents.pop_pending(At(999))), (None, Some(7)));
        incidents.place_at(At(2000), 7);
        assert_eq!((incidents.pop_pending(At(1999)), incidents.pop_pending(At(2000))), (None, Some(7)));
        assert_eq!(incidents.pop_pending(At(i64::MAX)), None);
    }
}
