//! Answers as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use varta_vlp::{
    subject::Verdict,
    time::{MILLI, Now},
};

use crate::fleet::{Acknowledgement, Fleet, Incident, ObserverView, Severity, SilenceId, UnitView, ViewOfUnit};

/// Members that an incident's answer lists.
const MEMBERS: usize = 100;

/// Counts by verdict's name.
pub(super) fn by_verdict(counts: [u32; Verdict::ALL.len()]) -> BTreeMap<&'static str, u32> {
    Verdict::ALL.into_iter().map(Verdict::name).zip(counts).collect()
}

/// The worst verdict that any unit has; up where there are none.
pub(super) fn worst(counts: [u32; Verdict::ALL.len()]) -> &'static str {
    let found =
        Verdict::WORST_FIRST.into_iter().find(|verdict| counts.get(*verdict as usize).is_some_and(|count| *count > 0));
    found.unwrap_or(Verdict::Up).name()
}

/// A unit.
#[derive(Debug, Serialize)]
pub(super) struct UnitBody {
    agent: String,
    unit: String,
    pid: u32,
    /// The only observer that can know it, of one that holds no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    observer: Option<String>,
    verdict: &'static str,
    status: &'static str,
    payload: u32,
    origin: &'static str,
    last_beat_age_ms: Option<u64>,
    due_in_ms: Option<i64>,
    session: String,
    restarts: u32,
    labels: BTreeMap<String, String>,
    why: String,
    since_ms: u64,
    observers: Vec<String>,
    disputed: bool,
    beats: u64,
    stalls: u32,
    lag_us: u32,
    incident: Option<u64>,
}

fn due_in(view: &ViewOfUnit<'_>, now: Now) -> Option<i64> {
    let age = i64::try_from(view.age_ms(now)?).ok()?;
    Some(i64::from(view.span_ms()?) - age)
}

impl UnitBody {
    pub(super) fn of(fleet: &Fleet, now: Now, unit: &UnitView<'_>) -> Self {
        let name = unit.name();
        let chosen = unit.chosen();
        let view = chosen.as_ref();
        let names: Vec<_> = fleet.observer_names().collect();
        let (restarts, stalls) = view.map_or((0, 0), ViewOfUnit::restarts_and_stalls);
        Self {
            agent: name.agent,
            unit: name.unit,
            pid: name.pid,
            observer: name.observer.map(|name| name.to_string()),
            verdict: unit.verdict().name(),
            status: view.map_or("ok", |view| view.status().name()),
            payload: view.map_or(0, ViewOfUnit::payload),
            origin: view.map_or("", |view| view.class().name()),
            last_beat_age_ms: view.and_then(|view| view.age_ms(now)),
            due_in_ms: view.and_then(|view| due_in(view, now)),
            session: view.map_or(0, ViewOfUnit::session).to_string(),
            restarts,
            labels: unit.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            why: unit.why(),
            since_ms: unit.since_ms(now),
            observers: unit
                .observers()
                .into_iter()
                .filter_map(|number| names.get(usize::from(number)).map(|name| name.to_string()))
                .collect(),
            disputed: unit.is_disputed(),
            beats: view.map_or(0, ViewOfUnit::beats),
            stalls,
            lag_us: view.map_or(0, ViewOfUnit::lag_us),
            incident: unit.incident().map(|incident| incident.id.0),
        }
    }
}

/// One observer's view of a unit.
#[derive(Debug, Serialize)]
pub(super) struct ViewBody {
    observer: String,
    state: &'static str,
    verdict: &'static str,
    status: &'static str,
    why: String,
    last_beat_age_ms: Option<u64>,
    due_in_ms: Option<i64>,
    since_ms: u64,
    session: String,
    pid: u32,
    restarts: u32,
    beats: u64,
    stalls: u32,
    lag_us: u32,
    origin: &'static str,
}

