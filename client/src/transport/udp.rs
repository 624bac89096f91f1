//! Base frames over UDP, without a key: SPEC, "Base frames outside a seal". They prove nothing, and whoever can send to
//! the observer can forge them.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use super::{
    bare::{Bare, NoWay, Way, sends_bare_frames},
    sealed::endpoint::open_socket,
};
use crate::{
    client::Varta,
    outcome::{BeatOutcome, DropReason},
    sources::{OsSources, Sources},
};

/// Plaintext UDP to one observer.
pub struct UdpTransport<S: Sources = OsSources>(Bare<Remote, S>);

/// An observer's address.
#[derive(Clone)]
struct Remote(SocketAddr);

impl Way for Remote {
    type Socket = UdpSocket;

    fn open(&self) -> io::Result<UdpSocket> {
        open_socket(self.0)
    }

    /// A connected socket tells of an earlier datagram's refusal in place of sending the next, so that one is sent again.
    fn send(socket: &UdpSocket, datagram: &[u8]) -> BeatOutcome {
        let first = match socket.send(datagram) {
            Ok(_) => return BeatOutcome::Sent,
            Err(error) => BeatOutcome::from_send_error(&error),
        };
        if first == BeatOutcome::Dropped(DropReason::KernelQueueFull) {
            return first;
        }
        match (socket.send(datagram), first) {
            (Ok(_), BeatOutcome::Dropped(_)) => first,
            (Ok(_), _) => BeatOutcome::Sent,
            (Err(error), _) => BeatOutcome::from_send_error(&error),
        }
    }

    /// The way there may be another by now. Where nobody listens, the same socket finds whoever comes.
    fn leads_nowhere(told: DropReason) -> bool {
        told == DropReason::PeerGone
    }
}

impl Varta<UdpTransport> {
    /// Connects to the observer that listens for plaintext beats at `address`. Nothing vouches for such beats: an
    /// observer refuses them unless its configuration says otherwise, and never restarts anything because of them. They
    /// are bare base frames, as observers of version 0.2 hear them, and so promise nothing and say no goodbye.
    ///
    /// ```no_run
    /// use varta_client::{Status, Varta};
    ///
    /// let mut varta = Varta::connect_udp(([127, 0, 0, 1], 9901).into())?;
    /// let outcome = varta.beat(Status::Ok, 0);
    /// # let _ = outcome;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The process is pid 1 of its namespace; there is no way to `address`, no clock, or no memory that is wiped on fork
    /// (Linux 4.14).
    pub fn connect_udp(address: SocketAddr) -> io::Result<Self> {
        Self::connect_udp_with(address, OsSources)
    }
}

impl<S: Sources> Varta<UdpTransport<S>> {
    /// Connects with time and pid from elsewhere, for tests.
    ///
    /// # Errors
    /// As [`connect_udp`](Varta::connect_udp).
    pub fn connect_udp_with(address: SocketAddr, sources: S) -> io::Result<Self> {
        match Bare::connect(Remote(address), sources, 0, 0) {
            Ok(bare) => Ok(Self::over(UdpTransport(bare))),
            Err(NoWay::PidOne) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this process is pid 1 of its namespace, which no base frame carries: beat with a key and a unit",
            )),
            Err(NoWay::Clock(error) | NoWay::ForkDetection(error) | NoWay::Socket(error)) => Err(error),
        }
    }

    /// The observer's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.transport.0.way.0
    }
}

sends_bare_frames!(UdpTransport);
