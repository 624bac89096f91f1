//! The event stream: `text/event-stream`, resumed by `Last-Event-ID`.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Entry, Failure, Ring};

/// How often a comment is sent where nothing happens, so that both ends notice a dead path.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most events taken from the ring at once.
const BATCH: usize = 64;

/// Those who follow events.
#[derive(Clone, Debug)]
pub struct Followers {
    ring: Ring,
    places: Arc<Semaphore>,
    most: usize,
    stopping: watch::Sender<bool>,
}

impl Followers {
    /// At most `most` at once of `ring`, until `stopping` is true.
    #[must_use]
    pub fn new(ring: Ring, most: usize, stopping: watch::Sender<bool>) -> Self {
        Self { ring, places: Arc::new(Semaphore::new(most)), most, stopping }
    }

    /// A stream of the events after the one of id `seen`, or from now on; of one of `kinds`, where there are any. With `once`,
    /// of those only that have happened: after `seen`, or all that are kept.
    ///
    /// # Errors
    /// 503 where all places are taken.
    pub fn follow(
        &self,
        seen: Option<u64>,
        kinds: Vec<String>,
        once: bool,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Failure> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let most = self.most;
        let permit = permit.map_err(|_| Failure::unavailable(format!("{most} event streams are open already")))?;
        let events = stream::unfold(Follower::new(self, seen, kinds, once, permit), |mut follower| async {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
    }
}

/// What the header `Last-Event-ID` says, where there is one.
///
/// # Errors
/// 400 where it is no number.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| Failure::bad_request("Last-Event-ID is to be the number of an event"))
}

/// One event stream.
struct Follower {
    ring: Ring,
    news: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The id of the newest event passed; `None` where the first to come is the first of all.
    seen: Option<u64>,
    kinds: Vec<String>,
    /// The id of the last event that is wanted.
    until: Option<u64>,
    ready: VecDeque<Arc<Entry>>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn new(
        followers: &Followers,
        seen: Option<u64>,
        kinds: Vec<String>,
        once: bool,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let ring = followers.ring.clone();
        let (news, stopping) = (ring.news(), followers.stopping.subscribe());
        let until = once.then(|| ring.newest().unwrap_or(0));
        let seen = if once { seen } else { seen.or_else(|| ring.newest()) };
        Self { ring, news, stopping, seen, kinds, until, ready: VecDeque::new(), _permit: permit }
    }

    /// The next event; `None` after the last that is wanted, or when the daemon stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.until.is_some_and(|until| self.seen.unwrap_or(0) >= until) {
                return None;
            }
            self.fill().await?;
            let next = self.ready.front()?.id;
            // Ids rise by one: what is missing was lost before it could be sent.
            if let Some(seen) = self.seen.filter(|seen| seen.checked_add(1) != Some(next)) {
                self.seen = Some(next - 1);
                return Some(Event::default().event("lagged").data(format!("{{\"seen\":{seen},\"next\":{next}}}")));
            }
            self.seen = Some(next);
            let entry = self.ready.pop_front()?;
            if self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == entry.kind) {
                return Some(Event::default().id(next.to_string()).event(entry.kind).data(&entry.json));
            }
        }
    }

    /// Waits until an event is ready.
    async fn fill(&mut self) -> Option<()> {
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
        Some(())
    }
}
