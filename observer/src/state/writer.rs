//! The thread that writes, and the desk over which it is asked. The mark goes before everything else.

use std::{
    collections::VecDeque,
    fmt::Display,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use varta_core::{Saved, WallNs};

use super::{
    Level, Notice,
    files::{Files, Progress},
};

/// Most records noted and not yet written; beyond that the journal is given up.
pub(super) const NOTED_MAX: usize = 65_536;
/// Most pages of a snapshot not yet written.
pub(super) const PAGES_MAX: usize = 4;
/// Most notices not yet fetched.
const SAID_MAX: usize = 16;

/// One step of a snapshot.
#[derive(Debug)]
pub(super) enum Build {
    Begin { number: u64, roster_version: u64 },
    Page(Vec<Saved>),
    End,
}

/// What the writer has been asked for, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The mark to be written, and the number of the newest order it answers.
    mark: Option<(u64, Progress)>,
    /// Whether the notes are to be made durable too.
    tick: bool,
    notes: VecDeque<Vec<Saved>>,
    /// Records in `notes`.
    noted: usize,
    give_up: bool,
    builds: VecDeque<Build>,
    stop: bool,

    /// The newest order that was answered.
    pub(super) answered: u64,
    /// The newest order that was given up waiting for.
    awaited: u64,
    /// The horizon that is durable.
    pub(super) horizon: WallNs,
    /// Why the newest mark could not be written.
    pub(super) mark_failed: Option<String>,
    /// Why the newest notes or snapshot could not be written.
    pub(super) records_failed: Option<String>,
    pub(super) failures: u64,
    pub(super) wants_snapshot: bool,
    /// The newest snapshot that was finished, or came to nothing.
    pub(super) build_over: u64,
    said: VecDeque<Notice>,
}

/// Where the two threads meet.
#[derive(Debug, Default)]
pub(super) struct Desk {
    board: Mutex<Board>,
    asked: Condvar,
    done: Condvar,
}

impl Desk {
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        // A thread that panicked left nothing half done: everything under the lock is an assignment.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a mark. One not yet begun is replaced.
    pub(super) fn order_mark(&self, number: u64, progress: Progress, tick: bool) {
        let mut board = self.board();
        let waiting = board.mark.map_or(WallNs(0), |(_, waiting)| waiting.horizon);
        board.mark = Some((number, Progress { horizon: progress.horizon.max(waiting), ..progress }));
        board.tick |= tick;
        self.asked.notify_one();
    }

    /// Waits until that order is answered, or for `limit`; whether it was.
    pub(super) fn wait_for(&self, number: u64, limit: Duration) -> bool {
        let waiting = |board: &mut Board| board.answered < number;
        let waited = self.done.wait_timeout_while(self.board(), limit, waiting);
        let (board, _) = waited.unwrap_or_else(PoisonError::into_inner);
        board.answered >= number
    }

    /// Hands records over; false if there is no room, and the journal is given up.
    pub(super) fn note(&self, records: Vec<Saved>, what: &dyn Display) -> bool {
        let mut board = self.board();
        let room = board.noted + records.len() <= NOTED_MAX;
        if room {
            board.noted += records.len();
            board.notes.push_back(records);
        } else {
            (board.noted, board.give_up) = (0, true);
            board.notes.clear();
            board.builds.clear();
            let behind = format!("it is more than {NOTED_MAX} changes behind");
            board.outcome(Which::Records, what, Err(behind));
        }
        self.asked.notify_one();
        room
    }

    pub(super) fn build(&self, step: Build) {
        self.board().builds.push_back(step);
        self.asked.notify_one();
    }

    /// Tells the writer to stop; false if it was told before.
    pub(super) fn stop(&self) -> bool {
        let told = std::mem::replace(&mut self.board().stop, true);
        self.asked.notify_one();
        !told
    }

    pub(super) fn poll_notice(&self) -> Option<Notice> {
        self.board().said.pop_front()
    }

    fn next(&self) -> Option<Work> {
        let idle = |board: &mut Board| {
            let asked = board.mark.is_some() || board.give_up || !board.notes.is_empty() || !board.builds.is_empty();
            !(asked || board.stop)
        };
        let mut board = self.asked.wait_while(self.board(), idle).unwrap_or_else(PoisonError::into_inner);
        if board.stop {
            return None;
        }
        board.noted = 0;
        Some(Work {
            mark: board.mark.take(),
            tick: std::mem::take(&mut board.tick),
            give_up: std::mem::take(&mut board.give_up),
            notes: std::mem::take(&mut board.notes),
            // One at a time, so that no mark waits for more than that.
            build: board.builds.pop_front(),
        })
    }
}

impl Board {
    /// How many records were noted and not yet written.
    #[cfg(test)]
    pub(super) const fn noted(&self) -> usize {
        self.noted
    }

    /// How many pages are waiting.
    pub(super) fn pages(&self) -> usize {
        self.builds.len()
    }

