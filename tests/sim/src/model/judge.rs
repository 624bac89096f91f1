//! What should become of a datagram.

use varta_core::{Now, Reject, SECOND, Verdict};
use varta_vlp::sealed::{Flags, INIT_PID};

use super::{
    Agent, Expected, Farewell, Floor, Key, Model, Refused, Session, Slot, Verdicts, clamped, key_of, max_delay,
};
use crate::{process::Sealed, rules::Rule};

/// Rounding in the leak, nanoseconds: within this of a bound both answers are right.
const CLOSE: i128 = 20_000;

/// What an acceptable frame should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Open a slot.
    NewSlot {
        /// Whether another has to give way to it.
        evicts: bool,
    },
    /// Be the newest of its session.
    Newest {
        /// Whether the minimum offset is learnt anew.
        relearns: bool,
    },
    /// Begin a session.
    NewSession {
        /// Whether the minimum offset carries over.
        carries: bool,
        /// Whether it is learnt anew from this frame although it does.
        relearns: bool,
    },
    /// Count for loss statistics.
    Late {
        /// Whether it is of the previous session.
        previous: bool,
    },
}

/// What should become of a datagram, and why.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// What it should do, if it is acceptable.
    pub plan: Option<Plan>,
    /// What should become of it.
    pub expected: Expected,
    /// Whether `Delayed` would be as right, or, where that is expected, acceptance.
    pub close: Option<(Expected, Option<Plan>)>,
    /// The rule that is broken if anything else becomes of it.
    pub rule: Rule,
}

impl Judgement {
    fn refused((reject, rule): Refused) -> Self {
        Self { plan: None, expected: Expected::Rejected(reject), close: None, rule }
    }

    fn accepted(plan: Plan, rule: Rule) -> Self {
        let expected = if matches!(plan, Plan::Late { .. }) { Expected::Late } else { Expected::Accepted };
        Self { plan: Some(plan), expected, close: None, rule }
    }
}

/// An integer of the clear header.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

impl Model {
    /// Judges a datagram. `genuine` is what was sealed as exactly these bytes, if anything was.
    pub fn judge(&mut self, now: Now, bytes: &[u8], genuine: Option<&Sealed>, verdicts: &Verdicts) -> Judgement {
        if let Err(refused) = self.judge_form(now, bytes) {
            return Judgement::refused(refused);
        }
        match genuine {
            None => Judgement::refused((Reject::AuthFailure, Rule::Forgery)),
            Some(sealed) => self.judge_sealed(now, sealed, verdicts).unwrap_or_else(Judgement::refused),
        }
    }

    /// Steps 1 to 6.
    fn judge_form(&mut self, now: Now, bytes: &[u8]) -> Result<(), Refused> {
        let form = |reject| Err((reject, Rule::Form));
        if bytes.len() < 124 || bytes.len() > 1200 {
            return form(Reject::BadLength);
        }
        if bytes[..2] != *b"VS" {
            return form(Reject::BadMagic);
        }
        if bytes[2] != 1 {
            return form(Reject::BadVersion);
        }
        match (bytes[3], bytes.len()) {
            (1, 124) | (2, 125..) => {}
            (1 | 2, _) => return form(Reject::BadLength),
            _ => return form(Reject::BadKind),
        }
        if u32::from_le_bytes(field(bytes, 4)) != self.audience {
            return form(Reject::UnknownAudience);
        }
        let id = u64::from_le_bytes(field(bytes, 8));
        if id % u64::from(self.shard.1) != u64::from(self.shard.0) {
            return form(Reject::WrongShard);
        }
        let agent = self.agents.get(&id);
        if agent.is_some_and(|agent| self.is_retired(now, agent, u32::from_le_bytes(field(bytes, 16)))) {
            return Err((Reject::RetiredGeneration, Rule::Generation));
        }
        if u64::from_le_bytes(field(bytes, 36)) >= 1 << 48 {
            return form(Reject::CounterRange);
        }
        if let (None, Some(left)) = (agent, &mut self.strangers) {
            match left.checked_sub(1) {
                None => return form(Reject::Shed),
                Some(less) => *left = less,
            }
        }
        Ok(())
    }

    fn is_retired(&self, now: Now, agent: &Agent, generation: u32) -> bool {
        generation < agent.floor && now.wall.0 > agent.floor_since * SECOND + self.settings.generation_overlap
    }

