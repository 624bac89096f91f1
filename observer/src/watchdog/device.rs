//! A hardware watchdog, as Linux has it: from its opening on the host is reset unless something is written to it in time,
//! and closing it changes nothing about that unless `V` was written last.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{
    WatchdogError,
    fed::{Feed, Pulse},
};

/// The open device. Dropping it disarms it where that is due.
#[derive(Debug)]
pub(super) struct Device {
    path: PathBuf,
    file: File,
    fed: bool,
    clean: bool,
}

impl Device {
    pub(super) fn open(path: &Path) -> Result<Self, WatchdogError> {
        // Without O_NONBLOCK a FIFO that nobody reads would hold the start up.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path);
        let file = file.map_err(|source| WatchdogError::Device { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, fed: false, clean: false })
    }
}

impl Feed for Device {
    fn name(&self) -> String {
        format!("the watchdog device {}", self.path.display())
    }

    fn pulse(&mut self, _: Pulse) -> io::Result<()> {
        self.fed = true;
        self.file.write_all(&[0])
    }

    fn end(mut self, clean: bool) {
        self.clean = clean;
    }
}

impl Drop for Device {
    /// A loop that never turned is a start that failed, which is no reason to reset the host.
    fn drop(&mut self) {
        if (self.clean || !self.fed)
            && let Err(error) = self.file.write_all(b"V")
        {
            tracing::warn!("{} cannot be disarmed: {error}; it will reset the host", self.name());
        }
    }
}
