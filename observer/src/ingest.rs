//! The ingest thread: it owns the sockets and the core, and does everything that one turn of its loop does.
//!
//! A turn: the clock once; commands; sockets up to a budget; what is due; changes told; the state kept. A flood cannot
//! starve deadlines, and a question cannot hold datagrams up.

mod answer;
mod down;
mod drain;
mod flood;
mod gather;
mod inlet;
mod keep;
mod local;
mod polled;
mod refused;
mod sleep;
mod turns;
mod unread;

use std::{io, sync::mpsc::Receiver};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;
use varta_config::KernelFilter;
use varta_core::{Core, MILLI, MonoNs, Now, Outcome, Retired};

use self::{
    answer::Asked,
    gather::Gather,
    inlet::Inlet,
    refused::Offenders,
    turns::{Turns, Wakeups},
    unread::Filtering,
};
use crate::{
    clock::Clock,
    command::Command,
    forward::Marks,
    journal::Journal,
    listen::{drops::KernelDrops, filter::Filter, process::Processes, udp::Buffers, uds::LocalBuffers},
    recovery::Link,
    tap::Tap,
    watchdog::Watchdog,
};

pub(crate) use self::{
    inlet::{Bound, Kind},
    keep::{Keeper, Past},
    polled::Polled,
    sleep::Sleep,
    unread::tell_refused,
};

/// The highest priority there is.
const FIRST: i32 = -20;
/// Batches read in one turn, of all listeners together.
const BUDGET: u32 = 64;
/// Batches read before a stop: more than any queue holds under a flood that can be kept up with.
const LAST_BUDGET: u32 = 1024;

/// A socket, and what the operator declared of it.
pub(crate) struct Listener {
    pub(crate) bound: Bound,
    /// Its name in metrics and logs: the configured address or path.
    pub(crate) name: String,
    /// What is heard there.
    pub(crate) kind: Kind,
    /// When a kernel filter is to be in force, and whether it is.
    pub(crate) filter: (KernelFilter, bool),
}

/// What the ingest thread is made of.
pub(crate) struct Parts {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) core: Core,
    /// What listeners filter by.
    pub(crate) filter: Filter,
    pub(crate) keeper: Keeper,
    pub(crate) journal: Journal,
    pub(crate) sleep: Sleep,
    /// For how long datagrams may gather, nanoseconds.
    pub(crate) gather: u64,
    pub(crate) commands: Receiver<Command>,
    pub(crate) watchdog: Watchdog,
    /// Who is told of slots that are down.
    pub(crate) recovery: Option<Link>,
    /// What changed, for those who forward it.
    pub(crate) marks: Marks,
}

/// The loop's state.
struct Ingest {
    inlets: Vec<Inlet>,
    names: Vec<String>,
    core: Core,
    filter: Filter,
    keeper: Keeper,
    journal: Journal,
    /// Where events are polled, what takes the journal's place.
    tap: Option<Tap>,
    commands: Receiver<Command>,
    watchdog: Watchdog,
    recovery: Option<Link>,
    marks: Marks,
    kernel_drops: KernelDrops,
    buffers: Buffers,
    local_buffers: LocalBuffers,
    processes: Processes,
    offenders: Offenders,
    outcomes: Vec<Outcome>,
    turns: Turns,
    gather: Gather,
    wakeups: Wakeups,
    /// When the loop last went to sleep with nothing left to do.
    slept: Option<MonoNs>,
    /// Whether the budget of the newest turn was used up before the sockets were empty.
    behind: bool,
    /// Whether more commands are waiting.
    asked: bool,
    /// Whether more records are to be handed to the disk.
    keeping: bool,
    /// While another roster is being put in force, who is told when it is.
    turning: Option<oneshot::Sender<Retired>>,
    /// When the next step of that is due.
    next_step: MonoNs,
}

/// Runs until it is told to stop, and saves the state exactly.
///
/// # Errors
/// The poller's: nothing can be received any more.
pub(crate) fn run(parts: Parts) -> io::Result<()> {
    if parts.listeners.iter().all(|listener| listener.kind == Kind::Local) {
        hurry();
    }
    let (mut ingest, mut sleep) = begin(parts)?;
    while ingest.turn() {
        ingest.sleep(&mut sleep, MonoNs::NEVER)?;
    }
    ingest.stop();
    Ok(())
}

/// Goes before all others, where the system lets it: who beats at the same instant as a thousand others finds room in a
/// queue of ten only if that is read at once. For local processes only: they cannot have it work more than they do, and
/// nobody on a network can.
fn hurry() {
    let _ = setpriority_process(None, FIRST);
}

