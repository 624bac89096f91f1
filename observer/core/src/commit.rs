//! Step 18 of SPEC, "Acceptance": what an acceptable frame changes.

use varta_vlp::{
    AgentId, Generation, Status, UnitId,
    key::AgentSecret,
    replay::Window,
    sealed::{Body, Flags, Header, METADATA_MAX_LEN, Metadata},
};

use crate::{
    Core,
    accept::Candidate,
    agent::{Agent, AgentMarks, Witness},
    blind::Cause,
    event::{AgentChange, Beat, Change, Outcome, SlotChange, SlotId, Verdict},
    judge::Plan,
    limits::SLOT_REFILL,
    roster::RosterEntry,
    slot::{Goodbye, Marks, NONE, PackedWindow, Phase, Previous, Slot, fingerprint},
    tell::seconds,
    time::{MILLI, MonoNs, Now},
    trust::Owner,
};

impl Core {
    /// Step 18: everything at once.
    pub(crate) fn commit(&mut self, now: Now, c: &mut Candidate<'_>, plan: Plan) -> Outcome {
        self.newest_sent = self.newest_sent.max(c.sent_at());
        let agent = self.commit_agent(now, c);
        let slot = match plan {
            Plan::Late { slot, previous } => {
                self.commit_late(slot, previous, c);
                return Outcome::AcceptedLate(self.beat(slot, c));
            }
            Plan::NewSlot { evict } => {
                if let Some(evict) = evict {
                    self.evict(now, evict);
                }
                let slot = self.open_slot(now, agent, c);
                self.commit_newest(now, slot, c);
                self.table.slot_mut(slot).marks.set(Marks::QUIET, false);
                self.tell_slot(now.mono, slot, |slot| SlotChange::New(slot.verdict));
                slot
            }
            Plan::Newest { slot, relearned } => {
                self.learn_offset(now, slot, c, relearned);
                self.commit_newest(now, slot, c);
                slot
            }
            Plan::NewSession { slot, offset, relearned } => {
                self.begin_session(now, slot, c, offset);
                self.learn_offset(now, slot, c, relearned);
                self.commit_newest(now, slot, c);
                slot
            }
        };
        self.tell_clamped(now, slot, c.message.body.next_due_ms, held_ms(c));
        Outcome::Accepted(self.beat(slot, c))
    }

    fn beat(&self, number: u32, c: &Candidate<'_>) -> Beat {
        let frame = &c.message.body.frame;
        let subject = self.table.slot(number).subject(Owner::Agent(c.header.agent));
        Beat {
            slot: SlotId(number),
            subject: crate::Subject { pid: frame.pid, ..subject },
            status: frame.status,
            payload: frame.payload,
            nonce: frame.nonce,
            kind: c.header.kind,
        }
    }

    /// Makes or refreshes the agent's record.
    fn commit_agent(&mut self, now: Now, c: &mut Candidate<'_>) -> u32 {
        let Header { agent: id, generation, .. } = c.header;
        let secret = c.secret.take();
        match (c.agent, secret) {
            (Some(number), secret) => {
                if let Some(secret) = secret {
                    let floor = self.table.floor(number);
                    let record = self.table.agent_mut(number);
                    (record.secret, record.audience) = (secret, c.audience);
                    self.raise_floor(now, number, generation, floor);
                }
                number
            }
            (None, Some(secret)) => {
                let number = self.add_agent(id, generation, secret, c.audience);
                self.table.agent_mut(number).floor_since = seconds(now.wall.0);
                self.mark_agent(number);
                number
            }
            (None, None) => unreachable!("a frame of an agent without a record was opened with a derived key"),
        }
    }

    /// The key of `generation` is the one last used: a higher one than ever becomes the floor.
    fn raise_floor(&mut self, now: Now, number: u32, generation: Generation, floor: Generation) {
        self.table.set_generation(number, generation, floor);
        if generation > floor {
            let record = self.table.agent_mut(number);
            record.floor_since = seconds(now.wall.0);
            let what = AgentChange::Generation(generation);
            self.changes.push(Change::Agent { agent: Owner::Agent(record.id), at: now.mono, what });
            self.mark_agent(number);
        }
    }

