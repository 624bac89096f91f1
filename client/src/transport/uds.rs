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

use varta_vlp::Status;

pub use builder::UdsBuilder;
pub use error::UdsConnectError;

use super::bare::{Bare, Way, sends_bare_frames};
use crate::{
    client::{Beat, BeatKind, Varta},
    outcome::{BeatOutcome, DropReason},
    sources::{OsSources, Sources},
};

/// A local socket to the one observer of this host that listens on it.
pub struct UdsTransport<S: Sources = OsSources>(Bare<Local, S>);

/// The path of an observer's socket.
#[derive(Clone)]
struct Local(PathBuf);

impl Way for Local {
    type Socket = UnixDatagram;

    fn open(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.0)?;
        Ok(socket)
    }

    fn send(socket: &UnixDatagram, datagram: &[u8]) -> BeatOutcome {
        socket.send(datagram).map_or_else(|error| BeatOutcome::from_send_error(&error), |_| BeatOutcome::Sent)
    }

    fn leads_nowhere(told: DropReason) -> bool {
        matches!(told, DropReason::NoObserver | DropReason::PeerGone)
    }
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

    /// The same as [`local`](Self::local), as version 0.2 of this crate has it.
    ///
    /// # Errors
    /// That of [`UdsBuilder::connect`], which lies in the error.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::local(path).map_err(Into::into)
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
        self.transport.0.send(Beat { status, payload, kind: BeatKind::Final })
    }

    /// Announces an absence: nobody is to expect a beat for `absence`, in whole milliseconds, at least one. Observers
    /// hold it to their `max_hold`, 1 h unless they say otherwise; those of version 0.2 refuse it. The last beat's
    /// status and payload are said again.
    pub fn hold(&mut self, absence: Duration) -> BeatOutcome {
        let beat = self.transport.0.course.hold(absence);
        self.transport.0.send(beat)
    }

    /// The observer's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.transport.0.way.0
    }
}

sends_bare_frames!(UdsTransport);
