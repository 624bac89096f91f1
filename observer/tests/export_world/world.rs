//! A real core under a simulated clock, behind a thread that answers as the ingest thread does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

use varta_core::{
    Audience, Change, Core, Cursor, Limits, MILLI, MonoNs, Now, Origin, Outcome, Roster, RosterEntry, SECOND, Settings,
    Start, Verdict, WallNs,
};
use varta_vlp::{
    Frame, Generation, Status, UnitId,
    key::{AudienceKey, AudienceSecret, Name},
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind, METADATA_MAX_LEN, Metadata},
};
use varta_watch::{
    command::{Command, Handle, Page, SAMPLE_ROWS, SamplePage, ShellCounters, Snapshot, channel},
    journal::Journal,
};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Now = Now { mono: MonoNs(1_000 * SECOND), wall: WallNs(1_767_225_600 * SECOND) };

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Now,
    pub(crate) shell: ShellCounters,
    pub(crate) journal: Option<Journal>,
    /// Pages of samples that were answered.
    pub(crate) steps: u32,
    secret: AudienceSecret,
    counter: u64,
}

/// What a beat says; the rest is as in a healthy session.
#[derive(Clone, Copy)]
pub(crate) struct Says<'a> {
    pub(crate) agent: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) pid: u32,
    pub(crate) status: Status,
    pub(crate) payload: u32,
    pub(crate) next_due_ms: u32,
    pub(crate) flags: Flags,
    pub(crate) nonce: u64,
    pub(crate) announce: bool,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Self {
            agent: "web-1",
            unit: "api",
            pid: 4242,
            status: Status::Ok,
            payload: 7,
            next_due_ms: 1000,
            flags: Flags::default(),
            nonce: 1,
            announce: true,
        }
    }
}

fn secret() -> AudienceSecret {
    AudienceSecret::from_bytes([9; 32])
}

impl World {
    pub(crate) fn new(listeners: usize) -> Self {
        let name = Name::new("obs-1").unwrap();
        let audience = Audience { id: name.audience_id(), key: AudienceKey::new(&secret()), until: None };
        let mut core = Core::new(Settings::default(), Limits::default(), vec![audience], listeners, 1);
        core.start(START, Start::First, 0);
        // The first frames are to be newer than the barrier of the start.
        let now = Now { mono: START.mono.after(MILLI), wall: START.wall.after(MILLI) };
        Self { core, now, shell: ShellCounters::default(), journal: None, steps: 0, secret: secret(), counter: 0 }
    }

    pub(crate) fn roster(&mut self, names: &[&str]) {
        let entry = |name: &&str| {
            let id = Name::new(name).unwrap().agent_id();
            (id, RosterEntry { name: (*name).into(), ..RosterEntry::default() })
        };
        self.core.set_roster(self.now, Some(Roster::new(names.iter().map(entry))));
    }

    pub(crate) fn advance(&mut self, ns: u64) {
        self.now = Now { mono: self.now.mono.after(ns), wall: self.now.wall.after(ns) };
        self.core.handle_timeout(self.now);
        self.tell();
    }

    /// A beat of its own session, sent and heard now.
    pub(crate) fn beat(&mut self, says: Says<'_>) -> Outcome {
        self.counter += 1;
        let agent = Name::new(says.agent).unwrap();
        let unit = if says.unit.is_empty() { UnitId::NONE } else { Name::new(says.unit).unwrap().unit_id() };
        let header = Header {
            kind: if says.announce { Kind::Announce } else { Kind::Beat },
            audience: Name::new("obs-1").unwrap().audience_id(),
            agent: agent.agent_id(),
            generation: Generation(1),
            session_start: START.wall.0 + 1,
            salt: self.counter.to_le_bytes(),
            counter: self.counter,
        };
        let timestamp = self.now.wall.0 - START.wall.0;
        let frame = Frame { status: says.status, pid: says.pid, timestamp, nonce: says.nonce, payload: says.payload };
        let body = Body {
            frame,
            sent_at: self.now.wall.0,
            next_due_ms: says.next_due_ms,
            lag_us: 0,
            unit,
            flags: says.flags,
            boot: 0xb007,
        };
        let key = AudienceKey::new(&self.secret).agent(header.agent, header.generation);
        let mut bytes = if says.announce {
            let mut pairs = vec![("agent", says.agent), ("site", "a \"b\" \\c")];
            pairs.extend((!says.unit.is_empty()).then_some(("unit", says.unit)));
            let mut out = [0; METADATA_MAX_LEN];
            let metadata = Metadata::write(pairs, &mut out).unwrap();
            let mut datagram = [0; ANNOUNCE_MAX_LEN];
            let len = seal::announce(&key, &header, &body, metadata.bytes(), &mut datagram).unwrap();
            datagram[..len].to_vec()
        } else {
            seal::beat(&key, &header, &body).to_vec()
        };
        self.datagram(&mut bytes)
    }

