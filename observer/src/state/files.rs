//! The files of a running observer, in the hands of the one thread that writes them.

use std::{fs::File, io};

use varta_core::{Now, Saved, WallNs};

use super::{
    Boot,
    batch::{self, Header, JOURNAL_MAGIC, SLOTS_MAGIC, Trailer},
    disk::{Directory, JOURNAL, JOURNAL_NEW, MARK, MARK_NEW, OBSERVED, SLOTS, SLOTS_NEW},
    mark::Mark,
};

/// Below this length a journal is left to grow.
const JOURNAL_SMALL: u64 = 4 << 20;
/// A journal this many times longer than it should be is given up until there is a snapshot.
const JOURNAL_HUGE: u64 = 8;
/// So much is written before it is synced, so that no sync holds the mark up for long.
const UNSYNCED_MAX: u64 = 4 << 20;
/// So many records are encoded at once.
const NOTED_AT_ONCE: usize = 1024;
/// After a failure a snapshot is tried again after so many marks.
const PAUSE: u32 = 10;

/// What one write of the mark is to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// At least this.
    pub(super) horizon: WallNs,
    pub(super) now: Now,
    pub(super) blind_run: u64,
    pub(super) roster_version: u64,
}

/// A file that grows.
#[derive(Debug)]
struct Growing {
    file: File,
    len: u64,
    synced: u64,
}

impl Growing {
    fn append(&mut self, disk: &Directory, bytes: &[u8]) -> io::Result<()> {
        disk.write(&self.file, bytes, self.len)?;
        self.len += bytes.len() as u64;
        if self.len - self.synced > UNSYNCED_MAX { self.sync(disk) } else { Ok(()) }
    }

    fn sync(&mut self, disk: &Directory) -> io::Result<()> {
        if self.synced < self.len {
            disk.sync(&self.file)?;
            self.synced = self.len;
        }
        Ok(())
    }

    fn create(disk: &Directory, name: &str, header: &[u8]) -> io::Result<Self> {
        let mut growing = Self { file: disk.create(name)?, len: 0, synced: 0 };
        growing.append(disk, header)?;
        Ok(growing)
    }
}

/// A snapshot being written, and the journal that will go with it.
#[derive(Debug)]
struct Build {
    snapshot: u64,
    slots: Growing,
    sum: Trailer,
    journal: Growing,
}

impl Build {
    fn complete(&mut self, disk: &Directory) -> io::Result<()> {
        self.journal.sync(disk)?;
        self.sum.journal_len = self.journal.synced;
        self.slots.append(disk, &self.sum.encode())?;
        self.slots.sync(disk)
    }
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The mark, if it could be read.
    pub(super) mark: Option<Mark>,
    /// Number of the snapshot in place, and its length.
    pub(super) snapshot: u64,
    pub(super) slots_len: u64,
    /// How long the whole part of its journal is, if notes can be added to it.
    pub(super) journal_len: Option<u64>,
    /// The largest number of any snapshot seen.
    pub(super) numbers: u64,
    /// Whether there was nothing at all.
    pub(super) first: bool,
}

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    disk: Directory,
    boot: Boot,
    /// Whether records of another boot may be in force. Their instants mean nothing in this one, so until a snapshot has
    /// taken their place no mark names this boot.
    foreign: bool,
    first: bool,
    /// The last mark that is known to be durable.
    mark: Mark,
    block: Option<File>,
    journal: Option<Growing>,
    build: Option<Build>,
    slots_len: u64,
    /// The largest number of any snapshot seen or begun.
    numbers: u64,
    begun: bool,
    observed: bool,
    pause: u32,
    buffer: Vec<u8>,
}

impl Files {
    pub(super) fn new(disk: Directory, found: &Found, boot: Boot) -> Self {
        let journal = found.journal_len.and_then(|len| {
            let file = disk.reopen(JOURNAL).ok()?;
            disk.cut(&file, len).ok()?;
            disk.sync(&file).ok()?;
            Some(Growing { file, len, synced: len })
        });
        let mut mark = found.mark.unwrap_or_default();
        (mark.snapshot, mark.journal_len) = (found.snapshot, found.journal_len.unwrap_or(0));
        Self {
            disk,
            boot,
            foreign: !found.first && mark.boot != boot,
            first: found.first,
            mark,
            block: None,
            journal,
            build: None,
            slots_len: found.slots_len,
            numbers: found.numbers,
            begun: false,
            observed: false,
            pause: 0,
            buffer: Vec::new(),
        }
    }

