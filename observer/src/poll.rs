//! An observer without threads and without the daemon: whoever polls it turns its loop.

mod open;

use std::{path::Path, time::Duration};

use varta_config::{Listen, ObserverConfig};
use varta_core::Subject;
use varta_vlp::time::nanos;

use crate::{
    ingest::Polled,
    run::{self, Addresses, RunError, RunOptions, Running},
    tap::Event,
};

/// How long a poll waits at most, unless [`Observer::set_read_timeout`] says otherwise.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// An observer in this process.
///
/// [`Self::start`] runs all of it, HTTP, event file and recovery included, on threads of its own. One that is made by
/// [`Self::bind`] or [`Self::from_config`] has no thread: each [`Self::poll`] reads its sockets, judges, and hands out what
/// happened, one event at a time. It stays on the thread that made it.
///
/// Poll at least twice a second, and take the events as they come: an observer that nobody polls does not see, and what it
/// missed is unknown rather than stalled. While events wait nothing more is read, and senders on a local socket are turned
/// away once its queue, of ten datagrams unless the system says otherwise, is full.
///
/// ```
/// use std::time::Duration;
///
/// use varta_watch::{Event, Observer, Status};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("varta.sock");
/// let mut observer = Observer::bind(&path, Duration::from_secs(2))?;
///
/// # let agent = std::os::unix::net::UnixDatagram::unbound()?;
/// # let (pid, timestamp) = (std::process::id(), 1);
/// # agent.send_to(&varta_vlp::Frame { status: Status::Ok, pid, timestamp, nonce: 1, payload: 17 }.encode(), &path)?;
/// loop {
///     match observer.poll() {
///         Some(Event::Beat { pid, status, .. }) => {
///             assert_eq!((pid, status), (std::process::id(), Status::Ok));
///             break;
///         }
///         Some(Event::Stall { pid, last_ns, .. }) => eprintln!("{pid} is silent since {last_ns}"),
///         Some(_) | None => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Observer {
    polled: Polled,
    addresses: Addresses,
    /// Nanoseconds.
    read_timeout: u64,
}

impl Observer {
    /// Starts an observer on threads of its own. It takes no signals and tells no service manager. Where `[watchdog] self` is
    /// set, it ends the whole process when it hangs.
    ///
    /// # Errors
    /// [`RunError`] of whatever cannot be opened.
    pub fn start(config: ObserverConfig, options: RunOptions) -> Result<Running, RunError> {
        run::start(config, options)
    }

    /// An observer to be polled, of the processes that beat at the local socket `path`. Its file, which only this user may
    /// write to, goes with the observer. `threshold` is the silence allowed to a process that promises nothing, 10 ms to
    /// 1 d. Nothing is kept over a restart.
    ///
    /// # Errors
    /// [`RunError::Configuration`] of a path or threshold out of range; [`RunError::Failed`] if the socket cannot be made,
    /// such as when another observer listens there. A file left behind by one that is gone is replaced.
    pub fn bind(path: impl AsRef<Path>, threshold: Duration) -> Result<Self, RunError> {
        let mut config = ObserverConfig { listen: vec![Listen::socket(path.as_ref())], ..ObserverConfig::default() };
        config.stall.threshold = threshold;
        Self::from_config(&config)
    }

    /// An observer to be polled, with all listeners, keys, roster and state of `config`. HTTP, metrics, the event file,
    /// watchdogs and the log are the daemon's, and what is said of them is not looked at.
    ///
    /// # Errors
    /// [`RunError::Configuration`] of what is wrong in `config`, and of rules of recovery, which nobody would follow;
    /// [`RunError::Failed`] of what cannot be opened.
    pub fn from_config(config: &ObserverConfig) -> Result<Self, RunError> {
        let (parts, addresses) = open::open(config)?;
        let polled = Polled::new(parts).map_err(RunError::system("make a poller"))?;
        Ok(Self { polled, addresses, read_timeout: nanos(READ_TIMEOUT) })
    }

    /// How long a poll waits at most; 100 ms at first. Zero never waits.
    pub fn set_read_timeout(&mut self, timeout: Duration) {
        self.read_timeout = nanos(timeout);
    }

    /// Where it really listens: configured ports may be 0. It serves no HTTP.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The next event. Waits for one no longer than the read timeout; `None` if there was none, which may be told earlier.
    ///
    /// Events are in the order in which they were read, from listener to listener; what changed by them comes after all of
    /// one reading.
    pub fn poll(&mut self) -> Option<Event> {
        self.poll_with_subject().map(|(event, _)| event)
    }

    /// The next event, as [`Self::poll`] has it, and whom it is about: sealed agents are known by more than a pid. `None`
    /// of what is about no slot.
    pub fn poll_with_subject(&mut self) -> Option<(Event, Option<Subject>)> {
        if let Some(told) = self.polled.pop() {
            return Some(told);
        }
        self.polled.turn();
        if let Some(told) = self.polled.pop() {
            return Some(told);
        }
        // Only by a look at the poller is known what is to be read, be it for no time at all.
        self.polled.wait(self.read_timeout);
        self.polled.turn();
        self.polled.pop()
    }

    /// The next event that is known already, without a look at the sockets.
    pub fn poll_pending(&mut self) -> Option<Event> {
        self.polled.pop().map(|(event, _)| event)
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
