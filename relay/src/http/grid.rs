//! Every unit in a compact form, and what changes of them: what dashboards are made of.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use flate2::{Compression, write::GzEncoder};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use varta_daemon::{clock::Clock, http::Failure};
use varta_vlp::{
    subject::Verdict,
    time::{MILLI, MonoNs, Now},
};

use super::{
    App,
    body::{by_verdict, wall_ms},
};
use crate::fleet::{Dirty, Filter, Fleet, UnitView};

/// Most units of a grid.
const ROWS: usize = 100_000;
/// Places that one step looks at.
const STEP: u32 = 2000;
/// Most units of one delta; the others come with the next.
const DELTA: usize = 5000;
/// For how long a grid serves for all who ask, nanoseconds. What changed meanwhile comes with the deltas after it.
const FRESH: u64 = 1000 * MILLI;

/// Flags of a row.
const DISPUTED: u8 = 1;
const SILENCED: u8 = 2;
const ACKED: u8 = 4;

/// The newest grid, made once for all who ask.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<Arc<Grid>>>);

struct Grid {
    made: MonoNs,
    plain: Bytes,
    zipped: Bytes,
}

/// What stands beside the rows.
#[derive(Serialize)]
struct Head<'a> {
    epoch: &'a str,
    seq: u64,
    now_ms: u64,
    counts: BTreeMap<&'static str, u32>,
    incidents: usize,
    observers: Vec<String>,
    truncated: bool,
}

impl<'a> Head<'a> {
    fn of(app: &'a App, fleet: &Fleet, now: Now, seq: u64) -> Self {
        let counts = fleet.counts();
        Self {
            epoch: app.0.live.epoch(),
            seq,
            now_ms: wall_ms(now),
            counts: by_verdict(counts.verdicts),
            incidents: counts.incidents,
            observers: fleet.observer_names().map(|name| name.to_string()).collect(),
            truncated: counts.verdicts.iter().sum::<u32>() as usize > ROWS,
        }
    }

    /// The beginning of an object that holds this, to which more can be added.
    fn open(&self) -> String {
        // All of its fields have a text form.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.pop();
        text
    }
}

/// Rows and the label sets that they name.
#[derive(Default)]
struct Rows {
    text: String,
    count: usize,
    labels: BTreeMap<u32, BTreeMap<String, String>>,
}

impl Rows {
    fn add(&mut self, now: Now, unit: &UnitView<'_>) {
        let name = unit.name();
        let chosen = unit.chosen();
        let incident = unit.incident();
        let flags = (u8::from(unit.is_disputed()) * DISPUTED)
            | (u8::from(incident.is_some_and(|incident| incident.silenced.is_some())) * SILENCED)
            | (u8::from(incident.is_some_and(|incident| incident.acked.is_some())) * ACKED);
        let heard = chosen.and_then(|view| view.heard_ms(now)).unwrap_or(0);
        let span = chosen.and_then(|view| view.span_ms()).unwrap_or(0);
        let set = unit.label_set();
        let labels = || unit.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.labels.entry(set).or_insert_with(labels);
        let comma = if self.count > 0 { "," } else { "" };
        self.count += 1;
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        // Writing into a text cannot fail.
        let _ = write!(
            self.text,
            "{comma}[{},{},{},{},{},{},{heard},{span},{},{set},{flags}]",
            unit.place(),
            quoted(&name.agent),
            quoted(&name.unit),
            name.pid,
            unit.verdict() as u8,
            unit.since_ms(now),
            serde_json::to_string(&unit.observers()).unwrap_or_default(),
        );
    }

    fn labels(&self) -> String {
        serde_json::to_string(&self.labels).unwrap_or_default()
    }
}

const COLUMNS: &str =
    r#"["key","agent","unit","pid","verdict","since_ms","heard_ms","span_ms","observers","labels","flags"]"#;

impl Cache {
    fn fresh(&self) -> Option<Arc<Grid>> {
        let now = Clock::now().mono;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|grid| now.since(grid.made) < FRESH)
    }
}

