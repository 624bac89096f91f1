//! What happens, told: every change of the core becomes a log line, an event for those who follow, and a row of the event
//! file. The only place that logs changes.

mod record;
mod words;

pub use record::{Detail, EventRecord, Process};

use varta_core::{
    AgentChange, Beat, Change, Core, MonoNs, Now, ObserverChange, Outcome, Reject, SlotChange, SlotId, SlotView,
    Subject, Verdict, WallNs,
};
use varta_vlp::{AgentId, UnitId, sealed::shown_pid};

use crate::{
    export::{
        events::EventSink,
        tsv::{Export, Line, Payload},
    },
    row::{agent_name, unit_name},
};

/// Tells changes. Lives on the ingest thread and never waits.
#[derive(Debug)]
pub struct Journal {
    start: Now,
    next_id: u64,
    events: Option<EventSink>,
    export: Option<Export>,
    /// Lines that earlier event files have lost.
    lost: u64,
    beats: bool,
}

/// Whom a change is about, by name where one is known.
#[derive(Default)]
struct Named {
    agent: Option<String>,
    unit: Option<String>,
    pid: Option<u32>,
    /// The slot's newest payload and why it is judged as it is, where the slot is still there.
    payload: Option<u32>,
    why: String,
}

impl Journal {
    /// A journal of an observer that started at `start`. Ids go on from the start's microseconds since the Unix epoch, so
    /// that they rise over restarts too. `beats`: whether every accepted beat is a row of the event file.
    #[must_use]
    pub fn new(start: Now, events: Option<EventSink>, export: Option<Export>, beats: bool) -> Self {
        Self { start, next_id: start.wall.0 / 1000 + 1, events, export, lost: 0, beats }
    }

    /// Whether every accepted beat is a row from now on.
    pub fn set_beats(&mut self, beats: bool) {
        self.beats = beats;
    }

    /// Another event file, or none, from now on.
    pub fn set_export(&mut self, export: Option<Export>) {
        self.lost = self.export_lost();
        self.export = export;
    }

    /// Lines that this event file and those before it have lost.
    #[must_use]
    pub fn export_lost(&self) -> u64 {
        self.lost + self.export.as_ref().map_or(0, Export::lost)
    }

    /// Opens the event file anew by its name, after it was moved away.
    pub fn reopen(&self) {
        if let Some(export) = &self.export {
            export.reopen();
        }
    }

    /// Tells a change; call it right after the change was polled, with the same core.
    pub fn change(&mut self, core: &Core, now: Now, change: &Change) {
        let id = self.next_id;
        self.next_id += 1;
        let (event, payload) = record::record(core, now, id, change);
        words::log(&event, change);
        self.write(change_at(change), line_kind(change, &event), |line| {
            line.pid = event.pid;
            line.payload = payload.map_or(Payload::Empty, Payload::Number);
            line.status = match line.kind {
                "stall" => Some("stall"),
                _ => event.to,
            };
        });
        if let Some(events) = &self.events {
            events.send(event);
        }
    }

    /// Tells what became of a datagram: accepted beats where beats are rows, and base frames that are none.
    pub fn outcome(&self, now: Now, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted(beat) if self.beats => self.beat(now.mono, beat),
            Outcome::Rejected(Reject::Decode(error)) => self.write(now.mono, "decode", |line| {
                line.payload = Payload::Text(format!("{error:?}").into());
            }),
            _ => {}
        }
    }

    fn beat(&self, at: MonoNs, beat: &Beat) {
        self.write(at, "beat", |line| {
            line.pid = Some(shown_pid(beat.subject.pid));
            line.nonce = Some(beat.nonce);
            line.status = Some(beat.status.name());
            line.payload = Payload::Number(beat.payload);
        });
    }

    /// Tells that reading from `listener` failed.
    pub fn io_error(&self, now: Now, listener: &str, error: &std::io::Error) {
        tracing::warn!(listener, "cannot receive: {error}");
        self.write(now.mono, "io", |line| line.payload = Payload::Text(error.to_string().into()));
    }

    fn write(&self, at: MonoNs, kind: &'static str, fill: impl FnOnce(&mut Line)) {
        let Some(export) = &self.export else { return };
        let mut line = Line::new(at.since(self.start.mono), kind);
        fill(&mut line);
        export.write(line);
    }
}

const fn change_at(change: &Change) -> MonoNs {
    match change {
        Change::Slot { at, .. } | Change::Agent { at, .. } | Change::Observer { at, .. } => *at,
    }
}

/// The kind of the change's row: its event's, but a stall has its own.
fn line_kind(change: &Change, event: &EventRecord) -> &'static str {
    match change {
        Change::Slot { what: SlotChange::Verdict { to: Verdict::Stalled, .. }, .. } => "stall",
        _ => event.kind,
    }
}

/// An instant near `now` on the wall's timeline, by the distance from `now`.
const fn wall_of(now: Now, at: MonoNs) -> WallNs {
    let earlier = now.wall.0.saturating_sub(now.mono.since(at));
    WallNs(earlier).after(at.since(now.mono))
}

impl Named {
    fn agent(core: &Core, id: AgentId) -> Self {
        let name = core.roster().and_then(|roster| roster.get(id)).map(|entry| entry.name.to_string());
        Self { agent: Some(name.unwrap_or_else(|| id.to_string())), ..Self::default() }
    }

    /// The slot's number may be another's by now; its names count only if it is still the same slot.
    fn slot(core: &Core, now: Now, slot: SlotId, subject: &Subject) -> Self {
        let pid = shown_pid(subject.pid);
        let view = core.view(now, slot).filter(|view| view.agent == subject.agent);
        let mut named = match &view {
            Some(view) => Self { agent: Some(agent_name(view)), ..Self::default() },
            None => Self::agent(core, subject.agent),
        };
        let same = |view: &&SlotView<'_>| view.unit == subject.unit && (view.unit != UnitId::NONE || view.pid == pid);
        match view.as_ref().filter(same) {
            Some(view) => {
                named.unit = Some(unit_name(view));
                named.payload = Some(view.payload);
                named.why = core.why(now, slot);
            }
            None if subject.unit == UnitId::NONE => named.unit = Some(String::new()),
            None => named.unit = Some(subject.unit.to_string()),
        }
        Self { pid: Some(pid), ..named }
    }
}

/// The event kind of a change.
const fn kind(change: &Change) -> &'static str {
    match change {
        Change::Slot { what, .. } => match what {
            SlotChange::New(_) => "new",
            SlotChange::Verdict { .. } => "verdict",
            SlotChange::Restarted { .. } => "restarted",
            SlotChange::UnitConflict { .. } => "unit_conflict",
            SlotChange::CloneSuspected => "clone_suspected",
            SlotChange::OffsetRelearned(_) => "offset_relearned",
            SlotChange::PromiseClamped { .. } => "promise_clamped",
            SlotChange::OriginConflict { .. } => "origin_conflict",
            SlotChange::Evicted(_) => "evicted",
            SlotChange::Revoked => "revoked",
        },
        Change::Agent { what, .. } => match what {
            AgentChange::Generation(_) => "generation",
            AgentChange::Missing => "missing",
            AgentChange::Returned => "returned",
            AgentChange::Flapping(_) => "flapping",
        },
        Change::Observer { what, .. } => match what {
            ObserverChange::Blind { .. } => "blind",
            ObserverChange::Sighted(_) => "sighted",
            ObserverChange::BlindLimit => "blind_limit",
            ObserverChange::ClockSuspect { .. } => "clock_suspect",
        },
    }
}
