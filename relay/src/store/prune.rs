//! Forgetting: what is too old, and the oldest where the file is too large.

use redb::{Database, ReadableTable as _};

use super::{
    Store,
    pending::GONE,
    tables::{GAPS, INCIDENTS, MARKS, NUMBERS, TURNS, UNITS},
};

/// How many writes pass between two prunings: ten minutes.
pub(super) const EVERY: u32 = 600;
/// Units of one transaction.
const STEP: usize = 10_000;

impl Store {
    /// Forgets what is older than is to be kept, and more where the file is still too large.
    pub(super) fn prune(&self, now_ms: u64) {
        let mut keep = self.0.keep.ms;
        loop {
            if let Err(error) = self.forget_before(now_ms.saturating_sub(keep)) {
                tracing::warn!("{}: old history cannot be dropped: {error}", self.0.file.display());
                return;
            }
            let size = std::fs::metadata(&self.0.file).map_or(0, |file| file.len());
            if size <= self.0.keep.bytes || keep < 3_600_000 {
                return;
            }
            // The file grows smaller by being packed only.
            let packed = self.database_mut().as_mut().map(Database::compact);
            if let Some(Err(error)) = packed {
                tracing::warn!("{}: cannot be packed: {error}", self.0.file.display());
                return;
            }
            let size = std::fs::metadata(&self.0.file).map_or(0, |file| file.len());
            if size <= self.0.keep.bytes {
                return;
            }
            keep = keep / 4 * 3;
            tracing::warn!("{}: larger than history.max_bytes; older history is dropped", self.0.file.display());
        }
    }

    /// Forgets turns that ended before this instant, and units that were gone by then.
    pub(super) fn forget_before(&self, cutoff: u64) -> Result<(), redb::Error> {
        let mut from = 0;
        loop {
            let database = self.database();
            let mut write = database.as_ref().ok_or(redb::Error::PreviousIo)?.begin_write()?;
            write.set_quick_repair(true);
            let done = {
                let mut units = write.open_table(UNITS)?;
                let mut turns = write.open_table(TURNS)?;
                let numbers: Result<Vec<u32>, redb::Error> =
                    units.range(from..)?.take(STEP).map(|entry| Ok(entry?.0.value())).collect();
                let numbers = numbers?;
                let mut gone = Vec::new();
                for number in &numbers {
                    let newest = {
                        let newest = turns.range((*number, 0)..=(*number, cutoff))?.next_back().transpose()?;
                        newest.map(|(at, code)| (at.value().1, code.value()))
                    };
                    let Some((at, code)) = newest else { continue };
                    turns.retain_in((*number, 0)..(*number, at), |_, _| false)?;
                    let is_last = turns.range((*number, at + 1)..=(*number, u64::MAX))?.next().is_none();
                    if code == GONE && is_last {
                        turns.remove((*number, at))?;
                        units.remove(number)?;
                        gone.push(*number);
                    }
                }
                if !gone.is_empty() {
                    write.open_table(NUMBERS)?.retain(|_, number| !gone.contains(&number))?;
                }
                from = numbers.last().map_or(u32::MAX, |number| number.saturating_add(1));
                numbers.len() < STEP
            };
            if done {
                write.open_table(GAPS)?.retain(|_, until| until >= cutoff)?;
                let mut incidents = write.open_table(INCIDENTS)?;
                let is_recent = |_: u64, row: &[u8]| {
                    let closed = serde_json::from_slice::<crate::fleet::SavedIncident>(row).ok();
                    closed.is_some_and(|one| one.closed_ms.is_none_or(|closed| closed >= cutoff))
                };
                incidents.retain(is_recent)?;
                write
                    .open_table(MARKS)?
                    .retain(|(_, incident), _| incidents.get(incident).is_ok_and(|it| it.is_some()))?;
            }
            write.commit()?;
            if done {
                return Ok(());
            }
        }
    }
}
