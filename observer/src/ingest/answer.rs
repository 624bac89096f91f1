//! Answering what the other thread asks, between two batches of datagrams.

use super::{Ingest, unread::LOOK_ASKED};
use crate::{
    command::{Command, PAGE_ROWS, Page, Reload, SAMPLE_ROWS, SamplePage, Selector, ShellCounters, Snapshot},
    listen::filter::Filter,
    row::Row,
    sample::Samples,
};
use varta_core::{Cursor, Now, Retired, SlotView, Verdict};

/// Commands of one turn.
const COMMANDS: usize = 4;

/// Agents and slots that are made to agree with another roster in one turn: some hundred microseconds.
const ROSTER_STEPS: u32 = 512;

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
                Command::Page { cursor, limit, reply } => {
                    drop(reply.send(self.page(now, cursor, limit)));
                    return Asked::More;
                }
                Command::Samples { cursor, limit, up, reply } => {
                    drop(reply.send(self.samples(now, cursor, limit, up)));
                    return Asked::More;
                }
                Command::Slot { selector, reply } => drop(reply.send(self.row(now, selector))),
                Command::Snapshot { reply } => {
                    self.count_unread(now, LOOK_ASKED);
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

    fn page(&self, now: Now, cursor: u64, limit: u32) -> Page {
        let mut rows = Vec::with_capacity(limit.min(PAGE_ROWS) as usize);
        let read = |view: SlotView<'_>| rows.push(Row::new(&self.core, now, &view));
        let next = self.core.page(now, Cursor(cursor), limit.clamp(1, PAGE_ROWS), read);
        Page { rows, next: next.map(|cursor| cursor.0) }
    }

    fn samples(&self, now: Now, cursor: u64, limit: u32, up: bool) -> SamplePage {
        let limit = limit.clamp(1, SAMPLE_ROWS);
        let mut samples = Samples::with_capacity(if up { limit as usize } else { 0 });
        let next = self.core.page(now, Cursor(cursor), limit, |view| {
            if up || view.verdict != Verdict::Up {
                samples.add(&view);
            }
        });
        SamplePage { samples, next: next.map(|cursor| cursor.0) }
    }

    fn row(&self, now: Now, selector: Selector) -> Option<Row> {
        let Selector { agent, unit, pid } = selector;
        let id = self.core.find(agent, unit, pid)?;
        self.core.view(now, id).map(|view| Row::new(&self.core, now, &view))
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
                self.core.begin_roster(now, roster);
                if let Some(earlier) = self.turning.replace(done) {
                    // That one was brought to its end.
                    let _ = earlier.send(Retired::default());
                }
            }
            // Whoever asked may have gone away meanwhile.
            None => drop(done.send(Retired::default())),
        }
    }

    /// Goes on putting a roster in force.
    pub(super) fn turn_roster(&mut self, now: Now) {
        if self.turning.is_none() {
            return;
        }
        if let Some(retired) = self.core.continue_roster(now, ROSTER_STEPS)
            && let Some(done) = self.turning.take()
        {
            drop(done.send(retired));
        }
    }
}