impl ViewBody {
    pub(super) fn of(now: Now, view: &ViewOfUnit<'_>) -> Self {
        let (restarts, stalls) = view.restarts_and_stalls();
        Self {
            observer: view.observer.to_owned(),
            state: view.state.name(),
            verdict: view.verdict().name(),
            status: view.status().name(),
            why: view.why().to_owned(),
            last_beat_age_ms: view.age_ms(now),
            due_in_ms: due_in(view, now),
            since_ms: view.since_ms(now),
            session: view.session().to_string(),
            pid: view.pid(),
            restarts,
            beats: view.beats(),
            stalls,
            lag_us: view.lag_us(),
            origin: view.class().name(),
        }
    }
}

/// An observer.
#[derive(Debug, Serialize)]
pub(super) struct ObserverBody {
    name: String,
    site: Option<String>,
    state: &'static str,
    since_ms: u64,
    remote: String,
    version: String,
    units: u32,
    verdicts: BTreeMap<&'static str, u32>,
    blind: String,
    critical: bool,
    blind_ms: u64,
    received: u64,
    accepted: u64,
    accepted_late: u64,
    stalls: u64,
    rejects: BTreeMap<String, u64>,
    lag_ms: Option<u64>,
    foreign: u64,
    reports: u64,
    resyncs: u64,
}

impl ObserverBody {
    pub(super) fn of(observer: &ObserverView<'_>) -> Self {
        let [received, accepted, accepted_late] = observer.datagrams;
        Self {
            name: observer.name.to_owned(),
            site: observer.site.map(str::to_owned),
            state: observer.state.name(),
            since_ms: observer.since_ms,
            remote: observer.remote.to_owned(),
            version: observer.version.to_owned(),
            units: observer.units,
            verdicts: by_verdict(observer.verdicts),
            blind: observer.blindness.cause.clone(),
            critical: observer.blindness.critical,
            blind_ms: observer.blindness.ms,
            received,
            accepted,
            accepted_late,
            stalls: observer.stalls,
            rejects: observer.rejects.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            lag_ms: observer.quiet_ms,
            foreign: observer.foreign,
            reports: observer.reports,
            resyncs: observer.resyncs,
        }
    }
}

/// A unit of an incident.
#[derive(Debug, Serialize)]
struct Member {
    agent: String,
    unit: String,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    observer: Option<String>,
    verdict: &'static str,
}

/// An incident.
#[derive(Debug, Serialize)]
pub(crate) struct IncidentBody {
    id: u64,
    kind: &'static str,
    subject: String,
    title: String,
    severity: Severity,
    opened_ms: u64,
    closed_ms: Option<u64>,
    /// Units that are bad by it now, and the most there were at once.
    count: usize,
    most: usize,
    members: Vec<Member>,
    evidence: Vec<String>,
    acked: Option<Acknowledgement>,
    silenced: Option<SilenceId>,
}

impl IncidentBody {
    pub(crate) fn of(fleet: &Fleet, incident: &Incident) -> Self {
        let member = |place| {
            let unit: UnitView<'_> = fleet.unit_at(place)?;
            let name = unit.name();
            Some(Member {
                agent: name.agent,
                unit: name.unit,
                pid: name.pid,
                observer: name.observer.map(|name| name.to_string()),
                verdict: unit.verdict().name(),
            })
        };
        Self {
            id: incident.id.0,
            kind: incident.kind.name(),
            subject: incident.subject.clone(),
            title: incident.title.clone(),
            severity: incident.kind.severity(),
            opened_ms: incident.opened_ms,
            closed_ms: incident.closed_ms,
            count: incident.count(),
            most: incident.most,
            members: fleet.members(incident, MEMBERS).into_iter().filter_map(member).collect(),
            evidence: incident.evidence.clone(),
            acked: incident.acked.clone(),
            silenced: incident.silenced,
        }
    }
}

/// This instant, milliseconds since the Unix epoch.
pub(super) const fn wall_ms(now: Now) -> u64 {
    now.wall.0 / MILLI
}
