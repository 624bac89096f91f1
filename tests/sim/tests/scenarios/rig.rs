//! A small world to be told what happens to it.

use varta_core::{Change, Limits, MILLI, ObserverChange, SECOND, Settings, SlotChange, Verdict};
use varta_sim::{
    clock::HostClock,
    observer::Observer,
    process::{Identity, Say, Sealed},
    world::World,
};
use varta_vlp::{Generation, Reject, Status, UnitId, seal, sealed::Kind};

/// An observer, an audience, and whoever is put into it.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) audience: usize,
    pub(crate) observer: usize,
    pids: u32,
}

impl Rig {
    /// With one observer.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), Limits::default())
    }

    pub(crate) fn with(settings: Settings, limits: Limits) -> Self {
        let mut world = World::new(7);
        let audience = world.add_audience("obs-1");
        let clock = HostClock::new(5000 * SECOND, 0, 1);
        let observer = world.add_observer(audience, settings, limits, clock).unwrap();
        Self { world, audience, observer, pids: 100 }
    }

    /// A host with right clocks.
    pub(crate) fn host(&mut self) -> usize {
        self.host_ahead(0)
    }

    /// A host whose clock is ahead of the right time.
    pub(crate) fn host_ahead(&mut self, ahead: i64) -> usize {
        let boot = self.world.rng.next();
        self.world.add_host(HostClock::new(1000 * SECOND, ahead, boot))
    }

    /// A process that only says what it is told to say.
    pub(crate) fn quiet(&mut self, agent: &str, unit: &str, host: usize) -> usize {
        self.pids += 1;
        let who = Identity {
            agent_name: agent.to_owned(),
            unit_name: unit.to_owned(),
            generation: Generation(1),
            pid: self.pids,
            host,
        };
        self.world.add_process(who, &[self.audience])
    }

    /// A process that beats four times in each promise of a second.
    pub(crate) fn agent(&mut self, agent: &str, unit: &str, host: usize) -> usize {
        let process = self.quiet(agent, unit, host);
        self.world.set_going(process, SECOND / 4, 1000, MILLI);
        process
    }

    pub(crate) fn kill(&mut self, process: usize) {
        self.world.processes[process].alive = false;
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.world.run_until(self.world.t + ms * MILLI).unwrap();
    }

    /// A process says something and it arrives.
    pub(crate) fn say(&mut self, process: usize, say: Say) -> Vec<usize> {
        let said = self.world.say(process, say).unwrap();
        self.pass(5);
        said
    }

    pub(crate) fn beat(&mut self, process: usize) -> usize {
        self.say(process, Say::Life(Status::Ok))[0]
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.world.observers[self.observer]
    }

    /// What the observer says of the slot that a process speaks for.
    pub(crate) fn verdict(&self, process: usize) -> Option<Verdict> {
        let process = &self.world.processes[process];
        let core = self.observer().core()?;
        let slot = core.find(process.agent, process.unit, process.who.pid)?;
        Some(core.view(varta_core::Now::default(), slot)?.verdict)
    }

    /// What was told of slots since this was last asked.
    pub(crate) fn told(&mut self) -> Vec<SlotChange> {
        let told = std::mem::take(&mut self.world.observers[self.observer].told);
        let slot = |change| match change {
            Change::Slot { what, .. } => Some(what),
            _ => None,
        };
        told.into_iter().filter_map(slot).collect()
    }

    /// What was told of the observer itself since anything was last asked.
    pub(crate) fn told_of_itself(&mut self) -> Vec<ObserverChange> {
        let told = std::mem::take(&mut self.world.observers[self.observer].told);
        let own = |change| match change {
            Change::Observer { what, .. } => Some(what),
            _ => None,
        };
        told.into_iter().filter_map(own).collect()
    }

    /// How many stalls are among what was told since this was last asked.
    pub(crate) fn stalls(&mut self) -> usize {
        let stall = |what: &SlotChange| matches!(what, SlotChange::Verdict { to: Verdict::Stalled, .. });
        self.told().iter().filter(|what| stall(what)).count()
    }

    /// Milliseconds until the slot of `process` is stalled, at most `most`.
    pub(crate) fn until_stalled(&mut self, process: usize, most: u64) -> u64 {
        for ms in 0..most {
            if self.verdict(process) == Some(Verdict::Stalled) {
                return ms;
            }
            self.pass(1);
        }
        panic!("not stalled within {most} ms, but {:?}", self.verdict(process));
    }

    pub(crate) fn rejected(&self, reject: Reject) -> u64 {
        self.observer().tally().rejected(reject)
    }

    /// Seals what a key holder says who does not keep to the rules: `like` with something changed.
    pub(crate) fn seal_like(&mut self, like: usize, change: impl FnOnce(&mut Sealed)) -> usize {
        let mut sealed = self.world.registry.frame(like).clone();
        sealed.header.kind = Kind::Beat;
        sealed.header.salt = self.world.rng.next().to_le_bytes();
        change(&mut sealed);
        let (_, key) = varta_sim::names::audience("obs-1");
        let secret = key.agent(sealed.header.agent, sealed.header.generation);
        sealed.bytes = seal::beat(&secret, &sealed.header, &sealed.body)[..].into();
        sealed.t = self.world.t;
        let number = self.world.put_on_the_way(self.audience, sealed).unwrap();
        self.pass(5);
        number
    }

    /// Every genuine datagram so far comes once more.
    pub(crate) fn replay_everything(&mut self) {
        for number in 0..self.world.registry.len() {
            self.world.inject(number, self.observer, MILLI);
        }
        self.pass(2);
    }
}

/// A unit's id by its name.
pub(crate) fn unit(name: &str) -> UnitId {
    varta_sim::names::unit(name)
}
