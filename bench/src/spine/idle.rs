//! `idle`: how often an observer is woken that knows 1,000 departed agents and to which nothing comes.
//!
//! Counted are the context switches of all its threads over ten seconds, from /proc. While beats come in, a mark of its
//! state wakes it once a second; with nothing to come there is nothing to mark either.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::Bench;
use crate::{clock, load::Load, machine, receiver::Receiver};

const AGENTS: u32 = 1000;
/// Until the newest marks and records are on disk.
const SETTLE: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(10);
/// At most the one-second mark: a thread that asks for it, and one that writes it.
pub(crate) const TARGET: u64 = 2 * WINDOW.as_secs();

/// The figure.
#[derive(Serialize)]
pub(crate) struct Idle {
    agents: u32,
    pub(crate) seconds: u64,
    pub(crate) switches: u64,
    /// By thread, those that were switched at all.
    pub(crate) threads: Vec<(String, u64)>,
    target: u64,
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Idle> {
    let receiver = Receiver::observer(bench.cores, &bench.loader)?;
    let count = u64::from(AGENTS);
    let load = Load { agents: AGENTS, rate: None, count, promise: Duration::from_secs(60), goodbye: true };
    let sent = bench.loader.run(receiver.address(), &load)?;
    receiver.wait_for(sent.sent + sent.goodbyes, SETTLE)?;
    clock::pass(SETTLE);
    let before = machine::switches(receiver.id())?;
    clock::pass(WINDOW);
    let after = machine::switches(receiver.id())?;
    ensure!(before.len() == after.len(), "the observer's threads came or went");
    let rises = before.iter().zip(&after).map(|((name, before), (_, after))| (name.clone(), after - before));
    let threads: Vec<_> = rises.filter(|(_, rise)| *rise > 0).collect();
    let switches = threads.iter().map(|(_, rise)| rise).sum();
    Ok(Idle { agents: AGENTS, seconds: WINDOW.as_secs(), switches, threads, target: TARGET })
}
