//! Steps 8 to 17 of SPEC, "Acceptance", for an authentic frame: what it would do, or why not. Nothing changes here.

use varta_vlp::{
    Reject, UnitId,
    replay::{Place, Window},
    sealed::{Flags, Metadata},
};

use crate::{
    Core,
    accept::Candidate,
    limits::{SLOT_REFILL, leaked},
    slot::{Goodbye, Marks, Phase, Slot, fingerprint},
    time::{Now, SECOND, WallNs},
};

/// What committing an acceptable frame will do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// A slot not known before; `evict` gives way to it.
    NewSlot { evict: Option<u32> },
    /// The newest of its slot's session.
    Newest { slot: u32, relearned: Option<u64> },
    /// The first of a newer session; `offset` is the minimum that carries into it.
    NewSession { slot: u32, offset: Option<i64>, relearned: Option<u64> },
    /// Genuine, and not the newest.
    Late { slot: u32, previous: bool },
}

/// Where a frame stands among its slot's sessions: steps 13 to 15.
enum Standing {
    Newest,
    NewSession,
    Late { previous: bool },
}

impl Core {
    /// The end of step 8, then 9 to 17.
    pub(crate) fn judge(&self, now: Now, c: &Candidate<'_>) -> Result<Plan, Reject> {
        let found = self.slot_of(c);
        if let (Some(number), Some(metadata)) = (found, c.message.metadata) {
            self.check_unit_name(number, &metadata)?;
        }
        // What waited for an observer that did not look was not held back on the way.
        let max_delay = self.settings.max_delay(c.due) + self.sight.queued_for(now.mono);
        if c.sent_at() > now.wall.after(self.settings.skew) {
            return Err(Reject::FromFuture);
        }
        if c.sent_at().after(self.settings.skew + max_delay) < now.wall {
            return Err(Reject::Stale);
        }
        let agent_barrier = c.agent.map_or(WallNs(0), |agent| self.table.rare(agent).barrier);
        if c.sent_at() <= self.barrier.max(agent_barrier) {
            return Err(Reject::BeforeBarrier);
        }
        let Some(number) = found else {
            return self.place_for_new_slot(now, c);
        };
        let standing = self.stand(now, c, number)?;
        let base = self.base_offset(now, c, number, &standing);
        let held_back = base.map_or(0, |base| c.offset(now.mono).saturating_sub(base));
        let late = matches!(standing, Standing::Late { .. });
        let relearned = if held_back > max_delay.cast_signed() {
            if late || !self.may_relearn(now, number) {
                return Err(Reject::Delayed);
            }
            Some(held_back.unsigned_abs())
        } else {
            None
        };
        self.check_class(now, c, self.table.slot(number))?;
        Ok(match standing {
            Standing::Newest => Plan::Newest { slot: number, relearned },
            Standing::NewSession => {
                Plan::NewSession { slot: number, offset: base.filter(|_| relearned.is_none()), relearned }
            }
            Standing::Late { previous } => Plan::Late { slot: number, previous },
        })
    }

    pub(crate) fn slot_of(&self, c: &Candidate<'_>) -> Option<u32> {
        self.table.find_slot(c.agent?, c.message.body.unit, c.message.body.frame.pid)
    }

    /// The minimum offset of the session that the frame belongs to, leak applied, where there is one.
    fn base_offset(&self, now: Now, c: &Candidate<'_>, number: u32, standing: &Standing) -> Option<i64> {
        let slot = self.table.slot(number);
        match standing {
            Standing::NewSession => {
                slot.offset_carries(c.header.generation, &c.message).then(|| slot.offset_at(now.mono))
            }
            Standing::Late { previous: true } => {
                let offset = self.table.previous(number)?.offset;
                (offset != i64::MAX).then(|| offset.saturating_add_unsigned(leaked(now.mono.since(slot.heard))))
            }
            Standing::Newest | Standing::Late { previous: false } => {
                (!slot.marks.has(Marks::UNLEARNED)).then(|| slot.offset_at(now.mono))
            }
        }
    }

    /// Step 12.
    fn place_for_new_slot(&self, now: Now, c: &Candidate<'_>) -> Result<Plan, Reject> {
        let Some(agent) = c.agent else {
            let room = self.table.agent_count() < self.limits.agents as usize;
            return if room { Ok(Plan::NewSlot { evict: None }) } else { Err(Reject::SlotQuota) };
        };
        let record = self.table.agent(agent);
        let seconds = now.mono.0 / SECOND;
        let refill = SLOT_REFILL / SECOND;
        let allowance = refill * u64::from(self.limits.slots_per_agent);
        if u64::from(self.table.rare(agent).slots_full).max(seconds) + refill > seconds + allowance {
            return Err(Reject::SlotQuota);
        }
        if record.slots < self.limits.slots_per_agent {
            return Ok(Plan::NewSlot { evict: None });
        }
        let evict = self.slot_to_evict(now, agent).ok_or(Reject::SlotQuota)?;
        Ok(Plan::NewSlot { evict: Some(evict) })
    }

