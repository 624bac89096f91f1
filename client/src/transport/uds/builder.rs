//! Making a handle for a local socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{bare::Bare, course::whole_ms},
    Local, UdsConnectError, UdsTransport,
};
use crate::{
    client::Varta,
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
    pub fn connect_with<S: Sources>(self, sources: S) -> Result<Varta<UdsTransport<S>>, UdsConnectError> {
        let Self { path, every, reconnect_after } = self;
        UdsConnectError::check_path(&path)?;
        let bare = Bare::connect(Local(path.clone()), sources, whole_ms(every), reconnect_after);
        Ok(Varta::over(UdsTransport(bare.map_err(|problem| UdsConnectError::of(path, problem))?)))
    }
}
