//! What changes in the grid, to those who look at it: deltas of a few a second, made once for all of them.
//!
//! Who is behind by more than is kept, or comes from another life of the relay, is told to fetch the grid again.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use varta_daemon::http::Failure;

/// Most deltas that are kept for those who come back.
const KEPT: usize = 256;
/// Most bytes of them.
const KEPT_BYTES: usize = 8 << 20;
/// How often a comment is sent where nothing changes, so that whoever looks knows that the picture is fresh.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The deltas, and those who follow them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Names this life of the relay.
    epoch: String,
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    places: Arc<Semaphore>,
    most: usize,
    stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest delta's number, from 1.
    newest: u64,
    deltas: VecDeque<Arc<str>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, delta: Arc<str>) -> u64 {
        self.bytes += delta.len();
        self.deltas.push_back(delta);
        while self.deltas.len() > 1 && (self.deltas.len() > KEPT || self.bytes > KEPT_BYTES) {
            self.bytes -= self.deltas.pop_front().map_or(0, |delta| delta.len());
        }
        self.newest += 1;
        self.newest
    }

    /// The delta after that of number `seen`: `Ok(None)` where that is the newest.
    fn after(&self, seen: u64) -> Result<Option<Arc<str>>, Behind> {
        let behind = self.newest.checked_sub(seen).and_then(|behind| usize::try_from(behind).ok()).ok_or(Behind)?;
        match self.deltas.len().checked_sub(behind) {
            Some(place) => Ok(self.deltas.get(place).cloned()),
            None => Err(Behind),
        }
    }
}

/// What comes next is not kept any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind;

impl Live {
    /// None yet, in the life of the relay that `epoch` names; at most `most` follow at once, until `stopping` is true.
    pub(crate) fn new(epoch: String, most: usize, stopping: watch::Sender<bool>) -> Self {
        let newest = watch::Sender::new(0);
        Self(Arc::new(Inner {
            epoch,
            kept: Mutex::default(),
            newest,
            places: Arc::new(Semaphore::new(most)),
            most,
            stopping,
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names this life of the relay.
    pub(crate) fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// The newest delta's number; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.kept().newest
    }

    /// How many follow.
    pub(crate) fn followers(&self) -> usize {
        self.0.most.saturating_sub(self.0.places.available_permits())
    }

    /// Hands on a delta, which `make` writes when it is told its number.
    pub(crate) fn push(&self, make: impl FnOnce(u64) -> String) {
        let mut kept = self.kept();
        let delta = make(kept.newest + 1).into();
        let newest = kept.push(delta);
        drop(kept);
        self.0.newest.send_replace(newest);
    }

    /// A stream of what comes after delta `since` of the life that `epoch` names.
    ///
    /// # Errors
    /// 503 where all places are taken.
    pub(crate) fn follow(
        &self,
        epoch: &str,
        since: u64,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Failure> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned();
        let most = self.0.most;
        let permit = permit.map_err(|_| Failure::unavailable(format!("{most} dashboards are open already")))?;
        let follower = Follower {
            news: self.0.newest.subscribe(),
            stopping: self.0.stopping.subscribe(),
            seen: (epoch == self.0.epoch).then_some(since),
            live: self.clone(),
            ended: false,
            _permit: permit,
        };
        let deltas = stream::unfold(follower, |mut follower| async {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        });
        Ok(Sse::new(deltas).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
    }
}

struct Follower {
    live: Live,
    news: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The newest delta sent; `None` where what was seen is of another life.
    seen: Option<u64>,
    /// Whether the last event was sent.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        loop {
            let next = self.seen.ok_or(Behind).and_then(|seen| Ok((seen + 1, self.live.kept().after(seen)?)));
            match next {
                Ok((seen, Some(delta))) => {
                    self.seen = Some(seen);
                    let id = format!("{}.{seen}", self.live.epoch());
                    return Some(Event::default().id(id).event("delta").data(&*delta));
                }
                Ok((_, None)) => {}
                Err(Behind) => {
                    self.ended = true;
                    return Some(Event::default().event("reset").data("{}"));
                }
            }
            tokio::select! {
                news = self.news.changed() => news.ok()?,
                stopping = self.stopping.wait_for(|stopping| *stopping) => {
                    let _ = stopping;
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_too_far_behind_goes_on_where_they_were() {
        let mut kept = Kept::default();
        assert_eq!(kept.after(0), Ok(None));
        assert_eq!(kept.after(1), Err(Behind), "nothing was ever numbered so");
        let last = KEPT as u64 + 10;
        (1..=last).for_each(|number| _ = kept.push(number.to_string().into()));
        assert_eq!(kept.after(last), Ok(None));
        assert_eq!(kept.after(last - 1), Ok(Some(last.to_string().into())));
        assert_eq!(kept.after(10), Ok(Some("11".into())));
        assert_eq!(kept.after(9), Err(Behind));
    }

    #[test]
    fn large_deltas_take_the_room_of_many() {
        let mut kept = Kept::default();
        let large: Arc<str> = "x".repeat(KEPT_BYTES / 2 + 1).into();
        (0..3).for_each(|_| _ = kept.push(Arc::clone(&large)));
        assert_eq!((kept.deltas.len(), kept.newest), (1, 3));
        assert_eq!((kept.after(2), kept.after(1)), (Ok(Some(large)), Err(Behind)));
    }
}
