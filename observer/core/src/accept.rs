//! Acceptance, in the order of SPEC, "Acceptance": nothing but a counter changes before step 7 has passed, and nothing
//! of a slot before all have.

use varta_vlp::{
    Reject,
    key::AgentSecret,
    open::{self, Opened},
    sealed::{BODY_LEN, COUNTER_END, Flags, HEADER_LEN, Header, MAX_LEN, Message, TAG_LEN},
    subkeys::Subkeys,
};

use crate::{
    Core,
    event::Outcome,
    refusal::Glimpse,
    time::{MILLI, MonoNs, Now, SECOND, WallNs},
    trust::Origin,
};

/// A genuine frame that waits for the horizon.
pub(crate) struct Parked {
    bytes: [u8; MAX_LEN],
    len: usize,
    tag: u32,
    pub(crate) audience: u8,
    secret: Option<AgentSecret>,
    origin: Origin,
}

/// What the clear header led to: steps 1 to 4.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) audience: u8,
    pub(crate) agent: Option<u32>,
}

/// An authenticated frame that is being judged.
pub(crate) struct Candidate<'a> {
    pub(crate) header: Header,
    pub(crate) message: Message<'a>,
    pub(crate) tag: u32,
    pub(crate) agent: Option<u32>,
    pub(crate) audience: u8,
    /// The key that opened it, unless the agent's record holds it.
    pub(crate) secret: Option<AgentSecret>,
    pub(crate) origin: Origin,
    /// Its promise or hold, after clamping, nanoseconds.
    pub(crate) due: u64,
}

impl Candidate<'_> {
    pub(crate) fn sent_at(&self) -> WallNs {
        WallNs(self.message.body.sent_at)
    }

    pub(crate) fn has(&self, flags: Flags) -> bool {
        self.message.body.flags.has(flags)
    }

    /// Arrival minus `sent_at`.
    pub(crate) fn offset(&self, now: MonoNs) -> i64 {
        now.0.cast_signed().wrapping_sub(self.message.body.sent_at.cast_signed())
    }
}

