//! A live observer on loopback: a socket, the machine's clocks and the core, with room for a storm of processes.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read as _, Write as _},
    net::UdpSocket,
    time::Duration,
};

use varta_client::{
    OsSources, Sources as _,
    keyfile::{AgentAudience, AgentKeyFile},
};
use varta_core::{
    Audience, Change, Core, Cursor, Limits, MonoNs, Now, Origin, Outcome, SECOND, Settings, SlotChange, Start, WallNs,
};
use varta_vlp::{
    Generation, UnitId,
    key::{AudienceKey, AudienceSecret, Name},
    sealed::{Header, MAX_LEN},
};

const SECRET: [u8; 32] = [9; 32];
/// So many beats may be under way: fewer than the smallest receive buffer holds.
const UNDER_WAY: usize = 64;

/// The observer's side.
pub(crate) struct Observer {
    socket: UdpSocket,
    turns: File,
    core: Core,
    nonces: HashSet<[u8; 24]>,
    counters: HashMap<(UnitId, u32, u64), u64>,
    origin: Origin,
}

/// What the agents share: where to beat, and a pipe from which each takes its turn, so that no beat is lost.
pub(crate) struct Turns(File);

impl Turns {
    /// Waits until one more beat may be sent. Allocates nothing.
    pub(crate) fn take(&self) -> bool {
        (&self.0).read_exact(&mut [0]).is_ok()
    }
}

/// A row of the observer's state.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) unit: UnitId,
    pub(crate) pid: u32,
    pub(crate) beats: u64,
}

fn now() -> Now {
    let time = OsSources.now().unwrap();
    Now { mono: MonoNs(time.boottime_ns), wall: WallNs(time.realtime_ns) }
}

impl Observer {
    /// Begins to observe: the observer, the key of an agent that beats to it, and the agents' turns.
    pub(crate) fn start() -> (Self, AgentKeyFile, Turns) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (agent, audience) = (Name::new("storm").unwrap(), Name::new("obs-1").unwrap());
        let key = AudienceKey::new(&AudienceSecret::from_bytes(SECRET));
        let file = AgentKeyFile {
            agent: agent.as_str().to_owned(),
            generation: Generation(1),
            audiences: vec![AgentAudience {
                name: audience.as_str().to_owned(),
                address: socket.local_addr().unwrap().to_string(),
                secret: key.agent(agent.agent_id(), Generation(1)),
            }],
        };
        // A beat may lie in the socket's buffer for long where a thousand processes share a machine, and a parent is
        // silent while it waits for its children.
        let settings = Settings { skew: 60 * SECOND, misses: 60, ..Settings::default() };
        let limits = Limits { slots_per_agent: 4096, ..Limits::default() };
        let origin = Origin { listener: 0, attested: false, from: socket.local_addr().unwrap() };
        let mut core =
            Core::new(settings, limits, vec![Audience { id: audience.audience_id(), key, until: None }], 1, 1);
        core.start(now(), Start::First, 0);
        core.set_horizon(WallNs(u64::MAX));
        let (taken, turns) = nix::unistd::pipe().unwrap();
        let (taken, mut turns) = (File::from(taken), File::from(turns));
        turns.write_all(&[0; UNDER_WAY]).unwrap();
        let observer = Self { socket, turns, core, nonces: HashSet::new(), counters: HashMap::new(), origin };
        (observer, file, Turns(taken))
    }

    /// Hears `count` datagrams: each is accepted, none has the nonce of another, and each is the next of its session.
    pub(crate) fn hear(&mut self, count: u64) {
        let mut buffer = [0; MAX_LEN + 1];
        for heard in 0..count {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{heard} of {count}: {error}"));
            self.turns.write_all(&[0]).unwrap();
            let header = Header::parse(&buffer[..length]).unwrap();
            assert!(self.nonces.insert(header.nonce()), "a nonce was used twice: {header:?}");
            let outcome = self.core.handle_datagram(now(), self.origin, &mut buffer[..length]);
            let Outcome::Accepted(beat) = outcome else { panic!("{outcome:?}: {header:?}") };
            let session = (beat.subject.unit, beat.subject.pid, header.session_start);
            let next = self.counters.entry(session).or_default();
            assert_eq!(header.counter, *next, "two processes in one session: {session:?}");
            *next += 1;
            if heard % 256 == 0 {
                self.turn();
            }
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.core.begin_turn(false);
        self.core.handle_timeout(now());
        while let Some(change) = self.core.poll_change() {
            if let Change::Slot { what, subject, .. } = change {
                assert!(matches!(what, SlotChange::New(_)), "{what:?} of {subject:?}");
            }
        }
    }

    /// What is known in the end: every slot with its beats, sorted. None has restarted, stalled or was contested.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = self.core.page(now(), from, 1000, |row| {
                assert_eq!((row.restarts, row.stalls), (0, 0), "unit {:?}, pid {}", row.unit, row.pid);
                rows.push(Row { unit: row.unit, pid: row.pid, beats: row.beats });
            });
        }
        rows.sort_unstable();
        let refused: u64 =
            self.core.counters().listeners.iter().map(varta_core::ListenerCounters::rejected_total).sum();
        assert_eq!(refused, 0);
        rows
    }

    /// How many nonces were heard, all distinct.
    pub(crate) fn nonces(&self) -> usize {
        self.nonces.len()
    }

    /// Nothing more has arrived.
    pub(crate) fn assert_quiet(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.recv(&mut [0; 8]).is_err(), "a datagram more than was sent");
    }
}