    /// An agent's record as it begins.
    pub(crate) fn add_agent(&mut self, id: AgentId, generation: Generation, secret: AgentSecret, audience: u8) -> u32 {
        let (watched, missing) = (self.is_watched(id), self.is_missing(id));
        let mut agent = Agent::new(id, generation, secret, audience);
        agent.marks.set(AgentMarks::WATCHED, watched);
        agent.marks.set(AgentMarks::MISSING, missing);
        self.table.add_agent(agent)
    }

    /// Loss statistics only, and that it is not accepted again.
    fn commit_late(&mut self, number: u32, previous: bool, c: &Candidate<'_>) {
        let (counter, sent_at) = (c.header.counter, c.sent_at());
        if previous {
            if let Some(Previous { window, tag, goodbye, .. }) = self.table.previous_mut(number) {
                *goodbye = window.accept_late(counter, *goodbye).inspect(|_| *tag = c.tag).unwrap_or(*goodbye);
            }
        } else {
            let slot = self.table.slot_mut(number);
            if let Some(goodbye) = slot.window.accept_late(counter, slot.goodbye) {
                // A goodbye said again; nothing but goodbyes will be the newest of this session.
                (slot.tag, slot.goodbye) = (c.tag, goodbye);
                if sent_at > slot.sent_at {
                    (slot.sent_at, slot.timestamp) = (sent_at, c.message.body.frame.timestamp);
                }
            }
        }
        if sent_at > self.largest_sent(number) {
            self.aside_mut(number).largest_sent = Some(sent_at);
        }
    }

    fn open_slot(&mut self, now: Now, agent: u32, c: &Candidate<'_>) -> u32 {
        let body = &c.message.body;
        let at = seconds(now.mono.0);
        let refill = seconds(SLOT_REFILL);
        let record = self.table.agent(agent);
        let (first, missing) = (record.slots == 0, record.marks.has(AgentMarks::MISSING));
        if !first {
            // The first slot of an agent is put to its account when the second comes.
            let rare = self.table.rare_mut(agent);
            let before = if rare.slots_full == 0 { at + refill } else { rare.slots_full.max(at) };
            rare.slots_full = before + refill;
        }
        if first && self.is_counted(agent, c.header.agent) {
            self.required.seen(missing);
        }
        let number = self.table.add_slot(Slot {
            generation: c.header.generation,
            session: c.header.session_start,
            window: PackedWindow::pack(Window::starting_at(c.header.counter)),
            boot: body.boot,
            timestamp: body.frame.timestamp,
            sent_at: c.sent_at(),
            offset: c.offset(now.mono),
            arrival: now.mono,
            heard: now.mono,
            ..Slot::blank(agent, body.unit, body.frame.pid)
        });
        let marks = &mut self.table.slot_mut(number).marks;
        marks.set(Marks::ATTESTED, c.origin.attested);
        marks.set(Marks::QUIET, true);
        self.verdicts_add(Verdict::Critical, 1);
        self.mark_slot(number);
        number
    }

