//! What outlives the observer, on disk: SPEC, "Restart".
//!
//! The calling order of an observer's life:
//!
//! 1. [`State::open`] locks the directory and reads what is there. Give every record of [`Loaded::records`] to
//!    [`Core::restore`], then [`Loaded::how`] and [`Loaded::blind_run`] to [`Core::start`], and log [`Loaded::said`].
//! 2. [`State::begin`] with the core's barrier removes the clean mark, durably. Only then may frames be accepted.
//! 3. In each turn of the loop, before datagrams are read, `core.set_horizon(state.horizon(core.newest_sent()))`.
//!    Where the core says [`varta_core::Outcome::Waiting`], [`State::raise_horizon`], then set the horizon again and
//!    [`Core::resume`].
//! 4. In each turn, [`State::keep`]: it takes what changed out of the core, and feeds a snapshot when one is due. While it
//!    returns true, the next turn should come within milliseconds.
//! 5. Once a second, [`State::mark`].
//! 6. Now and then, [`State::poll_notice`] for the log, [`State::failing`] and [`State::failures`] for the metrics.
//! 7. [`State::close`] writes everything and the clean mark. A state that is dropped instead looks like a crash.
//!
//! A disk that refuses, or does not answer, never stops the observer: see [`State::horizon`].
//!
//! The directory holds `lock`, `mark` (one block, overwritten in place), `slots` (a snapshot), `journal` (what changed
//! since), and `observed` (there was state here once). What is found corrupt is kept as `NAME.corrupt-N`.

mod batch;
mod disk;
mod files;
mod load;
mod mark;
pub mod record;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use varta_core::{Core, Now, SECOND, Saved, WallNs};

pub use load::{Loaded, Records};

use disk::Directory;
use files::{Files, Progress};
use writer::{Build, Desk, PAGES_MAX};

/// So far is the horizon kept ahead of the newest accepted frame, nanoseconds: SPEC, "Restart".
const LEAD: u64 = 2 * SECOND;
/// For so long the loop waits for the disk when a frame waits.
const RAISE_LIMIT: Duration = Duration::from_secs(1);
/// For so long a start waits for it.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);
/// For so long a stop waits for the writer to finish what it is at.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How many places of the core are read out in one turn.
const PAGE: u32 = 1024;

/// Names one boot of this host, and one timeline of CLOCK_BOOTTIME within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot(u64);

impl Boot {
    /// Not known; equal to no other, itself included, where timelines are compared.
    pub const UNKNOWN: Self = Self(0);

    /// The boot this process runs under; [`Self::UNKNOWN`] if the kernel does not say.
    #[must_use]
    pub fn of_this_host() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // A time namespace moves the clock; a kernel without them has no such file.
        let moved = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        Self::new(id.trim_ascii(), &moved)
    }

    /// The boot of that id, in a time namespace of those offsets.
    #[must_use]
    pub fn new(id: &str, offsets: &str) -> Self {
        if id.is_empty() {
            return Self::UNKNOWN;
        }
        let digest: [u8; 32] = Sha256::new_with_prefix(id).chain_update([0]).chain_update(offsets).finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Worth waking someone.
    Warn,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The line; names the file.
    pub text: String,
}

/// Why there can be no state, or why it could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or the directory cannot be used.
    #[error("state: {}: {error}; the observer must be able to read and write it", path.display())]
    Io {
        /// What cannot be used.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is there, but no directory.
    #[error("state_dir {}: not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Others could change what is kept.
    #[error("state_dir {}: its mode {mode:04o} lets group or others write to it; chmod go-w it", path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another observer has it.
    #[error("state_dir {}: another observer is using it; each needs a directory of its own", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error("{}: written in format {version} by a newer varta; run that one, or move the state_dir away", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the state: {0}")]
    Thread(io::Error),
    /// The disk refuses, or does not answer.
    #[error("the state cannot be written: {0}")]
    Refused(String),
}

/// The persisted state of a running observer.
#[derive(Debug)]
pub struct State {
    desk: Arc<Desk>,
    back: mpsc::Receiver<Files>,
    shown: String,
    progress: Progress,
    /// The newest mark ordered.
    order: u64,
    /// The newest mark ordered by [`Self::mark`].
    tick: u64,
    /// The newest snapshot begun, and where in the core it is to go on.
    build: u64,
    cursor: Option<u64>,
}

