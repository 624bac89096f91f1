//! What never reaches the loop: datagrams that the kernel dropped because a queue was full, and those that a filter of our
//! own refused; and when such a filter is in force.

use std::io;

use varta_config::KernelFilter;
use varta_core::{MonoNs, Now};

use super::{Ingest, flood::Flood};
use crate::listen::filter::{Filter, refused_by_header};

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
}

impl Filtering {
    /// Of a listener whose filter is in force already, or is not.
    pub(super) const fn new(mode: KernelFilter, attached: bool) -> Self {
        let (flood, refused) = (Flood::new(), matches!(mode, KernelFilter::On) && !attached);
        Self { mode, attached, refused, filtered: 0, flood, counted: (0, 0) }
    }

    /// When it must be looked at again.
    pub(super) const fn next(&self) -> MonoNs {
        if self.attached && matches!(self.mode, KernelFilter::Auto) { self.flood.next() } else { MonoNs::NEVER }
    }

    /// The system took a filter, or did not.
    pub(super) const fn note(&mut self, attached: bool) {
        (self.attached, self.refused) = (attached, !attached);
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

    /// Accounts for what was not read, up to now.
    pub(super) fn count_unread(&mut self, now: Now) {
        let mut rises = 0;
        for inlet in &mut self.inlets {
            inlet.rise = inlet.newly_dropped();
            rises += inlet.rise;
        }
        let mut left = self.kernel_drops.lost(now.mono, rises);
        if rises == 0 {
            return;
        }
        self.core.handle_drops(now, left);
        // Where no filter is in force every rise is a loss.
        for filtered in [false, true] {
            for inlet in self.inlets.iter_mut().filter(|inlet| inlet.filtering.attached == filtered) {
                let share = inlet.rise.min(left);
                inlet.dropped += share;
                left -= share;
                if filtered {
                    inlet.filtering.filtered += inlet.rise - share;
                }
            }
        }
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
        // What the queue dropped before is told apart from what the filter refuses.
        self.count_unread(now);
        let (inlet, listener) = (&mut self.inlets[number], &self.names[number]);
        match inlet.attach(&self.filter) {
            Ok(()) => tracing::warn!(
                listener,
                "flooded: more than 10,000 datagrams within a second were refused by their length, header or audience; \
                 the kernel refuses them from now on, until ten seconds were quiet"
            ),
            Err(error) => tell_refused(listener, &error),
        }
    }

    fn take_off(&mut self, now: Now, number: usize) {
        let detached = self.inlets[number].detach();
        self.count_unread(now);
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
            if let Err(error) = inlet.attach(&self.filter) {
                tell_refused(listener, &error);
                // One for the audiences before would refuse the new ones.
                if let Err(error) = inlet.detach() {
                    tracing::error!(listener, "a filter for the audiences before stays in force: {error}; restart");
                }
            }
        }
    }
}
