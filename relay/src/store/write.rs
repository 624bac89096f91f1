//! Writing what was noted.

use redb::{Durability, ReadableTable as _};

use super::{
    Store,
    open::open_again,
    pending::{Pending, UnitRow},
    tables::{ALIVE, INCIDENTS, MARKS, META, NUMBERS, SILENCES, TURNS, UNITS},
};

impl Store {
    /// Writes what was noted until now, and that the relay lives. What cannot be written is tried again.
    pub(super) fn write(&self, now_ms: u64) {
        let pending = {
            let mut pending = self.pending();
            Pending {
                units: std::mem::take(&mut pending.units),
                incidents: std::mem::take(&mut pending.incidents),
                silences: pending.silences.take(),
                marks: std::mem::take(&mut pending.marks),
                ..Pending::default()
            }
        };
        let written = self.try_write(&pending, now_ms);
        if written.is_err() {
            // After an error of the disk a database does nothing any more until it is opened again.
            self.reopen();
        }
        let mut state = self.pending();
        let before = std::mem::replace(&mut state.failing, written.is_err());
        match written {
            Ok(()) if before => tracing::info!("{}: history is written again", self.0.file.display()),
            Ok(()) => {}
            Err(error) => {
                state.failures += 1;
                state.put_back(pending);
                if !before {
                    tracing::warn!(
                        "{}: history cannot be written, and is kept in memory: {error}",
                        self.0.file.display()
                    );
                }
            }
        }
    }

    /// Opens the file again. What fails here is tried again with the next write.
    fn reopen(&self) {
        let mut database = self.database_mut();
        // It is closed before it is opened: it has a lock.
        *database = None;
        *database = open_again(&self.0.file, self.0.open);
    }

    fn try_write(&self, pending: &Pending, now_ms: u64) -> Result<(), redb::Error> {
        let database = self.database();
        let mut write = database.as_ref().ok_or(redb::Error::PreviousIo)?.begin_write()?;
        // A crash is repaired in no time, however large the file.
        write.set_quick_repair(true);
        write.set_durability(Durability::Immediate)?;
        {
            write.open_table(META)?.insert(ALIVE, now_ms)?;
            let mut numbers = write.open_table(NUMBERS)?;
            let mut units = write.open_table(UNITS)?;
            let mut turns = write.open_table(TURNS)?;
            let newest = units.last()?.map_or(0, |(number, _)| number.value());
            let mut next = newest + 1;
            for (key, unit) in &pending.units {
                let known = numbers.get(&**key)?.map(|number| number.value());
                let number = match known {
                    Some(number) => number,
                    // One that was known before it could be written has nothing to be known by.
                    None if unit.row.is_none() => continue,
                    None => {
                        numbers.insert(&**key, next)?;
                        next += 1;
                        next - 1
                    }
                };
                if let Some(row) = unit.row.as_deref().and_then(UnitRow::unpack) {
                    // All of its fields have a text form.
                    units.insert(number, &*serde_json::to_vec(&row).unwrap_or_default())?;
                }
                for (at_ms, code) in &unit.turns {
                    turns.insert((number, *at_ms), *code)?;
                }
            }
            let mut incidents = write.open_table(INCIDENTS)?;
            for (id, incident) in &pending.incidents {
                incidents.insert(*id, &*serde_json::to_vec(incident).unwrap_or_default())?;
            }
            let mut marks = write.open_table(MARKS)?;
            for (key, mark) in &pending.marks {
                match mark {
                    Some(mark) => marks.insert(*key, *mark as u8)?,
                    None => marks.remove(*key)?,
                };
            }
            if let Some(all) = &pending.silences {
                let mut silences = write.open_table(SILENCES)?;
                silences.retain(|_, _| false)?;
                for silence in all {
                    silences.insert(silence.id.0, &*serde_json::to_vec(silence).unwrap_or_default())?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}
