//! The heartbeat file: one line, `TURNS NANOSECONDS`, of how often the loop has turned and when by the wall clock.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{
    WatchdogError,
    fed::{Feed, Pulse},
};

/// Where it stands, and where it is written before it is there.
#[derive(Debug)]
pub(super) struct Heartbeat {
    path: PathBuf,
    new: PathBuf,
}

impl Heartbeat {
    /// Tries whether it can be written, which tells nobody that the loop turns.
    pub(super) fn open(path: &Path) -> Result<Self, WatchdogError> {
        let mut new = OsString::from(path);
        new.push(".new");
        let it = Self { path: path.to_owned(), new: new.into() };
        let tried = it.create().and_then(|_| fs::remove_file(&it.new));
        tried.map_err(|source| WatchdogError::Heartbeat { path: path.to_owned(), source })?;
        Ok(it)
    }

    fn create(&self) -> io::Result<File> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).custom_flags(flags).open(&self.new)
    }
}

impl Feed for Heartbeat {
    fn name(&self) -> String {
        format!("the heartbeat file {}", self.path.display())
    }

    fn pulse(&mut self, pulse: Pulse) -> io::Result<()> {
        self.create()?.write_all(format!("{} {}\n", pulse.turns, pulse.wall.0).as_bytes())?;
        fs::rename(&self.new, &self.path)
    }

    /// Left as it is: its age tells the rest.
    fn end(self, _: bool) {}
}
