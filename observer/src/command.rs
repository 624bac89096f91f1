//! Where the two threads meet: the main thread asks, the ingest thread answers between two batches of datagrams.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use tokio::sync::oneshot;
use varta_core::{Audience, Cause, Counters, Owner, Retired, Roster, Settings, Verdict};
use varta_vlp::UnitId;

use crate::{
    export::tsv::Export,
    row::{Row, Rows},
    sample::Samples,
};

/// Most questions waiting for the ingest thread; a further one is refused as [`Unanswered::Busy`].
const WAITING: usize = 64;

/// Most rows of one [`Page`]: what can be read out while datagrams wait for some hundred microseconds.
pub const PAGE_ROWS: u32 = 250;

/// Most places that one [`SamplePage`] looks at: plain copies, read out in some hundred microseconds.
pub const SAMPLE_ROWS: u32 = 1000;

/// Which slot is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Selector {
    /// The agent, or whoever speaks without a key.
    pub agent: Owner,
    /// Its unit, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// Its pid, where the unit is [`UnitId::NONE`].
    pub pid: u32,
}

/// A part of the state.
#[derive(Debug)]
pub struct Page {
    /// Its rows.
    pub rows: Rows,
    /// Where to go on, or `None` at the end.
    pub next: Option<u64>,
}

/// What changed.
#[derive(Debug)]
pub struct Changed {
    /// Slots and places in the roster, each once.
    pub handles: Vec<u32>,
    /// Whether there may be more than was noted.
    pub more: bool,
    /// How many rosters were in force so far: places in another one are others.
    pub rosters: u64,
}

/// Set in the handle of a place in the roster.
pub const PLACE: u32 = 1 << 31;

/// A part of what a scrape reads.
#[derive(Debug)]
pub struct SamplePage {
    /// Its samples.
    pub samples: Samples,
    /// Where to go on, or `None` at the end.
    pub next: Option<u64>,
}

/// Everything counted, at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The core's counters.
    pub counters: Counters,
    /// Rows by verdict, in the order of [`Verdict::ALL`].
    pub verdicts: [u32; Verdict::ALL.len()],
    /// Slots and agents known.
    pub sizes: (usize, usize),
    /// The blindness in force, and whether it makes the observer critical.
    pub blindness: (Option<Cause>, bool),
    /// The shell's own counters.
    pub shell: ShellCounters,
}

/// What the shell counts beside the core.
#[derive(Clone, Debug, Default)]
pub struct ShellCounters {
    /// By listener: datagrams the kernel dropped before they could be read.
    pub kernel_drops: Vec<u64>,
    /// By listener: datagrams that a socket filter of ours refused.
    pub kernel_filtered: Vec<u64>,
    /// By listener: 1 while such a filter is in force.
    pub kernel_filter: Vec<u64>,
    /// By listener: the receive buffer that was granted, bytes.
    pub receive_buffer: Vec<u64>,
    /// From the instant at which the loop should have woken to the one at which it did, by bucket of
    /// [`WAKEUP_BUCKETS`], the last above all bounds.
    pub wakeups: [u64; WAKEUP_BUCKETS.len() + 1],
    /// Their sum, nanoseconds.
    pub wakeups_ns: u64,
    /// State writes that failed.
    pub persist_failures: u64,
    /// Whether the newest state write failed.
    pub persist_failing: bool,
    /// Lines of the export file that were lost.
    pub export_lost: u64,
    /// Events that were lost because too many waited to be told.
    pub events_lost: u64,
    /// The newest link of the audit log, where there is one.
    pub audit: Option<crate::audit::Link>,
    /// What recovery did, in the order of [`crate::recovery::OUTCOMES`].
    pub recovery: [u64; crate::recovery::OUTCOMES.len()],
}

/// Upper bounds of the wake-up histogram, seconds.
pub const WAKEUP_BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5];

/// What a reload puts in force.
#[derive(Debug)]
pub struct Reload {
    /// Detection and acceptance.
    pub settings: Settings,
    /// Audience keys.
    pub audiences: Vec<Audience>,
    /// The roster; outer `None` leaves the one in force.
    pub roster: Option<Option<Roster>>,
    /// The version of that roster, to be remembered.
    pub roster_version: Option<u64>,
    /// Another event file, or none, and what is dropped once nothing more comes to the one before; outer `None` opens the
    /// one in force anew by its name.
    pub export: Option<(Option<Export>, oneshot::Sender<()>)>,
    /// Whether every accepted beat is a row of it.
    pub beats: bool,
    /// Told when all of it is in force, and given the roster that was before.
    pub done: oneshot::Sender<Retired>,
}

