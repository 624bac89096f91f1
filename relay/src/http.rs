//! The relay's HTTP: the dashboard, the API, metrics, health.
//!
//! Everything is bounded: connections, streams, bodies, how much one answer looks at.

mod api;
mod ask;
mod assets;
mod body;
mod grid;
mod live;
mod metrics;
mod units;

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use tokio::sync::{Semaphore, watch};
use tower_http::compression::CompressionLayer;
use varta_config::PerAgent;
use varta_daemon::http::{Failure, Followers, Guard, Open, Ring, guard};
use varta_link::Refusals;
use varta_vlp::time::WallNs;

use crate::{desk::Desk, store::Store, webhook::Hook};
pub(crate) use body::IncidentBody;
use live::Live;

/// Most event streams at once, beside the dashboards'; a further one is told 503.
const FOLLOWERS: usize = 64;
/// Connections beside those of dashboards.
const CONNECTIONS: usize = 256;
/// Most bytes of a request's body.
const BODY_BYTES: usize = 16 * 1024;
/// Most long answers made at once; further ones wait.
const LONG_ANSWERS: usize = 2;
/// How often changes are handed to dashboards.
const TICK: Duration = Duration::from_millis(250);
/// What pages may do: nothing that does not come from here.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the HTTP side needs to know.
pub(crate) struct Setup {
    pub(crate) desk: Desk,
    pub(crate) store: Option<Store>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) ring: Ring,
    pub(crate) name: String,
    pub(crate) started: WallNs,
    /// The bearer token that requests must carry.
    pub(crate) token: Option<String>,
    /// Dashboards at once.
    pub(crate) dashboards: usize,
    pub(crate) per_agent: PerAgent,
    pub(crate) refusals: Refusals,
}

/// The HTTP application. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    desk: Desk,
    store: Option<Store>,
    hooks: Vec<Hook>,
    followers: Followers,
    live: Live,
    grid: grid::Cache,
    name: String,
    started: WallNs,
    guard: Arc<Guard>,
    per_agent: Mutex<PerAgent>,
    refusals: Refusals,
    long_answers: Semaphore,
    connections: usize,
    stopping: watch::Sender<bool>,
}

/// Pages and what they are made of hold nothing of the fleet: a browser that has no token yet may load them.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/") || path.starts_with("/assets/")
}

impl App {
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { desk, store, hooks, ring, name, started, token, dashboards, per_agent, refusals } = setup;
        let stopping = watch::Sender::new(false);
        Self(Arc::new(Inner {
            desk,
            store,
            hooks,
            followers: Followers::new(ring, FOLLOWERS, stopping.clone()),
            live: Live::new(format!("{:x}", started.0), dashboards, stopping.clone()),
            grid: grid::Cache::default(),
            name,
            started,
            guard: Arc::new(Guard { token, open: is_open, policy: POLICY }),
            per_agent: Mutex::new(per_agent),
            refusals,
            long_answers: Semaphore::new(LONG_ANSWERS),
            connections: dashboards + CONNECTIONS,
            stopping,
        }))
    }

    pub(crate) fn set_per_agent(&self, per_agent: PerAgent) {
        *self.0.per_agent.lock().unwrap_or_else(PoisonError::into_inner) = per_agent;
    }

    fn per_agent(&self) -> PerAgent {
        *self.0.per_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/", get(assets::page))
            .route("/assets/{*file}", get(assets::asset))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(api::readyz))
            .route("/api/v1/fleet", get(api::fleet))
            .route("/api/v1/agents", get(units::units))
            .route("/api/v1/agents/{agent}/{unit}", get(units::unit))
            .route("/api/v1/observers", get(api::observers))
            .route("/api/v1/incidents", get(api::incidents))
            .route("/api/v1/incidents/{id}", get(api::incident))
            .route("/api/v1/incidents/{id}/ack", post(api::acknowledge).delete(api::take_back))
            .route("/api/v1/silences", get(api::silences).post(api::silence))
            .route("/api/v1/silences/{id}", delete(api::unsilence))
            .route("/api/v1/events", get(api::events))
            .route("/api/v1/grid", get(grid::grid))
            .route("/api/v1/live", get(grid::live))
            .fallback(async || Failure::not_found("there is nothing at this path"))
            .method_not_allowed_fallback(async || Failure::method("this path takes other methods"))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(CompressionLayer::new())
            .layer(middleware::from_fn_with_state(Arc::clone(&self.0.guard), guard))
            .with_state(self.clone())
    }

    /// This application on `listener`.
    pub(crate) fn on(&self, listener: TcpListener) -> Open {
        Open::new(listener, self.router(), self.0.connections, self.0.stopping.clone())
    }

    /// Hands changes to those who look, for ever.
    pub(crate) async fn stream(self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            grid::hand_on(&self);
        }
    }
}
