//! Opening the file, and what it remembers.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, RwLock},
};

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _};

use super::{
    Inner, Keep, Mark, Marks, Store,
    pending::{Pending, UnitRow},
    tables::{ALIVE, FORM, FORM_NOW, GAPS, INCIDENTS, MARKS, META, NUMBERS, SILENCES, TURNS, UNITS},
};
use crate::fleet::{SavedIncident, SavedUnit, Silence};

/// What the store's file is called.
const FILE: &str = "history.redb";
/// Bytes of the file that are kept in memory.
const CACHE: usize = 32 << 20;
/// Damaged files that are kept aside.
const ASIDE: u32 = 100;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be used.
    #[error("{}: {error}; make it, and let the relay's user write there, or set relay.state_dir to another", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The disk refuses.
    #[error("{}: {error}; nothing of it is lost: make room, or mend the disk, and start again", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another relay uses it.
    #[error("{}: another relay uses this state directory; give each its own relay.state_dir", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error("{}: was written by another version of this program; set relay.state_dir to another directory", path.display())]
    OtherForm {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read, nor put aside.
    #[error("{}: cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What the file remembers.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Units that were known.
    pub(crate) units: Vec<SavedUnit>,
    /// Incidents, oldest first.
    pub(crate) incidents: VecDeque<SavedIncident>,
    /// Silences that are not over.
    pub(crate) silences: Vec<Silence>,
    /// What webhooks were told.
    pub(crate) marks: Marks,
    /// From when until when the relay was not there.
    pub(crate) gap: Option<(u64, u64)>,
}

impl Store {
    /// Opens the store in `directory`, as of `clock`'s now. A damaged file is put aside, and another one begun.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn open(directory: &Path, keep: Keep, clock: fn() -> u64) -> Result<(Self, Loaded), StoreError> {
        Self::open_by(open_file, directory, keep, clock)
    }

    pub(super) fn open_by(
        open: Opener,
        directory: &Path,
        keep: Keep,
        clock: fn() -> u64,
    ) -> Result<(Self, Loaded), StoreError> {
        let unusable = |error| StoreError::Directory { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let file = directory.join(FILE);
        let (database, loaded) = match begin(open, &file, clock()) {
            Ok(begun) => begun,
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Disk(error)) => return Err(StoreError::Disk { path: file, error }),
            Err(Trouble::Damaged(reason)) => {
                let aside = put_aside(&file, &reason)?;
                tracing::warn!(
                    "{}: damaged ({reason}); it is now {}, and history begins anew",
                    file.display(),
                    aside.display()
                );
                begin(open, &file, clock()).map_err(|trouble| trouble.fatal(&file))?
            }
        };
        let inner = Inner {
            file,
            database: RwLock::new(Some(database)),
            open,
            pending: Mutex::new(Pending::default()),
            ending: (Mutex::new(false), Condvar::new()),
            keep,
            clock,
        };
        Ok((Self(Arc::new(inner)), loaded))
    }
}

/// How a file becomes a database.
pub(super) type Opener = fn(File) -> Result<Database, DatabaseError>;

fn open_file(file: File) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE).create_file(file)
}

