//! The relay's side.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use quinn::{ConnectionError, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportErrorCode};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Socket, Type};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use varta_vlp::key::PublicKey;

use crate::{Allowed, Identity, Limits, Link, LinkError, error::alert, identity, stream::End, tls};

/// Links that are waiting to be taken from the listener.
const WAITING: usize = 16;
/// What is asked of the kernel for datagrams that wait, bytes: a thousand observers may come back at once.
const BUFFER: usize = 4 << 20;

/// Why somebody who knocked was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Asked to show where it is, before anything was kept of it.
    Retry,
    /// Too many handshakes were half open.
    HalfOpen,
    /// Too many links.
    Links,
    /// Its key is not on the list.
    UnknownKey,
    /// It showed no key.
    NoKey,
    /// It speaks another protocol.
    Protocol,
    /// It takes this relay for another: its pin is not this relay's key.
    NotPinned,
    /// It did not finish in time.
    Timeout,
    /// The handshake failed for another reason.
    Handshake,
}

impl Refusal {
    /// Every refusal, in declared order.
    pub const ALL: [Self; 9] = [
        Self::Retry,
        Self::HalfOpen,
        Self::Links,
        Self::UnknownKey,
        Self::NoKey,
        Self::Protocol,
        Self::NotPinned,
        Self::Timeout,
        Self::Handshake,
    ];

    /// Its published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::HalfOpen => "half_open",
            Self::Links => "links",
            Self::UnknownKey => "unknown_key",
            Self::NoKey => "no_key",
            Self::Protocol => "protocol",
            Self::NotPinned => "not_pinned",
            Self::Timeout => "timeout",
            Self::Handshake => "handshake",
        }
    }

    fn of(error: &ConnectionError) -> Self {
        let is = |code: TransportErrorCode, alert| code == TransportErrorCode::crypto(alert);
        match error {
            // What this side has found, and what the other side says are not the same.
            ConnectionError::TransportError(error) if is(error.code, alert::ACCESS_DENIED) => Self::UnknownKey,
            ConnectionError::TransportError(error) if is(error.code, alert::CERTIFICATE_REQUIRED) => Self::NoKey,
            ConnectionError::TransportError(error) if is(error.code, alert::NO_APPLICATION_PROTOCOL) => Self::Protocol,
            ConnectionError::ConnectionClosed(close) if is(close.error_code, alert::ACCESS_DENIED) => Self::NotPinned,
            ConnectionError::TimedOut => Self::Timeout,
            ConnectionError::VersionMismatch => Self::Protocol,
            _ => Self::Handshake,
        }
    }
}

/// An observer that has come.
#[derive(Debug)]
pub struct Arrived {
    /// Its key.
    pub key: PublicKey,
    /// Its name on the list.
    pub name: Arc<str>,
    /// Where it is.
    pub remote: SocketAddr,
    /// The link. It counts as one until [`Self::place`] is dropped.
    pub link: Link,
    /// Its place among the links.
    pub place: Place,
}

/// One of so many places; dropping it gives it back.
#[derive(Debug)]
pub struct Place(Arc<Counts>, fn(&Counts) -> &AtomicUsize);

impl Drop for Place {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Counts {
    refusals: [AtomicU64; Refusal::ALL.len()],
    half_open: AtomicUsize,
    links: AtomicUsize,
}

impl Counts {
    fn refuse(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One of at most `most` places, if there is one.
    fn place(self: &Arc<Self>, of: fn(&Self) -> &AtomicUsize, most: usize) -> Option<Place> {
        let take = |taken: usize| (taken < most).then_some(taken + 1);
        of(self).fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Place(Arc::clone(self), of))
    }
}

/// Where observers arrive. Dropping it closes every link.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    counts: Arc<Counts>,
    arrivals: mpsc::Receiver<Arrived>,
    task: JoinHandle<()>,
}

/// What the listener has counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Refusals(Arc<Counts>);

impl Refusals {
    /// How often each refusal was.
    #[must_use]
    pub fn read(&self) -> [(Refusal, u64); Refusal::ALL.len()] {
        Refusal::ALL.map(|refusal| (refusal, self.0.refusals[refusal as usize].load(Ordering::Relaxed)))
    }
}

