//! What happens, told: every change of the core becomes a log line, an event for those who follow, and a row of the event
//! file. The only place that logs changes.
//!
//! Two halves: the [`Journal`] on the ingest thread notes what happened as plain values and never waits; the [`Teller`],
//! a thread of its own, puts it in words, in order. Between them lies a bounded queue.

mod note;
mod record;
mod refusal;
mod teller;
mod words;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    mpsc::{self, Sender},
};

pub(crate) use note::is_same;
pub(crate) use record::kind;
pub use record::{Detail, EventRecord, Process};
pub use refusal::{Offence, Refusal};
pub use teller::{Teller, Telling};

use tokio::sync::oneshot;
use varta_core::{Beat, Change, Core, MILLI, MonoNs, Now, Outcome, Reject};
use varta_vlp::sealed::shown_pid;

use self::note::{Note, What, Whom};
use crate::export::tsv::{Export, Line, Payload};
use varta_daemon::http::Ring;

/// Most events waiting to be told; further ones are lost and counted. As many rows of the event file that are no events,
/// beats and the like, wait beside them.
pub const WAITING: usize = 16_384;
/// Notes handed over at once, so that telling begins while noting goes on.
const TOGETHER: usize = 256;
/// Rows of beats wait so long for others, nanoseconds: to wake two threads for each would cost more than all else.
const GATHER: u64 = 100 * MILLI;

/// What both halves see.
#[derive(Debug, Default)]
struct Shared {
    events_waiting: AtomicUsize,
    rows_waiting: AtomicUsize,
    events_lost: AtomicU64,
}

/// Notes changes. Lives on the ingest thread and never waits.
#[derive(Debug)]
pub struct Journal {
    start: Now,
    next_id: u64,
    notes: Vec<Note>,
    /// When they are to be handed over.
    due: MonoNs,
    queue: Sender<Vec<Note>>,
    shared: Arc<Shared>,
    export: Option<Export>,
    /// Lines that earlier event files have lost.
    lost: u64,
    beats: bool,
}

/// A journal of an observer that started at `start`, and what tells of it: to the log, to those who follow `events`, and to
/// the event file `export`. Ids go on from the start's microseconds since the Unix epoch, so that they rise over restarts
/// too. `beats`: whether every accepted beat is a row of the event file.
#[must_use]
pub fn channel(start: Now, events: Option<Ring>, export: Option<Export>, beats: bool) -> (Journal, Teller) {
    let (queue, notes) = mpsc::channel();
    let shared = Arc::<Shared>::default();
    let teller = Teller::new(start, notes, Arc::clone(&shared), events, export.clone());
    let next_id = start.wall.0 / 1000 + 1;
    (Journal { start, next_id, notes: Vec::new(), due: MonoNs::NEVER, queue, shared, export, lost: 0, beats }, teller)
}

impl Journal {
    /// Whether every accepted beat is a row from now on.
    pub const fn set_beats(&mut self, beats: bool) {
        self.beats = beats;
    }

    /// Another event file, or none, for everything noted from now on. `done` is dropped once nothing more comes to the one
    /// before.
    pub fn set_export(&mut self, export: Option<Export>, done: oneshot::Sender<()>) {
        self.lost = self.export_lost();
        self.export.clone_from(&export);
        self.note(Note::Export(export, done));
    }

    /// Lines that this event file and those before it have lost.
    #[must_use]
    pub fn export_lost(&self) -> u64 {
        self.lost + self.export.as_ref().map_or(0, Export::lost)
    }

    /// Events that were lost because too many waited to be told.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.shared.events_lost.load(Ordering::Relaxed)
    }

    /// Opens the event file anew by its name, after it was moved away.
    pub fn reopen(&self) {
        if let Some(export) = &self.export {
            export.reopen();
        }
    }

    /// Notes a change; call it right after the change was polled, with the same core. Every change has an id, also one that
    /// is lost: those who follow see the gap.
    pub fn change(&mut self, core: &Core, now: Now, change: &Change) {
        let Some(id) = self.next_event() else { return };
        let (whom, what) = (Whom::of(core, now, change), What::of(core, change));
        self.note(Note::Event { id, now, what, whom });
    }

    /// Notes that a datagram of a local process was refused. It is for whoever calls to hold back what comes too often.
    pub fn refusal(&mut self, now: Now, refusal: Refusal) {
        let Some(id) = self.next_event() else { return };
        self.note(Note::Refused { id, now, refusal });
    }

    /// The id of an event that finds room; `None` for one that is lost.
    fn next_event(&mut self) -> Option<u64> {
        let id = self.next_id;
        self.next_id += 1;
        if self.shared.events_waiting.load(Ordering::Relaxed) >= WAITING {
            self.shared.events_lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.shared.events_waiting.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// Notes what became of a datagram: accepted beats where beats are rows, and base frames that are none.
    pub fn outcome(&mut self, now: Now, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted(beat) if self.beats => self.beat(now.mono, beat),
            Outcome::Rejected(Reject::Decode(error)) => self.row(now.mono, "decode", |line| {
                line.payload = Payload::Text(format!("{error:?}").into());
            }),
            _ => {}
        }
    }

    fn beat(&mut self, at: MonoNs, beat: &Beat) {
        let due = self.due.min(at.after(GATHER));
        self.row(at, "beat", |line| {
            line.pid = Some(shown_pid(beat.subject.pid));
            line.nonce = Some(beat.nonce);
            line.status = Some(beat.status.name());
            line.payload = Payload::Number(beat.payload);
        });
        if !self.notes.is_empty() {
            self.due = due;
        }
    }

    /// Notes that reading from `listener` failed.
    pub fn io_error(&mut self, now: Now, listener: &str, error: &std::io::Error) {
        let text: Box<str> = error.to_string().into();
        self.note(Note::Unreadable { listener: listener.into(), text: text.clone() });
        self.row(now.mono, "io", |line| line.payload = Payload::Text(text));
    }

    /// Notes a row of the event file, where there is one.
    fn row(&mut self, at: MonoNs, kind: &'static str, fill: impl FnOnce(&mut Line)) {
        let Some(export) = &self.export else { return };
        if self.shared.rows_waiting.load(Ordering::Relaxed) >= WAITING {
            export.lose();
            return;
        }
        self.shared.rows_waiting.fetch_add(1, Ordering::Relaxed);
        let mut line = Line::new(at.since(self.start.mono), kind);
        fill(&mut line);
        self.note(Note::Row(line));
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
        self.due = MonoNs(0);
        if self.notes.len() >= TOGETHER {
            self.hand_over();
        }
    }

    /// When [`Self::hand_over_due`] is next to be called: at once with anything but rows of beats, which gather.
    #[must_use]
    pub const fn due(&self) -> MonoNs {
        self.due
    }

    /// Hands what was noted to the teller, once it is due; call it at the end of each turn.
    pub fn hand_over_due(&mut self, now: MonoNs) {
        if self.due <= now {
            self.hand_over();
        }
    }

    /// Hands what was noted to the teller.
    pub fn hand_over(&mut self) {
        self.due = MonoNs::NEVER;
        if !self.notes.is_empty() {
            // Without a teller nobody misses them.
            let _ = self.queue.send(std::mem::take(&mut self.notes));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.hand_over();
    }
}
