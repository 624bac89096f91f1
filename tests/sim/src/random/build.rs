//! Who lives in a world, and what it is prone to.

use varta_core::{Limits, MILLI, SECOND, Settings};
use varta_vlp::Generation;

use super::{Bent, Plan};
use crate::{clock::HostClock, network::Network, process::Identity, rng::Rng, rules::Breach, world::World};

/// About so many beats are sent in a world.
const BEATS: u64 = 900;

impl Plan {
    pub(super) fn new(mut world: World) -> Self {
        let rng = Rng::new(world.rng.next());
        Self { world, rng, bent: Bent::default(), pace: SECOND, end: 0, units: 0, pids: 100, agents: 0 }
    }

    /// Makes the world of the seed.
    pub(super) fn build(&mut self) -> Result<(), Breach> {
        self.bent = self.draw_bent();
        let settings = self.draw_settings();
        let limits = self.draw_limits();
        self.world.network = self.draw_network();
        self.world.no_entropy = if self.rng.often(100) { 300 } else { 0 };
        self.people(settings, limits)
    }

    fn draw_bent(&mut self) -> Bent {
        let rng = &mut self.rng;
        let mut weight = |share| if rng.often(share) { rng.range(1, 10) } else { 0 };
        let (attack, sender_clocks, observer_clock) = (weight(700), weight(350), weight(150));
        let (processes, hosts, stalls, restarts) = (weight(500), weight(250), weight(350), weight(450));
        let churn = rng.often(200);
        Bent {
            attack,
            sender_clocks,
            observer_clock,
            processes: if churn { processes + 10 } else { processes },
            hosts,
            stalls,
            restarts,
            losses: observer_clock == 0 && rng.often(300),
            churn,
            small_steps: rng.often(300),
        }
    }

    fn draw_settings(&mut self) -> Settings {
        let rng = &mut self.rng;
        Settings {
            skew: rng.pick(&[5, 5, 5, 2, 1]) * SECOND,
            threshold: rng.pick(&[2000, 2000, 500, 5000]) * MILLI,
            misses: rng.pick(&[2, 2, 2, 1, 3]),
            margin: rng.pick(&[250, 250, 100]) * MILLI,
            max_promise: rng.pick(&[3600, 3600, 20]) * SECOND,
            max_hold: rng.pick(&[3600, 30]) * SECOND,
            generation_overlap: rng.pick(&[7 * 86_400, 20]) * SECOND,
            ..Settings::default()
        }
    }

    fn draw_limits(&mut self) -> Limits {
        let slots_per_agent = if self.bent.churn { u16::try_from(self.rng.range(2, 4)).unwrap_or(2) } else { 64 };
        Limits { slots_per_agent, strangers_per_turn: 3, ..Limits::default() }
    }

    fn draw_network(&mut self) -> Network {
        let rng = &mut self.rng;
        let bad = rng.often(500);
        Network {
            loss: if bad { rng.range(0, 200) } else { 0 },
            delay: rng.wide(MILLI / 10, 200 * MILLI),
            jitter: rng.wide(MILLI / 10, if bad { 900 * MILLI } else { 20 * MILLI }),
            spikes: if bad { rng.range(0, 60) } else { 0 },
            spike: rng.wide(100 * MILLI, 20 * SECOND),
            doubles: if rng.often(400) { rng.range(0, 200) } else { 0 },
            withheld: if self.bent.attack > 0 && rng.often(300) { rng.range(1, 300) } else { 0 },
        }
    }

    /// An observer's clock, or a sender's.
    fn draw_clock(&mut self, most: u64) -> HostClock {
        let rng = &mut self.rng;
        let ahead = if rng.often(400) { rng.around(most) } else { 0 };
        let mut clock = HostClock::new(rng.range(100, 100_000) * SECOND, ahead, rng.next());
        clock.ppm = if rng.often(500) { rng.around(200) } else { 0 };
        clock
    }

    fn people(&mut self, settings: Settings, limits: Limits) -> Result<(), Breach> {
        let ours = self.world.add_audience("obs-1");
        let others = self.world.add_audience("obs-2");
        let shards = if self.rng.often(200) { 2 } else { 1 };
        for shard in 0..shards {
            let clock = self.draw_clock(settings.skew / 4);
            let limits = Limits { shard: (shard, shards), ..limits };
            let observer = self.world.add_observer(ours, settings, limits, clock)?;
            self.prepare(observer);
        }
        let clock = self.draw_clock(settings.skew / 4);
        let observer = self.world.add_observer(others, settings, limits, clock)?;
        self.prepare(observer);
        for _ in 0..self.rng.range(1, 3) {
            let most = if self.bent.sender_clocks > 0 { settings.skew * 3 / 2 } else { settings.skew / 4 };
            let mut clock = self.draw_clock(most);
            if self.bent.sender_clocks > 0 && self.rng.often(500) {
                clock.ppm = self.rng.around(900);
            }
            self.world.add_host(clock);
        }
        self.agents = usize::try_from(self.rng.range(1, 5)).unwrap_or(1);
        let mut rate = 0;
        for agent in 0..self.agents {
            for unit in 0..self.rng.range(1, if self.bent.churn { 2 } else { 3 }) {
                let name = if self.rng.often(250) { String::new() } else { format!("unit-{unit}") };
                let process = self.spawn(agent, &name);
                rate += 1_000_000_000_000 / self.world.processes[process].every;
            }
        }
        self.units = 10;
        let long = if self.rng.often(300) { 4 } else { 1 };
        self.end = (BEATS * long * 1_000_000_000_000 / rate.max(1)).clamp(20 * SECOND, 1800 * SECOND);
        let acts = self.rng.range(4, 60);
        self.pace = (self.end / acts).max(20 * MILLI);
        Ok(())
    }

    fn prepare(&mut self, observer: usize) {
        let rng = &mut self.rng;
        self.world.observers[observer].disk.latency = rng.pick(&[0, 50, 900]) * MILLI;
        self.world.observers[observer].room = usize::try_from(rng.pick(&[256, 256, 24])).unwrap_or(256);
    }

    /// A new process of an agent, by place, that beats by itself.
    pub(super) fn spawn(&mut self, agent: usize, unit: &str) -> usize {
        self.pids += 1;
        let host = self.rng.place(self.world.hosts.len()).unwrap_or(0);
        let who = Identity {
            agent_name: format!("agent-{agent}"),
            unit_name: unit.to_owned(),
            generation: Generation(1),
            pid: self.pids,
            host,
        };
        let audiences: &[usize] = if self.rng.often(150) { &[0, 1] } else { &[0] };
        let process = self.world.add_process(who, audiences);
        let promise_ms = self.rng.pick(&[0, 300, 1000, 1000, 5000, 5000, 15_000, 70_000, u32::MAX]);
        let threshold = self.world.observers[0].settings.threshold;
        let every = match promise_ms {
            0 => threshold / 2,
            u32::MAX => 10 * SECOND,
            ms => u64::from(ms) * MILLI * self.rng.range(5, 9) / 10,
        };
        let first = self.rng.below(every.min(5 * SECOND));
        self.world.set_going(process, every, promise_ms, first);
        process
    }
}