    /// Steps 8 to 16.
    fn judge_sealed(&self, now: Now, sealed: &Sealed, verdicts: &Verdicts) -> Result<Judgement, Refused> {
        let (header, body) = (&sealed.header, &sealed.body);
        let hold = body.flags.has(Flags::HOLD);
        let unnamed_init = body.frame.pid == INIT_PID && body.unit.0 == 0;
        if hold && (body.flags.has(Flags::FINAL) || body.next_due_ms == 0) || unnamed_init || header.generation.0 == 0 {
            return Err((Reject::BadFlags, Rule::Form));
        }
        if header.session_start > body.sent_at {
            return Err((Reject::BadTimes, Rule::Form));
        }
        let due = clamped(&self.settings, body);
        let bound = max_delay(&self.settings, due) + self.queued_for(now);
        let sent = u128::from(body.sent_at);
        if sent > u128::from(now.wall.0) + u128::from(self.settings.skew) {
            return Err((Reject::FromFuture, Rule::Freshness));
        }
        if sent + u128::from(self.settings.skew) + u128::from(bound) < u128::from(now.wall.0) {
            return Err((Reject::Stale, Rule::Freshness));
        }
        if body.sent_at <= self.barrier {
            return Err((Reject::BeforeBarrier, Rule::Barrier));
        }
        let Some(agent) = self.agents.get(&header.agent.0) else {
            return Ok(Judgement::accepted(Plan::NewSlot { evicts: false }, Rule::Form));
        };
        if body.sent_at <= agent.barrier {
            return Err((Reject::BeforeBarrier, Rule::AgentBarrier));
        }
        let Some(slot) = agent.slots.get(&key_of(body)) else {
            return self.judge_stranger(now, header.agent.0, agent, verdicts);
        };
        let (plan, rule) = self.stand(now, sealed, slot, due)?;
        Ok(self.judge_delay(now, sealed, slot, bound, plan, rule))
    }

    /// Step 12.
    fn judge_stranger(&self, now: Now, id: u64, agent: &Agent, verdicts: &Verdicts) -> Result<Judgement, Refused> {
        let seconds = now.mono.0 / SECOND;
        let most = u64::from(self.slots_per_agent);
        if agent.account.max(seconds) + 10 > seconds + 10 * most {
            return Err((Reject::SlotQuota, Rule::Eviction));
        }
        if (agent.slots.len() as u64) < most {
            return Ok(Judgement::accepted(Plan::NewSlot { evicts: false }, Rule::Eviction));
        }
        match self.evictable(now, id, verdicts).is_empty() {
            true => Err((Reject::SlotQuota, Rule::Eviction)),
            false => Ok(Judgement::accepted(Plan::NewSlot { evicts: true }, Rule::Eviction)),
        }
    }

    /// The slots of an agent that may give way, those first that should.
    #[must_use]
    pub fn evictable(&self, now: Now, id: u64, verdicts: &Verdicts) -> Vec<(u8, u64, Key)> {
        let Some(agent) = self.agents.get(&id) else { return Vec::new() };
        let rank = |key: &Key, slot: &Slot| match (verdicts.get(&(id, *key))?, slot.farewell) {
            (Verdict::Departed, _) | (Verdict::Degraded, Some(Farewell::Departed)) => Some(0),
            (Verdict::Critical, Some(_)) => Some(1),
            (Verdict::Stalled, _) => Some(2),
            _ => None,
        };
        let idle = |slot: &Slot| {
            now.mono.0.saturating_sub(slot.arrival) > self.settings.skew + max_delay(&self.settings, slot.due)
        };
        let found = agent.slots.iter().filter(|(_, slot)| idle(slot));
        let mut found: Vec<_> = found.filter_map(|(key, slot)| Some((rank(key, slot)?, slot.arrival, *key))).collect();
        found.sort_unstable();
        found
    }

    /// Steps 13 to 15.
    fn stand(&self, now: Now, sealed: &Sealed, slot: &Slot, due: u64) -> Result<(Plan, Rule), Refused> {
        let (header, body) = (&sealed.header, &sealed.body);
        let order = |reject| Err((reject, Rule::SessionOrder));
        let process = (header.generation.0, body.frame.pid, body.boot);
        if header.session_start > slot.session.start {
            let carries = slot.continued_by(process, body) && slot.is_on_timeline(body);
            return Ok((Plan::NewSession { carries, relearns: false }, Rule::SessionOrder));
        }
        if header.session_start < slot.session.start {
            let late = 2 * self.settings.skew + max_delay(&self.settings, slot.due.max(due)) + self.queued_for(now);
            if now.mono.0.saturating_sub(slot.heard) > late {
                return order(Reject::SessionConflict);
            }
            let Some(previous) = slot.previous.as_ref().filter(|previous| previous.start == header.session_start)
            else {
                return order(Reject::SessionSuperseded);
            };
            if previous.process.is_some_and(|known| known != process) {
                return order(Reject::SessionConflict);
            }
            check_final(previous, sealed)?;
            check_window(previous, sealed)?;
            return Ok((Plan::Late { previous: true }, Rule::SessionOrder));
        }
        if slot.session.process != Some(process) {
            return order(Reject::SessionConflict);
        }
        let again = check_final(&slot.session, sealed)?;
        check_window(&slot.session, sealed)?;
        if header.counter < slot.session.newest || again {
            return Ok((Plan::Late { previous: false }, Rule::Window));
        }
        if body.sent_at <= slot.sent_at {
            return Err((Reject::TimeRegressed, Rule::Window));
        }
        Ok((Plan::Newest { relearns: false }, Rule::Window))
    }

