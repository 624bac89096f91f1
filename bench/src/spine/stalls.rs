//! `stalls` and `served`: from a stall's deadline to its being told, while 100,000 agents beat once a second.
//!
//! The agents that die are sealed in this process, which knows when each beat last: *told* is from the deadline that
//! follows from that, to the event being read from `/api/v1/events`, both on this host's clock. *judged* is the observer's
//! own measure of the same stall, deadline to verdict. They die one after another, in the course of a second; and all with
//! one deadline, which is what the loss of a rack looks like.
//!
//! A round in which the observer could not see, because its loop was held up for more than half a second or because the
//! kernel had to drop datagrams of it, says nothing about its punctuality: silence is excused then. Such rounds are set
//! aside, counted, and made up for; where too many are, there is no figure.
//!
//! `served` takes the first of these again while the observer serves `/metrics` with the series of every agent, its slots
//! page by page, and a reload by SIGHUP, each again as soon as it is done; every agent is in its roster.

use std::{sync::mpsc::Receiver as Channel, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    Bench, quantile,
    served::{DYING, LIVING, Serving},
};
use crate::{
    clock,
    follow::{News, Stall, follow},
    load::Load,
    machine,
    mortals::{End, Mortals},
    receiver::{Receiver, Setup},
};

const ROUNDS: u32 = 5;
/// Most rounds that are set aside.
const ASIDE: u32 = 15;
const TOGETHER: u32 = 10_000;
const TOGETHER_ROUNDS: u32 = 3;
/// How long it may take after the last deadline until all are told.
const LIMIT: Duration = Duration::from_secs(20);
/// At most this long after the deadline, in half of all cases and in 99 of 100.
pub(crate) const GOALS_MS: [f64; 2] = [1.0, 5.0];
const HISTOGRAM: &str = "varta_stall_detection_seconds";

/// How late stalls were, milliseconds.
#[derive(Serialize)]
pub(crate) struct Lateness {
    pub(crate) how: &'static str,
    living: u32,
    stalls: usize,
    /// Events that the observer could not keep for its follower.
    lagged: u64,
    /// Rounds in which the observer could not see.
    set_aside: u32,
    pub(crate) told_p50_ms: f64,
    pub(crate) told_p99_ms: f64,
    told_most_ms: f64,
    pub(crate) judged_p50_ms: f64,
    pub(crate) judged_p99_ms: f64,
    goals_ms: Option<[f64; 2]>,
    /// p50 and p99 of each round, told.
    rounds_ms: Vec<[f64; 2]>,
    /// What was served meanwhile.
    pub(crate) served: Option<super::served::Served>,
}

impl Lateness {
    /// Whether both goals are reached, where there are any.
    pub(crate) fn reached(&self) -> Option<bool> {
        self.goals_ms.map(|[half, most]| self.told_p50_ms <= half && self.told_p99_ms <= most)
    }
}

/// Stalls of one round: told and judged, microseconds.
#[derive(Default)]
struct Late {
    told: Vec<u64>,
    judged: Vec<u64>,
    lagged: u64,
    /// Whether the observer could not see.
    blind: bool,
}

/// Lets agents die once, and waits until all of them are told.
fn die(
    receiver: &Receiver,
    mortals: &mut Mortals,
    count: u32,
    end: End,
    events: &Channel<News>,
) -> anyhow::Result<Late> {
    let dropped = machine::socket_drops(receiver.address())?;
    events.try_iter().for_each(drop);
    let mut deadlines = mortals.live(end)?;
    // That they live again is told too; no deadline is that near.
    let blind = events.try_iter().any(|news| matches!(news, News::Blind));
    let last = deadlines.values().max().copied().context("somebody dies")?;
    let (mut late, mut early) = (Late { blind, ..Late::default() }, Duration::ZERO);
    let until = last + LIMIT;
    while late.told.len() as u64 + late.lagged < u64::from(count) {
        let left = until.saturating_sub(clock::realtime());
        let Ok(news) = events.recv_timeout(left) else {
            anyhow::bail!("of {count} agents that died, {} were told", late.told.len());
        };
        match news {
            News::Lagged(by) => late.lagged += by,
            News::Blind => late.blind = true,
            News::Stall(Stall { agent, judged_us, read }) => {
                // Nobody else is to stall: whoever does fails the round.
                let deadline = deadlines.remove(&agent).with_context(|| format!("{agent} was told as stalled"))?;
                early = early.max(deadline.saturating_sub(read));
                late.told.push(u64::try_from(read.saturating_sub(deadline).as_micros())?);
                late.judged.push(judged_us);
            }
        }
    }
    late.blind |= machine::socket_drops(receiver.address())? > dropped;
    // Whose last beat was dropped by the kernel counts from the one before.
    ensure!(late.blind || early.is_zero(), "somebody was told {} us early", early.as_micros());
    Ok(late)
}

