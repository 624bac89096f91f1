//! What never reaches the loop: datagrams that the kernel dropped because a queue was full, and those that a filter of our
//! own refused; and when such a filter is in force.

use std::io;

use varta_config::KernelFilter;
use varta_core::{MILLI, MonoNs, Now, SECOND};

use super::{Ingest, flood::Flood};
use crate::listen::{
    filter::{Filter, refused_by_header},
    queue::Queue,
    udp::Udp,
};

/// How often the socket's own counter is read while a filter is in force: what is refused carries no news of it.
pub(super) const LOOK: u64 = SECOND;
/// How often at most where somebody asks.
pub(super) const LOOK_ASKED: u64 = 10 * MILLI;

/// A listener's filter.
pub(super) struct Filtering {
    mode: KernelFilter,
    pub(super) attached: bool,
    /// Whether the system refused it: it is not asked again.
    refused: bool,
    /// Datagrams that it kept out, in all.
    pub(super) filtered: u64,
    flood: Flood,
    /// What the core had refused by header when it was last looked at, and the filter.
    counted: (u64, u64),
    queue: Option<Queue>,
    looked: MonoNs,
}

impl Filtering {
    /// Of a listener whose filter is in force already, or is not.
    pub(super) const fn new(mode: KernelFilter, attached: bool) -> Self {
        let (flood, refused) = (Flood::new(), matches!(mode, KernelFilter::On) && !attached);
        Self { mode, attached, refused, filtered: 0, flood, counted: (0, 0), queue: None, looked: MonoNs(0) }
    }

    /// When it must be looked at again.
    pub(super) const fn next(&self) -> MonoNs {
        if self.attached && matches!(self.mode, KernelFilter::Auto) { self.flood.next() } else { MonoNs::NEVER }
    }

    /// By how much the socket's own counter is ahead of what datagrams told.
    fn look(&mut self, now: MonoNs, every: u64, udp: &mut Udp) -> u64 {
        if !self.attached || now.since(self.looked) < every {
            return 0;
        }
        self.looked = now;
        self.catch_up(udp)
    }

    fn catch_up(&mut self, udp: &mut Udp) -> u64 {
        if self.queue.is_none() {
            self.queue = Queue::of(udp.socket()).ok();
        }
        self.queue.as_ref().and_then(Queue::dropped).map_or(0, |dropped| udp.raise(dropped))
    }

    fn attach(&mut self, filter: &Filter, udp: &Udp) -> io::Result<()> {
        let attached = filter.attach(udp.socket());
        (self.attached, self.refused) = (attached.is_ok(), attached.is_err());
        attached
    }
}

/// The system does not take a filter. Told once for each listener.
pub(crate) fn tell_refused(listener: &str, error: &io::Error) {
    tracing::warn!(
        listener,
        "the kernel takes no socket filter ({error}), so that garbage is refused by this program instead; \
         kernel_filter = \"off\" asks for none"
    );
}

impl Ingest {
    /// When a filter must be looked at again.
    pub(super) fn next_look(&self) -> MonoNs {
        self.inlets.iter().map(|inlet| inlet.filtering.next()).min().unwrap_or(MonoNs::NEVER)
    }

    /// Accounts for what was not read, up to now; what filters refused, up to `every` nanoseconds ago.
    pub(super) fn count_unread(&mut self, now: Now, every: u64) {
        for inlet in &mut self.inlets {
            inlet.rise += inlet.filtering.look(now.mono, every, &mut inlet.udp);
        }
        let rise = self.inlets.iter().map(|inlet| inlet.rise).sum();
        let lost = self.kernel_drops.lost(now.mono, rise);
        if rise == 0 {
            return;
        }
        let mut left = lost;
        // Where no filter is in force every rise is a loss.
        for filtered in [false, true] {
            for inlet in self.inlets.iter_mut().filter(|inlet| inlet.filtering.attached == filtered) {
                let rise = std::mem::take(&mut inlet.rise);
                let share = rise.min(left);
                inlet.dropped += share;
                left -= share;
                if filtered {
                    inlet.filtering.filtered += rise - share;
                }
            }
        }
        self.core.handle_drops(now, lost);
    }

    /// Puts filters in force where a flood began, and takes them off where it is over.
    pub(super) fn judge_filters(&mut self, now: Now) {
        for number in 0..self.inlets.len() {
            let refused = self.core.listener_counters(number).map_or(0, refused_by_header);
            let filtering = &mut self.inlets[number].filtering;
            let counted = (refused, filtering.filtered);
            let before = std::mem::replace(&mut filtering.counted, counted);
            if filtering.mode != KernelFilter::Auto || filtering.refused {
                continue;
            }
            let more = (counted.0 - before.0) + (counted.1 - before.1);
            if filtering.attached {
                if filtering.flood.is_over(now.mono, more) {
                    self.take_off(now, number);
                }
            } else if filtering.flood.begins(now.mono, more) {
                self.put_on(now, number);
            }
        }
    }

    fn put_on(&mut self, now: Now, number: usize) {
        let inlet = &mut self.inlets[number];
        inlet.rise += inlet.filtering.catch_up(&mut inlet.udp);
        // What the queue dropped before is told apart from what the filter refuses.
        self.count_unread(now, LOOK);
        let (inlet, listener) = (&mut self.inlets[number], &self.names[number]);
        inlet.filtering.looked = now.mono;
        match inlet.filtering.attach(&self.filter, &inlet.udp) {
            Ok(()) => tracing::warn!(
                listener,
                "flooded: more than 10,000 datagrams within a second were refused by their length, header or audience; \
                 the kernel refuses them from now on, until ten seconds were quiet"
            ),
            Err(error) => tell_refused(listener, &error),
        }
    }

    fn take_off(&mut self, now: Now, number: usize) {
        let inlet = &mut self.inlets[number];
        let detached = Filter::detach(inlet.udp.socket());
        inlet.rise += inlet.filtering.catch_up(&mut inlet.udp);
        self.count_unread(now, LOOK);
        let (filtering, listener) = (&mut self.inlets[number].filtering, &self.names[number]);
        filtering.counted.1 = filtering.filtered;
        // One that stays is looked at and follows the audiences as before, and is tried again after ten quiet seconds more.
        filtering.attached = detached.is_err();
        match detached {
            Ok(()) => tracing::info!(
                listener,
                filtered = filtering.filtered,
                "ten seconds without a flood: the kernel filter is off again"
            ),
            Err(error) => tracing::warn!(listener, "the kernel filter cannot be taken off: {error}"),
        }
    }

    /// Other audiences are in force: so is a filter for them, where one was.
    pub(super) fn set_filter(&mut self, filter: Filter) {
        if filter == self.filter {
            return;
        }
        self.filter = filter;
        for (inlet, listener) in self.inlets.iter_mut().zip(&self.names) {
            if !inlet.filtering.attached {
                continue;
            }
            if let Err(error) = inlet.filtering.attach(&self.filter, &inlet.udp) {
                tell_refused(listener, &error);
                // One for the audiences before would refuse the new ones.
                if let Err(error) = Filter::detach(inlet.udp.socket()) {
                    tracing::error!(listener, "a filter for the audiences before stays in force: {error}; restart");
                }
            }
        }
    }
}