impl State {
    /// Locks `directory`, which is made if need be, and reads what is in it. `now` and `boot` are those of this start.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, is open to others, is in use, or was written by a newer version. State that is corrupt
    /// or missing is no error: [`varta_core::Start::Lost`].
    pub fn open(directory: &Path, now: Now, boot: Boot) -> Result<(Self, Loaded), StateError> {
        let disk = Directory::open(directory)?;
        let (loaded, found) = load::load(&disk, now, boot)?;
        Ok((Self::start(disk, now, boot, &loaded, &found)?, loaded))
    }

    fn start(disk: Directory, now: Now, boot: Boot, loaded: &Loaded, found: &files::Found) -> Result<Self, StateError> {
        let shown = disk.shown().to_string();
        let desk = Arc::new(Desk::default());
        desk.board().horizon = loaded.horizon;
        let back = writer::start(Arc::clone(&desk), Files::new(disk, found, boot)).map_err(StateError::Thread)?;
        let progress = Progress {
            horizon: loaded.horizon,
            now,
            blind_run: loaded.blind_run,
            roster_version: loaded.roster_version,
        };
        Ok(Self { desk, back, shown, progress, order: 0, tick: 0, build: 0, cursor: None })
    }

    /// Removes the clean mark, and raises the horizon to `barrier`, durably. To be called once, before the first frame is
    /// accepted. Returns the horizon in force.
    ///
    /// # Errors
    ///
    /// The disk refuses. The observer may go on: until the mark can be written it is tried again with each [`Self::mark`].
    pub fn begin(&mut self, now: Now, barrier: WallNs) -> Result<WallNs, StateError> {
        self.progress.now = now;
        self.put_horizon(barrier, BEGIN_LIMIT)
    }

    /// Makes the horizon durable, `at_least` and two seconds. Waits for the disk, for a second at most. Returns the horizon
    /// in force.
    ///
    /// # Errors
    ///
    /// The disk refuses or does not answer: [`Self::horizon`] then suspends the protection.
    pub fn raise_horizon(&mut self, at_least: WallNs) -> Result<WallNs, StateError> {
        self.put_horizon(at_least.after(LEAD), RAISE_LIMIT)
    }

    fn put_horizon(&mut self, horizon: WallNs, limit: Duration) -> Result<WallNs, StateError> {
        self.progress.horizon = self.progress.horizon.max(horizon);
        self.order += 1;
        self.desk.order_mark(self.order, self.progress, false);
        let answered = self.desk.wait_for(self.order, limit);
        let mut board = self.desk.board();
        if !answered {
            let late = format!("the disk has not answered for {} s", limit.as_secs());
            board.overdue(self.order, &self.shown, &late);
        }
        match &board.mark_failed {
            None => Ok(board.horizon),
            Some(error) => Err(StateError::Refused(format!("{}: {error}", self.shown))),
        }
    }

    /// Once a second: says how far the observer got. Returns at once; the horizon becomes `newest_sent` and two seconds when
    /// the disk has it. What was noted becomes durable with it.
    pub fn mark(&mut self, now: Now, newest_sent: WallNs, blind_run: u64) {
        let mut board = self.desk.board();
        // By now frames may come that are above what was durable before it.
        if board.answered < self.tick {
            board.overdue(self.tick, &self.shown, "the disk has not answered since the last mark");
        }
        drop(board);
        let horizon = self.progress.horizon.max(newest_sent.after(LEAD));
        self.progress = Progress { horizon, now, blind_run, ..self.progress };
        self.order += 1;
        self.tick = self.order;
        self.desk.order_mark(self.order, self.progress, true);
    }

    /// Says which roster is in force; kept from the next mark on. A lower version than before changes nothing.
    pub fn set_roster_version(&mut self, version: u64) {
        self.progress.roster_version = self.progress.roster_version.max(version);
    }

    /// The horizon that is durable; none before the first was written.
    #[must_use]
    pub fn durable_horizon(&self) -> Option<WallNs> {
        Some(self.desk.board().horizon).filter(|horizon| *horizon > WallNs(0))
    }

    /// What the core is to take for its horizon now: the durable one; or, while the disk refuses or lags, and until what was
    /// accepted meanwhile is covered, `WallNs(u64::MAX)`, which suspends the protection against replay across a crash
    /// and nothing else.
    #[must_use]
    pub fn horizon(&self, newest_sent: WallNs) -> WallNs {
        let board = self.desk.board();
        let covered = board.mark_failed.is_none() && newest_sent <= board.horizon;
        if covered { board.horizon } else { WallNs(u64::MAX) }
    }

