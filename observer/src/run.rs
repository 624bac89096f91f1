//! Running an observer: opening everything in an order in which each failure is told before anything has changed, then its
//! threads until the stop.

mod bind;
mod error;
mod known;
mod open;
mod recover;
mod serve;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, thread::JoinHandle, time::Duration};

use tokio::sync::{mpsc, oneshot};
use varta_config::ObserverConfig;

pub use self::error::{Failure, Misconfiguration, RunError};
pub(crate) use self::{bind::bind, known::Known};
use self::{open::Opened, serve::Order};
pub use crate::poll::Observer;
use crate::{command::Handle, logging::LogControl, reload::ReloadError};

/// Is told where an observer listens.
pub type OnReady = Box<dyn FnOnce(&Addresses) + Send>;

/// What an observer is told beside its configuration.
#[derive(Default)]
pub struct RunOptions {
    /// Where the configuration came from: a reload reads it again. Without it a reload reads key file and roster only.
    pub config_file: Option<PathBuf>,
    /// The running log, so that a reload can change its level.
    pub log: Option<LogControl>,
    /// Within what time the service manager wants to be told that the ingest loop turns (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
    /// Stop cleanly after this time.
    pub shutdown_after: Option<Duration>,
    /// What programs of recovery may be given of the environment, as far as their rules name it.
    pub environment: BTreeMap<String, String>,
    /// Called once everything is open and the observer observes.
    pub on_ready: Option<OnReady>,
}

/// Where an observer really listens: configured ports may be 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Sealed UDP, in the order of the configuration.
    pub sealed: Vec<SocketAddr>,
    /// Plaintext UDP, likewise.
    pub plaintext: Vec<SocketAddr>,
    /// Local sockets, likewise.
    pub sockets: Vec<PathBuf>,
    /// HTTP, where it is served.
    pub http: Option<SocketAddr>,
}

/// Runs an observer on this thread until SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
/// [`RunError`], with text for the operator.
pub fn run(config: ObserverConfig, options: RunOptions) -> Result<(), RunError> {
    let opened = Opened::open(config, options)?;
    let (_orders, receiver) = mpsc::channel(ORDERS);
    opened.serve(receiver, true)
}

/// Most orders waiting.
const ORDERS: usize = 4;

impl Observer {
    /// Starts an observer on threads of its own. It takes no signals and tells no service manager. Where `[watchdog] self` is
    /// set, it ends the whole process when it hangs.
    ///
    /// # Errors
    /// [`RunError`] of whatever cannot be opened.
    pub fn start(config: ObserverConfig, options: RunOptions) -> Result<Running, RunError> {
        let opened = Opened::open(config, options)?;
        let (addresses, handle) = (opened.addresses().clone(), opened.handle().clone());
        let (orders, receiver) = mpsc::channel(ORDERS);
        let thread = std::thread::Builder::new()
            .name("varta-observer".to_owned())
            .spawn(move || opened.serve(receiver, false))
            .map_err(RunError::system("start a thread"))?;
        Ok(Running { addresses, handle, stop: StopHandle { orders }, thread })
    }
}

/// An observer that runs in this process. Dropping it stops the observer and does not wait for that.
pub struct Running {
    addresses: Addresses,
    handle: Handle,
    stop: StopHandle,
    thread: JoinHandle<Result<(), RunError>>,
}

/// Stops an observer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StopHandle {
    orders: mpsc::Sender<Order>,
}

impl StopHandle {
    /// Begins a clean stop; [`Running::join`] waits for its end.
    pub fn stop(&self) {
        // An observer that has ended needs no order; one with a full queue is stopping, or will find its queue closed.
        let _ = self.orders.try_send(Order::Stop);
    }
}

impl Running {
    /// Where it listens for sealed datagrams, in the order of the configuration.
    #[must_use]
    pub fn sealed_addrs(&self) -> &[SocketAddr] {
        &self.addresses.sealed
    }

    /// Where it listens for plaintext, in the order of the configuration.
    #[must_use]
    pub fn plaintext_addrs(&self) -> &[SocketAddr] {
        &self.addresses.plaintext
    }

    /// Where it serves HTTP.
    #[must_use]
    pub const fn http_addr(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// The asking side of its ingest thread.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What stops it from another thread.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Begins a clean stop; [`Self::join`] waits for its end.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Does what SIGHUP does, and waits until it is in force.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), ReloadError> {
        let (reply, answer) = oneshot::channel();
        let gone = crate::command::Unanswered::Gone;
        self.stop.orders.blocking_send(Order::Reload(reply)).map_err(|_| gone)?;
        answer.blocking_recv().map_err(|_| gone)?
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`RunError::Failed`] if it did not end well.
    pub fn join(self) -> Result<(), RunError> {
        let Self { stop: _until_then, thread, .. } = self;
        thread.join().unwrap_or_else(|panic| Err(Failure::Panicked(serve::text_of(&*panic)).into()))
    }
}
