//! One observer, or group of them: its key, its session, its socket.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use varta_vlp::{
    AgentId, AudienceId, Generation, UnitId,
    key::AgentSecret,
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Header, Kind},
};

use super::{
    endpoint::{Endpoint, open_first, open_socket},
    resolver::News,
};
use crate::{
    outcome::{BeatError, BeatFault, BeatOutcome},
    process::{Place, Process},
    salt::Salts,
    session::{Cause, SenderTime, Session, Starts},
    sources::Sources,
};

const SECOND: u64 = 1_000_000_000;
/// Sockets are replaced and names announced about this often.
const ABOUT_A_MINUTE_NS: u64 = 60 * SECOND;
/// A socket that cannot be made, or that finds no way, is tried again after this.
const RETRY_NS: u64 = SECOND;

pub(super) struct Audience {
    pub(super) name: String,
    pub(super) id: AudienceId,
    pub(super) endpoint: Endpoint,
    pub(super) news: Arc<News>,
    address: Option<SocketAddr>,
    pub(super) outcome: Option<BeatOutcome>,
    secret: AgentSecret,
    socket: Result<UdpSocket, BeatError>,
    session: Session,
    salts: Salts,
    place: Option<Place>,
    renew_at_ns: u64,
    announce_at_ns: u64,
    jitter: u64,
    misses: u32,
}

/// What all audiences of one beat share.
pub(super) struct Round<'a, S> {
    pub(super) sources: &'a mut S,
    pub(super) process: &'a Process,
    pub(super) starts: &'static Starts,
    pub(super) now: SenderTime,
    pub(super) pid: u32,
    pub(super) agent: AgentId,
    pub(super) generation: Generation,
    /// Without `sent_at` and the session's flags.
    pub(super) body: Body,
    pub(super) metadata: &'a [u8],
    pub(super) copies: u32,
    pub(super) reconnect_after: u32,
    pub(super) entropy_failures: &'a mut u64,
    pub(super) regressed: bool,
}

/// What one send came to.
enum Handed {
    Over,
    /// It was handed over, and the kernel told that an earlier one was refused.
    AfterRefusal(BeatOutcome),
    Not(io::Error),
}

impl Audience {
    pub(super) fn new(name: String, id: AudienceId, endpoint: Endpoint, secret: AgentSecret) -> Self {
        Self {
            name,
            id,
            endpoint,
            news: Arc::default(),
            address: None,
            outcome: None,
            secret,
            socket: Err(no_socket(&io::ErrorKind::NotConnected.into())),
            session: Session::new(false),
            salts: Salts::default(),
            place: None,
            renew_at_ns: 0,
            announce_at_ns: 0,
            jitter: 0,
            misses: 0,
        }
    }

    /// Proves that there is randomness.
    pub(super) fn prove_entropy(&mut self, sources: &mut impl Sources) -> io::Result<()> {
        self.salts.prove(sources)
    }

    /// Holds a place of the process, under which it may have beaten before.
    pub(super) fn take_place(&mut self, place: Place) {
        self.place = Some(place);
        self.session.restart(Cause::Connect, place.continues);
        self.announce_at_ns = 0;
    }

    pub(super) fn give_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Resolves and makes a socket. May block.
    ///
    /// # Errors
    /// There is no way to any of its addresses, or it has none. What there was stays.
    pub(super) fn connect(&mut self, boottime_ns: u64) -> io::Result<()> {
        // What the resolver found earlier is older than what is found now.
        let _ = self.news.take();
        let opened = self.endpoint.resolve().and_then(|addresses| {
            // Where there is no way yet, the first address is kept and tried again.
            let first = addresses.first().copied();
            self.address = self.address.or(first);
            open_first(&addresses)
        });
        match opened {
            Ok((address, socket)) => {
                self.address = Some(address);
                self.socket = Ok(socket);
                self.renew_at_ns = boottime_ns + self.spread(ABOUT_A_MINUTE_NS);
                Ok(())
            }
            Err(error) => {
                if self.socket.is_err() {
                    self.socket = Err(no_socket(&error));
                }
                Err(error)
            }
        }
    }

    /// The address that there is a socket to.
    pub(super) fn connected_address(&self) -> Option<SocketAddr> {
        self.address.filter(|_| self.socket.is_ok())
    }

    /// The next beat begins a new session.
    pub(super) fn renew_session(&mut self, cause: Cause) {
        self.session.renew(cause);
    }

    pub(super) fn has_beaten(&self) -> bool {
        self.session.has_begun()
    }

    /// The handle finds itself in a forked child: nothing of the parent's is used again, as far as can be helped.
    pub(super) fn enter_child(&mut self) {
        self.place = None;
        self.session.restart(Cause::Fork, false);
        self.salts.forget();
        self.renew_at_ns = 0;
        self.announce_at_ns = 0;
        self.misses = 0;
    }

    /// Seals and sends to this audience; remembers and returns what became of it.
    pub(super) fn send<S: Sources>(&mut self, round: &mut Round<'_, S>) -> BeatOutcome {
        let outcome = match self.try_send(round) {
            Ok(outcome) => outcome,
            Err(error) => BeatOutcome::Failed(error),
        };
        self.outcome = Some(outcome);
        if outcome == BeatOutcome::Sent {
            self.misses = 0;
        } else {
            self.misses = self.misses.saturating_add(1);
            if round.reconnect_after > 0 && self.misses >= round.reconnect_after {
                self.misses = 0;
                self.renew_at_ns = 0;
                self.session.renew(Cause::Reconnect);
            }
        }
        outcome
    }

