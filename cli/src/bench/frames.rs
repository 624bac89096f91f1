//! The datagrams of a load: agents with keys derived from an observer's, one session each.

use std::{collections::BTreeMap, time::Duration};

use varta_keys::ObserverKeyFile;
use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::{AgentSecret, AudienceKey, Name},
    seal,
    sealed::{ANNOUNCE_MAX_LEN, BEAT_LEN, Body, Flags, Header, Kind, METADATA_MAX_LEN, Metadata},
};

use super::Garbage;
use crate::clock;

/// A datagram of a load.
pub(super) type Datagram = [u8; BEAT_LEN];

/// What the datagrams are.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// Beats that an observer accepts.
    Beats,
    /// What it refuses.
    Garbage(Garbage),
}

fn name(number: u32) -> String {
    format!("bench-{number:07}")
}

struct Agent {
    id: AgentId,
    secret: AgentSecret,
    counter: u64,
}

/// Every agent of the load, beating in turn.
pub(super) struct Sender {
    audience: AudienceId,
    agents: Vec<Agent>,
    content: Content,
    next: usize,
    session: u64,
    sent_at: u64,
    promise_ms: u32,
    mixer: u64,
}

impl Sender {
    pub(super) fn new(key: &ObserverKeyFile, agents: u32, promise: Duration, content: Content) -> Self {
        let audience = Name::new(&key.audience).map_or(AudienceId(0), Name::audience_id);
        let ready = AudienceKey::new(&key.secret);
        let agents = (0..agents).filter_map(|number| {
            let id = Name::new(&name(number)).ok()?.agent_id();
            Some(Agent { id, secret: ready.agent(id, Generation(1)), counter: 0 })
        });
        let agents = agents.collect();
        let session = clock::realtime();
        let promise_ms = u32::try_from(promise.as_millis()).unwrap_or(u32::MAX);
        Self { audience, agents, content, next: 0, session, sent_at: session, promise_ms, mixer: session | 1 }
    }

    /// How many agents there are.
    pub(super) const fn agents(&self) -> u64 {
        self.agents.len() as u64
    }

    /// The next datagram, to be sent at `at`, nanoseconds since the Unix epoch.
    pub(super) fn datagram(&mut self, at: u64) -> Datagram {
        match self.content {
            Content::Garbage(kind) => self.garbage(kind),
            Content::Beats => {
                let place = self.next;
                self.next = (place + 1) % self.agents.len();
                self.beat(place, at, Flags::default())
            }
        }
    }

    /// The last beat of an agent, by its place.
    pub(super) fn goodbye(&mut self, place: u64, at: u64) -> Datagram {
        self.beat(usize::try_from(place).unwrap_or(usize::MAX), at, Flags::FINAL)
    }

    /// An announce of an agent, by its place: its name, a host's, and `labels`. All of a load are equally long. `None` if
    /// that is too much.
    pub(super) fn announce(&mut self, place: u64, at: u64, labels: &[(String, String)]) -> Option<Vec<u8>> {
        let name = name(u32::try_from(place).ok()?);
        let host = format!("{name}.example");
        let pairs: BTreeMap<_, _> = labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let own = [("agent", &*name), ("host", &*host)];
        let mut room = [0; METADATA_MAX_LEN];
        let metadata = Metadata::write(pairs.into_iter().chain(own).collect::<BTreeMap<_, _>>(), &mut room).ok()?;
        let (secret, header, body) =
            self.compose(usize::try_from(place).ok()?, at, Kind::Announce, Flags::default())?;
        let mut bytes = [0; ANNOUNCE_MAX_LEN];
        let len = seal::announce(secret, &header, &body, metadata.bytes(), &mut bytes)?;
        bytes.get(..len).map(<[u8]>::to_vec)
    }

    fn beat(&mut self, place: usize, at: u64, flags: Flags) -> Datagram {
        match self.compose(place, at, Kind::Beat, flags) {
            Some((secret, header, body)) => seal::beat(secret, &header, &body),
            None => [0; BEAT_LEN],
        }
    }

    /// What an agent says next; its counter is taken.
    fn compose(&mut self, place: usize, at: u64, kind: Kind, flags: Flags) -> Option<(&AgentSecret, Header, Body)> {
        // The plan may run ahead of the clock: whatever comes next is later.
        self.sent_at = at.max(self.sent_at + 1);
        let salt = self.mix().to_le_bytes();
        let agent = self.agents.get_mut(place)?;
        let header = Header {
            kind,
            audience: self.audience,
            agent: agent.id,
            generation: Generation(1),
            session_start: self.session,
            salt,
            counter: agent.counter,
        };
        agent.counter += 1;
        let timestamp = self.sent_at - self.session;
        let frame = Frame { status: Status::Ok, pid: 4242, timestamp, nonce: agent.counter, payload: 0 };
        let body = Body {
            frame,
            sent_at: self.sent_at,
            next_due_ms: self.promise_ms,
            lag_us: 0,
            unit: UnitId::NONE,
            flags,
            boot: 0,
        };
        Some((&agent.secret, header, body))
    }

    fn garbage(&mut self, kind: Garbage) -> Datagram {
        let mut bytes = [0; BEAT_LEN];
        for part in bytes.chunks_mut(8) {
            let noise = self.mix().to_le_bytes();
            for (byte, noise) in part.iter_mut().zip(noise) {
                *byte = noise;
            }
        }
        if kind == Garbage::Noise {
            return bytes;
        }
        let known = self.agents.get(usize::try_from(self.mixer).unwrap_or(0) % self.agents.len());
        let agent = match (kind, known) {
            (Garbage::Tag, Some(agent)) => agent.id,
            _ => AgentId(self.mixer),
        };
        let header = Header {
            kind: Kind::Beat,
            audience: self.audience,
            agent,
            generation: Generation(1),
            session_start: self.session,
            salt: self.mixer.to_le_bytes(),
            counter: 0,
        };
        for (byte, of_header) in bytes.iter_mut().zip(header.encode()) {
            *byte = of_header;
        }
        bytes
    }

    /// Noise that need not be secret: xorshift.
    fn mix(&mut self) -> u64 {
        self.mixer ^= self.mixer << 13;
        self.mixer ^= self.mixer >> 7;
        self.mixer ^= self.mixer << 17;
        self.mixer
    }
}
