//! The audit log: a line for every decision of recovery, durable before it is acted on, each chained to the one before.
//! The format, and what it proves: `docs/audit.md`.
//!
//! [`Audit::open`] checks what is there and goes on after it; [`Audit::append`] returns once the line is on the disk, or
//! refuses, and then nothing may be done; [`Audit::link`] is for whoever keeps it elsewhere. [`verify_files`] follows a
//! log from its oldest file on and names the first line that breaks the chain.
//!
//! Every append waits for the disk: not for a thread that must not wait.

mod chain;
mod entry;
mod files;
mod start;
#[cfg(test)]
mod tests;
mod verify;
mod walk;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use varta_core::WallNs;

pub use chain::{AuditKey, Link, LinkError};
pub use entry::{Entry, Event, LINE_MAX};
pub use files::KEPT;
pub use verify::{Missing, Verified, VerifyError, verify, verify_files};
pub use walk::{Broken, Fault, Torn};

use entry::Fields;
use files::Place;

/// Why there is no log, or why a line is not in it. The text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file or its directory cannot be used, or the disk refuses.
    #[error("audit log: {}: {error}; the observer must be able to read and write it", file.display())]
    Io {
        /// What cannot be used.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The path names a symbolic link.
    #[error("audit log: {}: is a symbolic link, which is not followed; name the file itself", file.display())]
    Symlink {
        /// The link.
        file: PathBuf,
    },
    /// Not a regular file.
    #[error("audit log: {}: is not a regular file; name another", file.display())]
    NotRegular {
        /// What it is not.
        file: PathBuf,
    },
    /// The file belongs to another user.
    #[error("audit log: {0}: belongs to user {found}, where user {user} should own it; `chown {user} {0}`", file.display())]
    Owner {
        /// The file.
        file: PathBuf,
        /// The owner found.
        found: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Group or others may read, write or execute it.
    #[error("audit log: {0}: has mode {found:04o}, which lets others at it; `chmod 600 {0}`", file.display())]
    Mode {
        /// The file.
        file: PathBuf,
        /// The permission bits found.
        found: u32,
    },
    /// Another observer has it.
    #[error("audit log: {}: another observer is writing it; each needs one of its own", file.display())]
    Locked {
        /// The log.
        file: PathBuf,
    },
    /// Its chain is broken.
    #[error(
        "audit log: {}:{}: {}; nothing was changed. Look at it with `varta audit verify`; to begin a new chain, move every \
         file of this log away",
        file.display(), broken.line, broken.fault
    )]
    Broken {
        /// The file.
        file: PathBuf,
        /// The line, and what is wrong.
        broken: Broken,
    },
    /// Something else changed, moved or removed the file while it was in use.
    #[error(
        "audit log: {}: was changed, moved or removed by something else than this observer, which rotates it itself; put it \
         back as it was, or start the observer again",
        file.display()
    )]
    Disturbed {
        /// The log.
        file: PathBuf,
    },
}

/// A log that is open for writing.
#[derive(Debug)]
pub struct Audit {
    place: Place,
    key: AuditKey,
    rotate_at: u64,
    /// The newest file.
    file: File,
    /// How long its whole lines are.
    length: u64,
    /// How long its first line is.
    first: u64,
    /// Something may follow those that is no part of the log.
    spilled: bool,
    link: Link,
}

impl Audit {
    /// Opens the log at `path`, and begins it where there is none: checks the newest file and the one before it, sets a
    /// torn last line aside (`path.torn-..`), and says so in the log. `at` is the time of what has to be written for that.
    ///
    /// A file that a line would make longer than `rotate_at` bytes becomes `path.1`, and so on up to [`KEPT`]; one line and
    /// its beginning find room in any. The directory must be there, and nobody but the observer should write to it.
    ///
    /// # Errors
    /// A file that may not be used, is in use, or cannot be written; [`AuditError::Broken`] for a chain that is broken
    /// elsewhere than at its very end, or that has another key. Nothing is overwritten then.
    pub fn open(path: &Path, key: AuditKey, rotate_at: u64, at: WallNs) -> Result<Self, AuditError> {
        start::open(Place::open(path)?, key, rotate_at, at)
    }

    /// Writes the line of `entry`, and makes it durable before returning. Returns its link, whose number is what the end of
    /// a spawn refers to.
    ///
    /// # Errors
    /// The line is not in the log, and what it was to tell may not be done. The chain stays as it was, and the next append
    /// may succeed. Where the disk refuses even to give back what it took of the line, a crash before that next append
    /// may leave the line, torn or whole.
    pub fn append(&mut self, entry: &Entry) -> Result<Link, AuditError> {
        let unfinished = self.settle()? != 0;
        let (mut line, mut link) = entry.line(&self.link, &self.key);
        let full = self.length > self.first && self.length + line.len() as u64 > self.rotate_at;
        if full || unfinished {
            self.rotate(entry.at)?;
            (line, link) = entry.line(&self.link, &self.key);
        }
        self.put(&line, link)
    }

    /// The newest link. Whoever keeps it elsewhere can tell later whether the log was cut or replaced.
    #[must_use]
    pub const fn link(&self) -> Link {
        self.link
    }

    fn put(&mut self, line: &[u8], link: Link) -> Result<Link, AuditError> {
        if let Err(error) = self.place.write(&self.file, line, self.length) {
            self.spilled = true;
            // If that fails too, the next append begins with it.
            drop(self.settle());
            return Err(self.refused(error));
        }
        self.length += line.len() as u64;
        self.link = link;
        Ok(link)
    }

    /// Removes what a failed append has left, and sees to it that nobody else was here. Returns the file's number.
    fn settle(&mut self) -> Result<u32, AuditError> {
        let disturbed = || AuditError::Disturbed { file: self.place.name(0) };
        let number = self.place.number(&self.file).map_err(|error| self.refused(error))?.ok_or_else(disturbed)?;
        if self.spilled {
            self.place.cut(&self.file, self.length).map_err(|error| self.refused(error))?;
            self.spilled = false;
        }
        let length = self.file.metadata().map_err(|error| self.refused(error))?.len();
        if length == self.length { Ok(number) } else { Err(disturbed()) }
    }

    /// Goes on in a new file. Wherever this fails, the old one is still the newest, be it without its name.
    fn rotate(&mut self, at: WallNs) -> Result<(), AuditError> {
        let (line, link) = Fields::begin(at, &self.key).line(&self.link, &self.key);
        let turned = self.place.prepare(&line).and_then(|file| {
            self.place.shift()?;
            self.place.put_in_force(&self.place.name(0))?;
            Ok(file)
        });
        self.file = turned.map_err(|error| self.refused(error))?;
        self.length = line.len() as u64;
        self.first = self.length;
        self.link = link;
        Ok(())
    }

    fn refused(&self, error: io::Error) -> AuditError {
        AuditError::Io { file: self.place.name(0), error }
    }
}