    /// How many records [`Desk::note`] would take now; not known of a disk that fails.
    pub(super) fn room(&self) -> Option<usize> {
        let failing = self.mark_failed.is_some() || self.records_failed.is_some();
        (!failing).then(|| NOTED_MAX.saturating_sub(self.noted))
    }

    fn say(&mut self, level: Level, text: String) {
        if self.said.len() == SAID_MAX {
            self.said.pop_front();
        }
        self.said.push_back(Notice { level, text });
    }

    /// Takes down that the loop waits no longer for that order: until it is answered, what is durable is too little.
    pub(super) fn overdue(&mut self, number: u64, what: &dyn Display, why: &str) {
        self.awaited = self.awaited.max(number);
        if self.mark_failed.is_none() {
            self.outcome(Which::Mark, what, Err(why.into()));
        }
    }

    /// Takes down how the mark of that order went.
    pub(super) fn answer(&mut self, number: u64, what: &dyn Display, written: Result<WallNs, String>) {
        self.answered = number;
        if let Ok(horizon) = written {
            self.horizon = horizon;
        }
        // An older order that is answered at last does not cover what an overdue one was to cover.
        if written.is_err() || number >= self.awaited {
            self.outcome(Which::Mark, what, written.map(drop));
        }
    }

    /// Takes down how a write went, and says so when that is news.
    fn outcome(&mut self, which: Which, what: &dyn Display, result: Result<(), String>) {
        let known = match which {
            Which::Mark => &mut self.mark_failed,
            Which::Records => &mut self.records_failed,
        };
        let was_failing = known.is_some();
        let consequence = match which {
            Which::Mark => "observing goes on; until it can be written, frames could be replayed after a crash",
            Which::Records => "observing goes on; until it can be written, changes would be forgotten by a crash",
        };
        *known = result.err();
        let failed = known.clone();
        self.failures += u64::from(failed.is_some());
        match failed {
            Some(error) if !was_failing => {
                self.say(Level::Warn, format!("{what}: cannot write {which}: {error}; {consequence}"))
            }
            None if was_failing => self.say(Level::Info, format!("{what}: {which} can be written again")),
            _ => {}
        }
    }
}

/// Which of the two kinds of writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Mark,
    Records,
}

impl Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mark => "the mark",
            Self::Records => "what changed",
        })
    }
}

struct Work {
    mark: Option<(u64, Progress)>,
    tick: bool,
    give_up: bool,
    notes: VecDeque<Vec<Saved>>,
    build: Option<Build>,
}

/// Starts the thread. The receiver gets the files back when it was told to stop.
pub(super) fn start(desk: Arc<Desk>, files: Files) -> io::Result<mpsc::Receiver<Files>> {
    let (back, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("varta-state".into()).spawn(move || {
        let mut writer = Writer { desk: &desk, files, build: 0 };
        while let Some(work) = desk.next() {
            writer.carry_out(work);
        }
        // If nobody waits for them any more they are closed here.
        let _ = back.send(writer.files);
    })?;
    Ok(receiver)
}

struct Writer<'a> {
    desk: &'a Desk,
    files: Files,
    /// The number of the newest snapshot begun.
    build: u64,
}

impl Writer<'_> {
    fn carry_out(&mut self, work: Work) {
        if let Some((number, progress)) = work.mark {
            self.mark(number, progress);
        }
        if work.give_up {
            self.files.give_up_journal();
        }
        let attempted = work.tick || !work.notes.is_empty() || work.build.is_some();
        let (mut result, mut build) = (Ok(()), work.build);
        // What is noted from its beginning on goes with a new snapshot.
        if matches!(build, Some(Build::Begin { .. })) {
            result = self.build(build.take());
        }
        for records in &work.notes {
            result = result.and(self.files.note(records));
        }
        result = result.and(self.build(build));
        if work.tick {
            result = result.and(self.files.sync_notes());
        }
        let mut board = self.desk.board();
        if attempted && (result.is_err() || self.files.keeps_notes()) {
            board.outcome(Which::Records, &self.files.disk().shown(), result.map_err(|error| error.to_string()));
        }
        if !self.files.building() {
            board.build_over = board.build_over.max(self.build);
        }
        board.wants_snapshot = self.files.wants_snapshot();
        self.desk.done.notify_all();
    }

    fn mark(&mut self, number: u64, progress: Progress) {
        self.files.begin();
        let established = self.files.establish();
        let written = self.files.write_mark(progress);
        let mut board = self.desk.board();
        board.answer(number, &self.files.disk().shown(), written.map_err(|error| error.to_string()));
        if let Err(error) = established {
            board.outcome(Which::Records, &self.files.disk().shown(), Err(error.to_string()));
        }
        self.desk.done.notify_all();
    }

    fn build(&mut self, step: Option<Build>) -> io::Result<()> {
        match step {
            None => Ok(()),
            Some(Build::Begin { number, roster_version }) => {
                self.build = number;
                self.files.begin_snapshot(roster_version)
            }
            Some(Build::Page(records)) => self.files.page(&records),
            Some(Build::End) => self.files.end_snapshot(),
        }
    }
}
