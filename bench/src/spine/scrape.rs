//! `scrape`: the CPU time of a scrape with 100,000 series of single agents, by thread.
//!
//! An agent has four series, so that 25,000 agents have 100,000. The series are rendered, and sent, on threads of HTTP; the
//! ingest thread only copies values out. The times are those of the kernel's scheduler, of the ingest thread and of all
//! others together, over one scrape, while nothing else is asked and no beat comes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{Bench, median};
use crate::{
    clock,
    load::Load,
    machine,
    receiver::{Receiver, Setup},
};

/// Series of an agent.
const EACH: u32 = 4;
const AGENTS: [u32; 2] = [25_000, 100_000];
const ROUNDS: usize = 15;
/// Slow enough for each to be told as new.
const RATE: u64 = 25_000;
const SETTLE: Duration = Duration::from_secs(3);
/// Of all threads but that of ingest, at 100,000 series.
pub(crate) const GOAL_MS: f64 = 20.0;
const INGEST: &str = "varta-ingest";

/// The figure.
#[derive(Serialize)]
pub(crate) struct Scrape {
    pub(crate) series: u32,
    bytes: usize,
    /// CPU time of all threads but that of ingest, milliseconds: median, lowest, highest.
    pub(crate) http_ms: [f64; 3],
    /// Of the ingest thread.
    pub(crate) ingest_ms: [f64; 3],
    /// From asking to the last byte.
    pub(crate) whole_ms: [f64; 3],
    pub(crate) goal_ms: Option<f64>,
}

/// Median, lowest, highest.
fn range(values: Vec<f64>) -> [f64; 3] {
    let fold = |by: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, by);
    let (lowest, highest) = (fold(f64::min), fold(f64::max));
    [median(values), lowest, highest]
}

fn of(bench: &Bench, agents: u32) -> anyhow::Result<Scrape> {
    let setup = Setup::default().with_series();
    let receiver = Receiver::observer_with(bench.cores, &bench.loader, &setup)?;
    let load = Load {
        agents,
        rate: Some(RATE),
        count: 2 * u64::from(agents),
        promise: Duration::from_secs(600),
        goodbye: false,
    };
    bench.loader.run(receiver.address(), &load)?;
    receiver.wait_until_quiet(Duration::from_secs(30))?;
    clock::pass(SETTLE);
    let times = || -> anyhow::Result<[u64; 2]> {
        let all = machine::cpu_ns_by_thread(receiver.id())?;
        let ingest = *all.get(INGEST).context("no ingest thread")?;
        Ok([all.values().sum::<u64>() - ingest, ingest])
    };
    let [mut http, mut ingest, mut whole] = [(); 3].map(|()| Vec::new());
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let (before, began) = (times()?, clock::boottime());
        let text = receiver.metrics()?;
        let took = clock::boottime() - began;
        let after = times()?;
        ensure!(text.series("varta_status") == u64::from(agents), "not every agent has a series");
        bytes = text.len();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a scrape")]
        let ms = |place: usize| (after[place] - before[place]) as f64 / 1e6;
        http.push(ms(0));
        ingest.push(ms(1));
        whole.push(took.as_secs_f64() * 1e3);
    }
    let goal_ms = (agents * EACH == 100_000).then_some(GOAL_MS);
    Ok(Scrape {
        series: agents * EACH,
        bytes,
        http_ms: range(http),
        ingest_ms: range(ingest),
        whole_ms: range(whole),
        goal_ms,
    })
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Scrape>> {
    AGENTS.into_iter().map(|agents| of(bench, agents)).collect()
}
