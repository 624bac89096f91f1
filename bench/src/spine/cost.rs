//! `cost`: the observer's CPU time per accepted beat, over that of the bare loop.
//!
//! Both are saturated: the sender sends as fast as it can, which is faster than either reads, and the kernel drops the rest.
//! CPU time is that of all threads of the process, from /proc, over a window that begins when the observer has told of
//! every agent; two scrapes at its ends, and nothing else, ask it anything. Observer and bare loop take turns on one core,
//! [`ROUNDS`] times; the ratio is the median of the rounds' ratios.

use std::time::Duration;

use serde::Serialize;

use super::{Bench, median};
use crate::{clock, load::Load, receiver::Receiver};

/// How many agents beat.
pub(crate) const AGENTS: [u32; 2] = [1000, 100_000];
/// At most this many times the bare loop's.
pub(crate) const TARGET: f64 = 1.6;
const ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_secs(2);
/// How long it may take until all agents are known and told.
const WARM_UP: Duration = Duration::from_secs(20);

/// The figure.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) agents: u32,
    /// Nanoseconds per accepted beat, in each round.
    observer_ns: Vec<f64>,
    bare_ns: Vec<f64>,
    pub(crate) observer_median_ns: f64,
    pub(crate) bare_median_ns: f64,
    pub(crate) ratio: f64,
    target: f64,
}

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

pub(crate) fn take(bench: &Bench, agents: u32) -> anyhow::Result<Cost> {
    let observer = Receiver::observer(bench.cores, &bench.loader)?;
    let bare = Receiver::bare(bench.cores, &bench.loader, agents)?;
    let load = Load::endless(agents, None);
    let (mut observer_ns, mut bare_ns) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        observer_ns.push(window(bench, &observer, &load, WINDOW)?.cpu_ns);
        bare_ns.push(window(bench, &bare, &load, WINDOW)?.cpu_ns);
    }
    Ok(Cost::of(agents, observer_ns, bare_ns))
}

impl Cost {
    /// From the rounds' costs, in their order.
    pub(super) fn of(agents: u32, observer_ns: Vec<f64>, bare_ns: Vec<f64>) -> Self {
        let ratios = observer_ns.iter().zip(&bare_ns).map(|(observer, bare)| observer / bare).collect();
        Self {
            agents,
            observer_median_ns: median(observer_ns.clone()),
            bare_median_ns: median(bare_ns.clone()),
            ratio: median(ratios),
            observer_ns,
            bare_ns,
            target: TARGET,
        }
    }
}
