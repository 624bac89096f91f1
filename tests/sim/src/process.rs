//! A process of an agent: it seals as SPEC, "Sender", says, with the client's own sessions and salts.

use std::{io, rc::Rc};

use varta_client::{
    Sources,
    salt::Salts,
    session::{Cause, SenderTime, Session, Starts},
};
use varta_core::SECOND;
use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::AgentSecret,
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind, METADATA_MAX_LEN, Metadata},
};

use crate::{clock::EPOCH, rng::Rng};

/// A promise above this is said three times.
const LONG_PROMISE_MS: u32 = 60_000;

/// What a beat is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Life, with this status.
    Life(Status),
    /// Goodbye, with this status.
    Final(Status),
    /// The last beat of a bad end.
    Terminal(u32),
    /// A planned absence of so many milliseconds.
    Hold(u32),
}

/// A genuine datagram, and what is true of it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// As sent.
    pub bytes: Rc<[u8]>,
    /// Its clear header.
    pub header: Header,
    /// What it says.
    pub body: Body,
    /// Who sealed it: a place in [`crate::world::World::processes`].
    pub process: usize,
    /// World time at which it was sealed.
    pub t: u64,
    /// How far its `sent_at` is ahead of the right time.
    pub ahead: i64,
}

/// What a process has for each audience.
#[derive(Clone, Debug)]
pub struct Link {
    /// Which of the world's audiences.
    pub audience: usize,
    id: AudienceId,
    session: Session,
    salts: Salts,
    announce_at: u64,
}

/// Who a process is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its agent's name.
    pub agent_name: String,
    /// Its unit's name; empty for none.
    pub unit_name: String,
    /// The generation of its key.
    pub generation: Generation,
    /// Its number.
    pub pid: u32,
    /// The host that it runs on: a place in [`crate::world::World::hosts`].
    pub host: usize,
}

/// One process with a sealed handle.
pub struct Process {
    /// Who it is.
    pub who: Identity,
    /// Its agent's id.
    pub agent: AgentId,
    /// Its unit's id.
    pub unit: UnitId,
    /// Whether it still runs.
    pub alive: bool,
    /// It beats so often, nanoseconds; 0: only when told to.
    pub every: u64,
    /// What each beat promises, milliseconds; 0: nothing.
    pub promise_ms: u32,
    /// What each beat says.
    pub status: Status,
    /// Its audiences.
    pub links: Vec<Link>,
    /// Whether another process has the same memory, this one having said nothing since.
    twin: bool,
    starts: Starts,
    connected: Option<u64>,
    nonce: u64,
}

/// Randomness from the world's seed, which fails where `fails`.
struct Entropy<'a> {
    rng: &'a mut Rng,
    fails: bool,
}

impl Sources for Entropy<'_> {
    fn now(&mut self) -> io::Result<SenderTime> {
        unreachable!("salts take the time as an argument")
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        if self.fails { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(self.rng.next().to_le_bytes()) }
    }

    fn pid(&mut self) -> u32 {
        unreachable!("salts take the pid as an argument")
    }

    fn starts(&self) -> &'static Starts {
        unreachable!("salts have nothing to do with starts")
    }
}

/// A beat about to be sealed.
pub struct Moment<'a> {
    /// World time.
    pub t: u64,
    /// The host's clocks.
    pub time: SenderTime,
    /// The name of the host's boot.
    pub boot: u64,
    /// Whether the operating system has no randomness now.
    pub no_entropy: bool,
    /// The world's choices.
    pub rng: &'a mut Rng,
}

impl Process {
    /// A process that has not connected yet. `audiences` are the world's by place, with their ids.
    #[must_use]
    pub fn new(who: Identity, audiences: &[(usize, AudienceId)]) -> Self {
        let links = audiences.iter().map(|(audience, id)| Link {
            audience: *audience,
            id: *id,
            session: Session::new(false),
            salts: Salts::default(),
            announce_at: 0,
        });
        Self {
            agent: crate::names::agent(&who.agent_name),
            unit: crate::names::unit(&who.unit_name),
            alive: true,
            every: 0,
            promise_ms: 0,
            status: Status::Ok,
            links: links.collect(),
            twin: false,
            starts: Starts::new(),
            connected: None,
            nonce: 1,
            who,
        }
    }

    /// The memory image as a copied machine goes on from: everything equal.
    #[must_use]
    pub fn copied(&mut self) -> Self {
        self.twin = true;
        self.image()
    }

    fn image(&self) -> Self {
        Self { who: self.who.clone(), links: self.links.clone(), starts: self.starts.clone(), ..*self }
    }

    /// What a child of this process finds itself as: another pid, no unit, sessions of its own.
    #[must_use]
    pub fn forked(&self, pid: u32) -> Self {
        let mut child = self.image();
        child.twin = false;
        child.who.pid = pid;
        child.who.unit_name.clear();
        child.unit = UnitId::NONE;
        child.nonce = 1;
        child.connected = None;
        for link in &mut child.links {
            link.session.restart(Cause::Fork, false);
            link.salts.forget();
            link.announce_at = 0;
        }
        child
    }