/// Rounds in which the observer saw, and how many were set aside.
fn rounds(wanted: u32, mut die: impl FnMut() -> anyhow::Result<Late>) -> anyhow::Result<(Vec<Late>, u32)> {
    let (mut seen, mut aside) = (Vec::new(), 0);
    while seen.len() < wanted as usize {
        let late = die()?;
        if !late.blind {
            seen.push(late);
            continue;
        }
        aside += 1;
        ensure!(aside <= ASIDE, "{aside} rounds were set aside: this machine is too busy for the figure");
    }
    Ok((seen, aside))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
fn ms(sorted: &[u64], part: f64) -> f64 {
    quantile(sorted, part).map_or(f64::NAN, |us| us as f64 / 1000.0)
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}

fn lateness(how: &'static str, (rounds, set_aside): (Vec<Late>, u32), goals_ms: Option<[f64; 2]>) -> Lateness {
    let mut all = Late::default();
    let mut rounds_ms = Vec::new();
    for round in rounds {
        let told = sorted(round.told);
        rounds_ms.push([0.5, 0.99].map(|part| ms(&told, part)));
        all.told.extend(told);
        all.judged.extend(round.judged);
        all.lagged += round.lagged;
    }
    let (told, judged) = (sorted(all.told), sorted(all.judged));
    Lateness {
        how,
        living: LIVING,
        set_aside,
        stalls: told.len(),
        lagged: all.lagged,
        told_p50_ms: ms(&told, 0.5),
        told_p99_ms: ms(&told, 0.99),
        told_most_ms: ms(&told, 1.0),
        judged_p50_ms: ms(&judged, 0.5),
        judged_p99_ms: ms(&judged, 0.99),
        goals_ms,
        rounds_ms,
        served: None,
    }
}

/// Makes the agents that live on known, and has them beat once a second.
fn living(bench: &Bench, receiver: &Receiver) -> anyhow::Result<crate::process::Process> {
    receiver.meet(&bench.loader, LIVING)?;
    let mut load = Load::endless(LIVING, Some(u64::from(LIVING)));
    load.promise = Duration::from_secs(1);
    let process = bench.loader.start(receiver.address(), &load)?;
    // Sealed a second ahead; then each begins a session, which is told.
    receiver.wait_for(3 * u64::from(LIVING), LIMIT)?;
    receiver.wait_until_quiet(LIMIT)?;
    Ok(process)
}

fn stalls_counted(receiver: &Receiver) -> anyhow::Result<u64> {
    Ok(receiver.metrics()?.histogram(HISTOGRAM)?.last().map_or(0, |(_, count)| *count))
}

/// One after another, and all at once.
pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Lateness>> {
    let receiver = Receiver::observer_with(bench.cores, &bench.loader, &Setup::default().on_every_core())?;
    let _load = living(bench, &receiver)?;
    let events = follow(receiver.http()?)?;
    let before = stalls_counted(&receiver)?;
    let mut mortals = Mortals::new(&bench.loader.key, receiver.address(), DYING)?;
    let apart = rounds(ROUNDS, || die(&receiver, &mut mortals, DYING, End::Apart, &events))?;
    let mut many = Mortals::new(&bench.loader.key, receiver.address(), TOGETHER)?;
    let together = rounds(TOGETHER_ROUNDS, || die(&receiver, &mut many, TOGETHER, End::Together, &events))?;
    let counted = stalls_counted(&receiver)? - before;
    let died = u64::from((ROUNDS + apart.1) * DYING + (TOGETHER_ROUNDS + together.1) * TOGETHER);
    ensure!(counted == died, "{counted} stalls were told of {died} agents that died");
    Ok(vec![lateness("one after another", apart, Some(GOALS_MS)), lateness("all at once", together, None)])
}

/// One after another, while everything is served.
pub(crate) fn take_served(bench: &Bench) -> anyhow::Result<Vec<Lateness>> {
    let setup = Setup::default().on_every_core().with_series().with_roster(super::served::roster(1)?);
    let receiver = Receiver::observer_with(bench.cores, &bench.loader, &setup)?;
    let _load = living(bench, &receiver)?;
    let events = follow(receiver.http()?)?;
    let mut mortals = Mortals::new(&bench.loader.key, receiver.address(), DYING)?;
    let serving = Serving::start(&receiver)?;
    let late = rounds(ROUNDS, || die(&receiver, &mut mortals, DYING, End::Apart, &events))?;
    let served = serving.stop()?;
    let mut lateness = lateness("one after another, while all is served", late, Some(GOALS_MS));
    lateness.served = Some(served);
    Ok(vec![lateness])
}
