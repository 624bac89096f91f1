//! A world of a seed: who lives in it, what goes wrong, and when.

mod acts;
mod build;

use varta_core::{MILLI, SECOND};

use crate::{rng::Rng, rules::Breach, world::World};

/// What a world is prone to. Shares are weights among its acts; 0: never.
#[derive(Clone, Copy, Debug, Default)]
struct Bent {
    attack: u64,
    sender_clocks: u64,
    observer_clock: u64,
    processes: u64,
    hosts: u64,
    stalls: u64,
    restarts: u64,
    /// Whether state may be lost at a restart.
    losses: bool,
    /// Whether new units come and go, more than an agent may have.
    churn: bool,
    /// Whether only steps smaller than those that end a session are made.
    small_steps: bool,
}

/// A world, and what is still to happen to it.
struct Plan {
    world: World,
    rng: Rng,
    bent: Bent,
    /// From one act to the next, about.
    pace: u64,
    end: u64,
    units: u64,
    pids: u32,
    agents: usize,
}

/// A run that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The world's seed.
    pub seed: u64,
    /// World time, nanoseconds.
    pub t: u64,
    /// What was broken.
    pub breach: Breach,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {}.{:03} s: {}", self.seed, self.t / SECOND, self.t % SECOND / MILLI, self.breach)
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Sums up everything that happened.
    pub digest: u64,
    /// Datagrams sealed.
    pub sealed: usize,
}

/// Runs the world of `seed` to its end.
///
/// # Errors
/// An invariant was broken.
pub fn run(seed: u64) -> Result<Run, Failure> {
    run_traced(seed, false).0
}

/// Runs the world of `seed` to its end; with the last of what happened in words, if `traced`.
pub fn run_traced(seed: u64, traced: bool) -> (Result<Run, Failure>, Vec<String>) {
    let mut world = World::new(seed);
    world.trace.lines = traced.then(std::collections::VecDeque::new);
    let mut plan = Plan::new(world);
    let done = plan.pass();
    let world = plan.world;
    let lines = world.trace.lines.as_ref().map(|lines| lines.iter().cloned().collect()).unwrap_or_default();
    let run = match done {
        Ok(()) => Ok(Run { digest: world.trace.digest(), sealed: world.registry.len() }),
        Err(breach) => Err(Failure { seed, t: world.t, breach }),
    };
    (run, lines)
}

impl Plan {
    fn pass(&mut self) -> Result<(), Breach> {
        self.build()?;
        while self.world.t < self.end {
            let wait = self.rng.range(self.pace / 8, self.pace * 2);
            self.world.run_until((self.world.t + wait).min(self.end))?;
            self.act()?;
        }
        Ok(())
    }
}