    /// Takes at most `limit` changed records out of the core, and feeds the snapshot that is being written, if one is, or is
    /// due. Returns whether there is more to do soon. What a busy disk has no room for stays in the core; while the disk
    /// fails it is dropped, so that nothing grows.
    pub fn keep(&mut self, core: &mut Core, limit: usize) -> bool {
        let room = self.desk.board().room();
        let limit = room.map_or(limit, |room| limit.min(room));
        let more = limit > 0 && core.is_dirty() && {
            let mut records = Vec::new();
            let more = core.take_dirty(limit, |saved| records.push(saved));
            self.note(records);
            more
        };
        self.feed_snapshot(core) | more
    }

    /// Hands records over to be kept. Never waits: if the disk is far behind, they are dropped, and a snapshot makes up for
    /// it once the disk is back.
    pub fn note(&mut self, records: Vec<Saved>) {
        if !records.is_empty() && !self.desk.note(records, &self.shown) {
            // The snapshot being written lacks them too, if it was begun at all.
            self.cursor = None;
            self.desk.board().build_over = self.build;
        }
    }

    /// Whether a whole snapshot is due: the journal is long, or was given up.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        let board = self.desk.board();
        board.wants_snapshot && board.build_over >= self.build
    }

    /// Feeds one page of the snapshot being written; begins one if it is due. Returns whether there are pages left.
    fn feed_snapshot(&mut self, core: &Core) -> bool {
        let (over, wanted, pages) = {
            let board = self.desk.board();
            (board.build_over >= self.build, board.wants_snapshot, board.pages())
        };
        if over {
            self.cursor = None;
            if !wanted {
                return false;
            }
            self.build += 1;
            self.desk.build(Build::Begin { number: self.build, roster_version: self.progress.roster_version });
            self.cursor = Some(0);
        }
        let Some(cursor) = self.cursor else {
            return false;
        };
        if pages < PAGES_MAX {
            let mut page = Vec::with_capacity(PAGE as usize);
            self.cursor = core.save_page(cursor, PAGE, |saved| page.push(saved));
            self.desk.build(Build::Page(page));
            if self.cursor.is_none() {
                self.desk.build(Build::End);
            }
        }
        self.cursor.is_some()
    }

    /// The newest failure to write, until a write succeeds.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        let board = self.desk.board();
        let failed = board.mark_failed.as_ref().or(board.records_failed.as_ref());
        failed.map(|error| format!("{}: {error}", self.shown))
    }

    /// How many writes failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.desk.board().failures
    }

    /// The next line for the log, oldest first.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.desk.poll_notice()
    }

    fn stop(&self) -> Option<Files> {
        let first = self.desk.stop();
        if first { self.back.recv_timeout(STOP_LIMIT).ok() } else { self.back.try_recv().ok() }
    }

    /// Writes everything the core knows, then the clean mark. Before [`Self::begin`] it leaves everything as it was.
    ///
    /// # Errors
    ///
    /// The disk refuses or does not answer; the next start will be one after a crash, which is safe.
    pub fn close(self, core: &Core, now: Now) -> Result<(), StateError> {
        let Some(mut files) = self.stop() else {
            let late = format!("{}: the disk has not answered for {} s", self.shown, STOP_LIMIT.as_secs());
            return Err(StateError::Refused(late));
        };
        if !files.begun() {
            return Ok(());
        }
        let horizon = self.progress.horizon.max(core.newest_sent());
        let progress = Progress { horizon, now, blind_run: core.blind_run(), ..self.progress };
        let refused = |error: io::Error| StateError::Refused(format!("{}: {error}", self.shown));
        write_all(&mut files, core, progress).map_err(refused)
    }
}

fn write_all(files: &mut Files, core: &Core, progress: Progress) -> io::Result<()> {
    files.establish()?;
    files.begin_snapshot(progress.roster_version)?;
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        let mut page = Vec::with_capacity(PAGE as usize);
        cursor = core.save_page(from, PAGE, |saved| page.push(saved));
        files.page(&page)?;
    }
    files.end_snapshot()?;
    files.write_clean_mark(progress, core.barrier())
}

impl Drop for State {
    fn drop(&mut self) {
        // The lock goes with the files.
        drop(self.stop());
    }
}

#[cfg(test)]
mod tests;