    /// The agent's slot that may give way: idle, departed first, stalled last; never one whose promise still holds,
    /// or may hold for what was not seen.
    fn slot_to_evict(&self, now: Now, agent: u32) -> Option<u32> {
        let rank = |phase: Phase| match phase {
            Phase::Departed => Some(0),
            Phase::Ended => Some(1),
            Phase::Stalled => Some(2),
            Phase::Live | Phase::Held | Phase::Unknown(_) => None,
        };
        self.table
            .slots_of(agent)
            .filter_map(|number| {
                let slot = self.table.slot(number);
                let rank = rank(slot.phase).filter(|_| self.is_idle(now, slot))?;
                Some((rank, slot.arrival, number))
            })
            .min()
            .map(|(_, _, number)| number)
    }

    /// Whether a slot was not heard for so long that its place and its pin may be taken.
    pub(crate) fn is_idle(&self, now: Now, slot: &Slot) -> bool {
        now.mono.since(slot.arrival) > self.settings.idle(slot.next_due())
    }

    /// Steps 13 to 15.
    fn stand(&self, now: Now, c: &Candidate<'_>, number: u32) -> Result<Standing, Reject> {
        let slot = self.table.slot(number);
        let (header, body) = (&c.header, &c.message.body);
        if header.session_start > slot.session {
            return Ok(Standing::NewSession);
        }
        if header.session_start < slot.session {
            return self.stand_before(now, c, number);
        }
        if header.generation != slot.generation || body.frame.pid != slot.pid || body.boot != slot.boot {
            return Err(Reject::SessionConflict);
        }
        let window = slot.window();
        let after_final = check_final(c, slot.goodbye, window)?;
        match place(window, slot.tag, c)? {
            Place::Newest if after_final => Ok(Standing::Late { previous: false }),
            Place::Newest if c.sent_at() <= slot.sent_at => Err(Reject::TimeRegressed),
            Place::Newest => Ok(Standing::Newest),
            _ => Ok(Standing::Late { previous: false }),
        }
    }

    /// Of a session older than the current one.
    fn stand_before(&self, now: Now, c: &Candidate<'_>, number: u32) -> Result<Standing, Reject> {
        let slot = self.table.slot(number);
        // The frame's own promise counts too: with a long one it stays fresh for longer than the slot's newest says, and
        // a frame held back on the way must not pass for a second process.
        let late = self.settings.late_window(slot.next_due().max(c.due)) + self.sight.queued_for(now.mono);
        if now.mono.since(slot.heard) > late {
            return Err(Reject::SessionConflict);
        }
        let previous = self.table.previous(number).filter(|previous| previous.start == c.header.session_start);
        let previous = previous.ok_or(Reject::SessionSuperseded)?;
        let body = &c.message.body;
        let process = fingerprint(c.header.generation, body.frame.pid, body.boot);
        if previous.process != 0 && previous.process != process {
            return Err(Reject::SessionConflict);
        }
        let window = previous.window.unpack();
        check_final(c, previous.goodbye, window)?;
        place(window, previous.tag, c)?;
        Ok(Standing::Late { previous: true })
    }

    fn may_relearn(&self, now: Now, number: u32) -> bool {
        let slot = self.table.slot(number);
        let since = self.aside.get(&number).and_then(|aside| aside.refused).and_then(|refused| refused.delayed_since);
        since.is_some_and(|since| now.mono.since(since) >= self.settings.idle(slot.next_due()))
    }

    /// Step 17.
    fn check_class(&self, now: Now, c: &Candidate<'_>, slot: &Slot) -> Result<(), Reject> {
        let observed = self.class(c.header.agent, c.origin.attested);
        let pinned = self.class(c.header.agent, slot.marks.has(Marks::ATTESTED));
        if observed < pinned && !self.is_idle(now, slot) { Err(Reject::OriginConflict) } else { Ok(()) }
    }

    /// The last check of step 8: the first name accepted for a unit id stays.
    fn check_unit_name(&self, number: u32, metadata: &Metadata<'_>) -> Result<(), Reject> {
        if self.table.slot(number).unit == UnitId::NONE {
            return Ok(());
        }
        let known = self.table.announced(number).and_then(|known| known.get("unit"));
        match (known, metadata.get("unit")) {
            (Some(known), Some(other)) if known != other => Err(Reject::NameMismatch),
            _ => Ok(()),
        }
    }
}

/// Whether the frame is a goodbye after its session's first one.
fn check_final(c: &Candidate<'_>, goodbye: Goodbye, window: Window) -> Result<bool, Reject> {
    let after = goodbye.counter(window.newest()).is_some_and(|counter| c.header.counter > counter);
    if after && !c.has(Flags::FINAL) { Err(Reject::AfterFinal) } else { Ok(after) }
}

/// Step 14.
fn place(window: Window, newest_tag: u32, c: &Candidate<'_>) -> Result<Place, Reject> {
    match window.place(c.header.counter) {
        Place::TooOld => Err(Reject::CounterTooOld),
        Place::NewestAgain if newest_tag != 0 && newest_tag != c.tag => Err(Reject::CloneSuspected),
        Place::NewestAgain | Place::Replayed => Err(Reject::Replayed),
        open => Ok(open),
    }
}
