//! What a refused authentic frame leaves behind: the record told in `why`, contests, and witnesses against the clock.

use varta_vlp::{Frame, Reject, UnitId, sealed::BODY_LEN};

use crate::{
    Core,
    accept::Candidate,
    agent::Witness,
    event::SlotChange,
    limits::CONTEST,
    slot::{Aside, Marks, Phase, Refused},
    time::{MonoNs, Now, WallNs},
};

/// Whom a frame speaks for and when it was sent, of one that says something illegal besides.
pub(crate) struct Glimpse {
    pub(crate) unit: UnitId,
    pub(crate) pid: u32,
    pub(crate) sent_at: WallNs,
}

impl Glimpse {
    /// Reads an authentic body; `None` if even its base frame is not one.
    pub(crate) fn of(body: &[u8; BODY_LEN]) -> Option<Self> {
        let (frame, rest) = body.split_first_chunk::<{ Frame::LEN }>()?;
        let (sent_at, rest) = rest.split_first_chunk()?;
        let (_, rest) = rest.split_first_chunk::<8>()?;
        let (unit, _) = rest.split_first_chunk()?;
        Some(Self {
            unit: UnitId(u32::from_le_bytes(*unit)),
            pid: Frame::decode(frame).ok()?.pid,
            sent_at: WallNs(u64::from_le_bytes(*sent_at)),
        })
    }
}

impl Core {
    /// Step 8 or a later one refused `c`: what is kept of that, and what it proves.
    pub(crate) fn note_refusal(&mut self, now: Now, c: &Candidate<'_>, reject: Reject) {
        let Some(number) = self.slot_of(c) else { return };
        match reject {
            Reject::SessionConflict | Reject::CloneSuspected => self.contest(now, number, c, reject),
            Reject::OriginConflict => self.tell_lower_class(now, number, c),
            _ => {}
        }
        let by = match reject {
            Reject::FromFuture => c.sent_at().0.saturating_sub(now.wall.0),
            Reject::Stale => now.wall.0.saturating_sub(c.sent_at().0),
            Reject::Delayed => {
                c.offset(now.mono).saturating_sub(self.table.slot(number).offset_at(now.mono)).unsigned_abs()
            }
            _ => 0,
        };
        self.keep_refusal(now, number, c.sent_at(), reject, by);
    }

    /// Keeps a refusal of a frame that is newer than everything accepted from the slot. Without one, stale frames that are
    /// not newer are kept as such: they prove nothing, but may be what a sender says whose clock was set back.
    pub(crate) fn keep_refusal(&mut self, now: Now, number: u32, sent_at: WallNs, reject: Reject, by: u64) {
        let older = sent_at <= self.largest_sent(number);
        let known = self.aside.get(&number).and_then(|aside| aside.refused);
        if older && (reject != Reject::Stale || known.is_some_and(|known| !known.older)) {
            return;
        }
        let known = known.filter(|known| known.older == older);
        let delayed = (reject == Reject::Delayed).then_some(now.mono);
        self.aside_mut(number).refused = Some(Refused {
            reason: reject,
            by,
            older,
            count: known.map_or(1, |known| known.count.saturating_add(1)),
            newest: known.map_or(sent_at, |known| known.newest.max(sent_at)),
            delayed_since: known.and_then(|known| known.delayed_since).or(delayed),
        });
        if older || known.is_some_and(|known| sent_at <= known.newest) {
            return;
        }
        match reject {
            Reject::FromFuture => self.witness(now, number, Witness::Future),
            Reject::Stale | Reject::Delayed => self.witness(now, number, Witness::Past),
            _ => {}
        }
    }

