//! Units: pages of them, and one with all there is to say.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use varta_daemon::http::Failure;
use varta_vlp::{
    key::{AgentId, Name, UnitId},
    subject::Owner,
};

use super::{
    App,
    ask::Asked,
    body::{UnitBody, ViewBody, wall_ms},
};
use crate::{
    fleet::UnitKey,
    store::{History, key_of},
};

/// Places that one step looks at; between two steps others have their turn.
const STEP: u32 = 2000;
/// Most steps of one answer: it may end before it has found as many as were asked for, and says where to go on.
const STEPS: u32 = 100;

#[derive(Serialize)]
pub(super) struct Page {
    agents: Vec<UnitBody>,
    /// Where to go on; null at the end. A page may hold fewer units than asked for and yet not be the last.
    next: Option<String>,
}

pub(super) async fn units(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    let filter = asked.filter()?;
    let limit = asked.limit as usize;
    let mut agents = Vec::new();
    let mut cursor = asked.cursor;
    for _ in 0..STEPS {
        let next = app.0.desk.look(|fleet, now| {
            fleet.units(cursor, STEP, &filter, |unit| {
                agents.push(UnitBody::of(fleet, now, &unit));
                agents.len() < limit
            })
        });
        match next {
            None => return Ok(Json(Page { agents, next: None })),
            Some(next) => cursor = next,
        }
        if agents.len() >= limit {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(Json(Page { agents, next: Some(cursor.to_string()) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// The observer, of a unit that holds no key.
    observer: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    unit: UnitBody,
    views: Vec<ViewBody>,
    /// None where none is kept.
    history: Option<History>,
}

pub(super) async fn unit(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<Detail>, Failure> {
    let Path((agent, unit)) = path.map_err(|error| Failure::bad_request(error.body_text()))?;
    let Query(whose) = whose.map_err(|error| Failure::bad_request(error.body_text()))?;
    let found = app.0.desk.look(|fleet, now| {
        let observer = match &whose.observer {
            Some(observer) => fleet.number_of_observer(observer)?,
            None => UnitKey::SHARED,
        };
        keys(&agent, &unit, observer).into_iter().find_map(|key| {
            let view = fleet.unit(&key)?;
            let detail = Detail {
                unit: UnitBody::of(fleet, now, &view),
                views: view.views().map(|view| ViewBody::of(now, &view)).collect(),
                history: None,
            };
            Some((detail, key_of(&key, whose.observer.as_deref()), wall_ms(now)))
        })
    });
    let found = match (found, app.0.store.clone()) {
        (Some((detail, key, now_ms)), Some(store)) => {
            // The disk may be slow.
            let history = tokio::task::spawn_blocking(move || store.history(&key, now_ms)).await;
            Some(Detail { history: history.map_err(|error| Failure::internal(error.to_string()))?, ..detail })
        }
        (found, _) => found.map(|(detail, ..)| detail),
    };
    found.map(Json).ok_or_else(|| {
        Failure::not_found(format!(
            "no unit \"{unit}\" of agent \"{agent}\": name each as /api/v1/agents shows it; a unit without a name is \
             pid:NUMBER, and one of a host's own processes needs ?observer=NAME"
        ))
    })
}

/// The keys of the units that a path can mean: names first, then ids as they are shown.
fn keys(agent: &str, unit: &str, observer: u16) -> Vec<UnitKey> {
    let named = Name::new(agent).ok().map(|name| Owner::Agent(name.agent_id()));
    let by_id = (agent.len() == 16).then(|| u64::from_str_radix(agent, 16).ok()).flatten();
    let owners = [Owner::of_unsealed(agent), named, by_id.map(|id| Owner::Agent(AgentId(id)))];
    let pid = match unit.strip_prefix("pid:") {
        Some(pid) => pid.parse().ok().map(|pid| (UnitId::NONE, pid)),
        None if unit.is_empty() => Some((UnitId::NONE, 0)),
        None => None,
    };
    let named = Name::new(unit).ok().map(|name| (name.unit_id(), 0));
    let by_id = (unit.len() == 8).then(|| u32::from_str_radix(unit, 16).ok()).flatten();
    let units = [pid, named, by_id.map(|id| (UnitId(id), 0))];
    let keys = owners.into_iter().flatten().flat_map(|owner| {
        units.into_iter().flatten().map(move |(unit, pid)| UnitKey {
            owner,
            unit,
            pid,
            observer: if owner.agent().is_some() { UnitKey::SHARED } else { observer },
        })
    });
    keys.collect()
}
