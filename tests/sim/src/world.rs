//! The world: its time, hosts, processes, network, attacker and observers, stepped by one queue of events.

mod honesty;

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use varta_client::session::SenderTime;
use varta_core::{Limits, SECOND, Settings};
use varta_vlp::{AudienceId, key::AudienceKey, sealed::Body};

use crate::{
    attacker::Attacker,
    clock::HostClock,
    disk::End,
    model::{Key, key_of},
    network::Network,
    observer::Observer,
    process::{Identity, Moment, Process, Say, Sealed},
    registry::Registry,
    rng::Rng,
    rules::Breach,
    trace::Trace,
};

/// A host of agents.
pub struct Host {
    /// Its clocks.
    pub clock: HostClock,
    /// Whether nothing runs on it.
    pub paused: bool,
    /// Processes that should have beaten meanwhile.
    waiting: Vec<usize>,
}

enum Event {
    Beat(usize),
    Arrive { observer: usize, bytes: Rc<[u8]>, listener: usize, from: SocketAddr },
    Wake { observer: usize, epoch: u64 },
    GoOn { observer: usize, stall: u64, thaw: bool },
    Start(usize),
    Resume(usize),
}

/// Everything there is.
pub struct World {
    /// World time, nanoseconds.
    pub t: u64,
    /// Every choice.
    pub rng: Rng,
    events: BTreeMap<(u64, u64), Event>,
    events_made: u64,
    /// The audiences by place: name, id, key.
    audiences: Vec<(String, AudienceId, AudienceKey)>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The processes, dead ones too.
    pub processes: Vec<Process>,
    treatment: Vec<honesty::Treatment>,
    /// The observers.
    pub observers: Vec<Observer>,
    epochs: Vec<u64>,
    /// How often each observer was made to stand still: the end of an earlier time ends no later one.
    stalls: Vec<u64>,
    /// Everything that was sealed.
    pub registry: Registry,
    /// The way.
    pub network: Network,
    /// Who stands on it.
    pub attacker: Attacker,
    /// How often, in thousandths, the operating system of a sender has no randomness.
    pub no_entropy: u64,
    /// What happened.
    pub trace: Trace,
}