/// The loop's state at its start, and what it sleeps with.
///
/// # Errors
/// The poller's.
fn begin(parts: Parts) -> io::Result<(Ingest, Sleep)> {
    let Parts { listeners, mut core, filter, keeper, journal, sleep, gather, commands, watchdog, recovery, marks } =
        parts;
    if recovery.is_some() {
        core.watch_down();
    }
    let mut families: Vec<_> = listeners.iter().filter_map(|listener| listener.bound.family()).collect();
    families.sort_unstable_by_key(|family| *family as i32);
    families.dedup();
    // A local socket holds ten datagrams, and whoever finds no room is turned away: nothing may gather there.
    let queue = listeners.iter().map(|listener| listener.bound.queue()).min().unwrap_or(0);
    let open = |Listener { bound, name, kind, filter: (mode, attached) }: Listener| {
        (Inlet::new(bound, kind, Filtering::new(mode, attached)), name)
    };
    let (inlets, names): (Vec<_>, Vec<_>) = listeners.into_iter().map(open).unzip();
    for (number, inlet) in inlets.iter().enumerate() {
        sleep.watch(inlet.fd(), number)?;
    }
    let mut ingest = Ingest {
        inlets,
        names,
        core,
        filter,
        keeper,
        journal,
        tap: None,
        commands,
        watchdog,
        recovery,
        marks,
        kernel_drops: KernelDrops::open(&families),
        buffers: Buffers::new(),
        local_buffers: LocalBuffers::new(),
        processes: Processes::new(sleep.registry()?),
        offenders: Offenders::default(),
        outcomes: Vec::with_capacity(crate::listen::udp::BATCH),
        turns: Turns::new(Clock::now().mono),
        gather: Gather::new(gather, queue),
        wakeups: Wakeups::default(),
        slept: None,
        behind: false,
        asked: false,
        keeping: false,
        turning: None,
        next_step: MonoNs::NEVER,
    };
    ingest.resume_processes(Clock::now());
    Ok((ingest, sleep))
}

impl Ingest {
    /// One turn; false when the observer is to stop.
    fn turn(&mut self) -> bool {
        let now = self.tick();
        let asked = self.answer(now);
        if asked == Asked::Stop {
            return false;
        }
        self.read_before_judging(now);
        self.core.begin_turn(self.behind);
        self.keeper.follow(&mut self.core);
        let before = self.datagrams();
        let seen = self.drain(now, BUDGET);
        self.gather.drained(self.turns.last(), self.datagrams() - before);
        self.turn_roster(now);
        let now = Clock::now();
        self.tell_ends(now);
        self.core.handle_timeout(seen);
        self.tell_changes(seen);
        self.tell_down(seen);
        self.keeping = self.keeper.turn(&mut self.core, now);
        self.asked = asked == Asked::More;
        self.watchdog.turn(now);
        true
    }

    /// Where somebody is to be judged, has all sockets read first: what came after the poller returned, or while all of the
    /// process was stopped, it has not told.
    fn read_before_judging(&mut self, now: Now) {
        if self.core.poll_timeout() <= now.mono || self.processes.has_ends() {
            self.inlets.iter_mut().for_each(Inlet::wake);
        }
    }

    fn tell_changes(&mut self, now: Now) {
        while let Some(change) = self.core.poll_change() {
            self.marks.note(&self.core, &change);
            match &mut self.tap {
                Some(tap) => tap.change(&self.core, now, self.processes.own_namespace(), &change),
                None => self.journal.change(&self.core, now, &change),
            }
        }
        self.marks.announce(self.core.changes_lost());
        self.journal.hand_over_due(self.turns.last());
    }

    /// Sleeps until something is to be done, or until `limit`.
    fn sleep(&mut self, sleep: &mut Sleep, limit: MonoNs) -> io::Result<()> {
        let busy = self.behind || self.asked || self.processes.has_ends();
        let keep = if self.keeping { self.turns.last().after(MILLI) } else { self.keeper.next() };
        let wake =
            self.core.poll_timeout().min(keep).min(self.watchdog.next()).min(self.next_look()).min(self.next_step);
        let wake = wake.min(self.next_down()).min(self.journal.due()).min(limit);
        if busy {
            self.turns.sleep_until(MonoNs(0));
        } else {
            self.turns.sleep_until(wake);
            self.slept = Some(self.turns.last());
        }
        let until = if busy { None } else { self.gather.until(wake) };
        if let Some(until) = until {
            return self.pause(until);
        }
        let (inlets, processes) = (&mut self.inlets, &mut self.processes);
        let rang = sleep.sleep(wake, busy, |token| match Processes::pid_of(token) {
            Some(pid) => processes.note_end(pid),
            None => inlets[token.0].wake(),
        })?;
        if let Some(wake) = rang.filter(|_| !busy) {
            self.wakeups.record(Clock::now().mono.since(wake));
        }
        Ok(())
    }

    /// Sleeps past what comes in until then, and has all sockets read.
    fn pause(&mut self, until: MonoNs) -> io::Result<()> {
        self.turns.sleep_until(until);
        self.inlets.iter_mut().for_each(Inlet::wake);
        Sleep::pause(until)
    }

    /// Reads what has arrived by now, accuses nobody, and leaves the state complete behind.
    fn stop(mut self) {
        let now = self.tick();
        self.watchdog.stopping(now);
        let seen = self.drain(now, LAST_BUDGET);
        self.tell_changes(seen);
        self.keeper.close(&self.core, Clock::now());
        self.watchdog.disarm();
    }
}
