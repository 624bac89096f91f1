//! An agent that seals as `vlp/SPEC.md` says, "Sender", on a clock of its own that runs a little fast.

use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::{AgentSecret, AudienceKey, Name},
    seal,
    sealed::{BEAT_LEN, Body, Flags, Header, Kind},
};

use super::{AUDIENCE, EPOCH, audience_secret};
use crate::detection::{
    Ns,
    random::Random,
    trace::Beat,
    units::{MILLI, SECOND},
};

/// The sender's boottime when the trace begins.
const BOOT: u64 = 77 * SECOND as u64;
/// Its realtime is ahead of the observer's by this.
const AHEAD: u64 = 300 * MILLI as u64;
/// Its boottime gains one nanosecond in so many: 20 parts in a million. Its realtime is held right.
const GAINS: i64 = 50_000;
/// A new session is STEPPED when it begins further off the old timeline than this.
const STEPPED: u64 = 50 * MILLI as u64;

#[derive(Clone, Copy)]
struct Session {
    start: u64,
    /// Boottime at its start, and at which it is to be renewed.
    began: u64,
    ends: u64,
    counter: u64,
    sent_at: u64,
    flags: Flags,
}

/// One process with one sealed handle.
pub(in crate::detection) struct Sender {
    secret: AgentSecret,
    audience: AudienceId,
    agent: AgentId,
    promise_ms: u32,
    session: Option<Session>,
    random: Random,
    nonce: u64,
}

impl Sender {
    pub(in crate::detection) fn new(agent: &str, promise_ms: u32) -> anyhow::Result<Self> {
        let agent = Name::new(agent)?.agent_id();
        Ok(Self {
            secret: AudienceKey::new(&audience_secret()?).agent(agent, Generation(1)),
            audience: Name::new(AUDIENCE)?.audience_id(),
            agent,
            promise_ms,
            session: None,
            random: Random::new(agent.0, 0),
            nonce: 0,
        })
    }

    fn session(&mut self, at: Ns, boottime: u64) -> Session {
        let start = (EPOCH + AHEAD).saturating_add_signed(at);
        let (age, flags) = match self.session {
            Some(session) if boottime < session.ends => return session,
            Some(old) => {
                let off = start.abs_diff(old.start + (boottime - old.began));
                let stepped = if off > STEPPED { Flags::STEPPED } else { Flags(0) };
                (self.random.between(540.0, 660.0), Flags::CONTINUES.with(stepped))
            }
            None => (15.0, Flags(0)),
        };
        let ends = boottime + (age * SECOND as f64) as u64;
        Session { start, began: boottime, ends, counter: 0, sent_at: start - 1, flags }
    }

    fn compose(&mut self, beat: &Beat) -> (Header, Body) {
        let boottime = BOOT.saturating_add_signed(beat.sent + beat.sent / GAINS);
        let mut session = self.session(beat.sent, boottime);
        session.sent_at = (session.sent_at + 1).max(session.start + (boottime - session.began));
        self.nonce = Frame::next_nonce(self.nonce);
        let header = Header {
            kind: Kind::Beat,
            audience: self.audience,
            agent: self.agent,
            generation: Generation(1),
            session_start: session.start,
            salt: self.random.next().to_le_bytes(),
            counter: session.counter,
        };
        let frame = Frame { status: Status::Ok, pid: 4242, timestamp: boottime - BOOT, nonce: self.nonce, payload: 0 };
        let body = Body {
            frame,
            sent_at: session.sent_at,
            next_due_ms: self.promise_ms,
            lag_us: u32::try_from(beat.lag / 1000).unwrap_or(u32::MAX),
            unit: UnitId(7),
            flags: session.flags,
            boot: 9,
        };
        session.counter += 1;
        self.session = Some(session);
        (header, body)
    }

    /// The datagram of a beat.
    pub(in crate::detection) fn seal(&mut self, beat: &Beat) -> [u8; BEAT_LEN] {
        let (header, body) = self.compose(beat);
        seal::beat(&self.secret, &header, &body)
    }

    /// A beat that nobody will see.
    pub(in crate::detection) fn skip(&mut self, beat: &Beat) {
        let _ = self.compose(beat);
    }
}