fn file_at(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The database of a file that was open before; `None`, and a word on it, where that cannot be.
pub(super) fn open_again(path: &Path, open: Opener) -> Option<Database> {
    let opened = file_at(path).map_err(|error| error.to_string());
    let opened = opened.and_then(|file| open(file).map_err(|error| error.to_string()));
    opened.inspect_err(|error| tracing::warn!("{}: cannot be opened again: {error}", path.display())).ok()
}

enum Trouble {
    Fatal(StoreError),
    /// The disk refuses, which says nothing of the file.
    Disk(io::Error),
    Damaged(String),
}

impl Trouble {
    fn fatal(self, file: &Path) -> StoreError {
        match self {
            Self::Fatal(error) => error,
            Self::Disk(error) => StoreError::Disk { path: file.to_owned(), error },
            Self::Damaged(reason) => StoreError::Unusable { path: file.to_owned(), reason },
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        match error.into() {
            redb::Error::Io(error) if !matches!(error.kind(), InvalidData | UnexpectedEof) => Self::Disk(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

fn begin(open: Opener, file: &Path, now_ms: u64) -> Result<(Database, Loaded), Trouble> {
    let path = || file.to_owned();
    let opened = file_at(file).map_err(|error| Trouble::Fatal(StoreError::Directory { path: path(), error }))?;
    let database = open(opened).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => Trouble::Fatal(StoreError::InUse { path: path() }),
        DatabaseError::UpgradeRequired(_) => Trouble::Fatal(StoreError::OtherForm { path: path() }),
        other => Trouble::from(other),
    })?;
    let gap = mark_beginning(&database, now_ms).map_err(|trouble| match trouble {
        Trouble::Damaged(reason) if reason == OTHER_FORM => Trouble::Fatal(StoreError::OtherForm { path: path() }),
        other => other,
    })?;
    let loaded = load(&database, now_ms, gap)?;
    Ok((database, loaded))
}

const OTHER_FORM: &str = "another form";

/// Makes the tables, and notes since when the relay was not there.
fn mark_beginning(database: &Database, now_ms: u64) -> Result<Option<(u64, u64)>, Trouble> {
    let write = database.begin_write()?;
    let gap = {
        write.open_table(UNITS)?;
        write.open_table(NUMBERS)?;
        write.open_table(TURNS)?;
        write.open_table(INCIDENTS)?;
        write.open_table(SILENCES)?;
        write.open_table(MARKS)?;
        let mut meta = write.open_table(META)?;
        let form = meta.get(FORM)?.map(|form| form.value());
        if form.is_some_and(|form| form != FORM_NOW) {
            return Err(Trouble::Damaged(OTHER_FORM.to_owned()));
        }
        meta.insert(FORM, FORM_NOW)?;
        let alive = meta.get(ALIVE)?.map(|alive| alive.value());
        let gap = alive.filter(|alive| *alive < now_ms).map(|alive| (alive, now_ms));
        meta.insert(ALIVE, now_ms)?;
        let mut gaps = write.open_table(GAPS)?;
        if let Some((from, until)) = gap {
            gaps.insert(from, until)?;
        }
        gap
    };
    write.commit()?;
    Ok(gap)
}

fn load(database: &Database, now_ms: u64, gap: Option<(u64, u64)>) -> Result<Loaded, Trouble> {
    let read = database.begin_read()?;
    let mut loaded = Loaded { gap, ..Loaded::default() };
    let turns = read.open_table(TURNS)?;
    for entry in read.open_table(UNITS)?.iter()? {
        let (number, row) = entry?;
        let number = number.value();
        let newest = turns.range((number, 0)..=(number, u64::MAX))?.next_back().transpose()?;
        let is_known = newest.is_some_and(|(_, code)| code.value() != super::pending::GONE);
        let row =
            serde_json::from_slice::<UnitRow>(row.value()).map_err(|error| Trouble::Damaged(error.to_string()))?;
        loaded.units.extend(row.saved().filter(|_| is_known));
    }
    for entry in read.open_table(INCIDENTS)?.iter()? {
        let incident = serde_json::from_slice(entry?.1.value()).map_err(|error| Trouble::Damaged(error.to_string()))?;
        loaded.incidents.push_back(incident);
    }
    for entry in read.open_table(SILENCES)?.iter()? {
        let silence: Silence =
            serde_json::from_slice(entry?.1.value()).map_err(|error| Trouble::Damaged(error.to_string()))?;
        loaded.silences.extend(Some(silence).filter(|silence| silence.until_ms > now_ms));
    }
    for entry in read.open_table(MARKS)?.iter()? {
        let (key, mark) = entry?;
        let (target, incident) = key.value();
        let mark = if mark.value() == Mark::Waits as u8 { Mark::Waits } else { Mark::Told };
        loaded.marks.entry(target).or_default().insert(incident, mark);
    }
    Ok(loaded)
}

/// Gives a damaged file another name.
fn put_aside(file: &Path, reason: &str) -> Result<PathBuf, StoreError> {
    let aside =
        (1..=ASIDE).map(|number| file.with_extension(format!("redb.damaged-{number}"))).find(|path| !path.exists());
    let unusable = |reason: String| StoreError::Unusable { path: file.to_owned(), reason };
    let aside = aside.ok_or_else(|| unusable(format!("{reason}; and {ASIDE} damaged ones are there already")))?;
    std::fs::rename(file, &aside).map_err(|error| unusable(format!("{reason}; nor can it be put aside: {error}")))?;
    Ok(aside)
}
