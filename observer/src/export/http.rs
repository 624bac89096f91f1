//! The observer's HTTP: metrics, health, slots, events.
//!
//! It only asks: the ingest thread answers between two batches of datagrams. Everything is bounded: connections, event
//! streams, header bytes, the time a client may take to ask or to read, the time an answer may take.

mod answer;
mod api;
mod aside;
mod find;
mod probe;

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, middleware, routing::get};
use tokio::sync::{Semaphore, watch};
use varta_config::PerAgent;
use varta_core::WallNs;
use varta_daemon::http::{Failure, Followers, Guard, Open, Ring, guard};

use crate::{aside::Aside, command::Handle, forward::Counted};

/// Most connections at once; further ones wait to be accepted.
pub const CONNECTIONS: usize = 64;
/// Most event streams at once; a further one is told 503.
pub const FOLLOWERS: usize = 16;
/// Most scrapes at once, each until its text is sent; further ones wait.
const SCRAPES: usize = 2;

/// What the HTTP side needs to know.
#[derive(Debug)]
pub struct Setup {
    /// Asks the ingest thread.
    pub handle: Handle,
    /// The newest events.
    pub ring: Ring,
    /// The observer's name.
    pub name: String,
    /// When it started.
    pub started: WallNs,
    /// The listeners' configured addresses, in the order that the core knows them in.
    pub listeners: Vec<String>,
    /// Which slots have series of their own.
    pub per_agent: PerAgent,
    /// The bearer token that requests must carry.
    pub token: Option<String>,
    /// Where long answers are made.
    pub aside: Aside,
    /// What is counted of each relay.
    pub forward: Counted,
}

/// The HTTP application. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    handle: Handle,
    followers: Followers,
    name: String,
    started: WallNs,
    listeners: Vec<String>,
    per_agent: Mutex<PerAgent>,
    guard: Arc<Guard>,
    aside: Aside,
    forward: Counted,
    scrapes: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl App {
    /// An application.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { handle, ring, name, started, listeners, per_agent, token, aside, forward } = setup;
        let stopping = watch::Sender::new(false);
        let open = |path: &str| path == "/healthz";
        Self(Arc::new(Inner {
            handle,
            followers: Followers::new(ring, FOLLOWERS, stopping.clone()),
            name,
            started,
            listeners,
            per_agent: Mutex::new(per_agent),
            guard: Arc::new(Guard { token, open, policy: "default-src 'none'" }),
            aside,
            forward,
            scrapes: Arc::new(Semaphore::new(SCRAPES)),
            stopping,
        }))
    }

    /// Changes which slots have series of their own.
    pub fn set_per_agent(&self, per_agent: PerAgent) {
        *self.0.per_agent.lock().unwrap_or_else(PoisonError::into_inner) = per_agent;
    }

    fn per_agent(&self) -> PerAgent {
        *self.0.per_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(probe::metrics))
            .route("/healthz", get(probe::healthz))
            .route("/readyz", get(probe::readyz))
            .route("/api/v1/status", get(api::status))
            .route("/api/v1/slots", get(api::slots))
            .route("/api/v1/slots/{agent}/{unit}", get(api::slot))
            .route("/api/v1/events", get(api::events))
            .fallback(async || Failure::not_found("there is nothing at this path"))
            .method_not_allowed_fallback(async || Failure::method("this path answers GET and HEAD only"))
            .layer(middleware::from_fn_with_state(Arc::clone(&self.0.guard), guard))
            .with_state(self.clone())
    }

    /// This application on `listener`.
    #[must_use]
    pub fn on(&self, listener: TcpListener) -> Open {
        Open::new(listener, self.router(), CONNECTIONS, self.0.stopping.clone())
    }
}