    /// A child without a unit names itself.
    pub fn name_unit(&mut self, name: &str) {
        name.clone_into(&mut self.who.unit_name);
        self.unit = crate::names::unit(name);
        for link in &mut self.links {
            link.session.restart(Cause::Connect, false);
            link.announce_at = 0;
        }
    }

    /// The transport is connected anew.
    pub fn reconnect(&mut self) {
        self.nonce = 1;
        for link in &mut self.links {
            link.session.renew(Cause::Reconnect);
        }
    }

    /// Seals what is to be said, for each audience, as often as it is said. `secret` gives the key for an audience by place.
    pub fn say(
        &mut self,
        moment: &mut Moment<'_>,
        number: usize,
        say: Say,
        secret: &dyn Fn(usize, AgentId, Generation) -> AgentSecret,
    ) -> Vec<(usize, Sealed)> {
        let connected = *self.connected.get_or_insert(moment.time.boottime_ns);
        let nonce = match say {
            Say::Terminal(_) => Frame::TERMINAL,
            _ => {
                let next = Frame::next_nonce(self.nonce);
                std::mem::replace(&mut self.nonce, next)
            }
        };
        let (status, payload, next_due_ms, flags) = match say {
            Say::Life(status) => (status, 0, self.promise_ms, Flags::default()),
            Say::Final(status) => (status, 0, 0, Flags::FINAL),
            Say::Terminal(payload) => (Status::Critical, payload, 0, Flags::default()),
            Say::Hold(absence) => (self.status, 0, absence, Flags::HOLD),
        };
        let thrice = matches!(say, Say::Final(_) | Say::Terminal(_)) || next_due_ms > LONG_PROMISE_MS;
        let body = Body {
            frame: Frame {
                status,
                pid: self.who.pid,
                timestamp: moment.time.boottime_ns.saturating_sub(connected),
                nonce,
                payload,
            },
            sent_at: 0,
            next_due_ms,
            lag_us: 0,
            unit: self.unit,
            flags,
            boot: moment.boot,
        };
        // A copied machine whose clocks stand still at one instant has nothing but randomness to differ by.
        moment.no_entropy &= !std::mem::take(&mut self.twin);
        let mut sealed = Vec::new();
        for place in 0..self.links.len() {
            let key = secret(self.links[place].audience, self.agent, self.who.generation);
            for _ in 0..if thrice { 3 } else { 1 } {
                if let Some(one) = self.seal(moment, number, place, &body, &key) {
                    sealed.push((self.links[place].audience, one));
                }
            }
            if matches!(say, Say::Final(_)) {
                self.links[place].session.renew(Cause::Farewell);
            }
        }
        sealed
    }

    fn seal(
        &mut self,
        moment: &mut Moment<'_>,
        number: usize,
        place: usize,
        body: &Body,
        key: &AgentSecret,
    ) -> Option<Sealed> {
        let link = &mut self.links[place];
        let mut entropy = Entropy { rng: moment.rng, fails: moment.no_entropy };
        let salt = link.salts.next(&mut entropy, moment.time, self.who.pid, &mut 0).ok()?;
        let stamp = link.session.stamp(moment.time, &self.starts, u64::from_le_bytes(salt));
        if stamp.began.is_some() {
            link.announce_at = 0;
        }
        let announces = moment.time.boottime_ns >= link.announce_at;
        let header = Header {
            kind: if announces { Kind::Announce } else { Kind::Beat },
            audience: link.id,
            agent: self.agent,
            generation: self.who.generation,
            session_start: stamp.session_start,
            salt,
            counter: stamp.counter,
        };
        let body = Body { sent_at: stamp.sent_at, flags: body.flags.with(stamp.flags), ..*body };
        if announces {
            link.announce_at = moment.time.boottime_ns + 60 * SECOND;
        }
        let bytes =
            if announces { self.announce(&header, &body, key) } else { seal::beat(key, &header, &body)[..].into() };
        Some(Sealed {
            bytes,
            header,
            body,
            process: number,
            t: moment.t,
            ahead: stamp.sent_at.cast_signed().wrapping_sub((EPOCH + moment.t).cast_signed()),
        })
    }

    #[expect(clippy::expect_used, reason = "names of the world fit into an announce")]
    fn announce(&self, header: &Header, body: &Body, key: &AgentSecret) -> Rc<[u8]> {
        let unit = Some(("unit", self.who.unit_name.as_str())).filter(|(_, name)| !name.is_empty());
        let pairs = std::iter::once(("agent", self.who.agent_name.as_str())).chain(unit);
        let mut room = [0; METADATA_MAX_LEN];
        let metadata = Metadata::write(pairs, &mut room).expect("metadata fits");
        let mut datagram = [0; ANNOUNCE_MAX_LEN];
        let len = seal::announce(key, header, body, metadata.bytes(), &mut datagram).expect("metadata is not empty");
        datagram[..len].into()
    }
}
