//! `restore`: from the start of an observer with a million agents on disk to its first answer over HTTP, which says that it
//! knows them all; after a clean stop, and after it was killed.
//!
//! Its ingest thread answers, so that by then it observes.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use serde::Serialize;

use super::{Bench, median};
use crate::{
    clock,
    load::Load,
    receiver::{Receiver, Setup},
};

const AGENTS: u32 = 1_000_000;
/// Slow enough for each to be told as new, nearly.
const RATE: u64 = 50_000;
const ROUNDS: u32 = 5;
const TRIES: u32 = 10;
const SETTLE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(120);
pub(crate) const GOAL_SECONDS: f64 = 2.0;

/// The figure.
#[derive(Serialize)]
pub(crate) struct Restore {
    agents: u32,
    state_bytes: u64,
    /// Seconds, in each round.
    pub(crate) after_a_stop: Vec<f64>,
    pub(crate) after_a_kill: Vec<f64>,
    goal_seconds: f64,
}

impl Restore {
    /// The medians, after a stop and after a kill, seconds.
    pub(crate) fn medians(&self) -> [f64; 2] {
        [&self.after_a_stop, &self.after_a_kill].map(|seconds| median(seconds.clone()))
    }
}

fn bytes_in(directory: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

/// Starts an observer on what is on disk. Returns it, and how long it took to answer.
fn start(bench: &Bench, state: &Path) -> anyhow::Result<(Receiver, f64)> {
    let began = clock::boottime();
    let setup = Setup::default().with_state(state.to_owned());
    let receiver = Receiver::observer_with(bench.cores, &bench.loader, &setup)?;
    let agents = receiver.metrics()?.gauge("varta_agents")?;
    let seconds = (clock::boottime() - began).as_secs_f64();
    ensure!(agents >= f64::from(AGENTS), "{agents} of {AGENTS} agents were restored");
    Ok((receiver, seconds))
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Restore> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("state");
    let receiver = Receiver::observer_with(
        bench.cores,
        &bench.loader,
        &Setup::default().on_every_core().with_state(state.clone()),
    )?;
    let load = Load {
        agents: AGENTS,
        rate: Some(RATE),
        count: u64::from(AGENTS),
        promise: Duration::from_secs(3600),
        goodbye: false,
    };
    let known = || Ok::<_, anyhow::Error>(receiver.metrics()?.gauge("varta_agents")? >= f64::from(AGENTS));
    for round in 1.. {
        bench.loader.run(receiver.address(), &load)?;
        clock::pass(SETTLE);
        if known()? {
            break;
        }
        // A busy machine loses a few.
        ensure!(round < TRIES, "not all agents were heard in {TRIES} rounds of beats");
    }
    receiver.wait_until_quiet(LIMIT)?;
    drop(receiver);
    let state_bytes = bytes_in(&state)?;
    let (mut after_a_stop, mut after_a_kill) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (receiver, seconds) = start(bench, &state)?;
        after_a_stop.push(seconds);
        receiver.kill()?;
        let (receiver, seconds) = start(bench, &state)?;
        after_a_kill.push(seconds);
        drop(receiver);
    }
    Ok(Restore { agents: AGENTS, state_bytes, after_a_stop, after_a_kill, goal_seconds: GOAL_SECONDS })
}