    pub(crate) fn datagram(&mut self, bytes: &mut [u8]) -> Outcome {
        let origin = Origin { listener: 0, attested: false, from: SocketAddr::from(([127, 0, 0, 1], 9)) };
        let outcome = self.core.handle_datagram(self.now, origin, bytes);
        if let Some(journal) = &mut self.journal {
            journal.outcome(self.now, &outcome);
        }
        self.tell();
        outcome
    }

    /// Hands a change to the journal as if the core had told it.
    pub(crate) fn told(&mut self, change: &Change) {
        self.journal.as_mut().unwrap().change(&self.core, self.now, change);
    }

    fn tell(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        while let Some(change) = self.core.poll_change() {
            journal.change(&self.core, self.now, &change);
        }
        journal.hand_over_due(self.now.mono);
    }

    fn answer(&mut self, command: Command) -> bool {
        match command {
            Command::Page { cursor, limit, room: mut rows, reply } => {
                rows.clear();
                let next = self.core.page(self.now, Cursor(cursor), limit, |view| {
                    rows.add(&self.core, self.now, &view);
                });
                let _ = reply.send(Page { rows, next: next.map(|next| next.0) });
            }
            Command::Samples { cursor, limit, up, room: mut samples, reply } => {
                assert!((1..=SAMPLE_ROWS).contains(&limit), "a step is bounded");
                samples.clear();
                let next = self.core.page(self.now, Cursor(cursor), limit, |view| {
                    if up || view.verdict != Verdict::Up {
                        samples.add(&view);
                    }
                });
                self.steps += 1;
                let _ = reply.send(SamplePage { samples, next: next.map(|next| next.0) });
            }
            Command::Slot { selector, room: mut rows, reply } => {
                let slot = self.core.find(selector.agent, selector.unit, selector.pid);
                let view = slot.and_then(|slot| self.core.view(self.now, slot));
                rows.clear();
                view.iter().for_each(|view| rows.add(&self.core, self.now, view));
                let _ = reply.send(rows);
            }
            Command::Snapshot { reply } => {
                let _ = reply.send(self.snapshot());
            }
            Command::Stop => return false,
            _ => {}
        }
        true
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.core.counters(),
            verdicts: self.core.verdict_counts(),
            sizes: self.core.sizes(),
            blindness: self.core.blindness(),
            shell: self.shell.clone(),
        }
    }
}

/// The answering thread; ends when dropped.
pub(crate) struct Ingest {
    pub(crate) handle: Handle,
    world: Arc<Mutex<World>>,
    thread: Option<JoinHandle<()>>,
    _poll: mio::Poll,
}

impl Ingest {
    pub(crate) fn of(world: World) -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (handle, commands) = channel(Arc::new(waker));
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        let answering = move || {
            while let Ok(command) = commands.recv() {
                if !shared.lock().unwrap().answer(command) {
                    return;
                }
            }
        };
        Self { handle, world, thread: Some(std::thread::spawn(answering)), _poll: poll }
    }

    /// The world; while it is held nothing is answered.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Ends the thread, as a broken ingest loop would.
    pub(crate) fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.send(Command::Stop).unwrap();
            thread.join().unwrap();
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.end();
    }
}
