//! The handle.

use std::{cell::Cell, io, marker::PhantomData};

use varta_vlp::Status;

use crate::{outcome::BeatOutcome, transport::uds::UdsTransport};

/// What a handle is asked to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub(crate) status: Status,
    pub(crate) payload: u32,
    pub(crate) kind: BeatKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeatKind {
    /// Life.
    Life,
    /// Goodbye.
    Final,
    /// The end, and a bad one.
    Terminal,
    /// Life, and an absence of so many milliseconds.
    Hold(u32),
}

/// The way by which beats travel. Implemented in this crate only.
pub trait BeatTransport: Send + closed::Closed {
    #[doc(hidden)]
    fn send(&mut self, beat: Beat) -> BeatOutcome;
    #[doc(hidden)]
    fn reconnect(&mut self) -> io::Result<()>;
    #[doc(hidden)]
    fn set_reconnect_after(&mut self, beats: u32);
    #[doc(hidden)]
    fn clock_regressions(&self) -> u64;
    #[doc(hidden)]
    fn fork_recoveries(&self) -> u64;
}

pub(crate) mod closed {
    /// Keeps [`super::BeatTransport`] to this crate, so that it may grow.
    pub trait Closed {}
}

/// An agent's handle. Connecting may block and allocate; nothing after it does, but for
/// [`reconnect`](Self::reconnect).
///
/// A handle may be moved to another thread, not shared between two. A forked child that inherited one may go on using
/// it: the handle notices.
///
/// Dropping it says nothing: to the observer a handle that was dropped is a process that has gone silent, and that is
/// the truth unless the program says goodbye itself.
///
/// ```no_run
/// use std::time::Duration;
/// use varta_client::{Status, Varta};
///
/// let mut varta = Varta::builder()
///     .key_file("/etc/varta/agent.key")
///     .unit("api")
///     .every(Duration::from_secs(1))
///     .connect()?;
/// let outcome = varta.beat(Status::Ok, 0);
/// # let _ = outcome;
/// # Ok::<(), varta_client::ConnectError>(())
/// ```
///
/// ```compile_fail
/// fn share_between_threads<T: Sync>() {}
/// share_between_threads::<varta_client::Varta<varta_client::SealedTransport>>();
/// ```
///
/// ```
/// fn move_to_another_thread<T: Send>() {}
/// move_to_another_thread::<varta_client::Varta<varta_client::SealedTransport>>();
/// ```
pub struct Varta<T: BeatTransport = UdsTransport> {
    pub(crate) transport: T,
    /// A handle is `Send` and not `Sync`: two beats at once would have no order.
    not_sync: PhantomData<Cell<()>>,
}

impl<T: BeatTransport> Varta<T> {
    pub(crate) const fn over(transport: T) -> Self {
        Self { transport, not_sync: PhantomData }
    }

    /// Says that the process is alive, how it is, and `payload`, which is the program's own affair.
    ///
    /// Never blocks and never allocates. With several audiences the outcome is the worst of theirs.
    pub fn beat(&mut self, status: Status, payload: u32) -> BeatOutcome {
        self.transport.send(Beat { status, payload, kind: BeatKind::Life })
    }

    /// Says that the process ends badly: a critical beat with the terminal nonce, three times if sealed. A later beat
    /// takes it back.
    ///
    /// By convention `payload` is an exit status from 1 to 255, or 256 and the number of a signal, or 0 for a panic.
    pub fn terminal(&mut self, payload: u32) -> BeatOutcome {
        self.transport.send(Beat { status: Status::Critical, payload, kind: BeatKind::Terminal })
    }

    /// Connects anew: names are resolved, sockets made, and a new session continues the old. May block and allocate. To
    /// observers it is no restart.
    ///
    /// # Errors
    /// No observer can be connected to. The handle goes on with what it had.
    pub fn reconnect(&mut self) -> io::Result<()> {
        self.transport.reconnect()
    }

    /// After so many beats in a row that were not sent to an observer, the next connects to it anew by itself: a new
    /// socket and a new session, without blocking, to the address last resolved. 0, as at first: never. A handle for a
    /// local socket that finds no observer connects anew with the next beat in any case.
    pub fn set_reconnect_after(&mut self, beats: u32) {
        self.transport.set_reconnect_after(beats);
    }

    /// How often a session of this handle had to begin before the one it followed, because the wall clock was set back
    /// by more than 10 s.
    #[must_use]
    pub fn clock_regressions(&self) -> u64 {
        self.transport.clock_regressions()
    }

    /// How often this handle found itself in a forked child.
    #[must_use]
    pub fn fork_recoveries(&self) -> u64 {
        self.transport.fork_recoveries()
    }
}

impl<T: BeatTransport> std::fmt::Debug for Varta<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Varta").finish_non_exhaustive()
    }
}
