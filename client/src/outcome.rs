//! What became of a beat.

use std::{fmt, io};

/// What became of a beat. Copied freely; never allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a beat may have been dropped"]
pub enum BeatOutcome {
    /// The kernel took it. Whether the observer did, a datagram cannot tell.
    Sent,
    /// It did not get through, and nothing is wrong with this process: the next may.
    Dropped(DropReason),
    /// It could not be made or sent.
    Failed(BeatError),
}

impl BeatOutcome {
    /// The worse of the two: Failed, then Dropped, then Sent; of two alike the first.
    pub fn worst(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Sent => 0,
            Self::Dropped(_) => 1,
            Self::Failed(_) => 2,
        }
    }

    /// What an error of `send` means. Queue full: the socket's buffer has no room. No observer: nothing listens there.
    /// Peer gone: the connection, the host or the way to it is gone. Storage full: no space on the device.
    pub fn from_send_error(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        // ErrorKind has no name for this one.
        let no_buffers = error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32);
        match error.kind() {
            _ if no_buffers => Self::Dropped(DropReason::KernelQueueFull),
            Kind::WouldBlock => Self::Dropped(DropReason::KernelQueueFull),
            Kind::NotFound | Kind::ConnectionRefused => Self::Dropped(DropReason::NoObserver),
            Kind::ConnectionReset
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown => Self::Dropped(DropReason::PeerGone),
            Kind::StorageFull => Self::Dropped(DropReason::StorageFull),
            _ => Self::Failed(BeatError::from_io(error)),
        }
    }
}

impl fmt::Display for BeatOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent => f.write_str("sent"),
            Self::Dropped(reason) => write!(f, "dropped: {reason}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Why a beat was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The kernel's queue had no room for it.
    KernelQueueFull,
    /// Nothing listens at the observer's address.
    NoObserver,
    /// The observer's host, or the way to it, is gone.
    PeerGone,
    /// No space on the device that holds the socket.
    StorageFull,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KernelQueueFull => "the kernel's queue is full",
            Self::NoObserver => "no observer listens there",
            Self::PeerGone => "the observer's host, or the way to it, is gone",
            Self::StorageFull => "no space on the device",
        })
    }
}

/// What kept a beat from being made or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BeatFault {
    /// The operating system refused to send it.
    Send,
    /// The operating system has no randomness, and this process has none to go on from.
    Entropy,
    /// A clock cannot be read.
    Clock,
    /// There is no socket yet: the observer's name does not resolve, or there is no way to it.
    NoSocket,
    /// Status stall, which only observers give.
    StallStatus,
    /// The process is pid 1 of its namespace and has not named its unit.
    UnitRequired,
    /// Another handle of this process beats for the same agent, audience and unit.
    UnitTaken,
    /// The process is pid 1 of its namespace, which no base frame carries.
    PidOne,
}

/// Why a beat failed. Copied freely; never allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BeatError {
    /// The operating system's number, or [`BeatError::UNKNOWN_ERRNO`].
    pub errno: i32,
    /// The same, as the standard library sees it.
    pub kind: io::ErrorKind,
    /// What could not be done.
    pub fault: BeatFault,
}

impl BeatError {
    /// The number where the operating system gave none.
    pub const UNKNOWN_ERRNO: i32 = 0;

    /// A failure to send.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        Self::of(BeatFault::Send, error)
    }

    pub(crate) fn of(fault: BeatFault, error: &io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(Self::UNKNOWN_ERRNO), kind: error.kind(), fault }
    }

    pub(crate) const fn plain(fault: BeatFault, kind: io::ErrorKind) -> Self {
        Self { errno: Self::UNKNOWN_ERRNO, kind, fault }
    }

    /// The operating system's error, or one of the same kind.
    #[must_use]
    pub fn to_io_error(self) -> io::Error {
        if self.errno == Self::UNKNOWN_ERRNO { self.kind.into() } else { io::Error::from_raw_os_error(self.errno) }
    }
}

impl fmt::Display for BeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.to_io_error();
        match self.fault {
            BeatFault::Send => write!(f, "cannot send: {cause}"),
            BeatFault::Entropy => write!(f, "the operating system gives no randomness: {cause}"),
            BeatFault::Clock => write!(f, "cannot read the clock: {cause}"),
            BeatFault::NoSocket => write!(f, "no way to the observer yet: {cause}"),
            BeatFault::StallStatus => f.write_str("status stall is given by observers only"),
            BeatFault::UnitRequired => f.write_str("pid 1 of a namespace must name its unit"),
            BeatFault::UnitTaken => {
                f.write_str("another handle of this process beats for the same agent, audience and unit")
            }
            BeatFault::PidOne => f.write_str("pid 1 of a namespace cannot beat without a key and a unit"),
        }
    }
}

impl std::error::Error for BeatError {}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn the_worst_outcome_wins() {
        let dropped = BeatOutcome::Dropped(DropReason::NoObserver);
        let failed = BeatOutcome::Failed(BeatError::plain(BeatFault::UnitTaken, io::ErrorKind::AddrInUse));
        assert_eq!(BeatOutcome::Sent.worst(dropped), dropped);
        assert_eq!(dropped.worst(BeatOutcome::Sent), dropped);
        assert_eq!(dropped.worst(failed), failed);
        assert_eq!(failed.worst(dropped), failed);
    }

    #[test]
    fn errors_of_send_have_their_meaning() {
        let reasons = [
            (Errno::EAGAIN, DropReason::KernelQueueFull),
            (Errno::ENOBUFS, DropReason::KernelQueueFull),
            (Errno::ENOENT, DropReason::NoObserver),
            (Errno::ECONNREFUSED, DropReason::NoObserver),
            (Errno::ECONNRESET, DropReason::PeerGone),
            (Errno::ENOTCONN, DropReason::PeerGone),
            (Errno::EPIPE, DropReason::PeerGone),
            (Errno::EHOSTUNREACH, DropReason::PeerGone),
            (Errno::ENETUNREACH, DropReason::PeerGone),
            (Errno::ENETDOWN, DropReason::PeerGone),
            (Errno::ENOSPC, DropReason::StorageFull),
        ];
        for (errno, reason) in reasons {
            assert_eq!(BeatOutcome::from_send_error(&errno.into()), BeatOutcome::Dropped(reason), "{errno}");
        }
        let BeatOutcome::Failed(error) = BeatOutcome::from_send_error(&Errno::EPERM.into()) else {
            panic!("a firewall's refusal is no drop");
        };
        assert_eq!(error.errno, Errno::EPERM as i32);
        assert_eq!(error.fault, BeatFault::Send);
        assert_eq!(error.to_io_error().raw_os_error(), Some(Errno::EPERM as i32));
    }
}
