//! Who is late, and whether that can be held against them: verdicts, deadlines, and what the observer did not see.

use varta_vlp::Status;

use crate::{
    Core,
    agent::{Realm, Witness},
    blind::Cause,
    event::{SlotChange, Verdict},
    slot::{Marks, Phase},
    time::{MILLI, MonoNs, Now},
};

/// A silence is excused by lost datagrams as long as losing that many beats in a row is not less likely than this.
const EXCUSE: f64 = 1e-6;

impl Core {
    /// When the slot's newest beat will be overdue: its send time, mapped by the session's minimum offset, and the span
    /// of its promise.
    pub(crate) fn deadline_of(&self, number: u32) -> MonoNs {
        let slot = self.table.slot(number);
        self.mapped_send_time(number).after(self.span_of(number, slot.next_due()))
    }

    /// The newest send time on the observer's own timeline.
    pub(crate) fn mapped_send_time(&self, number: u32) -> MonoNs {
        let slot = self.table.slot(number);
        MonoNs(slot.sent_at.0.wrapping_add_signed(slot.offset))
    }

    /// Since when nothing is known of the slot: its newest send time, or where that cannot be mapped the arrival.
    pub(crate) fn last_life(&self, number: u32) -> MonoNs {
        let slot = self.table.slot(number);
        if slot.marks.has(Marks::UNLEARNED) { slot.arrival } else { self.mapped_send_time(number) }
    }

    pub(crate) fn span_of(&self, number: u32, next_due: u64) -> u64 {
        if next_due == 0 {
            self.settings.threshold
        } else if self.table.slot(number).marks.has(Marks::HOLD) {
            next_due + self.settings.margin
        } else {
            self.settings.promise_span(next_due)
        }
    }

    fn verdict_of(&self, number: u32, now: MonoNs) -> Verdict {
        let slot = self.table.slot(number);
        let verdict = match slot.phase {
            Phase::Stalled => return Verdict::Stalled,
            Phase::Unknown(_) => return Verdict::Unknown,
            Phase::Ended => return Verdict::Critical,
            Phase::Departed => Verdict::Departed,
            Phase::Held => Verdict::Held,
            Phase::Live => match slot.status {
                Status::Ok => Verdict::Up,
                Status::Degraded => Verdict::Degraded,
                Status::Critical | Status::Stall => Verdict::Critical,
            },
        };
        let contested = self.contested_until(number, now).is_some() && !slot.marks.has(Marks::REVOKED);
        if contested && verdict != Verdict::Critical { Verdict::Degraded } else { verdict }
    }

    pub(crate) fn verdicts_add(&mut self, verdict: Verdict, by: i32) {
        if let Some(count) = self.verdicts.get_mut(verdict as usize) {
            *count = count.saturating_add_signed(by);
        }
    }

    /// Puts a slot into another part of its life, with the instant at which it is next to be judged.
    pub(crate) fn set_phase(&mut self, now: Now, number: u32, phase: Phase, deadline: MonoNs) {
        let old = self.table.slot(number).phase;
        let passed = (phase == Phase::Stalled).then_some(deadline);
        let timer = match phase {
            Phase::Stalled | Phase::Ended => MonoNs::NEVER,
            Phase::Departed => self.contested_until(number, now.mono).unwrap_or(MonoNs::NEVER),
            Phase::Live | Phase::Held | Phase::Unknown(_) => deadline,
        };
        self.table.deadlines.set(number, timer);
        if old != phase {
            let was_down = self.is_down(number);
            self.table.slot_mut(number).phase = phase;
            if was_down || self.is_down(number) {
                self.alarm(number);
            }
            self.count_active(number, old, phase);
            let by_drops = |phase| u32::from(phase == Phase::Unknown(Cause::Drops));
            self.sight.drops_unknown = (self.sight.drops_unknown + by_drops(phase)).saturating_sub(by_drops(old));
            self.mark_slot(number);
        }
        self.refresh_verdict(now, number, passed);
    }

