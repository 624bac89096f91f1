//! Base frames without a seal, whatever the socket: SPEC, "Base frames outside a seal".

use std::io;

use varta_vlp::{
    Status,
    sealed::{Body, Flags},
};

use super::course::{Course, matters};
use crate::{
    client::Beat,
    outcome::{BeatError, BeatFault, BeatOutcome, DropReason},
    process::Process,
    session::SenderTime,
    sources::Sources,
};

/// The way to an observer.
pub(super) trait Way: Send {
    type Socket: Send;

    /// A new socket to the observer, that never blocks. Sends nothing, allocates nothing.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self) -> io::Result<Self::Socket>;

    /// Hands one datagram over.
    fn send(socket: &Self::Socket, datagram: &[u8]) -> BeatOutcome;

    /// Whether another socket may find an observer where this one, by what it told, does not.
    fn leads_nowhere(told: DropReason) -> bool;
}

/// What sends base frames: a process, its clocks, and a socket that is made again where it leads nowhere.
pub(super) struct Bare<W: Way, S> {
    pub(super) way: W,
    sources: S,
    process: Process,
    /// None where the last one led nowhere: the next beat makes another.
    socket: Option<W::Socket>,
    pub(super) course: Course,
    /// When this process connected, nanoseconds of boottime.
    pub(super) connected_ns: u64,
    pub(super) reconnect_after: u32,
    misses: u32,
    pub(super) fork_recoveries: u64,
}

/// Why there is no way.
pub(super) enum NoWay {
    /// Pid 1 of a PID namespace names nothing outside it, and a base frame does not carry it.
    PidOne,
    Clock(io::Error),
    ForkDetection(io::Error),
    Socket(io::Error),
}

impl<W: Way, S: Sources> Bare<W, S> {
    /// Makes a socket and connects it. Sends nothing.
    ///
    /// # Errors
    /// [`NoWay`].
    pub(super) fn connect(way: W, mut sources: S, promise_ms: u32, reconnect_after: u32) -> Result<Self, NoWay> {
        let pid = sources.pid();
        if pid <= 1 {
            return Err(NoWay::PidOne);
        }
        let now = sources.now().map_err(NoWay::Clock)?;
        let process = Process::enter(pid, now.boottime_ns).map_err(NoWay::ForkDetection)?;
        let socket = Some(way.open().map_err(NoWay::Socket)?);
        let (course, connected_ns) = (Course::new(promise_ms), now.boottime_ns);
        Ok(Self { way, sources, process, socket, course, connected_ns, reconnect_after, misses: 0, fork_recoveries: 0 })
    }

    pub(super) fn send(&mut self, beat: Beat) -> BeatOutcome {
        self.try_send(beat).unwrap_or_else(BeatOutcome::Failed)
    }

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
        if self.socket.is_none() && matters(&body) {
            outcome = self.hand_over(&body);
        }
        self.course.said(&body, now.boottime_ns);
        self.count_misses(outcome);
        Ok(outcome)
    }

    /// Reads pid and clocks, and recovers if this is a forked child.
    fn look_around(&mut self) -> Result<(u32, SenderTime), BeatError> {
        let (pid, now, is_child) = self.process.look_around(&mut self.sources)?;
        if is_child {
            self.connected_ns = now.boottime_ns;
            self.course.enter_child();
            self.socket = None;
            self.misses = 0;
            self.fork_recoveries += 1;
        }
        Ok((pid, now))
    }

    /// Sends one datagram, by a new socket where there is none. One that leads nowhere is given up: the observer that
    /// listens there by and by is another.
    fn hand_over(&mut self, body: &Body) -> BeatOutcome {
        let socket = match self.socket.take().map_or_else(|| self.way.open(), Ok) {
            Ok(socket) => socket,
            Err(error) => return not_opened(&error),
        };
        let outcome =
            if is_bare(body) { W::send(&socket, &body.frame.encode()) } else { W::send(&socket, &body.encode()) };
        let is_over = matches!(outcome, BeatOutcome::Dropped(told) if W::leads_nowhere(told));
        self.socket = Some(socket).filter(|_| !is_over);
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

    /// The nonces go on: a new socket is no restart.
    ///
    /// # Errors
    /// There is no way. The handle goes on with what it had.
    pub(super) fn reconnect(&mut self) -> io::Result<()> {
        self.look_around().map_err(BeatError::to_io_error)?;
        self.socket = Some(self.way.open()?);
        self.misses = 0;
        Ok(())
    }
}

/// Makes a transport of a type that has a [`Bare`] in it and nothing else.
macro_rules! sends_bare_frames {
    ($transport:ident) => {
        impl<S: $crate::Sources> $crate::client::closed::Closed for $transport<S> {}

        impl<S: $crate::Sources> $crate::BeatTransport for $transport<S> {
            fn send(&mut self, beat: $crate::Beat) -> $crate::BeatOutcome {
                self.0.send(beat)
            }

            fn reconnect(&mut self) -> std::io::Result<()> {
                self.0.reconnect()
            }

            fn set_reconnect_after(&mut self, beats: u32) {
                self.0.reconnect_after = beats;
            }

            fn clock_regressions(&self) -> u64 {
                0
            }

            fn fork_recoveries(&self) -> u64 {
                self.0.fork_recoveries
            }
        }

        impl<S: $crate::Sources> $crate::Varta<$transport<S>> {
            /// Has every panic of this process told, in whichever thread: a critical beat with the terminal nonce and
            /// payload 0, by a socket of its own, without allocating. The hook that was in force before is called after
            /// it. A forked child tells its own panics. Where the process survives the panic, its next beat takes the end
            /// back.
            ///
            /// To be called once: each call adds one more such beat.
            ///
            /// # Errors
            /// There is no way to the observer.
            pub fn tell_panics(&self) -> std::io::Result<()> {
                self.transport.0.tell_panics()
            }
        }
    };
}
pub(super) use sends_bare_frames;

/// Whether a base frame holds all that `body` has to say. How late a beat is that promises nothing is nobody's concern.
fn is_bare(body: &Body) -> bool {
    body.next_due_ms == 0 && body.flags == Flags::default()
}

/// What it means that no socket can be connected.
fn not_opened(error: &io::Error) -> BeatOutcome {
    match BeatOutcome::from_send_error(error) {
        BeatOutcome::Failed(_) => BeatOutcome::Failed(BeatError::of(BeatFault::NoSocket, error)),
        told => told,
    }
}
