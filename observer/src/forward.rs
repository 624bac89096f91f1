//! Forwarding: everything that is known goes to the relays, as fast as each of them takes it.
//!
//! What changed is a set, never a queue: a relay that is slow, or away, costs nothing but freshness. A sweep beside it finds
//! what no change tells of, such as names, and how fresh each beat is. All of it runs on the main thread, and asks the ingest
//! thread for a page at a time, as everybody does.

mod feed;
mod hub;
mod marks;
mod relay;
mod seen;
mod status;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::Notify, task::JoinHandle};
use varta_config::RelayLink;
use varta_link::Identity;
use varta_vlp::key::{Peer, PublicKey};

pub(crate) use marks::Marks;

use crate::command::Handle;
use relay::Relay;

/// What one relay's link has counted.
#[derive(Debug, Default)]
pub struct ForwardCounts {
    /// 1 while it is connected.
    pub connected: AtomicU64,
    /// Tries to connect.
    pub dials: AtomicU64,
    /// Slots told whole.
    pub entries: AtomicU64,
    /// Slots of which only what moves was told.
    pub touches: AtomicU64,
    /// Snapshots begun.
    pub snapshots: AtomicU64,
    /// Slots that wait to be told.
    pub pending: AtomicU64,
    /// Messages sent that the relay has not taken yet.
    pub in_flight: AtomicU64,
}

impl ForwardCounts {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }
}

/// The relays' addresses, and what is counted of each. Cheap to clone.
pub type Counted = Arc<[(String, ForwardCounts)]>;

/// What is counted of these relays: nothing yet.
pub(crate) fn counted(relays: &[RelayLink]) -> Counted {
    relays.iter().map(|relay| (relay.address.clone(), ForwardCounts::default())).collect()
}

/// What forwarding needs to know.
pub(crate) struct Forward {
    pub(crate) relays: Vec<RelayLink>,
    pub(crate) counted: Counted,
    pub(crate) identity: Identity,
    /// The observer's name.
    pub(crate) name: String,
    pub(crate) handle: Handle,
    /// Told when something changed.
    pub(crate) news: Arc<Notify>,
}

/// Forwarding, at work. Dropping it ends it.
pub(crate) struct Forwarding(Vec<JoinHandle<()>>);

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Forward {
    /// Forwards on the runtime of the caller.
    ///
    /// # Errors
    /// The system's: there is no randomness.
    pub(crate) fn spawn(self) -> std::io::Result<Forwarding> {
        let Self { relays, counted, identity, name, handle, news } = self;
        let boot = getrandom::u64().map_err(std::io::Error::other)?.max(1);
        let mut tasks = Vec::new();
        let mut feeds = Vec::new();
        for (place, link) in relays.into_iter().enumerate() {
            // The configuration was checked.
            let Ok(pin) = PublicKey::from_text(Peer::Relay, &link.pin) else { continue };
            let feed = feed::Shared::new(boot);
            feeds.push(feed.clone());
            let relay = Relay {
                address: link.address,
                pin,
                identity: identity.clone(),
                name: name.clone(),
                handle: handle.clone(),
                feed,
                counted: Arc::clone(&counted),
                place,
            };
            tasks.push(tokio::spawn(relay.keep()));
        }
        tasks.push(tokio::spawn(hub::run(handle, news, feeds)));
        Ok(Forwarding(tasks))
    }
}
