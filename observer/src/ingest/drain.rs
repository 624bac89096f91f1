//! Reading the sockets within a budget, and judging what they held.

use std::net::SocketAddr;

use varta_core::{Datagram, MonoNs, Now, Origin, Outcome, Sender, WallNs};

use super::{Ingest, inlet::Kind, turns::Turns};
use crate::{clock::Clock, listen::udp::BATCH};

/// The instant `arrived`, a reading of the wall clock, on the other timeline.
pub(super) fn mapped(now: Now, arrived: WallNs) -> MonoNs {
    MonoNs(now.mono.0.saturating_sub(now.wall.0.saturating_sub(arrived.0)))
}

impl Ingest {
    /// Reads the sockets in turn until all are empty or `budget` batches were read. `now` is this turn's reading of the
    /// clock. Returns the instant up to which everything that arrived was judged.
    pub(super) fn drain(&mut self, mut now: Now, mut budget: u32) -> Now {
        self.behind = false;
        let mut slept = self.slept.take();
        for inlet in &mut self.inlets {
            if !inlet.readable {
                inlet.seen = now.mono;
            }
        }
        while self.inlets.iter().any(|inlet| inlet.readable) {
            for number in 0..self.inlets.len() {
                if !self.inlets[number].readable {
                    continue;
                }
                if budget == 0 {
                    self.behind = true;
                    return self.seen(now);
                }
                budget -= 1;
                now = self.read_batch(now, number, &mut slept);
            }
        }
        self.seen(now)
    }

    /// Datagrams judged so far.
    pub(super) fn datagrams(&self) -> u64 {
        (0..self.inlets.len())
            .filter_map(|number| self.core.listener_counters(number))
            .map(|counters| counters.received)
            .sum()
    }

    /// The clock, read once more. A turn that stands still for too long is blindness like any other.
    pub(super) fn tick(&mut self) -> Now {
        let now = Clock::now();
        if let Some(from) = self.turns.tick(now.mono) {
            self.core.handle_gap(from, now);
        }
        now
    }

    /// Reads a batch and judges it. `before` is the newest reading of the clock; returns the one that the batch is judged by.
    ///
    /// That one is made after the batch was read: a frame heard before it was sent would pass for one with a faster path,
    /// and its sender's deadlines would come too early by as much. What is known to be read is what came before `before`.
    fn read_batch(&mut self, before: Now, number: usize, slept: &mut Option<MonoNs>) -> Now {
        let (inlet, journal, name) = (&mut self.inlets[number], &mut self.journal, &self.names[number]);
        let tap = &mut self.tap;
        let room = (&mut self.buffers, &mut self.local_buffers);
        let received = inlet.receive(room, |error| match tap {
            Some(tap) => tap.io(before, error),
            None => journal.io_error(before, name, error),
        });
        let now = self.tick();
        let inlet = &mut self.inlets[number];
        let arrived = received.arrived.map(|arrived| mapped(now, arrived));
        let waited_for = std::mem::replace(&mut inlet.emptied, received.emptied);
        inlet.readable = !received.emptied;
        inlet.seen = if received.emptied { before.mono } else { arrived.unwrap_or(inlet.seen) };
        let overslept = slept.zip(arrived).filter(|_| waited_for);
        if let Some(from) = overslept.and_then(|(since, arrived)| Turns::overslept(since, arrived, now.mono)) {
            self.core.handle_gap(from, now);
            *slept = None;
        }
        if received.count > 0 {
            self.outcomes.clear();
            match self.inlets[number].kind {
                Kind::Sealed { attested } => self.judge(now, number, attested, received.count),
                Kind::Plain => self.judge_plain(now, number, received.count),
                Kind::Local => self.judge_local(now, number, received.count),
            }
            let inlet = &mut self.inlets[number];
            inlet.readable |= inlet.has_taken_out();
            self.tell_outcomes(now, number);
        }
        now
    }

    /// Hands the newest batch to the core, raising the horizon on disk wherever a frame waits for that.
    fn judge(&mut self, now: Now, number: usize, attested: bool, count: usize) {
        let Self { core, buffers, outcomes, keeper, .. } = self;
        let mut places = buffers.datagrams();
        let mut batch: [Datagram<'_>; BATCH] = std::array::from_fn(|_| {
            let (bytes, from) = places.next().unwrap_or((&mut [], ([0; 4], 0).into()));
            Datagram { bytes, origin: Origin { listener: number, attested, from } }
        });
        let mut rest = &mut batch[..count];
        while !rest.is_empty() {
            let before = outcomes.len();
            core.handle_batch(now, rest, outcomes);
            let done = outcomes.len() - before;
            if let Some(Outcome::Waiting(to)) = outcomes.last().copied() {
                outcomes.pop();
                outcomes.extend(keeper.settle(core, now, to));
            }
            rest = &mut std::mem::take(&mut rest)[done..];
        }
    }

    /// Judges what came without a seal from a network.
    fn judge_plain(&mut self, now: Now, number: usize, count: usize) {
        for (bytes, from) in self.buffers.datagrams().take(count) {
            let sender = Sender::Plain(from.ip().to_canonical());
            self.outcomes.push(self.core.handle_unsealed(now, number, Ok(sender), bytes));
        }
    }

    fn tell_outcomes(&mut self, now: Now, number: usize) {
        if self.tap.is_some() {
            return self.tap_outcomes(now, number);
        }
        for outcome in &self.outcomes {
            self.journal.outcome(now, outcome);
        }
        let local = self.inlets[number].kind == Kind::Local;
        if local {
            self.tell_refusals(now);
        }
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let places: [Option<SocketAddr>; BATCH] = {
            let mut places = self.buffers.datagrams().map(|(_, from)| from).filter(|_| !local);
            std::array::from_fn(|_| places.next())
        };
        let listener = &self.names[number];
        for (outcome, from) in self.outcomes.iter().zip(places) {
            let from = from.map(tracing::field::display);
            match outcome {
                Outcome::Rejected(reject) => tracing::debug!(%listener, from, reason = reject.reason(), "refused"),
                Outcome::Accepted(beat) | Outcome::AcceptedLate(beat) => {
                    let (agent, pid) = (beat.subject.agent, beat.subject.pid);
                    tracing::trace!(%listener, from, %agent, pid, nonce = beat.nonce, "accepted");
                }
                Outcome::Waiting(_) => {}
            }
        }
    }

    /// Ends a drain: what was not read, and up to which instant everything that arrived was.
    fn seen(&mut self, now: Now) -> Now {
        self.count_unread(now);
        self.judge_filters(now);
        let mono = self.inlets.iter().map(|inlet| inlet.seen).min().unwrap_or(now.mono).min(now.mono);
        Now { mono, wall: WallNs(now.wall.0.saturating_sub(now.mono.since(mono))) }
    }
}

#[cfg(test)]
mod tests {
    use varta_core::SECOND;

    use super::*;

    #[test]
    fn a_stamp_of_the_wall_clock_maps_back_and_never_forward() {
        let now = Now { mono: MonoNs(50 * SECOND), wall: WallNs(1_000 * SECOND) };
        assert_eq!(mapped(now, WallNs(997 * SECOND)), MonoNs(47 * SECOND));
        assert_eq!(mapped(now, WallNs(2_000 * SECOND)), now.mono);
        assert_eq!(mapped(now, WallNs(0)), MonoNs(0));
    }
}
