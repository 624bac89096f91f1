//! A UDP listener for sealed datagrams.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsRawFd as _, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
            recvmmsg, recvmsg, setsockopt,
            sockopt::{RcvBufForce, ReceiveTimestampns},
        },
        time::TimeSpec,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use varta_core::{SECOND, WallNs};
use varta_vlp::sealed::MAX_LEN;

use super::{filter::Filter, queue};

/// Datagrams read at once.
pub(crate) const BATCH: usize = 64;
/// While a socket is not emptied, one batch in so many is read with its control messages.
const TOLD: u32 = 4;
/// One byte more than the largest legal datagram, so that a longer one is seen to be longer.
const ROOM: usize = MAX_LEN + 1;

/// Why a listener cannot listen. Its text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot receive beats on {address}: {}", self.advice())]
pub struct ListenError {
    /// The configured address.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

impl ListenError {
    fn advice(&self) -> String {
        let (port, error) = (self.address.port(), &self.error);
        match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another socket has this port, perhaps an observer that still runs; `ss -ulpn 'sport = :{port}'` names its \
                 process; stop it, or choose another port"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "{error}; ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose a higher port than {port}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{error}; no interface of this host has this address: write one that `ip address` shows")
            }
            _ => error.to_string(),
        }
    }
}

/// A bound socket, not yet read from.
#[derive(Debug)]
pub(crate) struct BoundUdp {
    socket: UdpSocket,
    /// Where it really listens: the configured port may be 0.
    pub(crate) local: SocketAddr,
    /// The receive buffer that the kernel granted, bytes, counted as it was asked for.
    pub(crate) granted: u64,
}

impl BoundUdp {
    /// Binds `address` and asks for a receive buffer of `buffer` bytes.
    ///
    /// # Errors
    /// [`ListenError`] naming the address and the remedy.
    pub(crate) fn bind(address: SocketAddr, buffer: u32) -> Result<Self, ListenError> {
        Self::open(address, buffer, |_| ()).map_err(|error| ListenError { address, error })
    }

    /// Binds `address` with a filter in force before the first datagram can come. Says, too, whether the system took it.
    ///
    /// # Errors
    /// [`ListenError`], not for the filter.
    pub(crate) fn bind_filtered(
        address: SocketAddr,
        buffer: u32,
        filter: &Filter,
    ) -> Result<(Self, io::Result<()>), ListenError> {
        let mut attached = Ok(());
        let bound = Self::open(address, buffer, |socket| attached = filter.attach(socket));
        Ok((bound.map_err(|error| ListenError { address, error })?, attached))
    }

    fn open(address: SocketAddr, buffer: u32, prepare: impl FnOnce(&Socket)) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        let wanted = buffer as usize;
        // Above the system's limit only a privileged process gets what it asks for.
        if setsockopt(&socket, RcvBufForce, &wanted).is_err() {
            socket.set_recv_buffer_size(wanted)?;
        }
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        prepare(&socket);
        socket.bind(&address.into())?;
        // The kernel reports twice what it was asked for: its own bookkeeping is counted in.
        let granted = socket.recv_buffer_size()? as u64 / 2;
        let socket = UdpSocket::from(socket);
        // A system that does not tell is known now.
        queue::dropped(&socket)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, granted })
    }

    /// The address family.
    pub(crate) fn family(&self) -> AddressFamily {
        if self.local.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
    }
}

/// What one call of [`Udp::receive`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams, at most [`BATCH`].
    pub(crate) count: usize,
    /// Whether the socket was empty afterwards.
    pub(crate) emptied: bool,
    /// When the kernel took in the first of them; of a full batch behind a full one it may not be known.
    pub(crate) arrived: Option<WallNs>,
}

/// Room for one batch.
pub(crate) struct Buffers {
    bytes: Vec<[u8; ROOM]>,
    lens: [usize; BATCH],
    from: [SocketAddr; BATCH],
}

impl Buffers {
    pub(crate) fn new() -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { bytes: vec![[0; ROOM]; BATCH], lens: [0; BATCH], from: [nobody; BATCH] }
    }

    /// The datagrams of the newest batch and where they came from; places beyond it are older.
    pub(crate) fn datagrams(&mut self) -> impl Iterator<Item = (&mut [u8], SocketAddr)> {
        let named = self.bytes.iter_mut().zip(&self.lens).zip(&self.from);
        named.filter_map(|((bytes, len), from)| Some((bytes.get_mut(..*len)?, *from)))
    }
}