/// A question or an order for the ingest thread.
#[derive(Debug)]
pub enum Command {
    /// Rows from a cursor on.
    Page {
        /// 0, or what the page before said.
        cursor: u64,
        /// At most [`PAGE_ROWS`].
        limit: u32,
        /// Where they are put, in the place of what is there.
        room: Rows,
        /// Where the answer goes.
        reply: oneshot::Sender<Page>,
    },
    /// Samples from a cursor on.
    Samples {
        /// 0, or what the page before said.
        cursor: u64,
        /// At most [`SAMPLE_ROWS`] places are looked at.
        limit: u32,
        /// Whether slots that are up are among them.
        up: bool,
        /// Where they are put, in the place of what is there.
        room: Samples,
        /// Where the answer goes.
        reply: oneshot::Sender<SamplePage>,
    },
    /// One row.
    Slot {
        /// Which.
        selector: Selector,
        /// Where it is put, in the place of what is there.
        room: Rows,
        /// Where the answer goes: none if there is no such slot.
        reply: oneshot::Sender<Rows>,
    },
    /// What changed since it was asked for last.
    Changed {
        /// Where it is put, in the place of what is there.
        room: Vec<u32>,
        /// Where the answer goes.
        reply: oneshot::Sender<Changed>,
    },
    /// Rows by handle.
    Rows {
        /// At most [`PAGE_ROWS`] handles; of what is not there, there is no row.
        handles: Vec<u32>,
        /// Where they are put, in the place of what is there.
        room: Rows,
        /// Where the answer goes: the handles again, and the rows.
        reply: oneshot::Sender<(Vec<u32>, Rows)>,
    },
    /// All counters.
    Snapshot {
        /// Where the answer goes.
        reply: oneshot::Sender<Snapshot>,
    },
    /// Other settings, keys, roster.
    Reload(Box<Reload>),
    /// A clean stop.
    Stop,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many wait already.
    #[error("the observer is busy: too many questions are waiting")]
    Busy,
    /// The ingest thread has ended.
    #[error("the observer is stopping")]
    Gone,
}

/// The asking side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    sender: SyncSender<Command>,
    waker: Arc<mio::Waker>,
}

/// A handle and what the ingest thread reads; `waker` wakes its poller.
#[must_use]
pub fn channel(waker: Arc<mio::Waker>) -> (Handle, Receiver<Command>) {
    let (sender, receiver) = sync_channel(WAITING);
    (Handle { sender, waker }, receiver)
}

impl Handle {
    /// Sends a command without waiting.
    ///
    /// # Errors
    /// [`Unanswered::Busy`] or [`Unanswered::Gone`].
    pub fn send(&self, command: Command) -> Result<(), Unanswered> {
        self.sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Unanswered::Busy,
            TrySendError::Disconnected(_) => Unanswered::Gone,
        })?;
        self.waker.wake().map_err(|_| Unanswered::Gone)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| Unanswered::Gone)
    }

    /// Rows from `cursor` on, put into `room`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn page(&self, cursor: u64, limit: u32, room: Rows) -> Result<Page, Unanswered> {
        self.ask(|reply| Command::Page { cursor, limit: limit.min(PAGE_ROWS), room, reply }).await
    }

    /// Samples from `cursor` on, put into `room`; those of slots that are up only where `up` says so.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn samples(&self, cursor: u64, up: bool, room: Samples) -> Result<SamplePage, Unanswered> {
        self.ask(|reply| Command::Samples { cursor, limit: SAMPLE_ROWS, up, room, reply }).await
    }

    /// One row, or `None` if there is no such slot.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn slot(&self, selector: Selector) -> Result<Option<Row>, Unanswered> {
        let room = Rows::with_capacity(1);
        let rows = self.ask(|reply| Command::Slot { selector, room, reply }).await?;
        Ok(rows.iter().next())
    }

    /// What changed since it was asked for last, put into `room`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn changed(&self, room: Vec<u32>) -> Result<Changed, Unanswered> {
        self.ask(|reply| Command::Changed { room, reply }).await
    }

    /// The rows of these handles, put into `room`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn rows(&self, mut handles: Vec<u32>, room: Rows) -> Result<(Vec<u32>, Rows), Unanswered> {
        handles.truncate(PAGE_ROWS as usize);
        self.ask(|reply| Command::Rows { handles, room, reply }).await
    }

    /// All counters, of one instant.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn snapshot(&self) -> Result<Snapshot, Unanswered> {
        self.ask(|reply| Command::Snapshot { reply }).await
    }
}
