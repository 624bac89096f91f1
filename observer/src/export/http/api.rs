//! The state, read out in pages.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    http::HeaderMap,
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use varta_core::Verdict;
use varta_daemon::http::{Failure, last_event_id};

use super::{App, answer::answer, aside::aside, find};
use crate::{
    command::PAGE_ROWS,
    row::{Row, Rows},
};

/// Slots of one answer, where it is not said how many.
const LIMIT: u32 = 1000;
/// Most slots of one answer.
const LIMIT_MAX: u32 = 10_000;
/// Most questions to the ingest thread for one answer.
const QUESTIONS: u32 = 256;

#[derive(Serialize)]
pub(super) struct Status {
    name: String,
    version: &'static str,
    /// RFC 3339.
    started: String,
    verdicts: BTreeMap<&'static str, u32>,
    slots: usize,
    agents: usize,
    /// The cause of the blindness in force.
    blind: Option<&'static str>,
    /// Whether the observer has been blind for longer than its limit.
    critical: bool,
    persist_failing: bool,
    changes_lost: u64,
    /// The newest link of the audit log, as `varta audit verify --against` takes it.
    audit: Option<String>,
}

pub(super) async fn status(State(app): State<App>) -> Result<Json<Status>, Failure> {
    let inner = &*app.0;
    let snapshot = answer(inner.handle.snapshot()).await?;
    let started = UNIX_EPOCH + Duration::from_nanos(inner.started.0);
    let (blind, critical) = snapshot.blindness;
    Ok(Json(Status {
        name: inner.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started: humantime::format_rfc3339_micros(started).to_string(),
        verdicts: Verdict::ALL.iter().map(|verdict| verdict.name()).zip(snapshot.verdicts).collect(),
        slots: snapshot.sizes.0,
        agents: snapshot.sizes.1,
        blind: blind.map(varta_core::Cause::name),
        critical,
        persist_failing: snapshot.shell.persist_failing,
        changes_lost: snapshot.counters.changes_lost,
        audit: snapshot.shell.audit.map(|link| link.to_string()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default = "default_limit")]
    limit: u32,
    #[serde(default)]
    cursor: u64,
    verdict: Option<String>,
}

const fn default_limit() -> u32 {
    LIMIT
}

#[derive(Serialize)]
pub(super) struct Slots {
    slots: Vec<Row>,
    /// Where to go on; null at the end. A page may hold fewer slots than asked for and yet not be the last.
    next: Option<u64>,
}

pub(super) async fn slots(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    if asked.limit == 0 || asked.limit > LIMIT_MAX {
        return Err(Failure::bad_request(format!("limit is 1 to {LIMIT_MAX}")));
    }
    let verdict = asked.verdict.as_deref().map(verdict_named).transpose()?;
    let made = {
        let app = app.clone();
        async move { Ok(Json(gather(&app, asked.cursor, asked.limit, verdict).await?).into_response()) }
    };
    aside(&app, made).await
}

fn verdict_named(name: &str) -> Result<&'static str, Failure> {
    let names = Verdict::ALL.map(Verdict::name);
    let found = names.into_iter().find(|known| *known == name);
    found.ok_or_else(|| Failure::bad_request(format!("verdict is one of {}", names.join(", "))))
}

/// Rows from `cursor` on, at most `limit`, in as many questions as that takes but no more than [`QUESTIONS`].
async fn gather(app: &App, mut cursor: u64, limit: u32, verdict: Option<&'static str>) -> Result<Slots, Failure> {
    let mut slots: Vec<Row> = Vec::new();
    let mut step = if verdict.is_some() { PAGE_ROWS } else { limit.min(PAGE_ROWS) };
    let mut page = Rows::with_capacity(step as usize);
    for _ in 0..QUESTIONS {
        let room = limit.saturating_sub(u32::try_from(slots.len()).unwrap_or(u32::MAX));
        if room == 0 {
            break;
        }
        if verdict.is_none() {
            step = step.min(room);
        }
        let read = answer(app.0.handle.page(cursor, step, page)).await?;
        page = read.rows;
        let before = slots.len();
        slots.extend(page.iter().filter(|row| verdict.is_none_or(|verdict| row.verdict == verdict)));
        if slots.len() - before > room as usize {
            // A page has one end only: look at fewer places, at most as many as there is room for.
            slots.truncate(before);
            step = (step / 2).max(room.min(step - 1));
            continue;
        }
        match read.next {
            Some(next) => cursor = next,
            None => return Ok(Slots { slots, next: None }),
        }
    }
    Ok(Slots { slots, next: Some(cursor) })
}

pub(super) async fn slot(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Row>, Failure> {
    let Path((agent, unit)) = path.map_err(|error| Failure::bad_request(error.body_text()))?;
    for selector in find::selectors(&agent, &unit) {
        if let Some(row) = answer(app.0.handle.slot(selector)).await? {
            return Ok(Json(row));
        }
    }
    Err(Failure::not_found(format!(
        "no slot of agent \"{agent}\" and unit \"{unit}\": name each as /api/v1/slots shows it; a slot without a unit is \
         pid:NUMBER"
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followed {
    /// What `Last-Event-ID` says, for those who cannot send it.
    after: Option<u64>,
    /// Only what has happened, and not what will.
    #[serde(default)]
    once: bool,
}

pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Result<Query<Followed>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    app.0.followers.follow(last_event_id(&headers)?.or(asked.after), Vec::new(), asked.once)
}
