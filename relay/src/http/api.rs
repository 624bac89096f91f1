//! The fleet as a whole, observers, incidents, silences, events.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::sse::{Event, Sse},
};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use varta_daemon::http::{Failure, last_event_id};

use super::{
    App,
    body::{IncidentBody, ObserverBody, by_verdict, wall_ms, worst},
};
use crate::{
    fleet::{Acknowledgement, IncidentId, Matcher, ObserverState, Silence, SilenceId},
    journal::KINDS,
};

/// Incidents of one answer, where it is not said how many, and at most.
const INCIDENTS: usize = 100;
const INCIDENTS_MAX: usize = 1000;
/// The longest text of a name or a note, bytes.
const TEXT_MAX: usize = 1000;
/// The longest silence: a year.
const SILENCE_MAX_MS: u64 = 365 * 24 * 3600 * 1000;

#[derive(Serialize)]
struct Relay {
    name: String,
    version: &'static str,
    started_ms: u64,
    now_ms: u64,
}

#[derive(Serialize)]
pub(super) struct FleetBody {
    relay: Relay,
    verdicts: BTreeMap<&'static str, u32>,
    units: u32,
    agents: usize,
    observers: BTreeMap<&'static str, u32>,
    incidents: usize,
    disputed: u32,
    silences: usize,
    worst: &'static str,
}

pub(super) async fn fleet(State(app): State<App>) -> Json<FleetBody> {
    let inner = &*app.0;
    let (counts, now_ms) = inner.desk.look(|fleet, now| (fleet.counts(), wall_ms(now)));
    Json(FleetBody {
        relay: Relay {
            name: inner.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_ms: inner.started.0 / 1_000_000,
            now_ms,
        },
        verdicts: by_verdict(counts.verdicts),
        units: counts.verdicts.iter().sum(),
        agents: counts.agents,
        observers: ObserverState::ALL.map(ObserverState::name).into_iter().zip(counts.observers).collect(),
        incidents: counts.incidents,
        disputed: counts.disputed,
        silences: counts.silences,
        worst: worst(counts.verdicts),
    })
}

/// Whether its picture can be relied upon: somebody reports, or nobody is expected to.
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Failure> {
    let [never, connected, lost] = app.0.desk.look(|fleet, _| fleet.counts().observers);
    if connected > 0 || never + lost == 0 {
        Ok("ready\n")
    } else {
        Err(Failure::unavailable(format!("no observer is connected: {never} never came, {lost} are lost")))
    }
}

#[derive(Serialize)]
pub(super) struct Observers {
    observers: Vec<ObserverBody>,
}

