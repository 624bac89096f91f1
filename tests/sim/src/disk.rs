//! An observer's disk: marks that become durable late, records that a crash may cut off.

use std::collections::VecDeque;

use varta_core::{Core, Now, SECOND, Saved, Start};

use crate::{
    model::{Kept, Model, Past},
    rng::Rng,
};

/// So far is the horizon kept ahead of the newest accepted frame.
const LEAD: u64 = 2 * SECOND;

/// How far the observer got.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    clean: bool,
    horizon: u64,
    barrier: u64,
    blind_run: u64,
    boot: u64,
    now: Now,
}

/// A mark on its way.
#[derive(Clone, Copy, Debug)]
struct Order {
    done: u64,
    mark: Mark,
    records: usize,
}

/// How an observer comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is asked to stop, and writes everything.
    Clean,
    /// It is killed.
    Killed,
    /// It is killed, and its state is corrupt when it is next read; the horizon may still be known.
    Lost {
        /// Whether the mark can be read.
        mark_left: bool,
    },
}

/// The state directory of one observer.
#[derive(Default)]
pub struct Disk {
    mark: Option<Mark>,
    records: Vec<(Saved, Kept)>,
    /// So many of them survive a power cut.
    durable: usize,
    orders: VecDeque<Order>,
    /// The last progress handed over.
    progress: Mark,
    boot: u64,
    /// Records up to here may be of another boot; none is once those behind it are durable.
    foreign: usize,
    /// Where those behind it begin.
    rewritten_from: usize,
    /// Whether everything is to be written anew, since there are records of another boot.
    pub(crate) rewrites: bool,
    lost: bool,
    /// The largest time a mark takes to become durable, nanoseconds; below a second.
    pub latency: u64,
}

impl Disk {
    /// Puts marks that are durable by world time `t` in force.
    pub fn settle(&mut self, t: u64) {
        while self.orders.front().is_some_and(|order| order.done <= t) {
            if let Some(order) = self.orders.pop_front() {
                self.mark = Some(order.mark);
                self.durable = self.durable.max(order.records);
            }
        }
        if self.foreign > 0 && self.durable >= self.foreign {
            self.forget_old();
        }
    }

    /// What was written anew is durable: the records of another boot go.
    fn forget_old(&mut self) {
        let old = self.rewritten_from;
        self.records.drain(..old);
        self.durable -= old;
        for order in &mut self.orders {
            order.records = order.records.saturating_sub(old);
        }
        (self.foreign, self.rewritten_from) = (0, 0);
    }

    /// The horizon that is durable.
    #[must_use]
    pub fn horizon(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.horizon)
    }

    /// Marks name the boot only where no record of another can be read with them.
    const fn named(&self, records: usize) -> u64 {
        if self.rewrites || records < self.foreign { 0 } else { self.boot }
    }

    /// Everything was handed out since there were `from` records: what is durable from here on is of this boot.
    pub(crate) const fn rewritten(&mut self, from: usize) {
        (self.rewritten_from, self.foreign) = (from, self.records.len());
        self.rewrites = false;
    }

    /// Once a second: how far the observer got.
    pub fn order_mark(&mut self, t: u64, now: Now, newest: u64, blind_run: u64, rng: &mut Rng) {
        let horizon = self.progress.horizon.max(newest.saturating_add(LEAD));
        let boot = self.named(self.records.len());
        self.progress = Mark { horizon, now, blind_run, boot, clean: false, ..self.progress };
        let done = t + rng.below(self.latency + 1);
        let done = self.orders.back().map_or(done, |last| done.max(last.done));
        self.orders.push_back(Order { done, mark: self.progress, records: self.records.len() });
    }

    /// Makes a horizon durable at once, and the marks before it.
    pub fn raise(&mut self, at_least: u64) {
        self.put_horizon(at_least.saturating_add(LEAD));
    }

    fn put_horizon(&mut self, horizon: u64) {
        self.settle(u64::MAX);
        self.progress.horizon = self.progress.horizon.max(horizon);
        self.progress.boot = self.named(self.durable);
        self.mark = Some(self.progress);
    }

    /// Keeps records in the order in which they were handed out.
    pub fn note(&mut self, saved: Saved, model: &Model) {
        if let Some(kept) = model.keep(&saved) {
            self.records.push((saved, kept));
        }
    }

    /// The observer ends at `t`.
    pub fn end(&mut self, t: u64, end: End, core: &Core, model: &Model, now: Now, rng: &mut Rng) {
        self.settle(t);
        match end {
            End::Clean => {
                self.settle(u64::MAX);
                self.records.clear();
                let mut cursor = Some(0);
                while let Some(from) = cursor {
                    cursor = core.save_page(from, 64, |saved| self.note(saved, model));
                }
                let horizon = self.progress.horizon.max(core.newest_sent().0);
                let (barrier, blind_run) = (core.barrier().0, core.blind_run());
                let boot = self.boot;
                self.mark = Some(Mark { clean: true, horizon, barrier, blind_run, now, boot });
                self.lost = false;
            }
            End::Killed | End::Lost { .. } => {
                let unsure = self.records.len() - self.durable.min(self.records.len());
                let kept = self.records.len() - usize::try_from(rng.below(unsure as u64 + 1)).unwrap_or(0);
                self.records.truncate(kept);
                self.lost = matches!(end, End::Lost { .. });
                if let End::Lost { mark_left } = end {
                    // What is whole of corrupt records still tells who exists.
                    let whole = usize::try_from(rng.below(kept as u64 + 1)).unwrap_or(0);
                    self.records.truncate(whole);
                    if !mark_left {
                        self.mark = None;
                    }
                }
            }
        }
        self.orders.clear();
    }

    /// What an observer finds that starts now under `boot`.
    #[must_use]
    pub fn found(&self, now: Now, boot: u64) -> (Past, u64) {
        let Some(mark) = self.mark.filter(|_| !self.lost) else {
            let how = if self.lost { Start::Lost } else { Start::First };
            let mark = self.mark.unwrap_or_default();
            return (
                Past { how, same_boot: mark.boot != 0 && mark.boot == boot, horizon: mark.horizon },
                mark.blind_run,
            );
        };
        let same_boot = mark.boot != 0 && mark.boot == boot;
        let away = if same_boot { now.mono.since(mark.now.mono) } else { now.wall.0.saturating_sub(mark.now.wall.0) };
        let how = if mark.clean {
            Start::Clean { stopped: mark.now.mono, away, barrier: varta_core::WallNs(mark.barrier) }
        } else {
            Start::Crash { horizon: varta_core::WallNs(mark.horizon), away }
        };
        (Past { how, same_boot, horizon: 0 }, mark.blind_run)
    }

    /// How many records there are.
    pub(crate) const fn len(&self) -> usize {
        self.records.len()
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &(Saved, Kept)> {
        self.records.iter()
    }

    /// The observer begins: the clean mark goes, and the horizon is at least its barrier.
    pub fn begin(&mut self, now: Now, boot: u64, barrier: u64, blind_run: u64) {
        let horizon = self.mark.map_or(0, |mark| mark.horizon);
        self.progress = Mark { clean: false, horizon, barrier: 0, blind_run, boot, now };
        self.lost = false;
        self.boot = boot;
        (self.foreign, self.rewritten_from) = (0, 0);
        self.rewrites = !self.records.is_empty() && self.mark.is_none_or(|mark| mark.boot != boot);
        self.durable = self.records.len();
        self.put_horizon(barrier);
    }
}