impl Core {
    /// Judges one datagram. Its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, origin: Origin, bytes: &mut [u8]) -> Outcome {
        let found =
            self.look_up(now, bytes).map(|found| Found { agent: self.table.find_agent(found.header.agent), ..found });
        self.handle_found(now, origin, bytes, &found, None)
    }

    /// Judges again the frame for which [`Outcome::Waiting`] was said; `None` if there is none. If the horizon is still
    /// too low the frame waits on.
    pub fn resume(&mut self, now: Now) -> Option<Outcome> {
        let parked = self.parked.take()?;
        let outcome = self.judge_parked(now, &parked);
        self.count(now, parked.origin, &outcome);
        if matches!(outcome, Outcome::Waiting(_)) {
            self.parked = Some(parked);
        }
        Some(outcome)
    }

    /// Steps 4 to 18 of a datagram whose header led to `found`; `lane` is where its subkey lies ready, if it does.
    pub(crate) fn handle_found(
        &mut self,
        now: Now,
        origin: Origin,
        bytes: &mut [u8],
        found: &Result<Found, Reject>,
        lane: Option<(&Subkeys, usize)>,
    ) -> Outcome {
        let outcome = match found {
            Ok(found) => self.open(now, origin, bytes, found, lane).unwrap_or_else(Outcome::Rejected),
            Err(reject) => Outcome::Rejected(*reject),
        };
        self.count(now, origin, &outcome);
        outcome
    }

    fn count(&mut self, now: Now, origin: Origin, outcome: &Outcome) {
        if *outcome == Outcome::Rejected(Reject::Shed) {
            self.last_shed = Some(now.mono);
        }
        if let Some(counters) = self.counters.listeners.get_mut(origin.listener) {
            counters.count(outcome);
        }
    }

    /// Steps 1 to 3. Who sent it is not looked up yet.
    pub(crate) fn look_up(&self, now: Now, bytes: &[u8]) -> Result<Found, Reject> {
        let header = Header::parse(bytes)?;
        let audience = self.audiences.find(header.audience, now.wall).ok_or(Reject::UnknownAudience)?;
        let (shard, shards) = self.limits.shard;
        if shards > 1 && header.agent.0 % u64::from(shards) != u64::from(shard) {
            return Err(Reject::WrongShard);
        }
        Ok(Found { header, audience, agent: None })
    }

    /// Step 4 for agents that the roster has something to say of, and for those it may not know.
    fn ask_roster(&self, now: Now, header: &Header) -> Result<(), Reject> {
        let Some(roster) = &self.roster else { return Ok(()) };
        let entry = roster.get(header.agent).ok_or(Reject::UnknownAgent)?;
        if entry.revoked.contains(&header.generation) {
            return Err(Reject::Revoked);
        }
        if let Some(agent) = self.table.find_agent(header.agent) {
            self.check_generation(now, header, agent)?;
        }
        match entry.expires {
            Some(expires) if expires <= now.wall => Err(Reject::Expired),
            _ => Ok(()),
        }
    }

    fn check_generation(&self, now: Now, header: &Header, agent: u32) -> Result<(), Reject> {
        let record = self.table.agent(agent);
        if header.generation >= self.table.floor(agent) {
            return Ok(());
        }
        let entry = self.roster.as_ref().and_then(|roster| roster.get(header.agent));
        let overlap = entry.and_then(|entry| entry.generation_overlap).unwrap_or(self.settings.generation_overlap);
        let since = WallNs(u64::from(record.floor_since) * SECOND);
        if now.wall > since.after(overlap) { Err(Reject::RetiredGeneration) } else { Ok(()) }
    }

    /// The secret of the sender's record, if that is the one that a datagram was sealed with.
    pub(crate) fn ready_secret(&self, found: &Found) -> Option<&AgentSecret> {
        let record = self.table.agent(found.agent?);
        let fits = record.generation == found.header.generation && record.audience == found.audience;
        fits.then_some(&record.secret)
    }

    /// Steps 4 to 8.
    fn open(
        &mut self,
        now: Now,
        origin: Origin,
        bytes: &mut [u8],
        found: &Found,
        lane: Option<(&Subkeys, usize)>,
    ) -> Result<Outcome, Reject> {
        let Found { header, audience, agent } = *found;
        match agent {
            Some(agent) if !self.asks_roster(agent) => self.check_generation(now, &header, agent)?,
            _ => self.ask_roster(now, &header)?,
        }
        if header.counter >= COUNTER_END {
            return Err(Reject::CounterRange);
        }
        if self.overloaded && agent.is_none() {
            self.strangers = self.strangers.checked_sub(1).ok_or(Reject::Shed)?;
        }
        let tag = open::tag(bytes).map_or(0, |[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]));
        let mut derived = None;
        let opened = match (self.ready_secret(found), lane) {
            (Some(_), Some((subkeys, lane))) => subkeys.open(lane, bytes)?,
            (Some(secret), None) => open::open(secret, bytes)?,
            (None, _) => {
                let audience = self.audiences.get(audience).ok_or(Reject::UnknownAudience)?;
                open::open(derived.insert(audience.key.agent(header.agent, header.generation)), bytes)?
            }
        };
        let message = match Message::parse(&header, opened) {
            Ok(message) => message,
            Err(reject) => {
                let glimpse = Glimpse::of(opened.body);
                self.note_illegal(now, agent, glimpse, reject);
                return Err(reject);
            }
        };
        let due = self.clamped(&header, &message);
        let mut candidate = Candidate { header, message, tag, agent, audience, secret: derived, origin, due };
        match self.settle(now, &mut candidate)? {
            Settled::Done(outcome) => Ok(outcome),
            Settled::Waiting(horizon) => {
                let secret = candidate.secret.take();
                let mut copy = [0; MAX_LEN];
                if let Some(place) = copy.get_mut(..bytes.len()) {
                    place.copy_from_slice(bytes);
                }
                assert!(self.parked.is_none(), "a second frame waits: resume was not called");
                let parked = Parked { bytes: copy, len: bytes.len(), tag, audience, secret, origin };
                self.parked = Some(Box::new(parked));
                Ok(Outcome::Waiting(horizon))
            }
        }
    }

    /// Keeps a refusal of step 8 by the vlp crate, where the frame names a known slot.
    fn note_illegal(&mut self, now: Now, agent: Option<u32>, glimpse: Option<Glimpse>, reject: Reject) {
        let (Some(agent), Some(glimpse)) = (agent, glimpse) else { return };
        if let Some(number) = self.table.find_slot(agent, glimpse.unit, glimpse.pid) {
            self.keep_refusal(now, number, glimpse.sent_at, reject, 0);
        }
    }

    /// Judges a frame that waited. What was put in force meanwhile holds for it too.
    fn judge_parked(&mut self, now: Now, parked: &Parked) -> Outcome {
        let judged = (|| {
            let bytes = parked.bytes.get(..parked.len).ok_or(Reject::BadLength)?;
            let header = Header::parse(bytes)?;
            let agent = self.table.find_agent(header.agent);
            match agent {
                Some(agent) if !self.asks_roster(agent) => self.check_generation(now, &header, agent)?,
                _ => self.ask_roster(now, &header)?,
            }
            let text = bytes.get(HEADER_LEN..parked.len - TAG_LEN).ok_or(Reject::BadLength)?;
            let (body, metadata) = text.split_first_chunk::<BODY_LEN>().ok_or(Reject::BadLength)?;
            let message = Message::parse(&header, Opened { body, metadata })?;
            let due = self.clamped(&header, &message);
            let kept = |secret: &AgentSecret| AgentSecret::from_bytes(*secret.expose());
            let (tag, audience, origin) = (parked.tag, parked.audience, parked.origin);
            let secret = match (&parked.secret, agent) {
                (Some(secret), _) => Some(kept(secret)),
                (None, Some(_)) => None,
                (None, None) => {
                    let audience = self.audiences.get(audience).ok_or(Reject::UnknownAudience)?;
                    Some(audience.key.agent(header.agent, header.generation))
                }
            };
            self.settle(now, &mut Candidate { header, message, tag, agent, audience, secret, origin, due })
        })();
        match judged {
            Ok(Settled::Done(outcome)) => outcome,
            Ok(Settled::Waiting(horizon)) => Outcome::Waiting(horizon),
            Err(reject) => Outcome::Rejected(reject),
        }
    }

    fn settle(&mut self, now: Now, candidate: &mut Candidate<'_>) -> Result<Settled, Reject> {
        let plan = match self.judge(now, candidate) {
            Ok(plan) => plan,
            Err(reject) => {
                self.note_refusal(now, candidate, reject);
                return Err(reject);
            }
        };
        if candidate.sent_at() > self.horizon {
            return Ok(Settled::Waiting(candidate.sent_at()));
        }
        Ok(Settled::Done(self.commit(now, candidate, plan)))
    }

    /// The frame's promise or hold in nanoseconds, held to its ceiling.
    fn clamped(&self, header: &Header, message: &Message<'_>) -> u64 {
        let body = &message.body;
        let due = u64::from(body.next_due_ms) * MILLI;
        let hold = body.flags.has(Flags::HOLD);
        let general = if hold { self.settings.max_hold } else { self.settings.max_promise };
        if due <= general {
            return due;
        }
        let entry = self.roster.as_ref().and_then(|roster| roster.get(header.agent));
        let own = entry.and_then(|entry| if hold { entry.max_hold } else { entry.max_promise });
        due.min(own.unwrap_or(general).max(general))
    }
}

enum Settled {
    Done(Outcome),
    Waiting(WallNs),
}