/// Headers that the kernel fills in, by the size of the addresses.
enum Headers {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

/// A listener as the ingest thread has it.
pub(crate) struct Udp {
    bound: BoundUdp,
    headers: Headers,
    control: Vec<u8>,
    /// Full batches since one was read with its control messages; 0 if the socket was empty.
    untold: u32,
    /// Whether datagrams carry their times of arrival.
    stamped: bool,
    /// What the socket did not let in, when it was last asked; it wraps.
    dropped: u32,
}

impl Udp {
    pub(crate) fn new(bound: BoundUdp) -> Self {
        let headers = match bound.family() {
            AddressFamily::Inet6 => Headers::V6(MultiHeaders::preallocate(BATCH, None)),
            _ => Headers::V4(MultiHeaders::preallocate(BATCH, None)),
        };
        let control = cmsg_space!(TimeSpec);
        Self { bound, headers, control, untold: 0, stamped: true, dropped: 0 }
    }

    /// The socket itself.
    pub(crate) const fn socket(&self) -> &UdpSocket {
        &self.bound.socket
    }

    /// The descriptor, to be polled.
    pub(crate) fn fd(&self) -> RawFd {
        self.bound.socket.as_raw_fd()
    }

    /// Reads up to [`BATCH`] datagrams without waiting and without allocating.
    ///
    /// # Errors
    /// What the system said, other than that there is nothing to read.
    pub(crate) fn receive(&mut self, buffers: &mut Buffers) -> io::Result<Received> {
        let fd = self.fd();
        let told = self.untold == 0;
        if told {
            self.stamp(true);
        }
        let control = told.then_some(&mut self.control[..]);
        let received = match &mut self.headers {
            Headers::V4(headers) => read_batch(fd, headers, control, buffers)?,
            Headers::V6(headers) => read_batch(fd, headers, control, buffers)?,
        };
        self.untold = if received.emptied { 0 } else { (self.untold + 1) % TOLD };
        if self.untold != 0 {
            self.stamp(false);
        }
        Ok(received)
    }

    /// Has datagrams carry their times of arrival or not. They are taken either way; handing them over costs a few
    /// hundredths of all reading.
    fn stamp(&mut self, stamped: bool) {
        if self.stamped != stamped && setsockopt(&self.bound.socket, ReceiveTimestampns, &stamped).is_ok() {
            self.stamped = stamped;
        }
    }

    /// Datagrams that the socket dropped or refused since this was last asked.
    pub(crate) fn dropped(&mut self) -> u64 {
        let dropped = queue::dropped(&self.bound.socket).unwrap_or(self.dropped);
        u64::from(dropped.wrapping_sub(std::mem::replace(&mut self.dropped, dropped)))
    }
}

/// Control messages are read of the first datagram, if of any: reused headers would lose them.
fn read_batch<S: SockaddrLike + Copy + Into<SocketAddr>>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    control: Option<&mut [u8]>,
    buffers: &mut Buffers,
) -> io::Result<Received> {
    let Buffers { bytes, lens, from } = buffers;
    let mut received = Received { emptied: true, ..Received::default() };
    let mut places = lens.iter_mut().zip(from.iter_mut());
    let mut keep = |len, address: Option<S>| {
        if let (Some((place, from)), Some(address)) = (places.next(), address) {
            (*place, *from) = (len, address.into());
            received.count += 1;
        }
    };
    let mut rest = bytes.iter_mut();
    let told = control.is_some();
    if let Some((control, first)) = control.and_then(|control| Some((control, rest.next()?))) {
        let mut slice = [IoSliceMut::new(first)];
        let message = match recvmsg::<S>(fd, &mut slice, Some(control), MsgFlags::empty()) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(received),
            Err(errno) => return Err(errno.into()),
        };
        keep(message.bytes, message.address);
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmTimestampns(at) = control {
                received.arrived = Some(wall(at));
            }
        }
    }
    let left = rest.len();
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(rest.next().map_or(&mut [], |bytes| &mut bytes[..]))]);
    match recvmmsg(fd, headers, slices.iter_mut().take(left), MsgFlags::empty(), None) {
        Ok(messages) => messages.for_each(|message| keep(message.bytes, message.address)),
        Err(Errno::EAGAIN) => {}
        // The first one was read; the next call meets the error again if it lasts.
        Err(_) if told => {
            received.emptied = false;
            return Ok(received);
        }
        Err(errno) => return Err(errno.into()),
    }
    received.emptied = received.count < BATCH;
    Ok(received)
}

