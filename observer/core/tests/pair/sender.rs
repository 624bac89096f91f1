//! An agent that seals as SPEC, "Sender", says, on a clock of its own.

use varta_core::{MILLI, SECOND};
use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::{AgentSecret, AudienceKey, Name},
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind, METADATA_MAX_LEN, Metadata},
};

use crate::world::{EPOCH, Seed, audience_name, audience_secret};

/// A session ends when the realtime clock has left its timeline by more than this.
const STEP_LIMIT: i64 = 500 * MILLI as i64;
/// A new session is STEPPED when it begins further off the old timeline than this.
const STEPPED_LIMIT: i64 = 50 * MILLI as i64;

/// What one beat says besides the sender's own state.
#[derive(Clone, Copy)]
pub(crate) struct Say {
    pub(crate) status: Status,
    pub(crate) payload: u32,
    pub(crate) due_ms: u32,
    pub(crate) lag_us: u32,
    pub(crate) flags: Flags,
    pub(crate) terminal: bool,
}

impl Say {
    /// Well, with a promise of so many milliseconds; 0 promises nothing.
    pub(crate) const fn due(due_ms: u32) -> Self {
        Self { status: Status::Ok, payload: 0, due_ms, lag_us: 0, flags: Flags(0), terminal: false }
    }

    pub(crate) const fn status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    pub(crate) const fn with(self, flags: Flags) -> Self {
        Self { flags: self.flags.with(flags), ..self }
    }

    /// Goodbye, well.
    pub(crate) const fn goodbye() -> Self {
        Self::due(0).with(Flags::FINAL)
    }

    /// A last beat that tells of a bad end.
    pub(crate) const fn end(payload: u32) -> Self {
        Self { status: Status::Critical, payload, terminal: true, ..Self::due(0) }
    }
}

#[derive(Clone, Copy)]
struct Session {
    start: u64,
    /// Boottime at its start.
    began: u64,
    /// Boottime at which it is to be renewed.
    ends: u64,
    counter: u64,
    sent_at: u64,
    flags: Flags,
}

/// One process of an agent, with one sealed handle.
pub(crate) struct Sender {
    pub(crate) agent: AgentId,
    pub(crate) generation: Generation,
    pub(crate) unit: UnitId,
    pub(crate) pid: u32,
    pub(crate) boot: u64,
    /// How far its realtime is ahead of the world's, nanoseconds.
    pub(crate) skew: i64,
    /// How much too fast its clocks run, parts in a million.
    pub(crate) ppm: i64,
    session: Option<Session>,
    last_start: u64,
    first: bool,
    connected: Option<u64>,
    nonce: u64,
    seed: Seed,
}

impl Clone for Sender {
    /// As a restored copy of the machine would go on: everything equal but the randomness to come.
    fn clone(&self) -> Self {
        Self { seed: Seed(self.seed.0 ^ 0x5555), ..*self }
    }
}

impl Sender {
    pub(crate) fn new(agent: &str, unit: &str, pid: u32) -> Self {
        let name = |text| Name::new(text).unwrap();
        Self {
            agent: name(agent).agent_id(),
            generation: Generation(1),
            unit: if unit.is_empty() { UnitId::NONE } else { name(unit).unit_id() },
            pid,
            boot: 77,
            skew: 0,
            ppm: 0,
            session: None,
            last_start: 0,
            first: true,
            connected: None,
            nonce: 0,
            seed: Seed(u64::from(pid) << 32 | 9),
        }
    }

    /// The same unit, started again as another process.
    pub(crate) fn successor(&self, pid: u32) -> Self {
        Self {
            pid,
            session: None,
            last_start: 0,
            first: true,
            connected: None,
            nonce: 0,
            seed: Seed(u64::from(pid) << 32 | 5),
            ..*self
        }
    }

    pub(crate) fn generation(self, generation: u32) -> Self {
        Self { generation: Generation(generation), ..self }
    }

    /// The same process, speaking for a unit not heard before.
    pub(crate) fn of_unit(self, unit: u32) -> Self {
        Self { unit: UnitId(unit), ..self }
    }

    /// What its next session will be, should the present one be given up.
    pub(crate) fn renew(&mut self, t: u64) {
        let session = self.session.expect("a session to renew");
        self.begin(t, Some(session));
    }

    pub(crate) fn session_start(&self) -> u64 {
        self.session.expect("a session").start
    }

    /// The counter that the next frame takes.
    pub(crate) fn next_counter(&self) -> u64 {
        self.session.expect("a session").counter
    }