impl World {
    /// A world at time 0 in which there is nobody.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            t: 0,
            rng: Rng::new(seed),
            events: BTreeMap::new(),
            events_made: 0,
            audiences: Vec::new(),
            hosts: Vec::new(),
            processes: Vec::new(),
            treatment: Vec::new(),
            observers: Vec::new(),
            epochs: Vec::new(),
            stalls: Vec::new(),
            registry: Registry::default(),
            network: Network::calm(),
            attacker: Attacker::default(),
            no_entropy: 0,
            trace: Trace::default(),
        }
    }

    fn at(&mut self, t: u64, event: Event) {
        self.events_made += 1;
        self.events.insert((t, self.events_made), event);
    }

    /// Adds an audience; returns its place.
    pub fn add_audience(&mut self, name: &str) -> usize {
        let (id, key) = crate::names::audience(name);
        self.audiences.push((name.to_owned(), id, key));
        self.audiences.len() - 1
    }

    /// Adds an observer of an audience and starts it at once; returns its place.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn add_observer(
        &mut self,
        audience: usize,
        settings: Settings,
        limits: Limits,
        clock: HostClock,
    ) -> Result<usize, Breach> {
        let seed = self.rng.next();
        let mut observer = Observer::new(&self.audiences[audience].0, settings, limits, clock, seed);
        observer.start(self.t)?;
        self.observers.push(observer);
        self.epochs.push(0);
        self.stalls.push(0);
        self.turn(self.observers.len() - 1)?;
        Ok(self.observers.len() - 1)
    }

    /// Adds a host; returns its place.
    pub fn add_host(&mut self, clock: HostClock) -> usize {
        self.hosts.push(Host { clock, paused: false, waiting: Vec::new() });
        self.hosts.len() - 1
    }

    /// Adds a process that beats to `audiences`; returns its place.
    pub fn add_process(&mut self, who: Identity, audiences: &[usize]) -> usize {
        let audiences: Vec<_> = audiences.iter().map(|place| (*place, self.audiences[*place].1)).collect();
        self.take_in(Process::new(who, &audiences))
    }

    /// A process comes to be.
    pub fn take_in(&mut self, process: Process) -> usize {
        self.treatment.push(honesty::Treatment::default());
        self.processes.push(process);
        let place = self.processes.len() - 1;
        self.note_speakers(place);
        place
    }

    /// The process beats by itself from now on.
    pub fn set_going(&mut self, process: usize, every: u64, promise_ms: u32, first: u64) {
        self.processes[process].every = every;
        self.processes[process].promise_ms = promise_ms;
        self.at(self.t + first, Event::Beat(process));
    }

    /// A process says something now, if it can.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn say(&mut self, process: usize, say: Say) -> Result<Vec<usize>, Breach> {
        let host = &mut self.hosts[self.processes[process].who.host];
        if host.paused || !self.processes[process].alive {
            return Ok(Vec::new());
        }
        let time = SenderTime { realtime_ns: host.clock.realtime(self.t), boottime_ns: host.clock.boottime(self.t) };
        let boot = host.clock.boot_id;
        let no_entropy = self.rng.often(self.no_entropy);
        let mut moment = Moment { t: self.t, time, boot, no_entropy, rng: &mut self.rng };
        let audiences = &self.audiences;
        let secret = |place: usize, agent, generation| audiences[place].2.agent(agent, generation);
        let sealed = self.processes[process].say(&mut moment, process, say, &secret);
        let mut numbers = Vec::new();
        for (audience, sealed) in sealed {
            numbers.push(self.put_on_the_way(audience, sealed)?);
        }
        if matches!(say, Say::Final(_) | Say::Terminal(_)) && self.processes[process].every > 0 {
            self.processes[process].alive = false;
        }
        Ok(numbers)
    }

    /// Puts what someone with a key sealed on the way.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn put_on_the_way(&mut self, audience: usize, sealed: Sealed) -> Result<usize, Breach> {
        let process = sealed.process;
        self.trace.sealed(self.t, self.registry.len(), &sealed);
        let number = self.registry.add(sealed)?;
        if self.attacker.takes_from.contains(&process) || self.rng.often(self.network.withheld) {
            self.attacker.held.push(number);
            return Ok(number);
        }
        let Some(observer) = self.owner(audience, number) else { return Ok(number) };
        for delay in self.network.fates(&mut self.rng) {
            self.inject(number, observer, delay);
        }
        Ok(number)
    }

    /// The id of an audience, by place.
    #[must_use]
    pub fn audience_id(&self, place: usize) -> AudienceId {
        self.audiences[place].1
    }

    /// The observer to which a genuine datagram belongs.
    #[must_use]
    pub fn owner(&self, audience: usize, number: usize) -> Option<usize> {
        let agent = self.registry.frame(number).header.agent.0;
        let name = &self.audiences[audience].0;
        self.observers.iter().position(|observer| {
            let (shard, shards) = observer.limits().shard;
            observer.audience == *name && agent % u64::from(shards) == u64::from(shard)
        })
    }

    /// A genuine datagram reaches `observer` after `delay`.
    pub fn inject(&mut self, number: usize, observer: usize, delay: u64) {
        let bytes = Rc::clone(&self.registry.frame(number).bytes);
        self.inject_bytes(bytes, observer, delay, 0);
    }

    /// Any bytes reach `observer` on one of its two listeners after `delay`.
    pub fn inject_bytes(&mut self, bytes: Rc<[u8]>, observer: usize, delay: u64, listener: usize) {
        let port = u16::try_from(1024 + self.rng.below(60_000)).unwrap_or(1024);
        let from = ([10, 0, 0, 1], port).into();
        self.at(self.t + delay, Event::Arrive { observer, bytes, listener, from });
    }

    /// A host stands still for `ns`; with its clocks, where they are frozen.
    pub fn pause_host(&mut self, host: usize, ns: u64, frozen: bool) {
        if self.hosts[host].paused {
            return;
        }
        self.hosts[host].paused = true;
        self.hosts[host].clock.freeze(self.t, frozen);
        self.at(self.t + ns, Event::Resume(host));
    }

    /// An observer's loop stands still for `ns`; its host with its clocks, where `frozen`.
    pub fn stall_observer(&mut self, observer: usize, ns: u64, frozen: bool) {
        if !self.observers[observer].is_awake() {
            return;
        }
        if frozen {
            self.observers[observer].freeze(self.t, true);
        } else {
            self.observers[observer].stall(self.t);
        }
        self.stalls[observer] += 1;
        let stall = self.stalls[observer];
        self.at(self.t + ns, Event::GoOn { observer, stall, thaw: frozen });
    }

    /// An observer ends now and starts again after `away`.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn restart_observer(&mut self, observer: usize, end: End, away: u64) -> Result<(), Breach> {
        if self.observers[observer].core().is_none() {
            return Ok(());
        }
        self.trace.note(self.t, || format!("observer {observer} ends, {end:?}, for {} ms", away / 1_000_000));
        self.observers[observer].end(self.t, end, &mut self.registry, &mut self.rng)?;
        self.after_turn(observer)?;
        self.at(self.t + away, Event::Start(observer));
        Ok(())
    }

    /// Lets time pass up to `t`.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn run_until(&mut self, t: u64) -> Result<(), Breach> {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= t) {
            self.t = self.t.max(entry.key().0);
            let event = entry.remove();
            self.happen(event)?;
        }
        self.t = self.t.max(t);
        Ok(())
    }

    /// Lets so many seconds pass.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn run_for(&mut self, seconds: u64) -> Result<(), Breach> {
        self.run_until(self.t + seconds * SECOND)
    }

    fn happen(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Beat(process) => self.beat(process),
            Event::Arrive { observer, bytes, listener, from } => {
                self.observers[observer].arrive(self.t, bytes, listener, from);
                self.turn(observer)
            }
            Event::Wake { observer, epoch } if epoch == self.epochs[observer] => self.turn(observer),
            Event::Wake { .. } => Ok(()),
            Event::GoOn { observer, stall, .. } if stall != self.stalls[observer] => Ok(()),
            Event::GoOn { observer, thaw, .. } => {
                if thaw {
                    self.observers[observer].freeze(self.t, false);
                } else {
                    self.observers[observer].go_on(self.t);
                }
                self.turn(observer)
            }
            Event::Start(observer) => {
                self.observers[observer].start(self.t)?;
                self.trace.note(self.t, || format!("observer {observer} starts"));
                self.turn(observer)
            }
            Event::Resume(host) => {
                self.hosts[host].paused = false;
                self.hosts[host].clock.freeze(self.t, false);
                for process in std::mem::take(&mut self.hosts[host].waiting) {
                    self.beat(process)?;
                }
                Ok(())
            }
        }
    }

    fn beat(&mut self, process: usize) -> Result<(), Breach> {
        let (alive, every, host) =
            (self.processes[process].alive, self.processes[process].every, self.processes[process].who.host);
        if !alive || every == 0 {
            return Ok(());
        }
        if self.hosts[host].paused {
            self.hosts[host].waiting.push(process);
            return Ok(());
        }
        let status = self.processes[process].status;
        self.say(process, Say::Life(status))?;
        let next = every - self.rng.below(every / 16 + 1);
        self.at(self.t + next, Event::Beat(process));
        Ok(())
    }

    fn turn(&mut self, observer: usize) -> Result<(), Breach> {
        if !self.observers[observer].is_awake() {
            return Ok(());
        }
        let wake = self.observers[observer].turn(self.t, &mut self.registry, &mut self.rng)?;
        self.epochs[observer] += 1;
        let epoch = self.epochs[observer];
        if wake != u64::MAX {
            self.at(wake.max(self.t + 1000), Event::Wake { observer, epoch });
        }
        self.after_turn(observer)
    }

    /// The slot that a process speaks for.
    #[must_use]
    pub fn key_of(&self, process: usize) -> (u64, Key) {
        let process = &self.processes[process];
        let unit = process.unit;
        let key = if unit.0 == 0 { (0, process.who.pid) } else { (unit.0, 0) };
        (process.agent.0, key)
    }

    /// The slot that a body of an agent speaks for.
    #[must_use]
    pub const fn slot_of(agent: u64, body: &Body) -> (u64, Key) {
        (agent, key_of(body))
    }
}