    /// Whether a frame may have been accepted.
    pub(super) const fn begun(&self) -> bool {
        self.begun
    }

    pub(super) const fn disk(&self) -> &Directory {
        &self.disk
    }

    /// From now on frames may be accepted, whatever the disk says.
    pub(super) const fn begin(&mut self) {
        self.begun = true;
    }

    /// Says for good that there was state here, and at a first start writes an empty snapshot: without one, a crash before
    /// the first would look like a loss.
    pub(super) fn establish(&mut self) -> io::Result<()> {
        if !self.observed {
            self.disk.create(OBSERVED)?;
            self.disk.sync_names()?;
            self.observed = true;
        }
        if std::mem::take(&mut self.first) {
            self.begin_snapshot(self.mark.roster_version)?;
            self.end_snapshot()?;
        }
        Ok(())
    }

    /// Writes the mark of a running observer, durably, and returns the horizon now in force.
    pub(super) fn write_mark(&mut self, progress: Progress) -> io::Result<WallNs> {
        self.put_mark(Mark {
            clean: false,
            horizon: self.mark.horizon.max(progress.horizon),
            barrier: WallNs(0),
            records: 0,
            chain: 0,
            ..self.next_mark(progress)
        })
    }

    fn next_mark(&self, progress: Progress) -> Mark {
        Mark {
            sequence: self.mark.sequence + 1,
            blind_run: progress.blind_run,
            roster_version: self.mark.roster_version.max(progress.roster_version),
            boot: if self.foreign { Boot::UNKNOWN } else { self.boot },
            mono: progress.now.mono,
            wall: progress.now.wall,
            ..self.mark
        }
    }

