//! The sockets that a flood leaves by.

use std::{
    io::IoSlice,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
};

/// Descriptors that are not a flood's own sockets.
const SPARE: u64 = 64;

/// Sockets that take turns, each on a source port of its own.
pub(super) struct Way {
    sockets: Vec<UdpSocket>,
    next: usize,
    refused: u64,
}

impl Way {
    pub(super) fn open(to: SocketAddr, ports: usize) -> anyhow::Result<Self> {
        let wanted = ports as u64 + SPARE;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))
                .with_context(|| format!("{wanted} descriptors are needed"))?;
        }
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let open = || {
            let socket = UdpSocket::bind(any).context("no socket to be had")?;
            socket.connect(to).with_context(|| format!("no way to {to}"))?;
            anyhow::Ok(socket)
        };
        Ok(Self { sockets: (0..ports).map(|_| open()).collect::<Result<_, _>>()?, next: 0, refused: 0 })
    }

    /// Datagrams that the kernel did not take, or that nobody was there to receive.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Hands over a burst in one call: datagrams of `segment` bytes one behind the other.
    pub(super) fn send(&mut self, bytes: &[u8], segment: usize) -> anyhow::Result<()> {
        let size = u16::try_from(segment)?;
        let segments = [ControlMessage::UdpGsoSegments(&size)];
        let control: &[ControlMessage<'_>] = if bytes.len() > segment { &segments } else { &[] };
        let socket = &self.sockets[self.next];
        self.next = (self.next + 1) % self.sockets.len();
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::empty(), None) {
            Ok(_) => Ok(()),
            Err(Errno::ECONNREFUSED | Errno::ENOBUFS | Errno::EAGAIN) => {
                self.refused += bytes.len().div_ceil(segment) as u64;
                Ok(())
            }
            Err(error) => Err(error).context("the kernel does not send"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn bursts_arrive_as_datagrams_from_ports_in_turn() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut way = Way::open(receiver.local_addr().unwrap(), 3).unwrap();
        let mut ports = BTreeSet::new();
        for _ in 0..3 {
            way.send(&[7; 30], 10).unwrap();
            for _ in 0..3 {
                let mut bytes = [0; 100];
                let (len, from) = receiver.recv_from(&mut bytes).unwrap();
                assert_eq!(bytes[..len], [7; 10]);
                ports.insert(from.port());
            }
        }
        assert_eq!(ports.len(), 3);
        way.send(&[7; 5], 10).unwrap();
        assert_eq!(receiver.recv_from(&mut [0; 100]).unwrap().0, 5);
        assert_eq!(way.refused(), 0);
    }
}