    fn try_send<S: Sources>(&mut self, round: &mut Round<'_, S>) -> Result<BeatOutcome, BeatError> {
        if self.place.is_none() {
            // Only after a fork, where several inherited handles may be left without a unit.
            let place = round
                .process
                .claim(round.agent, self.id, UnitId::NONE)
                .map_err(|_| BeatError::plain(BeatFault::UnitTaken, io::ErrorKind::AddrInUse))?;
            self.place = Some(place);
            self.session.restart(Cause::Fork, place.continues);
        }
        self.keep_socket(round.now.boottime_ns);
        let mut best: Option<BeatOutcome> = None;
        let mut refusal = None;
        for _ in 0..round.copies {
            let outcome = match self.send_once(round)? {
                Handed::Over => BeatOutcome::Sent,
                Handed::AfterRefusal(told) => {
                    refusal = Some(told);
                    BeatOutcome::Sent
                }
                Handed::Not(error) => BeatOutcome::from_send_error(&error),
            };
            best = Some(match best {
                Some(BeatOutcome::Sent) => BeatOutcome::Sent,
                Some(_) | None => outcome,
            });
        }
        let best = best.unwrap_or(BeatOutcome::Sent);
        Ok(refusal.map_or(best, |told| best.worst(told)))
    }

    /// Takes a new address over, and replaces the socket when it is time. Where no new one can be made the old stays.
    fn keep_socket(&mut self, boottime_ns: u64) {
        if let Some(address) = self.news.take() {
            self.address = Some(address);
            self.renew_at_ns = 0;
        }
        if boottime_ns < self.renew_at_ns {
            return;
        }
        let Some(address) = self.address else {
            self.renew_at_ns = boottime_ns + RETRY_NS;
            return;
        };
        match open_socket(address) {
            Ok(socket) => {
                self.socket = Ok(socket);
                self.renew_at_ns = boottime_ns + self.spread(ABOUT_A_MINUTE_NS);
            }
            Err(error) => {
                if self.socket.is_err() {
                    self.socket = Err(no_socket(&error));
                }
                self.renew_at_ns = boottime_ns + RETRY_NS;
            }
        }
    }

    fn send_once<S: Sources>(&mut self, round: &mut Round<'_, S>) -> Result<Handed, BeatError> {
        if let Err(error) = &self.socket {
            return Err(*error);
        }
        let salt = self
            .salts
            .next(round.sources, round.now, round.pid, round.entropy_failures)
            .map_err(|error| BeatError::of(BeatFault::Entropy, &error))?;
        self.jitter = u64::from_le_bytes(salt);
        let stamp = self.session.stamp(round.now, round.starts, self.jitter);
        round.regressed |= stamp.regressed;
        if stamp.began.is_some() {
            self.announce_at_ns = 0;
        }
        let header = Header {
            kind: Kind::Beat,
            audience: self.id,
            agent: round.agent,
            generation: round.generation,
            session_start: stamp.session_start,
            salt,
            counter: stamp.counter,
        };
        let body = Body { sent_at: stamp.sent_at, flags: round.body.flags.with(stamp.flags), ..round.body };
        let announces = round.now.boottime_ns >= self.announce_at_ns;
        let handed = if announces {
            let mut datagram = [0; ANNOUNCE_MAX_LEN];
            let len = seal::announce(&self.secret, &header, &body, round.metadata, &mut datagram)
                .expect("metadata is never empty and was checked at connect");
            self.hand_over(&datagram[..len])
        } else {
            self.hand_over(&seal::beat(&self.secret, &header, &body))
        };
        match &handed {
            Handed::Not(error) => {
                if leads_nowhere(error) {
                    self.renew_at_ns = self.renew_at_ns.min(round.now.boottime_ns + RETRY_NS);
                }
            }
            Handed::Over | Handed::AfterRefusal(_) if announces => {
                self.announce_at_ns = round.now.boottime_ns + self.spread(ABOUT_A_MINUTE_NS);
            }
            Handed::Over | Handed::AfterRefusal(_) => {}
        }
        Ok(handed)
    }

    /// Sends one datagram. A connected socket tells of an earlier datagram's refusal in place of sending the next, so
    /// that one is sent again.
    fn hand_over(&self, datagram: &[u8]) -> Handed {
        let Ok(socket) = &self.socket else {
            return Handed::Not(io::ErrorKind::NotConnected.into());
        };
        let Err(first) = socket.send(datagram) else {
            return Handed::Over;
        };
        if first.kind() == io::ErrorKind::WouldBlock {
            return Handed::Not(first);
        }
        match socket.send(datagram) {
            Ok(_) => match BeatOutcome::from_send_error(&first) {
                told @ BeatOutcome::Dropped(_) => Handed::AfterRefusal(told),
                BeatOutcome::Sent | BeatOutcome::Failed(_) => Handed::Over,
            },
            Err(second) => Handed::Not(second),
        }
    }

    /// `mean`, 10 % either way.
    const fn spread(&self, mean: u64) -> u64 {
        mean - mean / 10 + self.jitter % (mean / 5)
    }
}

fn no_socket(error: &io::Error) -> BeatError {
    BeatError::of(BeatFault::NoSocket, error)
}

/// Whether another socket, with another source address, may find a way that this one does not.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable
            | Kind::InvalidInput
            | Kind::NotConnected
    )
}
