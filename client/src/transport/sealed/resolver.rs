//! Names are resolved again while running, by a thread of their own, so that no beat waits for a name server.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::endpoint::{Endpoint, open_first};

/// How often a name that resolved is looked up again, and one that never did.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_UNRESOLVED: Duration = Duration::from_secs(5);

/// A new address for one audience, on its way from the thread to the next beat.
#[derive(Debug, Default)]
pub(crate) struct News {
    fresh: AtomicBool,
    address: Mutex<Option<SocketAddr>>,
}

impl News {
    pub(super) fn publish(&self, address: SocketAddr) {
        // The lock is held for a copy of an address only and no panic can happen under it.
        if let Ok(mut slot) = self.address.lock() {
            *slot = Some(address);
            self.fresh.store(true, Ordering::Release);
        }
    }

    /// The new address, once. Never waits: if the thread is writing, the next beat will see it; if a fork caught it
    /// writing, the child keeps its last address.
    pub(crate) fn take(&self) -> Option<SocketAddr> {
        if !self.fresh.load(Ordering::Acquire) {
            return None;
        }
        let mut slot = self.address.try_lock().ok()?;
        self.fresh.store(false, Ordering::Release);
        slot.take()
    }
}

/// One name to watch.
pub(crate) struct Watched {
    pub(crate) endpoint: Endpoint,
    pub(crate) known: Option<SocketAddr>,
    pub(crate) news: Arc<News>,
}

impl Watched {
    /// Looks the name up. It keeps its address while the answer still holds it, and also if it resolves no longer or
    /// there is no way to what it resolves to.
    fn look_up(&mut self, resolve: impl Fn(&Endpoint) -> io::Result<Vec<SocketAddr>>) {
        let Ok(addresses) = resolve(&self.endpoint) else {
            return;
        };
        if self.known.is_some_and(|known| addresses.contains(&known)) {
            return;
        }
        if let Ok((address, _)) = open_first(&addresses) {
            self.known = Some(address);
            self.news.publish(address);
        }
    }
}

/// The thread, owned by a handle and ended with it.
#[derive(Debug)]
pub(crate) struct Resolver {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Resolver {
    /// Begins to watch names.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn spawn(mut watched: Vec<Watched>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // The thread takes none of the program's signals.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let spawned = thread::Builder::new().name("varta-resolver".to_owned()).spawn(move || {
            loop {
                let resolved = watched.iter().all(|name| name.known.is_some());
                thread::park_timeout(if resolved { AGAIN } else { AGAIN_UNRESOLVED });
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                for name in &mut watched {
                    name.look_up(Endpoint::resolve);
                }
            }
        });
        mask.thread_set_mask()?;
        // Detached: a forked child has the handle and not the thread, and must never wait for it.
        let thread = spawned?.thread().clone();
        Ok(Self { stop, thread })
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(known: Option<&str>) -> Watched {
        Watched {
            endpoint: Endpoint::parse("observer.example:9900").unwrap(),
            known: known.map(|address| address.parse().unwrap()),
            news: Arc::new(News::default()),
        }
    }

    fn answer(addresses: &[&str]) -> io::Result<Vec<SocketAddr>> {
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn only_a_changed_answer_is_news() {
        let mut name = watched(Some("127.0.0.1:9900"));
        name.look_up(|_| answer(&["127.0.0.2:9900", "127.0.0.1:9900"]));
        assert_eq!(name.news.take(), None, "the address in use still holds");
        name.look_up(|_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(name.news.take(), None, "the last address stays");
        assert!(name.known.is_some());
        name.look_up(|_| answer(&["127.0.0.3:9900"]));
        assert_eq!(name.news.take(), Some("127.0.0.3:9900".parse().unwrap()));
        assert_eq!(name.news.take(), None, "news are told once");
    }

    #[test]
    fn a_name_that_begins_to_resolve_is_news() {
        let mut name = watched(None);
        name.look_up(|_| answer(&["127.0.0.1:9900"]));
        assert_eq!(name.news.take(), Some("127.0.0.1:9900".parse().unwrap()));
    }

    #[test]
    fn a_beat_never_waits_for_the_writer() {
        let name = watched(None);
        name.news.publish("127.0.0.1:9900".parse().unwrap());
        let writing = name.news.address.lock().unwrap();
        assert_eq!(name.news.take(), None);
        drop(writing);
        assert!(name.news.take().is_some(), "the next beat sees it");
    }

    #[test]
    fn the_thread_ends_with_its_handle() {
        let name = watched(Some("127.0.0.1:9900"));
        let news = Arc::clone(&name.news);
        let resolver = Resolver::spawn(vec![name]).unwrap();
        assert_eq!(Arc::strong_count(&news), 2);
        drop(resolver);
        // The thread drops its share when it ends.
        let limit = 10_000;
        let ended = (0..limit).any(|_| {
            thread::park_timeout(Duration::from_millis(1));
            Arc::strong_count(&news) == 1
        });
        assert!(ended);
    }
}
