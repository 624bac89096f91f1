//! What an observer finds of its own past, and what that is worth: SPEC, "Restart".

use std::{io, ops::Range};

use varta_core::{Now, Saved, Start, WallNs};

use super::{
    Boot, Level, Notice, StateError,
    batch::{self, HEADER_LEN, Header, JOURNAL_MAGIC, Scan, Trailer, Unreadable},
    disk::{Directory, JOURNAL, JOURNAL_NEW, MARK, MARK_NEW, SLOTS, SLOTS_NEW},
    files::Found,
    mark::Mark,
    record,
};

/// What was read back.
#[derive(Debug)]
pub struct Loaded {
    /// In what state the past was found; for [`varta_core::Core::start`].
    pub how: Start,
    /// Whether the saving observer ran under this boot of the host; for [`varta_core::Core::restore`].
    pub same_boot: bool,
    /// Blind time that adds up, nanoseconds; for [`varta_core::Core::start`].
    pub blind_run: u64,
    /// The newest roster that was in force; an older one is to be refused. 0: none.
    pub roster_version: u64,
    /// Nothing sent later than this was accepted, where that is known; else 0.
    pub horizon: WallNs,
    /// What is to be told about it.
    pub said: Vec<Notice>,
    /// What was kept, oldest first; for [`varta_core::Core::restore`].
    pub records: Records,
}

/// Records as they are read back. Files are read whole and checked before the first one is given out.
#[derive(Debug, Default)]
pub struct Records {
    files: Vec<(Vec<u8>, Vec<Range<usize>>)>,
    file: usize,
    batch: usize,
    /// Place in the current batch.
    place: usize,
    left: u64,
}

impl Records {
    fn push(&mut self, bytes: Vec<u8>, scan: Scan) {
        self.left += scan.sum.records;
        self.files.push((bytes, scan.good));
    }
}

impl Iterator for Records {
    type Item = Saved;

