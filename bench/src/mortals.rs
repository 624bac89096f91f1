//! Agents that die at known instants: sealed in this process, so that nobody but the sender says when each beat last.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Status, UnitId,
    key::{AgentSecret, AudienceKey, Name},
    seal,
    sealed::{BEAT_LEN, Body, Flags, Header, Kind},
};

use crate::clock;

/// What each beat promises.
const PROMISE: Duration = Duration::from_secs(1);
/// From a beat's send time to its deadline, as an observer with default settings has it: the promise, as much again for a
/// beat that may be lost, and the margin.
const SPAN: Duration = Duration::from_millis(2250);
/// Beats of a life.
const BEATS: u32 = 3;

/// How lives end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// One after another within a second, each where it stands in its second.
    Apart,
    /// The last beats of all carry one send time, and so have one deadline.
    Together,
}

struct Mortal {
    id: AgentId,
    secret: AgentSecret,
}

/// Agents that live for some beats and die.
pub(crate) struct Mortals {
    audience: AudienceId,
    agents: Vec<Mortal>,
    socket: UdpSocket,
    lives: u64,
}

/// The deadline of each agent's last beat, since the Unix epoch, by the id that an observer shows.
pub(crate) type Deadlines = HashMap<String, Duration>;

impl Mortals {
    /// `count` agents of the observer whose key file this is, `to` whom they beat.
    pub(crate) fn new(key: &Path, to: SocketAddr, count: u32) -> anyhow::Result<Self> {
        let key = ObserverKeyFile::load(key)?;
        let ready = AudienceKey::new(&key.secret);
        let agent = |number| {
            let id = Name::new(&name(number))?.agent_id();
            Ok(Mortal { id, secret: ready.agent(id, Generation(1)) })
        };
        let agents = (0..count).map(agent).collect::<anyhow::Result<_>>()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to).with_context(|| format!("no way to {to}"))?;
        Ok(Self { audience: Name::new(&key.audience)?.audience_id(), agents, socket, lives: 0 })
    }

    /// Lets all of them live once more and die. Returns when each is to be told as stalled, by its name or its id.
    pub(crate) fn live(&mut self, end: End) -> anyhow::Result<Deadlines> {
        let session = clock::realtime();
        let step = PROMISE / u32::try_from(self.agents.len())?;
        let began = clock::boottime();
        self.lives += 1;
        let mut deadlines = Deadlines::new();
        for beat in 0..BEATS {
            let last = beat + 1 == BEATS;
            let together = last && end == End::Together;
            if together {
                wait_until(began + beat * PROMISE);
            }
            let one = clock::realtime();
            for (place, agent) in (0..).zip(&self.agents) {
                if !together {
                    wait_until(began + beat * PROMISE + place * step);
                }
                let at = if together { one } else { clock::realtime() };
                self.socket.send(&self.beat(agent, session, u64::from(beat), at))?;
                if last {
                    deadlines.insert(name(place), at + SPAN);
                    deadlines.insert(agent.id.to_string(), at + SPAN);
                }
            }
        }
        Ok(deadlines)
    }

    fn beat(&self, agent: &Mortal, session: Duration, counter: u64, at: Duration) -> [u8; BEAT_LEN] {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let header = Header {
            kind: Kind::Beat,
            audience: self.audience,
            agent: agent.id,
            generation: Generation(1),
            session_start: ns(session),
            // Told apart by life and counter: no key sees a nonce twice.
            salt: self.lives.to_le_bytes(),
            counter,
        };
        let body = Body {
            frame: Frame { status: Status::Ok, pid: 4242, timestamp: ns(at - session), nonce: counter + 1, payload: 0 },
            sent_at: ns(at),
            next_due_ms: u32::try_from(PROMISE.as_millis()).unwrap_or(u32::MAX),
            lag_us: 0,
            unit: UnitId::NONE,
            flags: Flags::default(),
            boot: 0,
        };
        seal::beat(&agent.secret, &header, &body)
    }
}

/// The name of the agent of that number.
pub(crate) fn name(number: u32) -> String {
    format!("mortal-{number:07}")
}

fn wait_until(at: Duration) {
    let now = clock::boottime();
    if at > now {
        clock::pass(at - now);
    }
}
