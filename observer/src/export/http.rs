//! The observer's HTTP: metrics, health, slots, events.
//!
//! It only asks: the ingest thread answers between two batches of datagrams. Everything is bounded: connections, event
//! streams, header bytes, the time a client may take to ask or to read, the time an answer may take.

mod api;
mod aside;
mod connection;
mod failure;
mod find;
mod follow;
mod guard;
mod probe;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, middleware, routing::get};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use varta_config::PerAgent;
use varta_core::WallNs;

use crate::{aside::Aside, command::Handle, export::events::Ring};
use connection::Patient;
use failure::Failure;

/// Most connections at once; further ones wait to be accepted.
pub const CONNECTIONS: usize = 64;
/// Most event streams at once; a further one is told 503.
pub const FOLLOWERS: usize = 16;
/// Most scrapes at once, each until its text is sent; further ones wait.
const SCRAPES: usize = 2;
/// Most bytes of a request's line and headers.
const HEADER_BYTES: usize = 16 * 1024;
/// How long a client may take to send a request's line and headers, and to be idle between two requests.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may leave what was sent unread.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long requests in work may take once the observer stops.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait when connections cannot be accepted: mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

/// The HTTP application. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    handle: Handle,
    ring: Ring,
    name: String,
    started: WallNs,
    listeners: Vec<String>,
    per_agent: Mutex<PerAgent>,
    token: Option<String>,
    aside: Aside,
    followers: Arc<Semaphore>,
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
        let Setup { handle, ring, name, started, listeners, per_agent, token, aside } = setup;
        Self(Arc::new(Inner {
            handle,
            ring,
            name,
            started,
            listeners,
            per_agent: Mutex::new(per_agent),
            token,
            aside,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            scrapes: Arc::new(Semaphore::new(SCRAPES)),
            stopping: watch::Sender::new(false),
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
            .route("/api/v1/events", get(follow::events))
            .fallback(async || Failure::not_found("there is nothing at this path"))
            .method_not_allowed_fallback(async || Failure::method())
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .with_state(self.clone())
    }
}

/// Serves HTTP until `shutdown`; then gives requests in work two seconds.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let router = app.router();
    let mut refused = false;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &permits) => match accepted {
                Ok((stream, permit)) => {
                    refused = false;
                    let connection = connect(stream, &router);
                    let connection = graceful.watch(connection);
                    connections.spawn(async move {
                        // What ends a connection is its peer's affair.
                        let _ = connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!("cannot accept HTTP connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    app.0.stopping.send_replace(true);
    drop(listener);
    let _ = tokio::time::timeout(STOP_LIMIT, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Without it small answers may wait for the peer's acknowledgement; a socket that refuses is only slower.
    let _ = stream.set_nodelay(true);
    Ok((stream, permit))
}

type Connection = hyper::server::conn::http1::Connection<TokioIo<Patient<TcpStream>>, TowerToHyperService<Router>>;

fn connect(stream: TcpStream, router: &Router) -> Connection {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_buf_size(HEADER_BYTES);
    let stream = TokioIo::new(Patient::new(stream, WRITE_LIMIT));
    builder.serve_connection(stream, TowerToHyperService::new(router.clone()))
}
