//! `forged`: the observer's CPU time per forged datagram, saturated.
//!
//! Where the header gives it away (noise of a beat's length) the limit is a bare receive. Where it does not (a known
//! agent, a wrong tag) the limit is a receive and one failed open; the agents have beaten before, so that their keys are
//! at hand on both sides. Observer and limit take turns. Both are measured without a kernel filter, and the first with one,
//! too: what that refuses never reaches the observer, and its own time is the kernel's, within the sending or the
//! receiving of a packet.

use std::time::Duration;

use super::{Bench, line::Line};
use crate::{
    bare::Work,
    clock,
    load::{Garbage, Load},
    receiver::{Receiver, Setup},
};

const AGENTS: u32 = 1000;
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);
/// From the first datagram to the beginning of a window.
const LEAD: Duration = Duration::from_millis(300);
/// Slow enough for every agent to be told as new.
const RATE: u64 = 10_000;

/// CPU time per datagram that arrived, while garbage does.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn window(bench: &Bench, receiver: &Receiver, kind: Garbage) -> anyhow::Result<f64> {
    let sending = bench.loader.start_garbage(receiver.address(), AGENTS, kind)?;
    clock::pass(LEAD);
    let before = receiver.handled()?;
    clock::pass(WINDOW);
    let after = receiver.handled()?;
    drop(sending);
    anyhow::ensure!(after.datagrams > before.datagrams, "no garbage arrived");
    Ok((after.cpu_ns - before.cpu_ns) as f64 / (after.datagrams - before.datagrams) as f64)
}

fn rounds(bench: &Bench, observer: &Receiver, limit: &Receiver, kind: Garbage) -> anyhow::Result<Vec<(f64, f64)>> {
    (0..ROUNDS).map(|_| Ok((window(bench, observer, kind)?, window(bench, limit, kind)?))).collect()
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let observer = Receiver::observer_with(bench.cores, &bench.loader, &Setup::default().without_filter())?;
    let filtering = Receiver::observer(bench.cores, &bench.loader)?;
    let receive = Receiver::bare(bench.cores, &bench.loader, AGENTS, Work::Receive)?;
    let open = Receiver::bare(bench.cores, &bench.loader, AGENTS, Work::Open)?;
    let load = Load { count: u64::from(AGENTS), ..Load::endless(AGENTS, Some(RATE)) };
    for receiver in [&observer, &open] {
        bench.loader.run(receiver.address(), &load)?;
        receiver.wait_for(u64::from(AGENTS), Duration::from_secs(10))?;
    }
    let header = rounds(bench, &observer, &receive, Garbage::Noise)?;
    let filtered = rounds(bench, &filtering, &receive, Garbage::Noise)?;
    let tag = rounds(bench, &observer, &open, Garbage::Tag)?;
    Ok(vec![
        Line::new("forged", "CPU per datagram, forged header", "receive", header, 1.2),
        Line::new("forged", "CPU per datagram, forged header, kernel filter", "receive", filtered, 0.2),
        Line::new("forged", "CPU per datagram, forged tag", "receive, failed open", tag, 1.1),
    ])
}
