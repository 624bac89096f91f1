//! The event stream: `text/event-stream`, resumed by `Last-Event-ID`.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{App, FOLLOWERS, failure::Failure};
use crate::export::events::{Entry, Ring};

/// How often a comment is sent where nothing happens, so that both ends notice a dead path.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most events taken from the ring at once.
const BATCH: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// What `Last-Event-ID` says, for those who cannot send it.
    after: Option<u64>,
}

pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    let seen = last_event_id(&headers)?.or(asked.after);
    let permit = Arc::clone(&app.0.followers).try_acquire_owned();
    let permit = permit.map_err(|_| Failure::unavailable(format!("{FOLLOWERS} event streams are open already")))?;
    let follower = Follower::new(&app, seen, permit);
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| Failure::bad_request("Last-Event-ID is to be the number of an event"))
}

/// One event stream.
struct Follower {
    ring: Ring,
    news: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The id of the newest event sent; `None` where the first to come is the first of all.
    seen: Option<u64>,
    ready: VecDeque<Arc<Entry>>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn new(app: &App, seen: Option<u64>, permit: OwnedSemaphorePermit) -> Self {
        let ring = app.0.ring.clone();
        let (news, stopping) = (ring.news(), app.0.stopping.subscribe());
        let seen = seen.or_else(|| ring.newest());
        Self { ring, news, stopping, seen, ready: VecDeque::new(), _permit: permit }
    }

    /// The next event, or `None` when the observer stops.
    async fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() {
            self.ready.extend(self.ring.after(self.seen, BATCH));
            if !self.ready.is_empty() {
                break;
            }
            tokio::select! {
                news = self.news.changed() => news.ok()?,
                stopping = self.stopping.wait_for(|stopping| *stopping) => {
                    let _ = stopping;
                    return None;
                }
            }
        }
        let next = self.ready.front()?.id;
        // Ids rise by one: what is missing was lost before it could be sent.
        if let Some(seen) = self.seen.filter(|seen| seen.checked_add(1) != Some(next)) {
            self.seen = Some(next - 1);
            return Some(Event::default().event("lagged").data(format!("{{\"seen\":{seen},\"next\":{next}}}")));
        }
        self.seen = Some(next);
        let entry = self.ready.pop_front()?;
        Some(Event::default().id(next.to_string()).event(entry.kind).data(&entry.json))
    }
}
