//! The files of a log: their names, who may have them, and the few operations on them.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use data_encoding::HEXLOWER;
use nix::{errno::Errno, fcntl::OFlag, unistd::geteuid};
use sha2::{Digest as _, Sha256};

use super::AuditError;
use crate::gate::Gate;

/// Files of a log that are kept beside the newest: `FILE.1`, the newest of them, to `FILE.8`.
pub const KEPT: u32 = 8;
/// Torn lines that are kept.
const TORN_KEPT: usize = 8;

/// The place of a log, locked.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    directory: File,
    _lock: File,
    pub(super) gate: Gate,
}

/// The name of a file of the log at `path`: the newest is 0.
pub(super) fn name(path: &Path, number: u32) -> PathBuf {
    if number == 0 { path.to_owned() } else { beside(path, &format!(".{number}")) }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The directory that `path` stands in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    options.mode(0o600).custom_flags(flags.bits());
    options
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    move |error| match error.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => AuditError::Symlink { file: path.to_owned() },
        _ => AuditError::Io { file: path.to_owned(), error },
    }
}

fn judge(path: &Path, opened: &File) -> Result<(), AuditError> {
    let about = opened.metadata().map_err(refused(path))?;
    let file = path.to_owned();
    let user = geteuid().as_raw();
    if !about.is_file() {
        return Err(AuditError::NotRegular { file });
    }
    if about.uid() != user {
        return Err(AuditError::Owner { file, found: about.uid(), user });
    }
    if about.mode() & 0o077 != 0 {
        return Err(AuditError::Mode { file, found: about.mode() & 0o7777 });
    }
    Ok(())
}

impl Place {
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let directory = File::open(directory_of(path)).map_err(refused(directory_of(path)))?;
        let lock_path = beside(path, ".lock");
        let lock = options().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(refused(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), directory, _lock: lock, gate: Gate::open() }),
            Err(TryLockError::WouldBlock) => Err(AuditError::Locked { file: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(refused(&lock_path)(error)),
        }
    }

    pub(super) fn name(&self, number: u32) -> PathBuf {
        name(&self.path, number)
    }

    /// Opens a file of the log, if there is one of that number and it may be used.
    pub(super) fn get(&self, number: u32) -> Result<Option<File>, AuditError> {
        let path = self.name(number);
        match options().read(true).write(true).open(&path) {
            Ok(file) => judge(&path, &file).map(|()| Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(AuditError::NotRegular { file: path }),
            Err(error) => Err(refused(&path)(error)),
        }
    }

    /// The number of `file`: 0, or 1 where a rotation was not finished; none if something else moved it.
    pub(super) fn number(&self, file: &File) -> io::Result<Option<u32>> {
        let ours = file.metadata()?;
        for number in [0, 1] {
            match self.name(number).symlink_metadata() {
                Ok(there) => return Ok(Some(number).filter(|_| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes at `place`, durably.
    pub(super) fn write(&self, file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
        self.gate.pass_write(file, bytes, place)?;
        file.write_all_at(bytes, place)?;
        self.sync(file)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.gate.pass()?;
        file.sync_data()
    }

    /// Cuts to `length`, durably.
    pub(super) fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        self.gate.pass()?;
        file.set_len(length)?;
        self.sync(file)
    }

    /// A new file of these contents, durable under the name that [`Self::put_in_force`] takes away.
    pub(super) fn prepare(&self, bytes: &[u8]) -> io::Result<File> {
        self.gate.pass()?;
        let new = beside(&self.path, ".new");
        // What a crash has left was never in force.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = options().read(true).write(true).create_new(true).open(&new)?;
        self.write(&file, bytes, 0).inspect_err(|_| {
            // An empty file is no harm, if it cannot be removed either.
            drop(std::fs::remove_file(&new));
        })?;
        Ok(file)
    }

    /// Gives the prepared file that name, in place of what has it.
    pub(super) fn put_in_force(&self, path: &Path) -> io::Result<()> {
        self.rename(&beside(&self.path, ".new"), path)?;
        self.sync_names()
    }

    /// Frees the name of the newest file: each moves on by one, up to the first that is free, and the oldest goes. In
    /// whatever order a crash leaves them, a higher number is older.
    pub(super) fn shift(&self) -> io::Result<()> {
        let free = (0..=KEPT).find(|number| self.name(*number).symlink_metadata().is_err());
        for number in (0..free.unwrap_or(KEPT)).rev() {
            self.rename(&self.name(number), &self.name(number + 1))?;
        }
        self.sync_names()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass()?;
        std::fs::rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.directory.sync_all()
    }

    /// Keeps a torn line in a file of its own, named after what is in it; says where, and how that can be known again.
    pub(super) fn set_aside(&self, torn: &[u8]) -> io::Result<String> {
        let digest = HEXLOWER.encode(&Sha256::digest(torn));
        let aside = beside(&self.path, &format!(".torn-{}", digest.get(..16).unwrap_or_default()));
        self.prepare(torn)?;
        self.put_in_force(&aside)?;
        self.forget_torn()?;
        let name = aside.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{} bytes in {name}, SHA-256 {digest}", torn.len()))
    }

    /// Removes torn lines beyond the newest few.
    fn forget_torn(&self) -> io::Result<()> {
        let prefix = beside(&self.path, ".torn-");
        let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut torn = Vec::new();
        for entry in std::fs::read_dir(directory_of(&self.path))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let written = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                torn.push((written, entry.path()));
            }
        }
        torn.sort_unstable();
        let spare = torn.len().saturating_sub(TORN_KEPT);
        torn.into_iter().take(spare).try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}
