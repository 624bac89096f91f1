//! `cost`: the observer's CPU time per accepted beat, over that of the bare loop.
//!
//! Both are saturated: the sender sends as fast as it can, which is faster than either reads, and the kernel drops the rest.
//! CPU time is that of all threads of the process, from /proc, over a window that begins when the observer has told of
//! every agent; two scrapes at its ends, and nothing else, ask it anything. Observer and bare loop take turns on one core,
//! [`ROUNDS`] times; the ratio is the median of the rounds' ratios.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Bench,
    line::{Line, grouped},
};
use crate::{bare::Work, clock, load::Load, receiver::Receiver};

/// How many agents beat.
pub(super) const AGENTS: [u32; 3] = [1000, 100_000, 1_000_000];
/// At most this many times the bare loop's.
const GOAL: f64 = 1.15;
const ROUNDS: usize = 15;
const WINDOW: Duration = Duration::from_secs(2);
/// How long it may take until all agents are known and told.
const WARM_UP: Duration = Duration::from_secs(300);

/// What a receiver did in a window.
pub(super) struct Window {
    pub(super) cpu_ns: f64,
    pub(super) accepted_per_second: f64,
    pub(super) dropped: u64,
}

/// Feeds a receiver, and looks at it for a while once all agents are known to it.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn window(bench: &Bench, receiver: &Receiver, load: &Load, length: Duration) -> anyhow::Result<Window> {
    let warm = receiver.accepted()? + 2 * u64::from(load.agents);
    let sending = bench.loader.start(receiver.address(), load)?;
    receiver.wait_for(warm, WARM_UP)?;
    receiver.wait_until_quiet(WARM_UP)?;
    let before = receiver.snapshot()?;
    clock::pass(length);
    let after = receiver.snapshot()?;
    drop(sending);
    let accepted = (after.accepted - before.accepted) as f64;
    Ok(Window {
        cpu_ns: (after.cpu_ns - before.cpu_ns) as f64 / accepted,
        accepted_per_second: accepted / (after.at - before.at).as_secs_f64(),
        dropped: after.dropped - before.dropped,
    })
}

pub(crate) fn take(bench: &Bench, agents: &[u32]) -> anyhow::Result<Vec<Line>> {
    agents.iter().map(|agents| take_one(bench, *agents)).collect()
}

fn take_one(bench: &Bench, agents: u32) -> anyhow::Result<Line> {
    let observer = Receiver::observer(bench.cores, &bench.loader)?;
    let bare = Receiver::bare(bench.cores, &bench.loader, agents, Work::Open)?;
    observer.meet(&bench.loader, agents)?;
    let load = Load::endless(agents, None);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let ours = saturated(bench, &observer, &load)?;
        rounds.push((ours, saturated(bench, &bare, &load)?));
    }
    let what = format!("CPU per beat, saturated, {} agents", grouped(f64::from(agents)));
    Ok(Line::new("cost", what, "receive, open", rounds, GOAL))
}

/// CPU time per beat of a receiver that is sent more than it reads; an error if it was not.
fn saturated(bench: &Bench, receiver: &Receiver, load: &Load) -> anyhow::Result<f64> {
    let Window { cpu_ns, accepted_per_second, dropped } = window(bench, receiver, load, WINDOW)?;
    ensure!(
        dropped > 0,
        "{accepted_per_second:.0} beats a second were read and none was dropped: the sender is too slow"
    );
    Ok(cpu_ns)
}
