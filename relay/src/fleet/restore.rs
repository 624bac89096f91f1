//! What was known before the relay's restart.

use varta_vlp::{
    frame::Status,
    subject::{Class, Verdict},
    time::Now,
};

use super::{
    Acknowledgement, At, Fleet, Incident, IncidentId, Kind,
    incident::Incidents,
    link::number_of,
    observer::State,
    record::{Lane, Record, ViewId},
    unit::UnitKey,
};

/// A unit that was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedUnit {
    /// The unit; the observer's number in it is of no meaning.
    pub key: UnitKey,
    /// The agent's name; empty where only its id was known.
    pub agent: String,
    /// The unit's name; empty where only its id was known.
    pub unit: String,
    /// The pid; 0 where none was known.
    pub pid: u32,
    /// The observers that had a word on it, by name.
    pub observers: Vec<String>,
    /// Its labels as they were told.
    pub labels: Vec<u8>,
}

/// An incident that was known.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SavedIncident {
    /// Its name.
    pub id: IncidentId,
    /// What it was about.
    pub kind: Kind,
    /// Whom.
    pub subject: String,
    /// In a few words.
    pub title: String,
    /// When it began, milliseconds since the Unix epoch.
    pub opened_ms: u64,
    /// When it was over.
    pub closed_ms: Option<u64>,
    /// Most members that it had at once.
    pub most: usize,
    /// What showed it.
    pub evidence: Vec<String>,
    /// Who took it on.
    pub acked: Option<Acknowledgement>,
}

impl SavedIncident {
    /// An incident, to be remembered.
    #[must_use]
    pub fn of(incident: &Incident) -> Self {
        Self {
            id: incident.id,
            kind: incident.kind,
            subject: incident.subject.clone(),
            title: incident.title.clone(),
            opened_ms: incident.opened_ms,
            closed_ms: incident.closed_ms,
            most: incident.most,
            evidence: incident.evidence.clone(),
            acked: incident.acked.clone(),
        }
    }
}

impl Fleet {
    /// A unit as it is to be remembered.
    #[must_use]
    pub fn saved_unit(&self, place: u32) -> Option<SavedUnit> {
        let unit = self.units.get(place)?;
        let names = self.observers_of(unit).into_iter().filter_map(|number| self.observer_name(number));
        Some(SavedUnit {
            key: unit.key,
            agent: unit.agent.to_string(),
            unit: unit.name.to_string(),
            pid: self.name_of(unit).pid,
            observers: names.map(|name| name.to_string()).collect(),
            labels: self.labels.bytes(unit.labels).to_vec(),
        })
    }

    /// Brings a unit back: unknown until one of its observers speaks of it, or has said everything without it. Units of
    /// observers that are not on the list are forgotten.
    pub fn restore_unit(&mut self, now: Now, saved: &SavedUnit) {
        self.now = now;
        let numbers: Vec<_> = saved.observers.iter().filter_map(|name| self.by_name.get(&**name).copied()).collect();
        for number in numbers {
            let Some(observer) = self.observers.get(number) else { continue };
            if !matches!(observer.state, State::Never(_)) {
                continue;
            }
            let lane = Lane::new(!observer.odd, false);
            let handle = u32::try_from(observer.tables[lane.index()].len()).unwrap_or(u32::MAX);
            if handle >= self.limits.slots {
                continue;
            }
            let key = UnitKey {
                observer: if saved.key.owner.agent().is_some() { UnitKey::SHARED } else { number_of(number) },
                ..saved.key
            };
            let Some(place) = self.units.find_or_add(key, self.at()) else { return };
            let labels = varta_vlp::sealed::Metadata::parse(&saved.labels).ok();
            let labels = self.labels.take(labels);
            let view = ViewId { handle, observer: number_of(number), lane };
            if let Some(unit) = self.units.get_mut(place) {
                (unit.agent, unit.name) = (saved.agent.as_str().into(), saved.unit.as_str().into());
            }
            self.label_unit(place, labels);
            let Some(unit) = self.units.get_mut(place) else { continue };
            let record = restored(place, saved.pid, std::mem::replace(&mut unit.first, view), labels, At::of(now.mono));
            if let Some(observer) = self.observers.get_mut(number) {
                observer.put(view, record);
            }
            self.judge(place);
        }
    }

    /// Brings an incident back. One that was open goes on with the first that is bad for the same reason, or ends soon.
    pub fn restore_incident(&mut self, now: Now, saved: SavedIncident) {
        self.now = now;
        let mut incident = Incidents::blank(saved.id, saved.kind, saved.subject, saved.opened_ms);
        (incident.title, incident.evidence) = (saved.title, saved.evidence);
        (incident.closed_ms, incident.most, incident.acked) = (saved.closed_ms, saved.most, saved.acked);
        self.incidents.restore(incident.known());
        self.drop_closed();
        self.incidents.wake(self.at());
    }
}

fn restored(unit: u32, pid: u32, next: ViewId, labels: u32, now: At) -> Record {
    Record {
        unit,
        next,
        verdict: Verdict::Unknown,
        status: Status::Ok,
        class: Class::NetworkVerified,
        ended: false,
        payload: 0,
        heard: None,
        span_ms: None,
        since: now,
        session: 0,
        restarts: 0,
        stalls: 0,
        beats: 0,
        lag_us: 0,
        pid,
        why: None,
        labels,
    }
}
