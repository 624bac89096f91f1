//! The directory: who may use it, and the few operations on its files.

use std::{
    fmt::Write as _,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::StateError;
use crate::gate::Gate;

pub(super) const LOCK: &str = "lock";
pub(super) const OBSERVED: &str = "observed";
pub(super) const MARK: &str = "mark";
pub(super) const SLOTS: &str = "slots";
pub(super) const JOURNAL: &str = "journal";
/// What is written but not yet in force.
pub(super) const SLOTS_NEW: &str = "slots.new";
pub(super) const JOURNAL_NEW: &str = "journal.new";
pub(super) const MARK_NEW: &str = "mark.new";
/// The root directory of a file system of its own has this.
const LOST_FOUND: &str = "lost+found";
/// How many corrupt files of one name are kept.
const KEPT: usize = 3;

/// A file larger than this, bytes, was not written here: some fifty million slots.
const LARGEST: u64 = 16 << 30;

/// The state directory, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
    pub(super) gate: Gate,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let refused = |error| StateError::Io { path: path.to_path_buf(), error };
        if !path.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused)?;
            // An entry that a crash takes back would be a first start again.
            if let Some(parent) = path.canonicalize().map_err(refused)?.parent() {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(refused)?;
            }
        }
        let handle = File::open(path).map_err(refused)?;
        let about = handle.metadata().map_err(refused)?;
        if !about.is_dir() {
            return Err(StateError::NotADirectory { path: path.to_path_buf() });
        }
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::Exposed { path: path.to_path_buf(), mode });
        }
        let lock = Self::lock(path)?;
        Ok(Self { path: path.to_path_buf(), handle, _lock: lock, gate: Gate::open() })
    }

    fn lock(path: &Path) -> Result<File, StateError> {
        let file = path.join(LOCK);
        let refused = |error| StateError::Io { path: file.clone(), error };
        let lock = options().read(true).write(true).create(true).truncate(false).open(&file).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked { path: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// What lies here beside the lock.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK && name != LOST_FOUND {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The whole of a file; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut file = match options().read(true).open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        if about.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} bytes are too many", about.len())));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The first `N` bytes of a file, if it has as many.
    pub(super) fn head<const N: usize>(&self, name: &str) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let file = options().read(true).open(self.path(name)).ok()?;
        file.read_exact_at(&mut bytes, 0).ok().map(|()| bytes)
    }

    /// A new, empty file, in place of an older one.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        self.gate.pass()?;
        options().write(true).create(true).truncate(true).open(self.path(name))
    }

    /// A file to go on with.
    pub(super) fn reopen(&self, name: &str) -> io::Result<File> {
        self.gate.pass()?;
        options().write(true).open(self.path(name))
    }

    pub(super) fn write(&self, file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
        self.gate.pass_write(file, bytes, place)?;
        file.write_all_at(bytes, place)
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.gate.pass()?;
        file.sync_data()
    }

    pub(super) fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        self.gate.pass()?;
        file.set_len(length)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.gate.pass()?;
        std::fs::rename(self.path(from), self.path(to))
    }

    /// Removes a file that may not be there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.gate.pass()?;
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes created, renamed and removed names durable.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.handle.sync_all()
    }

    /// Renames a corrupt file so that it can be looked at, and says what was done.
    pub(super) fn set_aside(&self, name: &str) -> String {
        match self.try_set_aside(name) {
            Ok(said) => said,
            Err(error) => format!("it cannot be set aside: {error}"),
        }
    }

    fn try_set_aside(&self, name: &str) -> io::Result<String> {
        let prefix = format!("{name}.corrupt-");
        let number = |other: &String| other.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
        let mut numbers: Vec<u64> = self.names()?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let aside = format!("{prefix}{next}");
        self.rename(name, &aside)?;
        let mut said = format!("it is kept as {}", self.path(&aside).display());
        let spare = (numbers.len() + 1).saturating_sub(KEPT);
        for old in numbers.into_iter().take(spare) {
            self.remove(&format!("{prefix}{old}"))?;
            let _ = write!(said, "; the older {prefix}{old} was removed");
        }
        self.sync_names()?;
        Ok(said)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits());
    options
}
