//! The thread that tells: it puts notes in words, and hands them to the log, to those who follow, and to the event file.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use varta_core::{Change, MonoNs, Now, SlotChange, Verdict};

use super::{
    Refusal, Shared,
    note::{Note, What, Whom},
    record::{self, EventRecord},
    refusal, words,
};
use crate::export::tsv::{Export, Line, Payload};
use varta_daemon::http::{Entry, Ring};

/// The telling half of a journal. Ends once the other half is gone and everything is told.
#[derive(Debug)]
pub struct Teller {
    start: Now,
    notes: Receiver<Vec<Note>>,
    shared: Arc<Shared>,
    events: Option<Ring>,
    export: Option<Export>,
    /// Lost events that the log was told of.
    lost_told: u64,
    /// When the newest event happened, on the observer's own timeline.
    newest: MonoNs,
}

/// A teller at work on a thread of its own.
#[derive(Debug)]
pub struct Telling {
    ended: oneshot::Receiver<()>,
}

impl Teller {
    pub(super) const fn new(
        start: Now,
        notes: Receiver<Vec<Note>>,
        shared: Arc<Shared>,
        events: Option<Ring>,
        export: Option<Export>,
    ) -> Self {
        Self { start, notes, shared, events, export, lost_told: 0, newest: start.mono }
    }

    /// Starts a thread that tells.
    ///
    /// # Errors
    /// What the system said.
    pub fn spawn(self) -> io::Result<Telling> {
        let (alive, ended) = oneshot::channel::<()>();
        let work = move || {
            // Dropped by a panic, too.
            let _alive = alive;
            self.run();
        };
        std::thread::Builder::new().name("varta-journal".to_owned()).spawn(work)?;
        Ok(Telling { ended })
    }

    /// Tells on this thread, until the journal is gone and everything is told.
    pub fn run(mut self) {
        loop {
            let notes = match self.notes.try_recv() {
                Ok(notes) => notes,
                Err(TryRecvError::Empty) => {
                    self.tell_lost();
                    let Ok(notes) = self.notes.recv() else { return };
                    notes
                }
                Err(TryRecvError::Disconnected) => return self.tell_lost(),
            };
            for note in notes {
                self.tell(note);
            }
            if let Some(events) = &self.events {
                events.announce();
            }
        }
    }

    fn tell(&mut self, note: Note) {
        match note {
            Note::Event { id, now, what, whom } => {
                self.event(id, now, &what, whom);
                self.shared.events_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Note::Refused { id, now, refusal } => {
                self.refusal(id, now, &refusal);
                self.shared.events_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Note::Row(line) => {
                self.write(line);
                self.shared.rows_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Note::Unreadable { listener, text } => tracing::warn!(%listener, "cannot receive: {text}"),
            Note::Export(export, _done) => self.export = export,
        }
    }

    fn event(&mut self, id: u64, now: Now, what: &What, whom: Whom) {
        let (payload, nonce) = (whom.payload.map_or(Payload::Empty, Payload::Number), whom.nonce);
        let event = record::record(now, id, what, whom);
        words::log(&event, &what.change);
        self.newest = record::change_at(&what.change);
        let mut line = self.line(line_kind(&what.change, &event));
        line.pid = event.pid;
        line.payload = payload;
        (line.status, line.nonce) = match line.kind {
            "stall" => (Some("stall"), nonce),
            _ => (event.to, None),
        };
        self.write(line);
        if let Some(events) = &self.events {
            events.push(Entry { id: event.id, kind: event.kind, json: event.json() });
        }
    }

    fn refusal(&mut self, id: u64, now: Now, refusal: &Refusal) {
        let event = refusal::record(now, id, refusal);
        words::log_refusal(&event, refusal);
        self.newest = now.mono;
        let mut line = self.line(event.kind);
        line.pid = event.pid;
        self.write(line);
        if let Some(events) = &self.events {
            events.push(Entry { id: event.id, kind: event.kind, json: event.json() });
        }
    }

    /// Says how many events were lost since it was last said, where any were.
    fn tell_lost(&mut self) {
        let lost = self.shared.events_lost.load(Ordering::Relaxed);
        let more = lost - self.lost_told;
        if more == 0 {
            return;
        }
        self.lost_told = lost;
        tracing::warn!(
            lost = more,
            "events came faster than they are told, and some were lost; the state itself is right: /api/v1/slots has it"
        );
        let mut line = self.line("lagged");
        line.payload = Payload::Number(u32::try_from(more).unwrap_or(u32::MAX));
        self.write(line);
    }

    /// A row of the newest event's time.
    const fn line(&self, kind: &'static str) -> Line {
        Line::new(self.newest.since(self.start.mono), kind)
    }

    fn write(&self, line: Line) {
        if let Some(export) = &self.export {
            export.write(line);
        }
    }
}

impl Telling {
    /// Waits until everything is told, once the journal is gone; false if that took longer than `limit`.
    pub async fn finish(self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended).await.is_ok()
    }
}

/// The kind of the change's row: its event's, but a stall has its own.
const fn line_kind(change: &Change, event: &EventRecord) -> &'static str {
    match change {
        Change::Slot { what: SlotChange::Verdict { to: Verdict::Stalled, .. }, .. } => "stall",
        _ => event.kind,
    }
}
