//! What an accepted or refused frame changes.

use varta_core::{Now, Reject, SECOND};
use varta_vlp::{Status, sealed::Flags};

use super::{Agent, Farewell, Floor, Key, Model, Plan, Session, Slot, clamped, key_of, max_delay};
use crate::process::Sealed;

impl Model {
    /// A genuine frame was accepted by `plan`; `evicted` gave way to it.
    pub fn commit(&mut self, now: Now, sealed: &Sealed, plan: Plan, evicted: Option<Key>) {
        let (header, body) = (&sealed.header, &sealed.body);
        let since = now.wall.0 / SECOND;
        let agent = self.agents.entry(header.agent.0).or_insert_with(|| Agent {
            floor: header.generation.0,
            floor_since: since,
            barrier: 0,
            account: 0,
            slots: std::collections::BTreeMap::new(),
        });
        if header.generation.0 > agent.floor {
            (agent.floor, agent.floor_since) = (header.generation.0, since);
        }
        if let Some(gone) = evicted.and_then(|key| agent.slots.remove(&key)) {
            agent.barrier = agent.barrier.max(gone.largest);
        }
        let key = key_of(body);
        let tag = tag_of(sealed);
        match plan {
            Plan::Late { previous } => {
                let Some(slot) = agent.slots.get_mut(&key) else { return };
                slot.largest = slot.largest.max(body.sent_at);
                let session = if previous { slot.previous.as_mut() } else { Some(&mut slot.session) };
                if let Some(session) = session {
                    session.take(header.counter, tag);
                }
                return;
            }
            Plan::NewSlot { .. } => {
                if !agent.slots.is_empty() {
                    let seconds = now.mono.0 / SECOND;
                    let before = if agent.account == 0 { seconds + 10 } else { agent.account.max(seconds) };
                    agent.account = before + 10;
                }
                agent.slots.insert(key, Slot::new(now, sealed));
            }
            Plan::Newest { .. } => {}
            Plan::NewSession { carries, relearns } => {
                if let Some(slot) = agent.slots.get_mut(&key) {
                    slot.begin(now, sealed, carries && !relearns);
                }
            }
        }
        let Some(slot) = agent.slots.get_mut(&key) else { return };
        let relearns = matches!(plan, Plan::Newest { relearns: true } | Plan::NewSession { relearns: true, .. });
        slot.learn(now, sealed, relearns);
        slot.session.take(header.counter, tag);
        slot.timestamp = body.frame.timestamp;
        slot.sent_at = body.sent_at;
        slot.largest = slot.largest.max(body.sent_at);
        slot.arrival = now.mono.0;
        slot.sent =
            slot.session.floor.and_then(|floor| u64::try_from(i128::from(body.sent_at) + floor.now(now.mono.0)).ok());
        slot.leaked = slot.session.floor.map_or(0, |floor| now.mono.0.saturating_sub(floor.at) / 1000);
        slot.due = clamped(&self.settings, body);
        slot.clamped = u64::from(body.next_due_ms) * varta_core::MILLI > slot.due;
        slot.hold = body.flags.has(Flags::HOLD);
        slot.delayed_since = None;
        let late = 2 * self.settings.skew + max_delay(&self.settings, slot.due);
        if now.mono.0.saturating_sub(slot.heard) > late {
            slot.previous = None;
        }
        if body.frame.is_terminal() {
            slot.session.terminal = true;
        }
        if body.flags.has(Flags::FINAL) {
            slot.session.last = Some(header.counter);
            let well = body.frame.status == Status::Ok && !slot.session.terminal;
            slot.farewell = Some(if well { Farewell::Departed } else { Farewell::Ended });
        } else if body.frame.is_terminal() {
            slot.farewell = Some(Farewell::Ended);
        } else if slot.deadline(&self.settings).is_some_and(|deadline| deadline > now.mono.0) {
            slot.farewell = None;
        }
    }

    /// A genuine frame was refused at step 8 or later.
    pub fn refuse(&mut self, now: Now, sealed: &Sealed, reject: Reject) {
        let agent = self.agents.get_mut(&sealed.header.agent.0);
        let Some(slot) = agent.and_then(|agent| agent.slots.get_mut(&key_of(&sealed.body))) else { return };
        if reject == Reject::Delayed && sealed.body.sent_at > slot.largest {
            slot.delayed_since.get_or_insert(now.mono.0);
        }
    }
}

pub(super) fn tag_of(sealed: &Sealed) -> [u8; 16] {
    let mut tag = [0; 16];
    tag.copy_from_slice(&sealed.bytes[sealed.bytes.len() - 16..]);
    tag
}

impl Slot {
    fn new(now: Now, sealed: &Sealed) -> Self {
        let (header, body) = (&sealed.header, &sealed.body);
        Self {
            session: Session::first(header.session_start, process_of(sealed), header.counter),
            previous: None,
            heard: now.mono.0,
            arrival: now.mono.0,
            sent_at: body.sent_at,
            sent: None,
            leaked: 0,
            largest: body.sent_at,
            timestamp: body.frame.timestamp,
            due: 0,
            hold: false,
            delayed_since: None,
            most_ahead: sealed.ahead,
            farewell: None,
            unstepped: None,
            clamped: false,
        }
    }

    fn begin(&mut self, now: Now, sealed: &Sealed, carries: bool) {
        let process = process_of(sealed);
        let goes_on = self.continued_by(process, &sealed.body);
        let old = std::mem::replace(
            &mut self.session,
            Session::first(sealed.header.session_start, process, sealed.header.counter),
        );
        self.heard = now.mono.0;
        if carries {
            self.session.floor = old.floor;
        }
        self.unstepped = if goes_on && sealed.body.flags.has(Flags::STEPPED) { old.floor } else { None };
        self.previous = Some(old);
    }

    fn learn(&mut self, now: Now, sealed: &Sealed, relearns: bool) {
        let offset = i128::from(now.mono.0) - i128::from(sealed.body.sent_at);
        let own = Floor { offset, at: now.mono.0 };
        let anew = relearns || self.session.floor.is_none();
        self.most_ahead = if anew { sealed.ahead } else { self.most_ahead.max(sealed.ahead) };
        let lower = |floor: Floor| floor.now(now.mono.0) >= offset;
        if relearns || self.session.floor.is_none_or(lower) {
            self.session.floor = Some(own);
        }
        if relearns || self.unstepped.is_some_and(lower) {
            self.unstepped = None;
        }
    }
}

fn process_of(sealed: &Sealed) -> (u32, u32, u64) {
    (sealed.header.generation.0, sealed.body.frame.pid, sealed.body.boot)
}