    fn count_active(&mut self, number: u32, old: Phase, new: Phase) {
        let active = |phase| !matches!(phase, Phase::Departed | Phase::Ended);
        let agent = self.table.slot(number).agent;
        let record = self.table.agent_mut(agent);
        // Nothing that is said without a key is a witness against the observer's clock.
        let counts = record.realm == Realm::Agent;
        match (active(old), active(new)) {
            (false, true) => {
                record.active += 1;
                self.active_agents += u32::from(counts && record.active == 1);
            }
            (true, false) => {
                record.active -= 1;
                self.active_agents -= u32::from(counts && record.active == 0);
            }
            _ => {}
        }
    }

    /// Works the verdict out again and tells it if it is another.
    pub(crate) fn refresh_verdict(&mut self, now: Now, number: u32, deadline: Option<MonoNs>) {
        let to = self.verdict_of(number, now.mono);
        let slot = self.table.slot_mut(number);
        let from = std::mem::replace(&mut slot.verdict, to);
        let quiet = slot.marks.has(Marks::QUIET);
        if from == to {
            return;
        }
        self.verdicts_add(from, -1);
        self.verdicts_add(to, 1);
        if !quiet {
            self.tell_slot(now.mono, number, |_| SlotChange::Verdict { from, to, deadline });
        }
    }

    /// The next instant at which [`Self::handle_timeout`] has something to do, or [`MonoNs::NEVER`].
    #[must_use]
    pub fn poll_timeout(&self) -> MonoNs {
        let blind = self.sight.restart_until.unwrap_or(MonoNs::NEVER);
        let slots = self.table.deadlines.next().min(blind).min(self.next_witnesses());
        slots.min(self.required.next()).min(self.next_flapping()).min(self.next_forgotten())
    }

    /// Judges every slot whose deadline has passed. `now` is to be the arrival of the last datagram read if the sockets
    /// could not be emptied, so that nobody is accused while his beat waits in a queue.
    pub fn handle_timeout(&mut self, now: Now) {
        let read = self.read_in_all();
        self.losses.note(now.mono, 0, read);
        self.look_back(now);
        self.judge_witnesses(now);
        let mut due = std::mem::take(&mut self.due);
        while self.table.deadlines.take_due(now.mono, &mut due) {
            for (number, deadline) in due.drain(..) {
                self.judge_slot(now, number, deadline);
            }
        }
        self.due = due;
        self.tell_drops(now);
        self.forget_agents(now);
        self.judge_required(now);
        self.tell_flapping(now);
    }

    fn judge_slot(&mut self, now: Now, number: u32, deadline: MonoNs) {
        let slot = self.table.slot(number);
        match slot.phase {
            Phase::Departed if slot.marks.has(Marks::REVOKED) => self.evict(now, number),
            Phase::Departed | Phase::Ended | Phase::Stalled if slot.marks.has(Marks::GONE) => self.evict(now, number),
            Phase::Departed | Phase::Ended | Phase::Stalled => self.refresh_verdict(now, number, None),
            Phase::Live | Phase::Held | Phase::Unknown(_) => match self.excuse(now, number) {
                Some((cause, until)) => {
                    if cause == Cause::Clock {
                        self.aside_mut(number).clock_since.get_or_insert(now.mono);
                    }
                    self.set_phase(now, number, Phase::Unknown(cause), until);
                }
                None => self.accuse(now, number, deadline),
            },
        }
    }

    pub(crate) fn accuse(&mut self, now: Now, number: u32, deadline: MonoNs) {
        let unseen = self.sight.unseen_since(self.last_life(number)) > 0;
        let slot = self.table.slot_mut(number);
        slot.marks.set(Marks::UNSEEN, unseen || matches!(slot.phase, Phase::Unknown(_)));
        slot.stalls = slot.stalls.saturating_add(1);
        self.counters.stalls += 1;
        self.counters.stall_detection.record(now.mono.since(deadline));
        self.set_phase(now, number, Phase::Stalled, deadline);
    }

