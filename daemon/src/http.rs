//! HTTP within limits: connections, event streams, header bytes, the time a client may take to ask or to read.

mod connection;
mod failure;
mod follow;
mod guard;
mod ring;
mod token;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use connection::Patient;
pub use failure::Failure;
pub use follow::{Followers, last_event_id};
pub use guard::{Guard, guard};
pub use ring::{Entry, KEPT, Ring};
pub use token::{TokenError, read_token};

/// Most bytes of a request's line and headers.
const HEADER_BYTES: usize = 16 * 1024;
/// How long a client may take to send a request's line and headers, and to be idle between two requests.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may leave what was sent unread.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long requests in work may take once the daemon stops.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait when connections cannot be accepted: mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An application on a port of its own, open and not served yet.
#[derive(Debug)]
pub struct Open {
    listener: TcpListener,
    router: Router,
    connections: usize,
    stopping: watch::Sender<bool>,
}

/// An application, served. Dropping it ends it.
#[derive(Debug)]
pub struct Serving {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Listens on `address`.
///
/// # Errors
/// The system's; [`advice`] says what to do.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What to do about an address that cannot be listened on, as the end of a sentence; empty where it is not known.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what has this port (`ss -ltnp`), or set http.listen to another",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, or set http.listen to a higher one"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; no interface of this host has this address: set http.listen to one that has"
        }
        _ => "",
    }
}

impl Open {
    /// `router` on `listener`, with so many connections at once; further ones wait to be accepted. `stopping` becomes true
    /// when the end begins: streams that go on for ever are to end then.
    #[must_use]
    pub const fn new(listener: TcpListener, router: Router, connections: usize, stopping: watch::Sender<bool>) -> Self {
        Self { listener, router, connections, stopping }
    }

    /// Serves on the runtime of the caller.
    ///
    /// # Errors
    /// The system's.
    pub fn spawn(self) -> io::Result<Serving> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (end, ended) = oneshot::channel();
        let shutdown = async {
            // Sent or dropped, it is the end.
            let _ = ended.await;
        };
        let task = tokio::spawn(serve(listener, self.router, self.connections, self.stopping, shutdown));
        Ok(Serving { end, task })
    }
}

impl Serving {
    /// Ends it, and gives requests in work two seconds.
    pub async fn finish(self) {
        drop(self.end);
        if let Err(error) = self.task.await {
            tracing::error!("the HTTP side ended badly: {error}");
        }
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    connections: usize,
    stopping: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
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
    stopping.send_replace(true);
    drop(listener);
    let _ = tokio::time::timeout(STOP_LIMIT, graceful.shutdown()).await;
}

async fn accept(
    listener: &tokio::net::TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
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