    pub(crate) fn skip_counters(&mut self, count: u64) {
        self.session.as_mut().expect("a session").counter += count;
    }

    fn boottime(&self, t: u64) -> u64 {
        (1000 * SECOND + t).saturating_add_signed(t as i64 / 1_000_000 * self.ppm)
    }

    fn realtime(&self, t: u64) -> u64 {
        (EPOCH + self.boottime(t) - 1000 * SECOND).saturating_add_signed(self.skew)
    }

    fn begin(&mut self, t: u64, old: Option<Session>) {
        let (realtime, boottime) = (self.realtime(t), self.boottime(t));
        let near = realtime <= self.last_start && self.last_start - realtime <= 10 * SECOND;
        let start = if near { self.last_start + 1 } else { realtime };
        let mut flags = Flags::default();
        if let Some(old) = old {
            flags = flags.with(Flags::CONTINUES);
            let off = start as i64 - (old.start + (boottime - old.began)) as i64;
            if off.abs() > STEPPED_LIMIT {
                flags = flags.with(Flags::STEPPED);
            }
        }
        let age =
            if std::mem::take(&mut self.first) { 15 * SECOND } else { 540 * SECOND + self.seed.below(120 * SECOND) };
        self.last_start = start;
        self.session =
            Some(Session { start, began: boottime, ends: boottime + age, counter: 0, sent_at: start - 1, flags });
    }

    /// The header and body of the frame that leaves at world time `t`; the counter is taken.
    pub(crate) fn compose(&mut self, t: u64, say: Say) -> (Header, Body) {
        let boottime = self.boottime(t);
        let connected = *self.connected.get_or_insert(boottime);
        match self.session {
            None => self.begin(t, None),
            Some(session) => {
                let off = (session.start + (boottime - session.began)) as i64 - self.realtime(t) as i64;
                if off.abs() > STEP_LIMIT || boottime >= session.ends {
                    self.begin(t, Some(session));
                }
            }
        }
        let salt = self.seed.next().to_le_bytes();
        let session = self.session.as_mut().expect("begun above");
        session.sent_at = (session.sent_at + 1).max(session.start + (boottime - session.began));
        session.counter += 1;
        self.nonce = Frame::next_nonce(self.nonce);
        let header = Header {
            kind: Kind::Beat,
            audience: Name::new(audience_name()).unwrap().audience_id(),
            agent: self.agent,
            generation: self.generation,
            session_start: session.start,
            salt,
            counter: session.counter - 1,
        };
        let frame = Frame {
            status: say.status,
            pid: self.pid,
            timestamp: boottime - connected,
            nonce: if say.terminal { Frame::TERMINAL } else { self.nonce },
            payload: say.payload,
        };
        let body = Body {
            frame,
            sent_at: session.sent_at,
            next_due_ms: say.due_ms,
            lag_us: say.lag_us,
            unit: self.unit,
            flags: say.flags.with(session.flags),
            boot: self.boot,
        };
        (header, body)
    }

    /// A beat that leaves at `t`.
    pub(crate) fn beat(&mut self, t: u64, say: Say) -> Vec<u8> {
        let (header, body) = self.compose(t, say);
        seal_beat(&header, &body)
    }

    /// An announce that leaves at `t`.
    pub(crate) fn announce(&mut self, t: u64, say: Say, pairs: &[(&str, &str)]) -> Vec<u8> {
        let (header, body) = self.compose(t, say);
        let mut room = [0; METADATA_MAX_LEN];
        let metadata = Metadata::write(pairs.iter().copied(), &mut room).unwrap();
        seal_announce(&header, &body, metadata.bytes())
    }
}

/// The key that the header's agent holds in its generation.
pub(crate) fn secret_of(header: &Header) -> AgentSecret {
    AudienceKey::new(&audience_secret()).agent(header.agent, header.generation)
}

pub(crate) fn seal_beat(header: &Header, body: &Body) -> Vec<u8> {
    seal::beat(&secret_of(header), header, body).to_vec()
}

pub(crate) fn seal_announce(header: &Header, body: &Body, metadata: &[u8]) -> Vec<u8> {
    let mut datagram = [0; ANNOUNCE_MAX_LEN];
    let len = seal::announce(&secret_of(header), header, body, metadata, &mut datagram).unwrap();
    datagram[..len].to_vec()
}

/// The id of another audience.
pub(crate) fn other_audience() -> AudienceId {
    Name::new("obs-2").unwrap().audience_id()
}