    fn begin_session(&mut self, now: Now, number: u32, c: &Candidate<'_>, offset: Option<i64>) {
        let body = &c.message.body;
        let slot = self.table.slot(number);
        let old_pid = slot.pid;
        let restart = !slot.continued_by(c.header.generation, &c.message);
        let unlearned = slot.marks.has(Marks::UNLEARNED);
        let previous = Previous {
            start: slot.session,
            window: slot.window,
            offset: if unlearned { i64::MAX } else { slot.offset_at(now.mono) },
            tag: slot.tag,
            process: fingerprint(slot.generation, slot.pid, slot.boot),
            goodbye: slot.goodbye,
            owner: number,
        };
        self.table.set_previous(number, previous);
        let slot = self.table.slot_mut(number);
        slot.session = c.header.session_start;
        slot.window = PackedWindow::pack(Window::starting_at(c.header.counter));
        slot.generation = c.header.generation;
        slot.pid = body.frame.pid;
        slot.boot = body.boot;
        slot.goodbye = Goodbye::NONE;
        slot.heard = now.mono;
        slot.marks.set(Marks::TERMINAL, false);
        slot.marks.set(Marks::UNLEARNED, offset.is_none());
        if let Some(offset) = offset {
            slot.offset = offset;
            slot.arrival = now.mono;
        }
        slot.marks.set(Marks::ATTESTED, c.origin.attested);
        if restart {
            slot.marks.set(Marks::CLAMP_TOLD, false);
            slot.restarts = slot.restarts.saturating_add(1);
            self.tell_slot(now.mono, number, |_| SlotChange::Restarted { old_pid });
        }
        self.mark_slot(number);
    }

    /// Before an offset is used again: the newest frame's own counts where none is known or the path has changed.
    fn learn_offset(&mut self, now: Now, number: u32, c: &Candidate<'_>, relearned: Option<u64>) {
        let own = c.offset(now.mono);
        let slot = self.table.slot_mut(number);
        let fresh = slot.marks.has(Marks::UNLEARNED) || relearned.is_some();
        slot.offset = if fresh { own } else { slot.offset_at(now.mono).min(own) };
        slot.marks.set(Marks::UNLEARNED, false);
        if let Some(by) = relearned {
            self.tell_slot(now.mono, number, |_| SlotChange::OffsetRelearned(by));
        }
    }

    /// The newest frame of a slot: what it says becomes what is known.
    fn commit_newest(&mut self, now: Now, number: u32, c: &Candidate<'_>) {
        let body = &c.message.body;
        let held = held_ms(c);
        let idle = self.is_idle(now, self.table.slot(number));
        let largest = self.largest_sent(number);
        if largest > c.sent_at() {
            self.aside_mut(number).largest_sent = Some(largest);
        }
        let slot = self.table.slot_mut(number);
        if idle || slot.marks.has(Marks::UNPINNED) {
            slot.marks.set(Marks::ATTESTED, c.origin.attested);
            slot.marks.set(Marks::UNPINNED, false);
        }
        let mut window = slot.window();
        window.accept(c.header.counter);
        slot.window = PackedWindow::pack(window);
        slot.tag = c.tag;
        slot.timestamp = body.frame.timestamp;
        slot.sent_at = c.sent_at();
        slot.arrival = now.mono;
        slot.beats += 1;
        let span_changed = slot.next_due_ms != held;
        slot.next_due_ms = held;
        slot.lag_us = body.lag_us;
        slot.payload = body.frame.payload;
        slot.status = body.frame.status;
        slot.marks.set(Marks::HOLD, body.flags.has(Flags::HOLD));
        slot.marks.set(Marks::REVOKED, false);
        slot.marks.set(Marks::UNSEEN, false);
        if slot.previous != NONE && now.mono.since(slot.heard) > self.settings.late_window(c.due) {
            self.table.drop_previous(number);
        }
        if span_changed {
            self.mark_slot(number);
        }
        if let Some(metadata) = c.message.metadata {
            self.keep_announce(number, metadata);
        }
        self.forgive(now, number);
        self.enter_phase(now, number, &c.message.body);
    }

    /// Tells, once for each life of a process, that a promise or hold was held to its ceiling.
    pub(crate) fn tell_clamped(&mut self, now: Now, number: u32, asked: u32, held: u32) {
        let marks = &mut self.table.slot_mut(number).marks;
        if asked != held && !marks.has(Marks::CLAMP_TOLD) {
            marks.set(Marks::CLAMP_TOLD, true);
            self.tell_slot(now.mono, number, |_| SlotChange::PromiseClamped { asked, held });
        }
    }

