//! Base frames without a seal, and the ends of local processes: SPEC, "Base frames outside a seal".

use varta_vlp::{
    Frame, Reject, UnitId, local,
    replay::Window,
    sealed::{Body, Flags, Kind},
};

use crate::{
    Core,
    event::{Beat, Outcome, SlotChange, SlotId, Verdict},
    limits::{FORGET_PROCESS, ROOM_EVERY},
    slot::{Exit, Goodbye, Marks, PackedWindow, Phase, Slot},
    time::{MILLI, Now},
    trust::{Owner, Sender},
};

impl Core {
    /// Judges a datagram that came without a seal. `sender` is who sent it, or why it is refused whatever it says:
    /// [`Reject::NamespaceConflict`], [`Reject::NoCredentials`].
    ///
    /// Nothing said without a key moves the barrier, the horizon, or the doubt about the observer's clock.
    pub fn handle_unsealed(
        &mut self,
        now: Now,
        listener: usize,
        sender: Result<Sender, Reject>,
        datagram: &[u8],
    ) -> Outcome {
        let outcome = self.accept_unsealed(now, sender, datagram).map_or_else(Outcome::Rejected, Outcome::Accepted);
        if let Some(counters) = self.counters.listeners.get_mut(listener) {
            counters.count(&outcome);
            // What cannot get lost says nothing of how much is.
            self.read_locally += u64::from(!matches!(sender, Ok(Sender::Plain(_))));
        }
        outcome
    }

    fn accept_unsealed(&mut self, now: Now, sender: Result<Sender, Reject>, datagram: &[u8]) -> Result<Beat, Reject> {
        let body = match sender {
            Ok(Sender::Plain(_)) => local::parse_frame(datagram)?,
            _ => local::parse(datagram)?,
        };
        let (sender, frame) = (sender?, &body.frame);
        if matches!(sender, Sender::Local { pid, .. } if pid != frame.pid) {
            return Err(Reject::PidMismatch);
        }
        let known = self.table.find_sender(sender);
        let number = match known.and_then(|owner| self.table.find_slot(owner, UnitId::NONE, frame.pid)) {
            Some(number) => {
                if self.begins_run(number, sender, frame) {
                    self.begin_run(now, number);
                } else if !frame.is_terminal() && !follows(self.table.slot(number).window().newest(), frame.nonce) {
                    return Err(Reject::OutOfOrder);
                }
                number
            }
            None => self.open_unsealed(now, sender, frame)?,
        };
        if let Sender::Local { process, ours, .. } = sender {
            self.know(number, process, ours);
        }
        self.commit_unsealed(now, number, &body);
        let slot = self.table.slot(number);
        Ok(Beat {
            slot: SlotId(number),
            subject: slot.subject(self.table.owner(slot.agent)),
            status: frame.status,
            payload: frame.payload,
            nonce: frame.nonce,
            kind: Kind::Beat,
        })
    }

    /// Whether the frame is the first of another life of the process, or of another process with its pid.
    fn begins_run(&self, number: u32, sender: Sender, frame: &Frame) -> bool {
        let slot = self.table.slot(number);
        let another = match sender {
            Sender::Local { process, .. } => process != 0 && slot.boot != 0 && process != slot.boot,
            Sender::Plain(_) => false,
        };
        // After the last nonce comes 0, and 1 after that.
        another || frame.nonce == 1 && slot.window().newest() != 0
    }

    /// What the kernel says of a local process: what was not known may become known.
    fn know(&mut self, number: u32, process: u64, ours: bool) {
        let slot = self.table.slot_mut(number);
        let same = process == 0 || process == slot.boot;
        slot.marks.set(Marks::SEEN_NAMESPACE, ours || same && slot.marks.has(Marks::SEEN_NAMESPACE));
        if process != 0 {
            slot.boot = process;
        }
    }

    fn begin_run(&mut self, now: Now, number: u32) {
        let slot = self.table.slot_mut(number);
        (slot.session, slot.heard) = (now.wall.0, now.mono);
        slot.window = PackedWindow::default();
        slot.restarts = slot.restarts.saturating_add(1);
        slot.marks.set(Marks::CLAMP_TOLD, false);
        self.tell_slot(now.mono, number, |slot| SlotChange::Restarted { old_pid: slot.pid });
        self.mark_slot(number);
    }

    fn open_unsealed(&mut self, now: Now, sender: Sender, frame: &Frame) -> Result<u32, Reject> {
        if !self.has_room(sender) {
            self.make_room(now);
        }
        if !self.has_room(sender) {
            return Err(Reject::SlotQuota);
        }
        let owner = self.table.find_sender(sender).unwrap_or_else(|| self.table.add_sender(sender));
        let blank = Slot::blank(owner, UnitId::NONE, frame.pid);
        let slot = Slot { session: now.wall.0, arrival: now.mono, heard: now.mono, ..blank };
        let number = self.table.add_slot(slot);
        self.table.slot_mut(number).marks.set(Marks::QUIET, true);
        self.verdicts_add(Verdict::Critical, 1);
        self.mark_slot(number);
        Ok(number)
    }