    fn put_mark(&mut self, mark: Mark) -> io::Result<WallNs> {
        let block = mark.block();
        let file = match self.block.take() {
            Some(file) => file,
            None => match self.disk.reopen(MARK) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let file = self.disk.create(MARK_NEW)?;
                    self.disk.write(&file, &block, 0)?;
                    self.disk.sync(&file)?;
                    self.disk.rename(MARK_NEW, MARK)?;
                    self.disk.sync_names()?;
                    file
                }
                Err(error) => return Err(error),
            },
        };
        self.disk.write(&file, &block, 0)?;
        self.disk.sync(&file)?;
        self.block = Some(file);
        self.mark = mark;
        self.pause = self.pause.saturating_sub(1);
        Ok(mark.horizon)
    }

    /// Adds records to the journal, and to the one that goes with the snapshot being written.
    pub(super) fn note(&mut self, records: &[Saved]) -> io::Result<()> {
        for part in records.chunks(NOTED_AT_ONCE) {
            self.note_part(part).inspect_err(|_| self.pause = PAUSE)?;
        }
        Ok(())
    }

    fn note_part(&mut self, records: &[Saved]) -> io::Result<()> {
        if self.journal.is_none() && self.build.is_none() {
            return Ok(());
        }
        self.buffer.clear();
        batch::write(records, &mut self.buffer, |_, _| {});
        let huge = self.journal_enough() * JOURNAL_HUGE;
        let mut result = Ok(());
        if let Some(mut journal) = self.journal.take() {
            result = journal.append(&self.disk, &self.buffer);
            if result.is_err() {
                // Half a batch would be corruption with more behind it; nothing is added any more.
                let _ = self.disk.cut(&journal.file, journal.len);
            } else if journal.len <= huge {
                self.journal = Some(journal);
            }
        }
        if let Some(build) = &mut self.build {
            let added = build.journal.append(&self.disk, &self.buffer);
            result = result.and(self.or_abort(added));
        }
        result
    }

    /// Makes the notes durable. The next mark says so.
    pub(super) fn sync_notes(&mut self) -> io::Result<()> {
        if let Some(mut journal) = self.journal.take() {
            journal.sync(&self.disk).inspect_err(|_| self.pause = PAUSE)?;
            self.mark.journal_len = journal.synced;
            self.journal = Some(journal);
        }
        Ok(())
    }

    fn journal_enough(&self) -> u64 {
        self.slots_len.max(JOURNAL_SMALL)
    }

    /// Whether the journal is long, or given up, or of another boot, and nothing has failed for a while.
    pub(super) fn wants_snapshot(&self) -> bool {
        let long = self.journal.as_ref().is_none_or(|journal| journal.len > self.journal_enough());
        (long || self.foreign) && self.begun && self.build.is_none() && self.pause == 0
    }

    /// Whether what is noted reaches the disk.
    pub(super) const fn keeps_notes(&self) -> bool {
        self.journal.is_some()
    }

    pub(super) const fn building(&self) -> bool {
        self.build.is_some()
    }

    /// Notes were lost: the journal ends here, until there is a snapshot.
    pub(super) fn give_up_journal(&mut self) {
        self.journal = None;
        self.abort_build();
        self.pause = PAUSE;
    }

    fn abort_build(&mut self) {
        if self.build.take().is_some() {
            // What it took may be what the disk lacks.
            let _ = self.disk.remove(SLOTS_NEW);
            let _ = self.disk.remove(JOURNAL_NEW);
        }
    }

    pub(super) fn begin_snapshot(&mut self, roster_version: u64) -> io::Result<()> {
        self.abort_build();
        self.numbers += 1;
        let header = Header { snapshot: self.numbers, roster_version };
        let made = Growing::create(&self.disk, SLOTS_NEW, &header.encode(SLOTS_MAGIC)).and_then(|slots| {
            let journal = Growing::create(&self.disk, JOURNAL_NEW, &header.encode(JOURNAL_MAGIC))?;
            Ok(Build { snapshot: self.numbers, slots, sum: Trailer::default(), journal })
        });
        match made {
            Ok(build) => {
                self.build = Some(build);
                Ok(())
            }
            Err(error) => {
                let _ = self.disk.remove(SLOTS_NEW);
                let _ = self.disk.remove(JOURNAL_NEW);
                self.pause = PAUSE;
                Err(error)
            }
        }
    }

    /// Adds a page to the snapshot being written; without one, nothing happens.
    pub(super) fn page(&mut self, records: &[Saved]) -> io::Result<()> {
        let Some(build) = &mut self.build else {
            return Ok(());
        };
        self.buffer.clear();
        batch::write(records, &mut self.buffer, |count, crc| build.sum.add(count, crc));
        let written = build.slots.append(&self.disk, &self.buffer);
        self.or_abort(written)
    }

    /// Puts the snapshot in force.
    pub(super) fn end_snapshot(&mut self) -> io::Result<()> {
        let Some(build) = &mut self.build else {
            return Ok(());
        };
        let complete = build.complete(&self.disk);
        self.or_abort(complete)?;
        let Some(build) = self.build.take() else {
            return Ok(());
        };
        self.put_in_force(build).inspect_err(|_| {
            // Half way the old journal goes with nothing, and the new one must stay where it is.
            self.journal = None;
            self.pause = PAUSE;
        })
    }

    fn put_in_force(&mut self, build: Build) -> io::Result<()> {
        self.disk.rename(SLOTS_NEW, SLOTS)?;
        self.disk.sync_names()?;
        self.disk.rename(JOURNAL_NEW, JOURNAL)?;
        self.disk.sync_names()?;
        self.slots_len = build.slots.len;
        (self.mark.snapshot, self.mark.journal_len) = (build.snapshot, build.journal.synced);
        (self.mark.records, self.mark.chain) = (build.sum.records, build.sum.chain);
        self.journal = Some(build.journal);
        self.foreign = false;
        Ok(())
    }

    fn or_abort(&mut self, result: io::Result<()>) -> io::Result<()> {
        result.inspect_err(|_| {
            self.abort_build();
            self.pause = PAUSE;
        })
    }

    /// Writes the clean mark over the snapshot just put in force.
    pub(super) fn write_clean_mark(&mut self, progress: Progress, barrier: WallNs) -> io::Result<()> {
        let horizon = self.mark.horizon.max(progress.horizon).max(barrier);
        self.put_mark(Mark { clean: true, horizon, barrier, ..self.next_mark(progress) }).map(drop)
    }
}
