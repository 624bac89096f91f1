//! `rate`: the observer's CPU time per accepted beat where beats arrive no faster than they are read, over that of the
//! bare loop, which blocks for each: gathering wake-ups is what can win here. Observer, loop and receive alone take turns.

use std::time::Duration;

use super::{Bench, cost::window, line::Line};
use crate::{bare::Work, load::Load, receiver::Receiver};

/// Datagrams a second.
const RATES: [u64; 2] = [50_000, 250_000];
const AGENTS: u32 = 10_000;
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let observer = Receiver::observer(bench.cores, &bench.loader)?;
    let open = Receiver::bare(bench.cores, &bench.loader, AGENTS, Work::Open)?;
    let receive = Receiver::bare(bench.cores, &bench.loader, AGENTS, Work::Receive)?;
    let mut lines = Vec::new();
    for rate in RATES {
        let load = Load::endless(AGENTS, Some(rate));
        let (mut opening, mut receiving) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let [ours, open, receive] =
                [&observer, &open, &receive].map(|one| window(bench, one, &load, WINDOW).map(|window| window.cpu_ns));
            let ours = ours?;
            opening.push((ours, open?));
            receiving.push((ours, receive?));
        }
        let what = format!("CPU per beat, {} 000/s", rate / 1000);
        lines.push(Line::new("rate", what.clone(), "receive, open", opening, 1.0));
        lines.push(Line::new("rate", what, "receive", receiving, 1.0).stretch());
    }
    Ok(lines)
}
