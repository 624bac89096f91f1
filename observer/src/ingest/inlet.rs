//! A listener as the loop has it, and what is known of its queue.

use std::{io, net::SocketAddr, os::fd::RawFd, path::Path};

use nix::sys::socket::AddressFamily;
use varta_core::MonoNs;

use super::unread::Filtering;
use crate::listen::{
    filter::Filter,
    udp::{BoundUdp, Buffers, Received, Udp},
    uds::{BoundLocal, LocalBuffers, Uds},
};

/// What is heard on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sealed datagrams; `attested` where the operator declared it eligible for recovery.
    Sealed { attested: bool },
    /// Base frames from anybody.
    Plain,
    /// Base frames of local processes.
    Local,
}

/// A socket that is bound and not yet read from.
#[derive(Debug)]
pub(crate) enum Bound {
    Udp(BoundUdp),
    Local(BoundLocal),
}

impl Bound {
    /// The address family whose system-wide counters count its drops, if any do.
    pub(super) fn family(&self) -> Option<AddressFamily> {
        match self {
            Self::Udp(bound) => Some(bound.family()),
            Self::Local(_) => None,
        }
    }

    /// Where it really listens, of one on a network.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Udp(bound) => Some(bound.local),
            Self::Local(_) => None,
        }
    }

    /// The path of a local one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Udp(_) => None,
            Self::Local(bound) => Some(bound.path()),
        }
    }

    /// Bytes that its queue holds; 0 of a local one, which holds a few datagrams.
    pub(super) const fn queue(&self) -> u64 {
        match self {
            Self::Udp(bound) => bound.granted,
            Self::Local(_) => 0,
        }
    }
}

enum Socket {
    Udp(Box<Udp>),
    Local(Uds),
}

/// A listener, and what is known of its queue.
pub(super) struct Inlet {
    socket: Socket,
    pub(super) kind: Kind,
    /// Whether it may hold datagrams.
    pub(super) readable: bool,
    /// Whether it was empty when the loop went to sleep.
    pub(super) emptied: bool,
    /// Everything that arrived before this was read.
    pub(super) seen: MonoNs,
    /// What its socket did not let in between the two newest countings.
    pub(super) rise: u64,
    /// Datagrams that the kernel dropped, in all.
    pub(super) dropped: u64,
    /// The receive buffer that was granted, bytes; 0 where there is none to be asked for.
    pub(super) granted: u64,
    pub(super) filtering: Filtering,
    failing: Option<io::ErrorKind>,
}

impl Inlet {
    pub(super) fn new(bound: Bound, kind: Kind, filtering: Filtering) -> Self {
        let (socket, granted) = match bound {
            Bound::Udp(bound) => {
                let granted = bound.granted;
                (Socket::Udp(Box::new(Udp::new(bound))), granted)
            }
            Bound::Local(bound) => (Socket::Local(Uds::new(bound)), 0),
        };
        let (seen, failing) = (MonoNs(0), None);
        let (readable, emptied, rise, dropped) = (true, false, 0, 0);
        Self { socket, kind, readable, emptied, seen, rise, dropped, granted, filtering, failing }
    }

    pub(super) fn fd(&self) -> RawFd {
        match &self.socket {
            Socket::Udp(udp) => udp.fd(),
            Socket::Local(uds) => uds.fd(),
        }
    }

    /// Has the kernel refuse what `filter` refuses.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn attach(&mut self, filter: &Filter) -> io::Result<()> {
        let attached = match &self.socket {
            Socket::Udp(udp) => filter.attach(udp.socket()),
            Socket::Local(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        self.filtering.note(attached.is_ok());
        attached
    }

    /// Has the kernel refuse nothing any more.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn detach(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Udp(udp) => Filter::detach(udp.socket()),
            Socket::Local(_) => Ok(()),
        }
    }

    /// Datagrams that the socket dropped or refused since this was last asked. A local one has its senders wait.
    pub(super) fn newly_dropped(&mut self) -> u64 {
        match &mut self.socket {
            Socket::Udp(udp) => udp.dropped(),
            Socket::Local(_) => 0,
        }
    }

    pub(super) fn wake(&mut self) {
        self.readable = true;
    }

    /// Takes what is there out of a queue that holds few. What goes wrong is met again when it is read.
    pub(super) fn take_out(&mut self) {
        if let Socket::Local(uds) = &mut self.socket {
            let _ = uds.take_out();
        }
    }

    /// Whether something was taken out and not read. The poller tells nothing of it: the queue may be empty.
    pub(super) fn has_taken_out(&self) -> bool {
        match &self.socket {
            Socket::Udp(_) => false,
            Socket::Local(uds) => uds.has_taken_out(),
        }
    }

    /// Reads a batch into the room of its kind. An error is read past: the next datagram wakes the loop again. It is handed
    /// to `tell`, once.
    pub(super) fn receive(
        &mut self,
        (buffers, local): (&mut Buffers, &mut LocalBuffers),
        tell: impl FnOnce(&io::Error),
    ) -> Received {
        let received = match &mut self.socket {
            Socket::Udp(udp) => udp.receive(buffers),
            Socket::Local(uds) => uds.receive(local),
        };
        match received {
            Ok(received) => {
                self.failing = None;
                received
            }
            Err(error) => {
                if self.failing.replace(error.kind()) != Some(error.kind()) {
                    tell(&error);
                }
                Received { emptied: true, ..Received::default() }
            }
        }
    }
}