    /// Why the slot's silence cannot be held against it yet, and when to look again.
    fn excuse(&self, now: Now, number: u32) -> Option<(Cause, MonoNs)> {
        self.excuse_by_restart(now, number)
            .map(|until| (Cause::Restart, until))
            .or_else(|| self.excuse_by_clock(now, number).map(|until| (Cause::Clock, until)))
            .or_else(|| self.excuse_by_drops(now, number).map(|until| (Cause::Drops, until)))
            .map(|(cause, until)| (cause, until.max(now.mono.after(MILLI))))
            .or_else(|| self.excuse_by_gap(now, number).map(|until| (Cause::Gap, until)))
    }

    fn excuse_by_restart(&self, now: Now, number: u32) -> Option<MonoNs> {
        self.end_of_wait(number).filter(|until| *until > now.mono)
    }

    /// What was last heard before or while the barrier of a restart was waited out is held to its span from the end of
    /// that on.
    pub(crate) fn end_of_wait(&self, number: u32) -> Option<MonoNs> {
        let waited = self.sight.waited.filter(|waited| self.last_life(number) < *waited)?;
        let span = self.span_of(number, self.table.slot(number).next_due());
        Some(waited.after(span).after(self.sight.unseen_since(waited)))
    }

    /// While the observer's clock is suspect, those whose frames are refused for it are unknown, up to the limit.
    fn excuse_by_clock(&self, now: Now, number: u32) -> Option<MonoNs> {
        let slot = self.table.slot(number);
        let suspect = self.sight.clock_since?;
        // Counted from the first time, so that a suspicion that comes and goes excuses nobody for longer.
        let first = self.aside.get(&number).and_then(|aside| aside.clock_since).unwrap_or(suspect);
        let limit = first.min(suspect).after(self.settings.blind_limit);
        let refused = self.table.agent(slot.agent).witness != Witness::None;
        (refused && now.mono < limit).then(|| now.mono.after(self.settings.skew).min(limit))
    }

    /// A silence is no proof while losing that many beats in a row is not too unlikely: looked at again when the next
    /// promise, or threshold, is missed.
    fn excuse_by_drops(&self, now: Now, number: u32) -> Option<MonoNs> {
        let slot = self.table.slot(number);
        if self.table.agent(slot.agent).realm == Realm::Process {
            // A local socket loses nothing: whoever finds its queue full is told.
            return None;
        }
        let last = self.last_life(number);
        let share = self.losses.share_since(last, self.read_in_all());
        if share <= 0.0 {
            return None;
        }
        let each = if slot.next_due() == 0 { self.settings.threshold } else { slot.next_due() }.max(1);
        let missed = now.mono.since(last) / each;
        let exponent = i32::try_from(missed).unwrap_or(i32::MAX);
        (share.powi(exponent) > EXCUSE).then(|| last.after(each.saturating_mul(missed + 1)))
    }

    /// A promised beat that was due by the end of the last gap may have been sent in it and not been heard: it is not held
    /// against the slot beside one lost later, so the slot has its whole span from there. Only where its own deadline had
    /// not passed when the gap began: nobody is excused for ever by an observer that is held up again and again.
    fn excuse_by_gap(&self, now: Now, number: u32) -> Option<MonoNs> {
        let (from, to) = self.sight.last_gap()?;
        let slot = self.table.slot(number);
        let due = slot.next_due();
        if due == 0 || slot.marks.has(Marks::HOLD) {
            return None;
        }
        let (sent, span) = (self.last_life(number), self.span_of(number, due));
        let missed = sent.after(due) <= to && sent.after(span) >= from;
        Some(to.after(span)).filter(|until| missed && now.mono < *until)
    }

    /// Datagrams read so far, of all listeners whose queue may lose some.
    pub(crate) fn read_in_all(&self) -> u64 {
        self.counters.listeners.iter().map(|listener| listener.received).sum::<u64>() - self.read_locally
    }

    /// `lost` more datagrams were dropped by the kernel before they could be read.
    pub fn handle_drops(&mut self, now: Now, lost: u64) {
        let read = self.read_in_all();
        self.losses.note(now.mono, lost, read);
    }
}