    /// Step 16.
    fn judge_delay(&self, now: Now, sealed: &Sealed, slot: &Slot, bound: u64, plan: Plan, rule: Rule) -> Judgement {
        let floor = match plan {
            Plan::NewSession { carries: false, .. } | Plan::NewSlot { .. } => None,
            Plan::Late { previous: true } => slot.previous.as_ref().and_then(|previous| previous.floor),
            _ => slot.session.floor,
        };
        let offset = i128::from(now.mono.0) - i128::from(sealed.body.sent_at);
        let over = |floor: Floor| offset - floor.now(now.mono.0) - i128::from(bound);
        let relearns = slot.delayed_since.is_some_and(|since| {
            now.mono.0.saturating_sub(since) >= self.settings.skew + max_delay(&self.settings, slot.due)
        });
        let beyond = match plan {
            Plan::Newest { .. } if relearns => Judgement::accepted(Plan::Newest { relearns }, Rule::DelayBound),
            Plan::NewSession { carries, .. } if relearns => {
                Judgement::accepted(Plan::NewSession { carries, relearns }, Rule::DelayBound)
            }
            _ => Judgement::refused((Reject::Delayed, Rule::DelayBound)),
        };
        let excess = floor.map_or(i128::MIN, over);
        let within = Judgement::accepted(plan, self.blame(now, slot, offset, bound, floor).unwrap_or(rule));
        let (first, second) = if excess > 0 { (beyond, within) } else { (within, beyond) };
        let close = (floor.is_some() && excess.abs() <= CLOSE).then_some((second.expected, second.plan));
        Judgement { close, ..first }
    }

    /// Which rule would be to blame if a frame within its bound were found beyond it.
    fn blame(&self, now: Now, slot: &Slot, offset: i128, bound: u64, floor: Option<Floor>) -> Option<Rule> {
        let beyond = |floor: i128| offset - floor > i128::from(bound);
        match (floor, slot.unstepped) {
            (Some(floor), _) if beyond(floor.offset) => Some(Rule::OffsetLeak),
            (_, Some(unstepped)) if beyond(unstepped.now(now.mono.0)) => Some(Rule::Stepped),
            (None, _) if slot.session.floor.is_some_and(|floor| beyond(floor.now(now.mono.0))) => Some(Rule::Stepped),
            _ => None,
        }
    }
}

impl Slot {
    /// Whether a newer session is the same process going on.
    pub(super) fn continued_by(&self, process: (u32, u32, u64), body: &varta_vlp::sealed::Body) -> bool {
        let same = self.session.process == Some(process);
        same && body.flags.has(Flags::CONTINUES) && body.frame.timestamp >= self.timestamp
    }

    /// Whether a session that goes on is on the old timeline.
    fn is_on_timeline(&self, body: &varta_vlp::sealed::Body) -> bool {
        let base = |sent: u64, stamp: u64| i128::from(sent) - i128::from(stamp);
        let moved = base(body.sent_at, body.frame.timestamp) - base(self.sent_at, self.timestamp);
        !body.flags.has(Flags::STEPPED) && self.session.floor.is_some() && moved.abs() <= 250_000_000
    }
}

fn check_final(session: &Session, sealed: &Sealed) -> Result<bool, Refused> {
    let after = session.last.is_some_and(|last| sealed.header.counter > last);
    if after && !sealed.body.flags.has(Flags::FINAL) {
        return Err((Reject::AfterFinal, Rule::SessionOrder));
    }
    Ok(after)
}

/// Step 14.
fn check_window(session: &Session, sealed: &Sealed) -> Result<(), Refused> {
    let counter = sealed.header.counter;
    let tag: [u8; 16] = field(&sealed.bytes, sealed.bytes.len() - 16);
    if counter > session.newest {
        Ok(())
    } else if session.newest - counter >= 128 {
        Err((Reject::CounterTooOld, Rule::Window))
    } else if counter == session.newest && session.tag.is_some_and(|known| known != tag) {
        Err((Reject::CloneSuspected, Rule::Window))
    } else if session.seen.contains(&counter) {
        Err((Reject::Replayed, Rule::Window))
    } else {
        Ok(())
    }
}
