//! Making a handle for a local socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::course::{Course, whole_ms},
    UdsConnectError, UdsTransport, open_socket,
};
use crate::{
    client::Varta,
    process::Process,
    sources::{OsSources, Sources},
};

/// How a handle for a local socket is to be. Begun by [`Varta::local_builder`].
#[derive(Debug, Default)]
#[must_use = "nothing is connected before `connect`"]
pub struct UdsBuilder {
    path: PathBuf,
    every: Duration,
    reconnect_after: u32,
}

impl UdsBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The path of the observer's socket, at most [`UdsConnectError::PATH_MAX_LEN`] bytes.
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        path.as_ref().clone_into(&mut self.path);
        self
    }

    /// The promise: every beat promises another within this, in whole milliseconds, rounded up. Also the plan by which
    /// the handle tells how late a beat is. Zero, as at first, promises nothing. Observers hold promises to their
    /// `max_promise`, 1 h unless they say otherwise; those of version 0.2 know no promises and refuse such beats.
    pub fn every(mut self, promise: Duration) -> Self {
        self.every = promise;
        self
    }

    /// See [`Varta::set_reconnect_after`].
    pub fn reconnect_after(mut self, beats: u32) -> Self {
        self.reconnect_after = beats;
        self
    }

    /// Makes a socket and connects it. Sends nothing.
    ///
    /// # Errors
    /// [`UdsConnectError`]; while the observer is not there, [`UdsConnectError::Missing`] or
    /// [`UdsConnectError::Refused`].
    pub fn connect(self) -> Result<Varta<UdsTransport>, UdsConnectError> {
        self.connect_with(OsSources)
    }

    /// Connects with time and pid from elsewhere, for tests.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with<S: Sources>(self, mut sources: S) -> Result<Varta<UdsTransport<S>>, UdsConnectError> {
        let Self { path, every, reconnect_after } = self;
        let pid = sources.pid();
        if pid <= 1 {
            return Err(UdsConnectError::PidOne);
        }
        UdsConnectError::check_path(&path)?;
        let now = sources.now().map_err(UdsConnectError::Clock)?;
        let process = Process::enter(pid, now.boottime_ns).map_err(UdsConnectError::ForkDetection)?;
        let socket = match open_socket(&path) {
            Ok(socket) => socket,
            Err(error) => return Err(UdsConnectError::of(path, error)),
        };
        Ok(Varta::over(UdsTransport {
            sources,
            process,
            path,
            socket: Some(socket),
            course: Course::new(whole_ms(every)),
            connected_ns: now.boottime_ns,
            reconnect_after,
            misses: 0,
            fork_recoveries: 0,
        }))
    }
}