    fn next(&mut self) -> Option<Saved> {
        loop {
            let (bytes, batches) = self.files.get_mut(self.file)?;
            let Some(batch) = batches.get(self.batch) else {
                // Read out: its memory can go.
                (*bytes, *batches) = (Vec::new(), Vec::new());
                (self.file, self.batch) = (self.file + 1, 0);
                continue;
            };
            let mut rest = bytes.get(batch.start + self.place..batch.end).unwrap_or(&[]);
            // Every record was decoded when its batch was checked.
            if let Some(Ok(saved)) = record::decode(&mut rest) {
                self.place = batch.len() - rest.len();
                self.left = self.left.saturating_sub(1);
                return Some(saved);
            }
            (self.batch, self.place) = (self.batch + 1, 0);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// Reads everything in the directory and judges it.
pub(super) fn load(disk: &Directory, now: Now, boot: Boot) -> Result<(Loaded, Found), StateError> {
    let names = disk.names().map_err(|error| StateError::Io { path: disk.path(""), error })?;
    if names.is_empty() {
        return Ok(first(disk, now));
    }
    let (records, found) = (Records::default(), Found::default());
    let mut reading = Reading { disk, wrong: Vec::new(), said: Vec::new(), records, found };
    let mark = reading.mark()?;
    let slots = reading.slots()?;
    let journal = reading.journal(slots)?;
    reading.remove_unfinished();
    if let (Some(mark), Some(slots), Some(journal)) = (mark, slots, journal) {
        reading.compare(&mark, slots, journal);
    }
    Ok(reading.judge(now, boot, mark, slots, &names))
}

fn first(disk: &Directory, now: Now) -> (Loaded, Found) {
    let text =
        format!("{}: no state yet: a first start; frames sent before {} are refused", disk.shown(), shown(now.wall));
    let loaded = Loaded {
        how: Start::First,
        same_boot: false,
        blind_run: 0,
        roster_version: 0,
        horizon: WallNs(0),
        said: vec![Notice { level: Level::Info, text }],
        records: Records::default(),
    };
    (loaded, Found { first: true, ..Found::default() })
}

#[derive(Clone, Copy)]
struct Slots {
    header: Header,
    trailer: Trailer,
}

#[derive(Clone, Copy)]
struct Journal {
    /// Up to where it is whole.
    whole: u64,
    len: u64,
}

struct Reading<'a> {
    disk: &'a Directory,
    /// What is corrupt or missing.
    wrong: Vec<String>,
    said: Vec<Notice>,
    records: Records,
    found: Found,
}

impl Reading<'_> {
    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        match self.disk.read(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(StateError::Io { path: self.disk.path(name), error })
            }
            Err(error) => {
                self.is_corrupt(name, &error.to_string());
                Ok(None)
            }
            Ok(None) => {
                self.wrong.push(format!("{} is missing", self.disk.path(name).display()));
                Ok(None)
            }
            Ok(found) => Ok(found),
        }
    }

    fn is_corrupt(&mut self, name: &str, what: &str) {
        let aside = self.disk.set_aside(name);
        self.wrong.push(format!("{} is corrupt: {what}; {aside}", self.disk.path(name).display()));
    }

    fn refuse<T>(&mut self, name: &str, why: Unreadable) -> Result<Option<T>, StateError> {
        match why {
            Unreadable::Newer(version) => Err(StateError::Newer { path: self.disk.path(name), version }),
            Unreadable::Corrupt(what) => {
                self.is_corrupt(name, &what);
                Ok(None)
            }
        }
    }

    fn mark(&mut self) -> Result<Option<Mark>, StateError> {
        let Some(block) = self.read(MARK)? else {
            return Ok(None);
        };
        match Mark::read(&block) {
            Ok((mark, damaged)) => {
                if damaged {
                    let text = format!(
                        "{}: one of its two copies is damaged; the other is used",
                        self.disk.path(MARK).display()
                    );
                    self.said.push(Notice { level: Level::Warn, text });
                }
                self.found.numbers = self.found.numbers.max(mark.snapshot);
                self.found.mark = Some(mark);
                Ok(Some(mark))
            }
            Err(why) => self.refuse(MARK, why),
        }
    }

    fn slots(&mut self) -> Result<Option<Slots>, StateError> {
        let Some(bytes) = self.read(SLOTS)? else {
            return Ok(None);
        };
        let length = bytes.len() as u64;
        let (scan, judged) = batch::read_snapshot(&bytes);
        // Of a corrupt one, what is whole still tells who exists.
        self.records.push(bytes, scan);
        match judged {
            Ok((header, trailer)) => {
                (self.found.snapshot, self.found.slots_len) = (header.snapshot, length);
                self.found.numbers = self.found.numbers.max(header.snapshot);
                Ok(Some(Slots { header, trailer }))
            }
            Err(why) => self.refuse(SLOTS, why),
        }
    }

    /// The journal that goes with the snapshot; a stop between two renames leaves it under its other name.
    fn journal(&mut self, slots: Option<Slots>) -> Result<Option<Journal>, StateError> {
        if let Some(slots) = slots
            && self.snapshot_of(JOURNAL) != Some(slots.header.snapshot)
            && self.snapshot_of(JOURNAL_NEW) == Some(slots.header.snapshot)
        {
            let renamed = self.disk.rename(JOURNAL_NEW, JOURNAL).and_then(|()| self.disk.sync_names());
            renamed.map_err(|error| StateError::Io { path: self.disk.path(JOURNAL_NEW), error })?;
        }
        let Some(bytes) = self.read(JOURNAL)? else {
            return Ok(None);
        };
        let header = match Header::decode(&bytes, JOURNAL_MAGIC) {
            Ok(header) => header,
            Err(why) => return self.refuse(JOURNAL, why),
        };
        self.found.numbers = self.found.numbers.max(header.snapshot);
        if slots.is_some_and(|slots| slots.header.snapshot != header.snapshot) {
            self.is_corrupt(JOURNAL, "it goes with another snapshot");
            return Ok(None);
        }
        let scan = batch::scan(&bytes, HEADER_LEN);
        let journal = Journal { whole: scan.end as u64, len: bytes.len() as u64 };
        self.records.push(bytes, scan);
        Ok(Some(journal))
    }

    fn snapshot_of(&self, name: &str) -> Option<u64> {
        let head: [u8; HEADER_LEN] = self.disk.head(name)?;
        Header::decode(&head, JOURNAL_MAGIC).ok().map(|header| header.snapshot)
    }

    /// What was being written when the observer stopped was not in force yet.
    fn remove_unfinished(&self) {
        for name in [MARK_NEW, SLOTS_NEW, JOURNAL_NEW] {
            // One that stays is overwritten.
            let _ = self.disk.remove(name);
        }
    }

    /// Whether the three go together. What was durable must still be there; what came after may be torn.
    fn compare(&mut self, mark: &Mark, slots: Slots, journal: Journal) {
        let newer = slots.header.snapshot > mark.snapshot;
        let durable = if newer { slots.trailer.journal_len } else { mark.journal_len };
        let place = |name| self.disk.path(name).display().to_string();
        if slots.header.snapshot < mark.snapshot {
            self.wrong.push(format!("{} is older than {}", place(SLOTS), place(MARK)));
        } else if journal.whole < durable {
            self.is_corrupt(JOURNAL, &format!("of {durable} bytes that were on disk only {} are whole", journal.whole));
            return;
        } else if mark.clean {
            let stopped_with = (mark.snapshot, mark.records, mark.chain, mark.journal_len);
            let there = (slots.header.snapshot, slots.trailer.records, slots.trailer.chain, journal.len);
            if stopped_with != there {
                self.wrong.push(format!(
                    "{} and {} are not what the observer stopped with",
                    place(SLOTS),
                    place(JOURNAL)
                ));
            }
        }
        if journal.whole < journal.len {
            let torn = journal.len - journal.whole;
            let text = format!("{}: the last {torn} bytes were being written and are cut off", place(JOURNAL));
            self.said.push(Notice { level: Level::Info, text });
        }
        self.found.journal_len = Some(journal.whole);
    }

    fn judge(
        mut self,
        now: Now,
        boot: Boot,
        mark: Option<Mark>,
        slots: Option<Slots>,
        names: &[String],
    ) -> (Loaded, Found) {
        let past = mark.unwrap_or_default();
        let same_boot = boot != Boot::UNKNOWN && past.boot == boot;
        let away = if same_boot { now.mono.since(past.mono) } else { now.wall.0.saturating_sub(past.wall.0) };
        let how = if !self.wrong.is_empty() {
            Start::Lost
        } else if past.clean {
            Start::Clean { stopped: past.mono, away, barrier: past.barrier }
        } else {
            Start::Crash { horizon: past.horizon, away }
        };
        if how == Start::Lost && mark.is_none() && slots.is_none() {
            self.wrong.push(format!("it is not an empty directory: it holds {}", few(names)));
        }
        let told = self.told(how);
        self.said.insert(0, told);
        let roster_version = past.roster_version.max(slots.map_or(0, |slots| slots.header.roster_version));
        self.found.mark = Some(Mark { roster_version, ..past });
        let horizon = past.horizon;
        let blind_run = past.blind_run;
        (
            Loaded { how, same_boot, blind_run, roster_version, horizon, said: self.said, records: self.records },
            self.found,
        )
    }

    fn told(&self, how: Start) -> Notice {
        let records = self.records.left;
        let text = match how {
            Start::Clean { away, .. } => {
                let away = std::time::Duration::from_secs(away / varta_core::SECOND);
                let away = humantime::format_duration(away);
                format!("{}: {records} records read; stopped cleanly {away} ago", self.disk.shown())
            }
            Start::Crash { horizon, .. } => format!(
                "{}: {records} records read; the observer had not been stopped cleanly, so frames sent up to {} are refused",
                self.disk.shown(),
                shown(horizon)
            ),
            Start::First | Start::Lost => format!(
                "{}: state is lost: {}. {records} records could be read; frames sent before this start are refused",
                self.disk.shown(),
                self.wrong.join("; ")
            ),
        };
        let level = if matches!(how, Start::Clean { .. }) { Level::Info } else { Level::Warn };
        Notice { level, text }
    }
}

fn few(names: &[String]) -> String {
    let mut few = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 3 {
        few.push_str(", ..");
    }
    few
}

fn shown(wall: WallNs) -> String {
    // Until the year 2554 any count of nanoseconds is a date.
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(wall.0);
    humantime::format_rfc3339_seconds(time).to_string()
}