    fn has_room(&self, sender: Sender) -> bool {
        let (processes, addresses) = self.table.sender_counts();
        match (sender, self.table.find_sender(sender)) {
            (Sender::Local { .. }, known) => known.is_some() || processes < self.limits.processes as usize,
            (Sender::Plain(_), None) => addresses < self.limits.addresses as usize,
            (Sender::Plain(_), Some(owner)) => self.table.agent(owner).slots < self.limits.slots_per_agent,
        }
    }

    /// Forgets whoever speaks without a key and is gone, or has been silent for long past his deadline.
    fn make_room(&mut self, now: Now) {
        if now.mono < self.room_made.after(ROOM_EVERY) {
            return;
        }
        self.room_made = now.mono;
        for number in 0..self.table.slot_numbers() {
            let Some(slot) = self.table.live_slot(number) else { continue };
            let over = matches!(slot.phase, Phase::Departed | Phase::Ended | Phase::Stalled);
            let unsealed = self.table.owner(slot.agent).agent().is_none();
            if over && unsealed && (slot.marks.has(Marks::GONE) || self.is_idle(now, slot)) {
                self.evict(now, number);
            }
        }
    }

    fn commit_unsealed(&mut self, now: Now, number: u32, body: &Body) {
        let frame = &body.frame;
        let asked = body.next_due_ms;
        let ceiling =
            if body.flags.has(Flags::HOLD) { self.settings.max_hold } else { self.settings.max_promise } / MILLI;
        let held = u64::from(asked).min(ceiling);
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        self.set_gone(number, false);
        let slot = self.table.slot_mut(number);
        let opened = slot.marks.has(Marks::QUIET);
        if !frame.is_terminal() {
            slot.window = PackedWindow::pack(Window::starting_at(frame.nonce));
        }
        // There is one host and one clock: it was sent when it was read.
        slot.sent_at = now.wall;
        slot.offset = now.mono.0.cast_signed().wrapping_sub(now.wall.0.cast_signed());
        slot.arrival = now.mono;
        slot.timestamp = frame.timestamp;
        slot.beats += 1;
        let span_changed = slot.next_due_ms != held;
        slot.next_due_ms = held;
        slot.lag_us = body.lag_us;
        slot.payload = frame.payload;
        slot.status = frame.status;
        slot.goodbye = Goodbye::NONE;
        slot.marks.set(Marks::HOLD, body.flags.has(Flags::HOLD));
        // Each frame speaks for itself: life takes back whatever end was told.
        for mark in [Marks::TERMINAL, Marks::UNLEARNED, Marks::UNPINNED, Marks::UNSEEN] {
            slot.marks.set(mark, false);
        }
        if span_changed {
            self.mark_slot(number);
        }
        self.forgive(now, number);
        self.enter_phase(now, number, body);
        if opened {
            self.table.slot_mut(number).marks.set(Marks::QUIET, false);
            self.tell_slot(now.mono, number, |slot| SlotChange::New(slot.verdict));
        }
        self.tell_clamped(now, number, asked, held);
    }

    /// A local process has ended, which stalls its slot at once, unless it had said that it would end. `process` is what
    /// told it from others of its pid; 0 where that is not known. Call it once everything that it sent was handed in.
    pub fn handle_exit(&mut self, now: Now, pid: u32, process: u64, exit: Exit) {
        let slot =
            self.table.find_owner(Owner::Local, pid).and_then(|owner| self.table.find_slot(owner, UnitId::NONE, pid));
        let Some(number) = slot else { return };
        let slot = self.table.slot_mut(number);
        let another = process != 0 && slot.boot != 0 && process != slot.boot;
        if another || slot.marks.has(Marks::GONE) {
            return;
        }
        let phase = slot.phase;
        if !matches!(phase, Phase::Departed | Phase::Ended) {
            self.aside_mut(number).exit = Some(exit);
        }
        if matches!(phase, Phase::Live | Phase::Held | Phase::Unknown(_)) {
            self.accuse(now, number, now.mono);
        }
        self.set_gone(number, true);
        if self.is_down(number) {
            self.alarm(number);
        }
        self.table.deadlines.set(number, now.mono.after(FORGET_PROCESS));
        self.mark_slot(number);
    }

    /// Local processes that are not known to have ended, each with what tells it from others of its pid.
    #[must_use]
    pub fn local_processes(&self) -> Vec<(u32, u64)> {
        let slots = (0..self.table.slot_numbers()).filter_map(|number| self.table.live_slot(number));
        slots
            .filter(|slot| self.table.owner(slot.agent) == Owner::Local && !slot.marks.has(Marks::GONE))
            .map(|slot| (slot.pid, slot.boot))
            .collect()
    }

    /// The record of a sender without a key goes with its last slot, once nothing more is to be told of it.
    pub(crate) fn forget_sender(&mut self, agent: u32) {
        let over = self.table.agent(agent).slots == 0 && self.table.rare(agent).untold == 0;
        if over && self.table.owner(agent).agent().is_none() {
            self.table.remove_agent(agent);
        }
    }
}

/// Whether a nonce comes after the last.
const fn follows(last: u64, nonce: u64) -> bool {
    nonce > last || nonce == 0 && last == Frame::TERMINAL - 1
}
