//! A local socket: datagrams whose sender the kernel names.

use std::{
    collections::VecDeque,
    fs, io,
    io::IoSliceMut,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixDatagram,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt,
            sockopt::{PassCred, ReceiveTimestampns},
        },
        stat::{Mode, fchmod},
        time::TimeSpec,
    },
};
use socket2::{Domain, SockAddr, Socket, Type};
use varta_core::WallNs;
use varta_vlp::sealed::BODY_LEN;

use super::udp::{BATCH, Received, wall};

/// One byte more than the longest legal datagram, so that a longer one is seen to be longer.
const ROOM: usize = BODY_LEN + 1;
/// Datagrams taken out of the kernel's queue ahead of their being judged; half a megabyte of them.
const AHEAD: usize = 4096;

/// Why a local socket cannot be listened on. Its text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot receive beats on {}: {}", path.display(), self.advice())]
pub struct LocalError {
    /// The configured path.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl LocalError {
    fn advice(&self) -> String {
        let error = &self.error;
        match error.kind() {
            io::ErrorKind::AddrInUse => "another observer listens there; stop it, or choose another path".to_owned(),
            io::ErrorKind::AlreadyExists => {
                "there is a file that is no socket, and it is left alone; move it away, or choose another path"
                    .to_owned()
            }
            io::ErrorKind::NotFound => format!("{error}; make the directory, and let this process write to it"),
            io::ErrorKind::PermissionDenied => format!("{error}; this process must be able to write to the directory"),
            _ => error.to_string(),
        }
    }
}

/// A bound socket, not yet read from. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct BoundLocal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Device and inode of its file.
    file: (u64, u64),
}

impl BoundLocal {
    /// Binds `path`, whose file gets `mode`. A file left behind by an observer that is gone is replaced.
    ///
    /// # Errors
    /// [`LocalError`] naming the path and the remedy.
    pub(crate) fn bind(path: &Path, mode: u32) -> Result<Self, LocalError> {
        Self::open(path, mode).map_err(|error| LocalError { path: path.to_owned(), error })
    }

    fn open(path: &Path, mode: u32) -> io::Result<Self> {
        let socket = match bind_private(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bind_private(path)?
            }
            other => other?,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        let found = fs::symlink_metadata(path)?;
        Ok(Self { socket, path: path.to_owned(), file: (found.dev(), found.ino()) })
    }

    /// How many datagrams the kernel holds for a socket made now, where it says.
    pub(crate) fn queue() -> Option<u32> {
        fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").ok()?.trim().parse().ok()
    }

    /// The socket.
    pub(crate) const fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BoundLocal {
    fn drop(&mut self) {
        // Another observer may have bound the path meanwhile.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if ours {
            // What cannot be removed is stale, and replaced by the next observer.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds with a file that nobody else can use until its mode is set: it begins with the mode of the socket itself. From the
/// first datagram on the kernel says who sent it.
fn bind_private(path: &Path) -> io::Result<UnixDatagram> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, PassCred, &true)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Removes the file of a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // It is alive, or may be.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Who sent a datagram, as the kernel says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// 0 where our PID namespace does not show the process.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// What came with a datagram besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    len: usize,
    /// `None` where the kernel did not say.
    pub(crate) peer: Option<Peer>,
    /// Whether there was more than that, which the kernel did not hand over.
    pub(crate) more: bool,
    /// When the kernel took it in.
    pub(crate) arrived: Option<WallNs>,
}

/// Room for one batch.
pub(crate) struct LocalBuffers {
    bytes: Box<[[u8; ROOM]; BATCH]>,
    envelopes: [Envelope; BATCH],
}

impl LocalBuffers {
    pub(crate) fn new() -> Self {
        Self { bytes: Box::new([[0; ROOM]; BATCH]), envelopes: [Envelope::default(); BATCH] }
    }

