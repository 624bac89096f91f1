//! What outlives the relay: when each unit had which verdict, incidents, silences.
//!
//! One file in the state directory, written by a thread of its own. Verdicts are kept as the instants at which they changed:
//! a row for each change, never one for each beat. What changes is noted in memory, at once and without waiting, and written
//! once a second; a disk that refuses costs history and nothing else.

mod history;
mod mark;
mod open;
mod pending;
mod prune;
mod read;
mod tables;
mod write;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::JoinHandle,
    time::Duration,
};

use redb::Database;

pub(crate) use history::History;
pub(crate) use mark::{Mark, Marks};
pub(crate) use open::{Loaded, StoreError};
pub(crate) use pending::{UnitRow, key_of};

use open::Opener;
use pending::Pending;

/// How often what was noted is written.
const EVERY: Duration = Duration::from_secs(1);

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// For how long, milliseconds.
    pub(crate) ms: u64,
    /// How large the file may grow, bytes.
    pub(crate) bytes: u64,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    file: PathBuf,
    /// None while it cannot be opened again.
    database: RwLock<Option<Database>>,
    open: Opener,
    pending: Mutex<Pending>,
    /// Wakes the writer for its end.
    ending: (Mutex<bool>, Condvar),
    keep: Keep,
    /// What reads the wall clock, milliseconds since the Unix epoch.
    clock: fn() -> u64,
}

/// The thread that writes. [`Self::finish`] has it write what is left.
pub(crate) struct Writer {
    store: Store,
    thread: JoinHandle<()>,
}

impl Store {
    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.0.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn database_mut(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.0.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something to be written.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Pending)) {
        note(&mut self.pending());
    }

    /// Failed writes, and whether the newest one failed.
    pub(crate) fn failures(&self) -> (u64, bool) {
        let pending = self.pending();
        (pending.failures, pending.failing)
    }

    /// Starts the thread that writes.
    pub(crate) fn spawn(&self) -> std::io::Result<Writer> {
        let store = self.clone();
        let turn = move || store.write_until_told();
        let thread = std::thread::Builder::new().name("varta-store".to_owned()).spawn(turn)?;
        Ok(Writer { store: self.clone(), thread })
    }

    fn write_until_told(&self) {
        let (ended, wake) = &self.0.ending;
        let mut pruned = 0_u32;
        loop {
            let guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
            let (guard, _) = wake.wait_timeout(guard, EVERY).unwrap_or_else(PoisonError::into_inner);
            let ends = *guard;
            drop(guard);
            let now = (self.0.clock)();
            self.write(now);
            if ends {
                return;
            }
            pruned += 1;
            if pruned.is_multiple_of(prune::EVERY) {
                self.prune(now);
            }
        }
    }
}

impl Writer {
    /// Writes what is left, and ends.
    pub(crate) fn finish(self) {
        *self.store.0.ending.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.store.0.ending.1.notify_all();
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread that writes history ended badly; this is a defect, please report it with the log"
            );
        }
    }
}