    /// Tells that frames of a lower class come, once until one of the right class is accepted.
    fn tell_lower_class(&mut self, now: Now, number: u32, c: &Candidate<'_>) {
        self.counters.origin_conflicts += 1;
        let refused = self.aside.get(&number).and_then(|aside| aside.refused);
        if refused.is_some_and(|refused| refused.reason == Reject::OriginConflict) {
            return;
        }
        let observed = self.class(c.header.agent, c.origin.attested);
        let pinned = self.class(c.header.agent, self.table.slot(number).marks.has(Marks::ATTESTED));
        self.tell_slot(now.mono, number, |_| SlotChange::OriginConflict { observed, pinned });
    }

    /// A second live process speaks for the slot: it is at best degraded until the last sign of that is old.
    fn contest(&mut self, now: Now, number: u32, c: &Candidate<'_>, reject: Reject) {
        let body = &c.message.body;
        let other = (body.frame.pid, body.boot);
        let slot = self.table.slot(number);
        let known = (slot.pid, slot.boot);
        let aside = self.aside_mut(number);
        let news = aside.contested_until.is_none_or(|until| until <= now.mono) || aside.other != Some(other);
        aside.contested_until = Some(now.mono.after(CONTEST));
        aside.other = Some(other);
        self.mark_slot(number);
        if news {
            let clone = reject == Reject::CloneSuspected;
            self.tell_slot(now.mono, number, |_| {
                if clone { SlotChange::CloneSuspected } else { SlotChange::UnitConflict { known, other } }
            });
        }
        let slot = self.table.slot(number);
        if slot.phase == Phase::Departed && !slot.marks.has(Marks::REVOKED) {
            self.table.deadlines.set(number, now.mono.after(CONTEST));
        }
        self.refresh_verdict(now, number, None);
    }

    pub(crate) fn aside_mut(&mut self, number: u32) -> &mut Aside {
        self.table.slot_mut(number).marks.set(Marks::ASIDE, true);
        self.aside.entry(number).or_default()
    }

    pub(crate) fn drop_aside(&mut self, number: u32) {
        self.aside.remove(&number);
        // What many had for a while takes no room for good.
        if self.aside.capacity() > 1024 && self.aside.len() < self.aside.capacity() / 8 {
            self.aside.shrink_to(self.aside.len() * 2);
        }
    }

    /// The largest send time accepted from a slot, whatever the session.
    pub(crate) fn largest_sent(&self, number: u32) -> WallNs {
        let slot = self.table.slot(number);
        if !slot.marks.has(Marks::ASIDE) {
            return slot.sent_at;
        }
        let aside = self.aside.get(&number).and_then(|aside| aside.largest_sent);
        aside.map_or(slot.sent_at, |largest| largest.max(slot.sent_at))
    }

    /// Until when a slot is contested, if it is at `now`.
    pub(crate) fn contested_until(&self, number: u32, now: MonoNs) -> Option<MonoNs> {
        if !self.table.slot(number).marks.has(Marks::ASIDE) {
            return None;
        }
        self.aside.get(&number).and_then(|aside| aside.contested_until).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use varta_vlp::{AgentId, Generation, key::AgentSecret};

    use super::*;
    use crate::{Limits, Settings, agent::NO_AUDIENCE, slot::Slot};

    #[test]
    fn room_for_what_many_had_for_a_while_is_given_back() {
        let mut core = Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 1);
        let agent = core.add_agent(AgentId(1), Generation(1), AgentSecret::from_bytes([0; 32]), NO_AUDIENCE);
        let slots: Vec<_> = (0..20_000).map(|pid| core.table.add_slot(Slot::blank(agent, UnitId::NONE, pid))).collect();
        for slot in &slots {
            core.aside_mut(*slot).largest_sent = Some(WallNs(u64::from(*slot)));
        }
        for (dropped, slot) in (1..).zip(&slots) {
            core.drop_aside(*slot);
            assert_eq!(core.aside.len(), slots.len() - dropped);
            let most = (16 * core.aside.len()).max(2048);
            assert!(core.aside.capacity() <= most, "room for {} after {dropped}", core.aside.capacity());
        }
        assert!(core.aside.capacity() <= 2048);
    }
}