    fn keep_announce(&mut self, number: u32, metadata: Metadata<'_>) {
        let named = self.table.slot(number).unit != UnitId::NONE;
        let known = self.table.announced(number);
        let mut room = [0; METADATA_MAX_LEN];
        // A unit's name stays, though a later announce leaves it out.
        let metadata = match known.and_then(|known| known.get("unit")) {
            Some(name) if named && metadata.get("unit").is_none() => {
                let before = metadata.iter().take_while(|(key, _)| *key < "unit");
                let after = metadata.iter().skip_while(|(key, _)| *key < "unit");
                match Metadata::write(before.chain([("unit", name)]).chain(after), &mut room) {
                    Ok(merged) => merged,
                    Err(_) => return,
                }
            }
            _ => metadata,
        };
        if known.is_none_or(|known| !known.iter().eq(metadata.iter())) {
            self.table.set_announce(number, Some(&metadata));
            self.mark_slot(number);
        }
    }

    /// An accepted frame ends the record of refused ones.
    pub(crate) fn forgive(&mut self, now: Now, number: u32) {
        let slot = self.table.slot(number);
        let (agent, sent_at) = (slot.agent, slot.sent_at);
        if slot.marks.has(Marks::ASIDE) {
            let needed = self.aside.get_mut(&number).is_some_and(|aside| {
                (aside.refused, aside.clock_since, aside.exit) = (None, None, None);
                aside.largest_sent = aside.largest_sent.filter(|largest| *largest > sent_at);
                aside.largest_sent.is_some() || aside.contested_until.is_some_and(|until| until > now.mono)
            });
            if !needed {
                self.drop_aside(number);
                self.table.slot_mut(number).marks.set(Marks::ASIDE, false);
            }
        }
        let record = self.table.agent_mut(agent);
        record.witness = Witness::None;
        if record.marks.has(AgentMarks::MISSING) {
            self.agent_returned(now, agent);
        }
    }

    /// Where the frame leaves its slot: life, absence, goodbye or an end.
    pub(crate) fn enter_phase(&mut self, now: Now, number: u32, body: &Body) {
        let slot = self.table.slot_mut(number);
        if body.frame.is_terminal() {
            slot.marks.set(Marks::TERMINAL, true);
        }
        if body.flags.has(Flags::FINAL) {
            slot.goodbye = Goodbye::NEWEST;
            let well = body.frame.status == Status::Ok && !slot.marks.has(Marks::TERMINAL);
            self.mark_slot(number);
            return self.set_phase(now, number, if well { Phase::Departed } else { Phase::Ended }, MonoNs::NEVER);
        }
        if body.frame.is_terminal() {
            return self.set_phase(now, number, Phase::Ended, MonoNs::NEVER);
        }
        let deadline = self.deadline_of(number);
        let moved = deadline.after(self.sight.unseen_since(self.mapped_send_time(number)));
        let phase = self.table.slot(number).phase;
        if deadline > now.mono {
            let hold = body.flags.has(Flags::HOLD);
            return self.set_phase(now, number, if hold { Phase::Held } else { Phase::Live }, moved);
        }
        // Its own deadline has passed: it brings nothing up.
        match phase {
            Phase::Live | Phase::Held if moved > now.mono => {
                self.set_phase(now, number, Phase::Unknown(Cause::Gap), moved);
            }
            Phase::Live | Phase::Held => self.table.deadlines.set(number, deadline),
            Phase::Unknown(_) => {
                let later = self.table.deadlines.get(number).max(moved);
                self.table.deadlines.set(number, later);
            }
            Phase::Departed | Phase::Ended | Phase::Stalled => {}
        }
    }

    /// Whether the roster has something to say of every frame of this agent.
    pub(crate) fn is_watched(&self, id: varta_vlp::AgentId) -> bool {
        self.roster.as_ref().is_some_and(|roster| roster.get(id).is_none_or(RosterEntry::is_asked))
    }
}

/// The frame's promise or hold after clamping, milliseconds.
fn held_ms(c: &Candidate<'_>) -> u32 {
    u32::try_from(c.due / MILLI).unwrap_or(u32::MAX)
}