pub(super) async fn observers(State(app): State<App>) -> Json<Observers> {
    let observers = app.0.desk.look(|fleet, now| fleet.observers(now).map(|one| ObserverBody::of(&one)).collect());
    Json(Observers { observers })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichIncidents {
    #[serde(default)]
    state: String,
    limit: Option<usize>,
    /// Those that are older than this one.
    before: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Incidents {
    incidents: Vec<IncidentBody>,
}

pub(super) async fn incidents(
    State(app): State<App>,
    which: Result<Query<WhichIncidents>, QueryRejection>,
) -> Result<Json<Incidents>, Failure> {
    let Query(which) = which.map_err(|error| Failure::bad_request(error.body_text()))?;
    let limit = which.limit.unwrap_or(INCIDENTS);
    if limit == 0 || limit > INCIDENTS_MAX {
        return Err(Failure::bad_request(format!("limit is 1 to {INCIDENTS_MAX}")));
    }
    let (open, closed) = match &*which.state {
        "" | "all" => (true, true),
        "open" => (true, false),
        "closed" => (false, true),
        _ => return Err(Failure::bad_request("state is open, closed or all")),
    };
    let incidents = app.0.desk.look(|fleet, _| {
        let open = open.then(|| fleet.open_incidents()).into_iter().flatten();
        let closed = closed.then(|| fleet.closed_incidents()).into_iter().flatten();
        let all = open.chain(closed).filter(|one| which.before.is_none_or(|before| one.id.0 < before));
        all.take(limit).map(|one| IncidentBody::of(fleet, one)).collect()
    });
    Ok(Json(Incidents { incidents }))
}

fn no_incident(id: u64) -> Failure {
    Failure::not_found(format!("there is no incident {id}, or it was over too long ago"))
}

fn id_of(path: Result<Path<u64>, PathRejection>) -> Result<u64, Failure> {
    path.map(|Path(id)| id).map_err(|error| Failure::bad_request(error.body_text()))
}

pub(super) async fn incident(
    State(app): State<App>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<Json<IncidentBody>, Failure> {
    let id = id_of(path)?;
    let found = app.0.desk.look(|fleet, _| fleet.incident(IncidentId(id)).map(|one| IncidentBody::of(fleet, one)));
    found.map(Json).ok_or_else(|| no_incident(id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledged {
    by: String,
    #[serde(default)]
    note: String,
}

fn check_texts(by: &str, note: &str) -> Result<(), Failure> {
    let is_text = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(|c| c.is_control() && c != '\n');
    if by.is_empty() || !is_text(by) || !is_text(note) {
        return Err(Failure::bad_request(format!(
            "by says who, and note what for: at most {TEXT_MAX} bytes each, without control characters"
        )));
    }
    Ok(())
}

pub(super) async fn acknowledge(
    State(app): State<App>,
    path: Result<Path<u64>, PathRejection>,
    body: Result<Json<Acknowledged>, JsonRejection>,
) -> Result<Json<IncidentBody>, Failure> {
    let id = id_of(path)?;
    let Json(Acknowledged { by, note }) = body.map_err(|error| Failure::bad_request(error.body_text()))?;
    check_texts(&by, &note)?;
    acknowledged(&app, id, Some((by, note)))
}

pub(super) async fn take_back(
    State(app): State<App>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<Json<IncidentBody>, Failure> {
    acknowledged(&app, id_of(path)?, None)
}

fn acknowledged(app: &App, id: u64, by: Option<(String, String)>) -> Result<Json<IncidentBody>, Failure> {
    let found = app.0.desk.act(|fleet, now| {
        let acked = by.map(|(by, note)| Acknowledgement { by, note, at_ms: wall_ms(now) });
        let known = fleet.acknowledge(now, IncidentId(id), acked);
        fleet.incident(IncidentId(id)).filter(|_| known).map(|one| IncidentBody::of(fleet, one))
    });
    found.map(Json).ok_or_else(|| Failure::not_found(format!("there is no open incident {id}")))
}

#[derive(Serialize)]
pub(super) struct Silences {
    silences: Vec<Silence>,
}

pub(super) async fn silences(State(app): State<App>) -> Json<Silences> {
    Json(Silences { silences: app.0.desk.look(|fleet, _| fleet.silences().cloned().collect()) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Silenced {
    matcher: Matcher,
    by: String,
    #[serde(default)]
    note: String,
    for_ms: u64,
}

#[derive(Serialize)]
pub(super) struct Made {
    id: SilenceId,
}

pub(super) async fn silence(
    State(app): State<App>,
    body: Result<Json<Silenced>, JsonRejection>,
) -> Result<(StatusCode, Json<Made>), Failure> {
    let Json(Silenced { matcher, by, note, for_ms }) = body.map_err(|error| Failure::bad_request(error.body_text()))?;
    check_texts(&by, &note)?;
    if for_ms == 0 || for_ms > SILENCE_MAX_MS {
        return Err(Failure::bad_request(format!("for_ms is 1 to {SILENCE_MAX_MS}: silences end by themselves")));
    }
    let made = app.0.desk.act(|fleet, now| fleet.silence(now, matcher, (by, note), for_ms));
    let id = made.ok_or_else(|| Failure::unavailable("there are too many silences; end one first"))?;
    Ok((StatusCode::CREATED, Json(Made { id })))
}

pub(super) async fn unsilence(
    State(app): State<App>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Failure> {
    let id = id_of(path)?;
    let ended = app.0.desk.act(|fleet, now| fleet.unsilence(now, SilenceId(id)));
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found(format!("there is no silence {id}"))) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followed {
    /// What `Last-Event-ID` says, for those who cannot send it.
    after: Option<u64>,
    /// Only what has happened, and not what will.
    #[serde(default)]
    once: bool,
    /// Kinds of events, with commas between; all where it is empty.
    #[serde(default)]
    kind: String,
}

pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Result<Query<Followed>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    let kinds: Vec<_> = asked.kind.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
    if let Some(other) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Failure::bad_request(format!("kind is one or more of {}; found {other}", KINDS.join(", "))));
    }
    app.0.followers.follow(last_event_id(&headers)?.or(asked.after), kinds, asked.once)
}