/// The newest grid, or another one where that is too old. Whoever waits for one to be made gets it, too.
async fn newest(app: &App) -> Result<Arc<Grid>, Failure> {
    if let Some(grid) = app.0.grid.fresh() {
        return Ok(grid);
    }
    let turn = app.0.long_answers.acquire().await;
    let turn = turn.map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(grid) = app.0.grid.fresh() {
        return Ok(grid);
    }
    // Changes after this number may be in it already; told once more they are the same.
    let seq = app.0.live.newest();
    let made = Clock::now().mono;
    let mut rows = Rows::default();
    let mut cursor = Some(0);
    while let Some(at) = cursor.filter(|_| rows.count < ROWS) {
        cursor = app.0.desk.look(|fleet, now| {
            fleet.units(at, STEP, &Filter::default(), |unit| {
                rows.add(now, &unit);
                rows.count < ROWS
            })
        });
        tokio::task::yield_now().await;
    }
    let head = app.0.desk.look(|fleet, now| Head::of(app, fleet, now, seq).open());
    let zip = move || {
        let verdicts = serde_json::to_string(&Verdict::ALL.map(Verdict::name)).unwrap_or_default();
        let text = format!(
            "{head},\"verdicts\":{verdicts},\"columns\":{COLUMNS},\"labels\":{},\"rows\":[{}]}}",
            rows.labels(),
            rows.text
        );
        let mut zip = GzEncoder::new(Vec::new(), Compression::new(5));
        // Writing into memory cannot fail.
        let _ = zip.write_all(text.as_bytes());
        Grid { made, plain: text.into(), zipped: zip.finish().unwrap_or_default().into() }
    };
    let grid = tokio::task::spawn_blocking(zip).await.map_err(|error| Failure::internal(error.to_string()))?;
    let grid = Arc::new(grid);
    *app.0.grid.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&grid));
    drop(turn);
    Ok(grid)
}

pub(super) async fn grid(State(app): State<App>, headers: HeaderMap) -> Result<Response, Failure> {
    let grid = newest(&app).await?;
    let encodings = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let zips = encodings.split(',').any(|one| one.split(';').next().is_some_and(|name| name.trim() == "gzip"));
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(if zips {
        ([json, (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], grid.zipped.clone()).into_response()
    } else {
        ([json], grid.plain.clone()).into_response()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followed {
    epoch: String,
    since: u64,
}

pub(super) async fn live(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Result<Query<Followed>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| {
        let (epoch, seq) = text.trim().rsplit_once('.')?;
        Some((epoch.to_owned(), seq.parse().ok()?))
    });
    let (epoch, since) = resumed.unwrap_or((asked.epoch, asked.since));
    app.0.live.follow(&epoch, since)
}

/// Hands on what has changed since the last time, where anybody looks.
pub(super) fn hand_on(app: &App) {
    if app.0.live.followers() == 0 {
        return;
    }
    let seq = app.0.live.newest() + 1;
    let delta = app.0.desk.act(|fleet, now| {
        let dirty = fleet.take_dirty(DELTA);
        let head = Head::of(app, fleet, now, seq);
        let (mut rows, mut touched, mut gone) = (Rows::default(), String::new(), Vec::new());
        for (place, dirty) in dirty {
            match (fleet.unit_at(place), dirty) {
                (None, _) => gone.push(place),
                (Some(unit), Dirty::Touched) => touch(&mut touched, now, &unit),
                (Some(unit), _) => rows.add(now, &unit),
            }
        }
        let gone = serde_json::to_string(&gone).unwrap_or_default();
        let (head, labels, rows) = (head.open(), rows.labels(), rows.text);
        format!("{head},\"labels\":{labels},\"rows\":[{rows}],\"touch\":[{touched}],\"gone\":{gone}}}")
    });
    app.0.live.push(|_| delta);
}

fn touch(out: &mut String, now: Now, unit: &UnitView<'_>) {
    let Some(view) = unit.chosen() else { return };
    let comma = if out.is_empty() { "" } else { "," };
    let (heard, span) = (view.heard_ms(now).unwrap_or(0), view.span_ms().unwrap_or(0));
    // Writing into a text cannot fail.
    let _ = write!(out, "{comma}[{},{heard},{span}]", unit.place());
}