    /// A datagram of the newest batch.
    pub(crate) fn get(&self, number: usize) -> (&[u8], Envelope) {
        let envelope = self.envelopes[number];
        (&self.bytes[number][..envelope.len], envelope)
    }
}

/// A local socket as the ingest thread has it.
///
/// The kernel holds few datagrams for it, ten where nobody says otherwise, and turns further senders away. So what is there
/// is taken out at once, and judged afterwards.
pub(crate) struct Uds {
    bound: BoundLocal,
    /// Taken out and not judged yet, oldest first.
    ahead: VecDeque<([u8; ROOM], Envelope)>,
    /// For a time and credentials, and nothing else: descriptors find no room, so that none is ever ours to close.
    control: Vec<u8>,
}

impl Uds {
    pub(crate) fn new(bound: BoundLocal) -> Self {
        Self { bound, ahead: VecDeque::new(), control: cmsg_space!(TimeSpec, UnixCredentials) }
    }

    /// The descriptor, to be polled.
    pub(crate) fn fd(&self) -> RawFd {
        self.bound.socket.as_raw_fd()
    }

    /// Takes out what is there, without waiting. Returns whether nothing was left.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn take_out(&mut self) -> io::Result<bool> {
        let mut bytes = [0; ROOM];
        while self.ahead.len() < AHEAD {
            match receive_one(self.bound.socket.as_raw_fd(), &mut bytes, &mut self.control) {
                Ok(envelope) => self.ahead.push_back((bytes, envelope)),
                Err(Errno::EAGAIN) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }

    /// Whether something was taken out and not handed out.
    pub(crate) fn has_taken_out(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Hands out up to [`BATCH`] datagrams, oldest first, without waiting.
    ///
    /// # Errors
    /// What the system said where there is nothing to hand out.
    pub(crate) fn receive(&mut self, buffers: &mut LocalBuffers) -> io::Result<Received> {
        let taken = self.take_out();
        if self.ahead.is_empty() {
            return taken.map(|emptied| Received { emptied, ..Received::default() });
        }
        let mut heard = Received::default();
        for (bytes, envelope) in buffers.bytes.iter_mut().zip(&mut buffers.envelopes) {
            let Some(next) = self.ahead.pop_front() else { break };
            (*bytes, *envelope) = next;
            heard.arrived = heard.arrived.or(envelope.arrived);
            heard.count += 1;
        }
        // An error that lasts is met again.
        heard.emptied = self.ahead.is_empty() && taken.unwrap_or(false);
        Ok(heard)
    }
}

fn receive_one(fd: RawFd, bytes: &mut [u8; ROOM], control: &mut [u8]) -> nix::Result<Envelope> {
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(fd, &mut slices, Some(control), flags)?;
    let more = message.flags.contains(MsgFlags::MSG_CTRUNC);
    let mut envelope = Envelope { len: message.bytes, more, ..Envelope::default() };
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::ScmCredentials(said) => {
                let pid = u32::try_from(said.pid()).unwrap_or(0);
                envelope.peer = Some(Peer { pid, uid: said.uid() });
            }
            ControlMessageOwned::ScmTimestampns(time) => envelope.arrived = Some(wall(time)),
            _ => {}
        }
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_ahead_is_still_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("varta.sock");
        let mut uds = Uds::new(BoundLocal::bind(&path, 0o600).unwrap());
        let mut buffers = LocalBuffers::new();
        let agent = UnixDatagram::unbound().unwrap();
        agent.connect(&path).unwrap();
        agent.send(b"first").unwrap();
        let heard = uds.receive(&mut buffers).unwrap();
        assert_eq!((heard.count, heard.emptied, uds.has_taken_out()), (1, true, false));
        agent.send(b"second").unwrap();
        assert!(uds.take_out().unwrap(), "the kernel's queue is empty");
        assert!(uds.has_taken_out(), "and the poller has nothing to tell");
        let heard = uds.receive(&mut buffers).unwrap();
        assert_eq!((heard.count, heard.emptied, uds.has_taken_out()), (1, true, false));
        assert_eq!(buffers.get(0).0, b"second");
        assert_eq!(buffers.get(0).1.peer.map(|peer| peer.pid), Some(std::process::id()));
    }
}