pub(super) fn wall(at: TimeSpec) -> WallNs {
    let seconds = u64::try_from(at.tv_sec()).unwrap_or(0);
    WallNs(seconds.saturating_mul(SECOND).saturating_add(u64::try_from(at.tv_nsec()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(address: &str) -> (Udp, UdpSocket) {
        let bound = BoundUdp::bind(address.parse().unwrap(), 64 << 10).unwrap();
        let sender = UdpSocket::bind(address).unwrap();
        sender.connect(bound.local).unwrap();
        (Udp::new(bound), sender)
    }

    #[test]
    fn batches_keep_order_length_and_sender() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (mut udp, sender) = pair(address);
            let mut buffers = Buffers::new();
            assert_eq!(udp.receive(&mut buffers).unwrap(), Received { emptied: true, ..Received::default() });
            for number in 0..70_u8 {
                sender.send(&vec![number; usize::from(number) + 1]).unwrap();
            }
            let first = udp.receive(&mut buffers).unwrap();
            assert_eq!((first.count, first.emptied), (BATCH, false));
            assert!(first.arrived.is_some(), "the kernel stamps what it takes in");
            let from = sender.local_addr().unwrap();
            for (number, (bytes, sent_from)) in (0_u8..).zip(buffers.datagrams().take(first.count)) {
                assert_eq!((&*bytes, sent_from), (&*vec![number; usize::from(number) + 1], from));
            }
            let second = udp.receive(&mut buffers).unwrap();
            assert_eq!((second.count, second.emptied), (70 - BATCH, true));
            assert_eq!(buffers.datagrams().next().unwrap().0[0], 64);
        }
    }

    #[test]
    fn full_batches_tell_of_arrivals_now_and_then_and_the_first_after_a_silence_always() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let bound = BoundUdp::bind(address.parse().unwrap(), 1 << 20).unwrap();
            let sender = UdpSocket::bind(address).unwrap();
            sender.connect(bound.local).unwrap();
            let (mut udp, mut buffers) = (Udp::new(bound), Buffers::new());
            for _ in 0..2 {
                for number in 0..9 * BATCH {
                    sender.send(&(number as u64).to_le_bytes()).unwrap();
                }
                let mut told = Vec::new();
                let mut next = 0;
                loop {
                    let received = udp.receive(&mut buffers).unwrap();
                    told.push(received.arrived.is_some());
                    for (bytes, _) in buffers.datagrams().take(received.count) {
                        assert_eq!(bytes, u64::to_le_bytes(next), "in order, with or without");
                        next += 1;
                    }
                    if received.emptied {
                        break;
                    }
                }
                assert_eq!(next, 9 * BATCH as u64);
                assert_eq!(told, [true, false, false, false, true, false, false, false, true, false]);
                sender.send(b"alone").unwrap();
                assert!(udp.receive(&mut buffers).unwrap().arrived.is_some());
            }
        }
    }

    #[test]
    fn a_datagram_longer_than_any_legal_one_is_seen_to_be() {
        let (mut udp, sender) = pair("127.0.0.1:0");
        let mut buffers = Buffers::new();
        sender.send(&[0; MAX_LEN]).unwrap();
        sender.send(&[0; 9_000]).unwrap();
        assert_eq!(udp.receive(&mut buffers).unwrap().count, 2);
        let lengths: Vec<_> = buffers.datagrams().take(2).map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(lengths, [MAX_LEN, MAX_LEN + 1]);
    }

    #[test]
    fn what_the_kernel_drops_is_counted_once() {
        const SENT: usize = 2_000;
        let (mut udp, sender) = pair("127.0.0.1:0");
        let mut buffers = Buffers::new();
        let mut read = |udp: &mut Udp| {
            let mut count = 0;
            loop {
                let received = udp.receive(&mut buffers).unwrap();
                count += received.count;
                if received.emptied {
                    return count;
                }
            }
        };
        for _ in 0..SENT {
            sender.send(&[0; 124]).unwrap();
        }
        let dropped = udp.dropped();
        assert_ne!(dropped, 0, "the queue holds less than was sent");
        assert_eq!(read(&mut udp) as u64 + dropped, SENT as u64);
        sender.send(&[0; 124]).unwrap();
        assert_eq!((read(&mut udp), udp.dropped()), (1, 0));
    }
}
