//! Answering what the other thread asks, between two batches of datagrams.

use super::Ingest;
use crate::{
    command::{Command, PAGE_ROWS, PLACE, Page, Reload, SAMPLE_ROWS, SamplePage, Selector, ShellCounters, Snapshot},
    listen::filter::Filter,
    recovery::Link,
    row::Rows,
    sample::Samples,
};
use varta_core::{Cursor, MILLI, MonoNs, Now, Retired, SlotId, SlotView, Verdict};

/// Commands of one turn.
const COMMANDS: usize = 4;

/// Agents and slots that are made to agree with another roster in one step: some hundred microseconds.
const ROSTER_STEPS: u32 = 512;
/// From step to step: between two, threads that tell and serve have their turn on this thread's processor.
const STEP_EVERY: u64 = MILLI;

/// What the commands of a turn leave to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing more.
    Done,
    /// There may be more commands.
    More,
    /// The observer is to stop.
    Stop,
}

impl Ingest {
    /// Answers a few commands, and reads out one page at most: datagrams are not held up by more than that.
    pub(super) fn answer(&mut self, now: Now) -> Asked {
        for _ in 0..COMMANDS {
            let Ok(command) = self.commands.try_recv() else {
                return Asked::Done;
            };
            self.gather.asked(now.mono);
            // Whoever asked may have gone away meanwhile; then nobody misses the answer.
            match command {
                Command::Page { cursor, limit, room, reply } => {
                    drop(reply.send(self.page(now, cursor, limit, room)));
                    return Asked::More;
                }
                Command::Samples { cursor, limit, up, room, reply } => {
                    drop(reply.send(self.samples(now, cursor, limit, up, room)));
                    return Asked::More;
                }
                Command::Changed { room, reply } => drop(reply.send(self.marks.take(room))),
                Command::Rows { handles, room, reply } => {
                    let rows = self.rows(now, &handles, room);
                    drop(reply.send((handles, rows)));
                    return Asked::More;
                }
                Command::Slot { selector, room, reply } => drop(reply.send(self.row(now, selector, room))),
                Command::Snapshot { reply } => {
                    self.count_unread(now);
                    drop(reply.send(self.snapshot()));
                }
                Command::Reload(reload) => {
                    self.reload(now, *reload);
                    return Asked::More;
                }
                Command::Stop => return Asked::Stop,
            }
        }
        Asked::More
    }

    fn page(&self, now: Now, cursor: u64, limit: u32, mut rows: Rows) -> Page {
        rows.clear();
        let read = |view: SlotView<'_>| rows.add(&self.core, now, &view);
        let next = self.core.page(now, Cursor(cursor), limit.clamp(1, PAGE_ROWS), read);
        Page { rows, next: next.map(|cursor| cursor.0) }
    }

    fn rows(&self, now: Now, handles: &[u32], mut rows: Rows) -> Rows {
        rows.clear();
        for handle in handles {
            let view = match handle & PLACE {
                0 => self.core.view(now, SlotId(*handle)),
                _ => self.core.absent(handle & !PLACE),
            };
            view.into_iter().for_each(|view| rows.add(&self.core, now, &view));
        }
        rows
    }

    fn samples(&self, now: Now, cursor: u64, limit: u32, up: bool, mut samples: Samples) -> SamplePage {
        samples.clear();
        let next = self.core.page(now, Cursor(cursor), limit.clamp(1, SAMPLE_ROWS), |view| {
            if up || view.verdict != Verdict::Up {
                samples.add(&view);
            }
        });
        SamplePage { samples, next: next.map(|cursor| cursor.0) }
    }

    fn row(&self, now: Now, selector: Selector, mut rows: Rows) -> Rows {
        rows.clear();
        let Selector { agent, unit, pid } = selector;
        if let Some(view) = self.core.find(agent, unit, pid).and_then(|id| self.core.view(now, id)) {
            rows.add(&self.core, now, &view);
        }
        rows
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.core.counters(),
            verdicts: self.core.verdict_counts(),
            sizes: self.core.sizes(),
            blindness: self.core.blindness(),
            shell: ShellCounters {
                kernel_drops: self.inlets.iter().map(|inlet| inlet.dropped).collect(),
                kernel_filtered: self.inlets.iter().map(|inlet| inlet.filtering.filtered).collect(),
                kernel_filter: self.inlets.iter().map(|inlet| inlet.filtering.attached.into()).collect(),
                receive_buffer: self.inlets.iter().map(|inlet| inlet.granted).collect(),
                wakeups: self.wakeups.buckets,
                wakeups_ns: self.wakeups.sum_ns,
                persist_failures: self.keeper.failures(),
                persist_failing: self.keeper.is_failing(),
                export_lost: self.journal.export_lost(),
                events_lost: self.journal.events_lost(),
                audit: self.recovery.as_ref().and_then(Link::newest),
                recovery: self.recovery.as_ref().map(|link| link.outcomes().read()).unwrap_or_default(),
            },
        }
    }

    fn reload(&mut self, now: Now, reload: Reload) {
        let Reload { settings, audiences, roster, roster_version, export, beats, done } = reload;
        self.core.set_settings(settings);
        let filter = Filter::new(audiences.iter().map(|audience| audience.id));
        self.core.set_audiences(audiences);
        self.set_filter(filter);
        if let Some(version) = roster_version {
            self.keeper.keep_roster_version(version);
        }
        match export {
            Some((export, switched)) => self.journal.set_export(export, switched),
            None => self.journal.reopen(),
        }
        self.journal.set_beats(beats);
        match roster {
            Some(roster) => {
                self.marks.another_roster();
                self.core.begin_roster(now, roster);
                self.next_step = now.mono;
                if let Some(earlier) = self.turning.replace(done) {
                    // That one was brought to its end.
                    let _ = earlier.send(Retired::default());
                }
            }
            // Whoever asked may have gone away meanwhile.
            None => drop(done.send(Retired::default())),
        }
    }

    /// Goes on putting a roster in force, where a step of that is due.
    pub(super) fn turn_roster(&mut self, now: Now) {
        if now.mono < self.next_step || self.turning.is_none() {
            return;
        }
        self.next_step = now.mono.after(STEP_EVERY);
        if let Some(retired) = self.core.continue_roster(now, ROSTER_STEPS)
            && let Some(done) = self.turning.take()
        {
            self.next_step = MonoNs::NEVER;
            drop(done.send(retired));
        }
    }
}
