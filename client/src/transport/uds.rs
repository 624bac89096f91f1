//! Base frames over a local socket, without a key: SPEC, "Base frames outside a seal". The kernel tells the observer
//! whose they are.

mod builder;
mod error;

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use varta_vlp::{
    Status,
    sealed::{Body, Flags},
};

pub use builder::UdsBuilder;
pub use error::UdsConnectError;

use super::course::{Course, matters};
use crate::{
    client::{Beat, BeatKind, BeatTransport, Varta, closed},
    outcome::{BeatError, BeatFault, BeatOutcome, DropReason},
    process::Process,
    session::SenderTime,
    sources::{OsSources, Sources},
};

/// A local socket to the one observer of this host that listens on it.
pub struct UdsTransport<S: Sources = OsSources> {
    sources: S,
    process: Process,
    path: PathBuf,
    /// None where the last one led nowhere: the next beat makes another.
    socket: Option<UnixDatagram>,
    course: Course,
    /// When this process connected, nanoseconds of boottime.
    connected_ns: u64,
    reconnect_after: u32,
    misses: u32,
    fork_recoveries: u64,
}

impl Varta<UdsTransport> {
    /// Connects to the observer that listens on the local socket at `path`, without a promise. Beats need no key: the
    /// kernel vouches for the process and its pid. They are bare base frames, as observers of version 0.2 hear them.
    ///
    /// An observer knows a local sender by its pid alone, so a process is to have one such handle: of two, each would
    /// seem to repeat the other. A later handle begins anew, which the observer takes for a restart.
    ///
    /// A relative path is looked up from the program's folder as it is at each connecting.
    ///
    /// ```no_run
    /// use varta_client::{Status, Varta};
    ///
    /// let mut varta = Varta::local("/run/varta/varta.sock")?;
    /// let outcome = varta.beat(Status::Ok, 0);
    /// # let _ = outcome;
    /// # Ok::<(), varta_client::UdsConnectError>(())
    /// ```
    ///
    /// # Errors
    /// See [`UdsBuilder::connect`].
    pub fn local(path: impl AsRef<Path>) -> Result<Self, UdsConnectError> {
        Self::local_builder().socket(path).connect()
    }

    /// Begins a handle for a local socket.
    pub fn local_builder() -> UdsBuilder {
        UdsBuilder::new()
    }
}

impl<S: Sources> Varta<UdsTransport<S>> {
    /// Says goodbye: the process ends, and well if `status` is ok. A later beat takes it back. Observers of version 0.2
    /// know no goodbyes and refuse it.
    pub fn finish(&mut self, status: Status, payload: u32) -> BeatOutcome {
        self.transport.send(Beat { status, payload, kind: BeatKind::Final })
    }

    /// Announces an absence: nobody is to expect a beat for `absence`, in whole milliseconds, at least one. Observers
    /// hold it to their `max_hold`, 1 h unless they say otherwise; those of version 0.2 refuse it. The last beat's
    /// status and payload are said again.
    pub fn hold(&mut self, absence: Duration) -> BeatOutcome {
        let beat = self.transport.course.hold(absence);
        self.transport.send(beat)
    }

    /// The observer's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.transport.path
    }
}

impl<S: Sources> UdsTransport<S> {
    fn try_send(&mut self, beat: Beat) -> Result<BeatOutcome, BeatError> {
        if beat.status == Status::Stall {
            return Err(BeatError::plain(BeatFault::StallStatus, io::ErrorKind::InvalidInput));
        }
        let (pid, now) = self.look_around()?;
        if pid <= 1 {
            return Err(BeatError::plain(BeatFault::PidOne, io::ErrorKind::InvalidInput));
        }
        let body = self.course.body(beat, pid, now.boottime_ns, self.connected_ns);
        let mut outcome = self.hand_over(&body);
        if leads_nowhere(outcome) && matters(&body) {
            outcome = self.hand_over(&body);
        }
        self.course.said(&body, now.boottime_ns);
        self.count_misses(outcome);
        Ok(outcome)
    }

    /// Reads pid and clocks, and recovers if this is a forked child.
    fn look_around(&mut self) -> Result<(u32, SenderTime), BeatError> {
        let pid = self.sources.pid();
        let now = self.sources.now().map_err(|error| BeatError::of(BeatFault::Clock, &error))?;
        if self.process.is_forked(pid) {
            self.process.enter_child(pid, now.boottime_ns);
            self.connected_ns = now.boottime_ns;
            self.course.enter_child();
            self.socket = None;
            self.misses = 0;
            self.fork_recoveries += 1;
        }
        Ok((pid, now))
    }

    /// Sends one datagram, by a new socket where there is none. One that leads nowhere is given up: the observer that
    /// listens at the path by and by is another.
    fn hand_over(&mut self, body: &Body) -> BeatOutcome {
        let socket = match self.socket.take().map_or_else(|| open_socket(&self.path), Ok) {
            Ok(socket) => socket,
            Err(error) => return not_opened(&error),
        };
        let sent = if is_bare(body) { socket.send(&body.frame.encode()) } else { socket.send(&body.encode()) };
        let outcome = sent.map_or_else(|error| BeatOutcome::from_send_error(&error), |_| BeatOutcome::Sent);
        self.socket = Some(socket).filter(|_| !leads_nowhere(outcome));
        outcome
    }

    fn count_misses(&mut self, outcome: BeatOutcome) {
        if outcome == BeatOutcome::Sent {
            self.misses = 0;
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if self.reconnect_after > 0 && self.misses >= self.reconnect_after {
            self.misses = 0;
            self.socket = None;
        }
    }
}

/// Whether a base frame holds all that `body` has to say. How late a beat is that promises nothing is nobody's concern.
fn is_bare(body: &Body) -> bool {
    body.next_due_ms == 0 && body.flags == Flags::default()
}

const fn leads_nowhere(outcome: BeatOutcome) -> bool {
    matches!(outcome, BeatOutcome::Dropped(DropReason::NoObserver | DropReason::PeerGone))
}

/// What it means that no socket can be connected.
fn not_opened(error: &io::Error) -> BeatOutcome {
    match BeatOutcome::from_send_error(error) {
        BeatOutcome::Failed(_) => BeatOutcome::Failed(BeatError::of(BeatFault::NoSocket, error)),
        told => told,
    }
}

/// A new socket, connected to the one at `path`, that never blocks and that no program inherits. Sends nothing,
/// allocates nothing.
///
/// # Errors
/// The operating system's: nothing there, nobody listening, no permission, no more descriptors.
fn open_socket(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

impl<S: Sources> closed::Closed for UdsTransport<S> {}

impl<S: Sources> BeatTransport for UdsTransport<S> {
    fn send(&mut self, beat: Beat) -> BeatOutcome {
        match self.try_send(beat) {
            Ok(outcome) => outcome,
            Err(error) => BeatOutcome::Failed(error),
        }
    }

    /// The nonces go on: a new socket is no restart.
    fn reconnect(&mut self) -> io::Result<()> {
        self.look_around().map_err(BeatError::to_io_error)?;
        self.socket = Some(open_socket(&self.path)?);
        self.misses = 0;
        Ok(())
    }

    fn set_reconnect_after(&mut self, beats: u32) {
        self.reconnect_after = beats;
    }

    fn clock_regressions(&self) -> u64 {
        0
    }

    fn fork_recoveries(&self) -> u64 {
        self.fork_recoveries
    }
}
