//! `varta-bench churn`: whether an observer's memory stays flat while one authenticated agent opens unit after unit and
//! session after session, and others beat.
//!
//! Resident memory is read once a second. What it was after the warm-up, and what it is at the end, are medians of some
//! seconds each, so that one moment's buffers decide nothing. The run fails if it grew by more than the bound, if any
//! agent of the others is no longer up, or if churn did not come about.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Serialize;
use varta_client::keyfile::UnixSeconds;
use varta_keys::{Request, Vault, create_all};

use crate::{
    clock,
    load::{Load, Loader},
    machine::{self, Cores},
    process::Process,
    receiver::Receiver,
    spine,
};

/// Agents that beat once a second beside the one that churns.
const OTHERS: u32 = 10_000;
/// Beats of new units and new sessions, a second.
const CHURN_RATE: u32 = 20_000;
/// Before memory is compared: caches, buffers and tables have grown, and the churning agent has all the slots it may have.
const WARM_UP: u64 = 30;
/// Seconds of which each median is taken.
const MEDIAN_OF: usize = 15;
/// Resident memory may grow by this much in all, bytes.
const BOUND: u64 = 4 << 20;

/// Memory while one agent churns.
#[derive(Args)]
pub(crate) struct ChurnArgs {
    /// For how long, the warm-up of 30 seconds included.
    #[arg(long, default_value_t = 600, value_name = "N", value_parser = clap::value_parser!(u64).range(75..=86_400))]
    seconds: u64,
    /// The varta program to measure; without it, the release build of this repository, made if need be.
    #[arg(long, value_name = "FILE")]
    varta: Option<PathBuf>,
}

/// What was found.
#[derive(Serialize)]
struct Churn {
    seconds: u64,
    others: u32,
    /// Beats of the churning agent that were accepted or refused; the kernel's losses aside.
    received: u64,
    evictions: u64,
    /// Resident memory, bytes: median after the warm-up, median at the end, highest.
    after_warm_up: u64,
    at_the_end: u64,
    highest: u64,
    grown: i64,
    bound: u64,
    /// KiB, each second.
    resident_kib: Vec<u64>,
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// From resident memory each second: after the warm-up, at the end, and by how much it grew.
fn growth(resident: &[u64]) -> anyhow::Result<(u64, u64, i64)> {
    let warm = usize::try_from(WARM_UP)?;
    ensure!(resident.len() >= warm + 2 * MEDIAN_OF, "{} seconds are too few", resident.len());
    let after = median(&resident[warm..warm + MEDIAN_OF]);
    let end = median(&resident[resident.len() - MEDIAN_OF..]);
    Ok((after, end, end.cast_signed() - after.cast_signed()))
}

pub(crate) fn run(args: &ChurnArgs) -> anyhow::Result<()> {
    let cores = Cores::choose()?;
    let varta = spine::program(args.varta.as_ref())?;
    let directory = tempfile::tempdir()?;
    let vault = Vault::init(&directory.path().join("vault"))?;
    let now = UnixSeconds(clock::realtime().as_secs());
    let [key, churner] = ["measured.observer.key", "churner.agent.key"].map(|name| directory.path().join(name));
    let mut change = vault.change()?;
    let observer = change.add_observer("measured", "127.0.0.1:9900", false, now)?;
    let issued = change.issue(&Request { agents: vec!["churner".to_owned()], ..Request::default() }, now)?;
    change.commit()?;
    let issued = issued.first().context("one key was asked for")?;
    create_all([(key.as_path(), observer.render()), (churner.as_path(), issued.key.render())])?;
    machine::stay_on(cores.feeding)?;
    let loader = Loader { varta, key };
    let receiver = Receiver::observer(cores, &loader)?;
    let mut others = Load::endless(OTHERS, Some(u64::from(OTHERS)));
    others.promise = Duration::from_secs(1);
    let _others = loader.start(receiver.address(), &others)?;
    let _churn = churn(&receiver, &churner, args.seconds)?;
    let mut resident = Vec::new();
    let began = clock::boottime();
    for second in 1..=args.seconds {
        let due = began + Duration::from_secs(second);
        clock::pass(due.saturating_sub(clock::boottime()));
        resident.push(machine::memory(receiver.id())?.resident);
    }
    let metrics = receiver.metrics()?;
    let (after_warm_up, at_the_end, grown) = growth(&resident)?;
    let found = Churn {
        seconds: args.seconds,
        others: OTHERS,
        received: metrics.counter("varta_datagrams_received_total")?,
        evictions: metrics.counter("varta_evictions_total")?,
        after_warm_up,
        at_the_end,
        highest: resident.iter().copied().max().unwrap_or(0),
        grown,
        bound: BOUND,
        resident_kib: resident.iter().map(|bytes| bytes / 1024).collect(),
    };
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&found)?)?;
    let up = metrics.labelled("varta_slots", "verdict=\"up\"")?;
    ensure!(up >= f64::from(OTHERS), "only {up} of {OTHERS} agents that beat are up");
    ensure!(found.evictions > 0 && found.received > args.seconds * u64::from(OTHERS), "no churn came about");
    if grown > BOUND.cast_signed() {
        bail!("resident memory grew by {} KiB after the warm-up, and {} are allowed", grown / 1024, BOUND / 1024);
    }
    Ok(())
}

/// The flood of one authenticated agent, for the whole time and some seconds more.
fn churn(receiver: &Receiver, key: &std::path::Path, seconds: u64) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["flood", "--kind", "churn", "--to", &receiver.address().to_string()]);
    command.args(["--seconds", &(seconds + 10).to_string(), "--rate", &CHURN_RATE.to_string(), "--key"]).arg(key);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Process::spawn(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_after_the_warm_up_to_the_end_and_no_single_second_decides() {
        let mut resident: Vec<u64> = (0..30).collect();
        resident.extend([100; 70]);
        assert_eq!(growth(&resident).unwrap(), (100, 100, 0));
        resident[99] = 1_000_000;
        resident[40] = 0;
        assert_eq!(growth(&resident).unwrap().2, 0);
        resident.extend([350; 20]);
        assert_eq!(growth(&resident).unwrap(), (100, 350, 250));
        assert!(growth(&resident[..59]).is_err());
    }
}
