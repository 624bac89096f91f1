//! `varta-bench spine`: one observer's figures, taken one after another on an otherwise idle machine.

pub(crate) mod beat;
pub(crate) mod capacity;
pub(crate) mod cost;
pub(crate) mod forged;
pub(crate) mod idle;
mod line;
pub(crate) mod memory;
pub(crate) mod rate;
mod report;
pub(crate) mod restore;
pub(crate) mod scrape;
pub(crate) mod served;
pub(crate) mod stalls;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use varta_client::keyfile::UnixSeconds;
use varta_keys::{Vault, create_all};

pub(crate) use self::line::grouped;
use self::report::Report;
use crate::{
    clock,
    load::Loader,
    machine::{self, Cores},
};

/// One observer's figures.
#[derive(Args)]
pub(crate) struct SpineArgs {
    /// The varta program to measure; without it, the release build of this repository, made if need be.
    #[arg(long, value_name = "FILE")]
    varta: Option<PathBuf>,
    /// Only these figures.
    #[arg(long, value_enum, value_name = "FIGURE", value_delimiter = ',')]
    only: Vec<Figure>,
    /// How many agents beat for the cost per beat, in turn.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = cost::AGENTS, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    agents: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// CPU time per accepted beat, saturated.
    Cost,
    /// CPU time per accepted beat at rates that are kept up with.
    Rate,
    /// CPU time per forged datagram.
    Forged,
    /// Time of a sealed beat in its program.
    Beat,
    /// The highest rate without loss.
    Capacity,
    /// From a stall's deadline to its being told.
    Stalls,
    /// The same while everything is served.
    Served,
    /// CPU time of a scrape.
    Scrape,
    /// Time to restore a million agents.
    Restore,
    /// Wake-ups with nothing to do.
    Idle,
    /// Resident memory per agent.
    Memory,
}

/// What every figure needs.
pub(crate) struct Bench {
    cores: Cores,
    loader: Loader,
}

pub(crate) fn run(args: &SpineArgs) -> anyhow::Result<()> {
    let cores = Cores::choose()?;
    let varta = program(args.varta.as_ref())?;
    let used_by_others = machine::used_by_others(cores, Duration::from_millis(500))?;
    let directory = tempfile::tempdir()?;
    let key = observer_key(directory.path())?;
    machine::stay_on(cores.feeding)?;
    let bench = Bench { cores, loader: Loader { varta, key } };
    let wanted = |figure| args.only.is_empty() || args.only.contains(&figure);
    let began = clock::boottime();
    let mut report = Report { used_by_others, ..Report::default() };
    if wanted(Figure::Cost) {
        report.lines.extend(cost::take(&bench, &args.agents)?);
    }
    if wanted(Figure::Rate) {
        report.lines.extend(rate::take(&bench)?);
    }
    if wanted(Figure::Forged) {
        report.lines.extend(forged::take(&bench)?);
    }
    if wanted(Figure::Beat) {
        report.lines.extend(beat::take(&bench)?);
    }
    if wanted(Figure::Capacity) {
        report.capacity = Some(capacity::take(&bench)?);
    }
    if wanted(Figure::Stalls) {
        report.stalls.extend(stalls::take(&bench)?);
    }
    if wanted(Figure::Served) {
        report.stalls.extend(stalls::take_served(&bench)?);
    }
    if wanted(Figure::Scrape) {
        report.scrapes = scrape::take(&bench)?;
    }
    if wanted(Figure::Restore) {
        report.restore = Some(restore::take(&bench)?);
    }
    if wanted(Figure::Idle) {
        report.idle = Some(idle::take(&bench)?);
    }
    if wanted(Figure::Memory) {
        report.memory = Some(memory::take(&bench)?);
    }
    report.seconds = (clock::boottime() - began).as_secs();
    report.write(&mut std::io::stdout().lock())
}

/// The program to measure: the one named, or the one built beside this.
pub(crate) fn program(named: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    named.cloned().map_or_else(built, Ok)
}

/// Builds `varta` beside this program, with the same profile.
pub(crate) fn built() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program lies in a folder")?;
    let target = folder.parent().context("this program lies in a target directory")?;
    if folder.file_name().is_none_or(|name| name != "release") {
        bail!("{} is no release build: run it with `cargo run --release`, or name a program by --varta", own.display());
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--package", "varta", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo; name a program by --varta")?;
    if !status.success() {
        bail!("cargo build --release -p varta ended with {status}");
    }
    Ok(folder.join("varta"))
}

/// A throw-away fleet's observer key.
fn observer_key(directory: &Path) -> anyhow::Result<PathBuf> {
    let vault = Vault::init(&directory.join("vault"))?;
    let mut change = vault.change()?;
    let key = change.add_observer("measured", "127.0.0.1:9900", false, UnixSeconds(clock::realtime().as_secs()))?;
    let file = directory.join("measured.observer.key");
    change.commit()?;
    create_all([(file.as_path(), key.render())])?;
    Ok(file)
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest value that is not below the share `part` of all.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list of thousands"
)]
pub(crate) fn quantile(sorted: &[u64], part: f64) -> Option<u64> {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50));
        assert_eq!(quantile(&hundred, 0.99), Some(99));
        assert_eq!(quantile(&[7], 0.99), Some(7));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
