//! An observer's ear at a path of its own.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use varta_vlp::{Frame, local, sealed::Body};

pub(crate) struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Ear {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("varta.sock");
        Self { socket: bind(&path), path, folder: folder.into() }
    }

    /// An ear at a path in a folder of the caller's.
    pub(crate) fn at(path: &Path) -> Self {
        Self { socket: bind(path), path: path.to_owned(), folder: None }
    }

    /// Another observer takes the path over, while this one still holds its socket.
    pub(crate) fn displace(&self) -> Self {
        std::fs::remove_file(&self.path).unwrap();
        Self::at(&self.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The observer ends; what it leaves behind at the path stays.
    pub(crate) fn end(self) -> Place {
        Place { path: self.path, folder: self.folder }
    }

    /// What is received next, byte for byte.
    pub(crate) fn next_bytes(&self) -> Vec<u8> {
        let mut buffer = [0; 128];
        let len = self.socket.recv(&mut buffer).expect("a datagram within the limit");
        buffer[..len].to_vec()
    }

    /// What is received next, as a bare base frame.
    pub(crate) fn next_frame(&self) -> Frame {
        local::parse_frame(&self.next_bytes()).unwrap().frame
    }

    /// What is received next, in its long form.
    pub(crate) fn next_body(&self) -> Body {
        let bytes = self.next_bytes();
        assert_eq!(bytes.len(), 64);
        local::parse(&bytes).unwrap()
    }

    /// Takes what waits and looks at none of it.
    pub(crate) fn drain(&self) {
        while !self.is_quiet() {}
    }

    /// Whether nothing waits; what did is taken. A local socket delivers before `send` returns.
    pub(crate) fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let quiet = self.socket.recv(&mut [0; 8]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
        quiet
    }
}

/// Where an observer was.
pub(crate) struct Place {
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn clear(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Another observer begins where the last one was cleared away.
    pub(crate) fn begin(self) -> Ear {
        Ear { socket: bind(&self.path), path: self.path, folder: self.folder }
    }

    /// The last one is cleared away and another begins.
    pub(crate) fn begin_again(self) -> Ear {
        self.clear();
        self.begin()
    }
}

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}