fn socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // What is not granted costs datagrams under load, and nothing else.
    let _ = socket.set_recv_buffer_size(BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Listener {
    /// Listens on `address` as `identity` for those who are `allowed`, on the runtime of the caller.
    ///
    /// # Errors
    /// [`LinkError::Socket`].
    pub fn bind(address: SocketAddr, identity: &Identity, allowed: Allowed, limits: Limits) -> Result<Self, LinkError> {
        let mut config = ServerConfig::with_crypto(Arc::new(tls::server(identity, allowed.clone())));
        config.transport_config(Arc::new(limits.listening()));
        config.migration(false);
        config.max_incoming(limits.half_open.saturating_add(WAITING));
        config.validation_token.sent(0);
        let open = || {
            let socket = socket(address)?;
            Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
        };
        let endpoint = open().map_err(|error| LinkError::Socket { address, error })?;
        let counts = Arc::new(Counts::default());
        let (arrived, arrivals) = mpsc::channel(WAITING);
        let door = Door { allowed, limits, counts: Arc::clone(&counts), arrived };
        let task = tokio::spawn(door.keep(endpoint.clone()));
        Ok(Self { endpoint, counts, arrivals, task })
    }

    /// Where it really listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The next observer; `None` when the listener has ended.
    pub async fn accept(&mut self) -> Option<Arrived> {
        self.arrivals.recv().await
    }

    /// What is counted of those who were not let in.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals(Arc::clone(&self.counts))
    }

    /// Closes every link with this reason, and waits until the other sides can have heard it.
    pub async fn close(self, reason: &str) {
        self.endpoint.close(quinn::VarInt::from_u32(0), reason.as_bytes());
        self.endpoint.wait_idle().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        self.endpoint.close(quinn::VarInt::from_u32(0), b"the relay is stopping");
    }
}

/// Who may come in.
struct Door {
    allowed: Allowed,
    limits: Limits,
    counts: Arc<Counts>,
    arrived: mpsc::Sender<Arrived>,
}

impl Door {
    async fn keep(self, endpoint: Endpoint) {
        let door = Arc::new(self);
        while let Some(incoming) = endpoint.accept().await {
            let counts = &door.counts;
            if counts.half_open.load(Ordering::Relaxed) >= door.limits.retry_above && incoming.may_retry() {
                counts.refuse(Refusal::Retry);
                // It may, as was asked.
                let _ = incoming.retry();
            } else if counts.links.load(Ordering::Relaxed) >= door.limits.links {
                counts.refuse(Refusal::Links);
                incoming.refuse();
            } else {
                let Some(half_open) = counts.place(|counts| &counts.half_open, door.limits.half_open) else {
                    counts.refuse(Refusal::HalfOpen);
                    incoming.refuse();
                    continue;
                };
                let door = Arc::clone(&door);
                tokio::spawn(async move {
                    let arrived = timeout(door.limits.handshake, door.admit(incoming)).await;
                    drop(half_open);
                    match arrived.unwrap_or(Err(Refusal::Timeout)) {
                        // A listener that has ended takes nobody.
                        Ok(arrived) => drop(door.arrived.send(arrived).await),
                        Err(refusal) => door.counts.refuse(refusal),
                    }
                });
            }
        }
    }

    async fn admit(&self, incoming: Incoming) -> Result<Arrived, Refusal> {
        let refused = |error| Refusal::of(&error);
        let connection = incoming.accept().map_err(refused)?.await.map_err(refused)?;
        let keys = connection.peer_identity().and_then(|keys| keys.downcast::<Vec<CertificateDer<'static>>>().ok());
        let key = keys.as_deref().and_then(|keys| keys.first()).and_then(|key| identity::decode(key));
        let key = key.ok_or(Refusal::NoKey)?;
        let close = |refusal, reason: &str| {
            connection.close(quinn::VarInt::from_u32(0), reason.as_bytes());
            refusal
        };
        // It was allowed when it showed its key; the list may be another by now.
        let name = self.allowed.name(&key);
        let name =
            name.ok_or_else(|| close(Refusal::UnknownKey, "this observer's key is not in relay.toml any more"))?;
        // Others who were shaking hands may have taken the last place meanwhile.
        let place = self.counts.place(|counts| &counts.links, self.limits.links);
        let place = place
            .ok_or_else(|| close(Refusal::Links, "the relay has no room; raise limits.observers of relay.toml"))?;
        let remote = connection.remote_address();
        let (sender, receiver) = connection.accept_bi().await.map_err(refused)?;
        Ok(Arrived { key, name, remote, link: Link::new(&End::new(connection, false), sender, receiver), place })
    }
}
