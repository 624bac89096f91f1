//! `varta-bench local`: our observer of local processes beside the published `varta-watch` 0.2.0, in one run.
//!
//! The agents are real processes, for an observer knows a local agent by the pid that the kernel attests: each is this
//! program once more, as [`agent`]. The same processes beat to both observers, in turn, by the clock. What an observer has
//! heard, and when it told a stall, is read from its export file, where every beat and every stall is a row with the
//! observer's own time; a witness beats to it where a window begins or ends, or something is done to an agent, so that
//! its rows mark these instants.

pub(crate) mod agent;
mod fleet;
mod load;
mod observer;
mod report;
mod rows;
mod stalls;

use std::path::PathBuf;

use clap::Args;

use self::report::Report;
use crate::{
    machine::{self, Cores},
    spine,
};

/// Our observer beside the published one, on the same local processes.
#[derive(Args)]
pub(crate) struct LocalArgs {
    /// The varta program to measure; without it, the release build of this repository, made if need be.
    #[arg(long, value_name = "FILE")]
    varta: Option<PathBuf>,
    /// The published observer, varta-watch 0.2.0 with its metrics; `tests/interop/run.py --fetch` builds it.
    #[arg(long, value_name = "FILE")]
    published: PathBuf,
    /// How many agents beat, in turn.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000, 4_000], value_parser = clap::value_parser!(u32).range(1..=4_000))]
    agents: Vec<u32>,
    /// End with an error if a goal is missed.
    #[arg(long)]
    check: bool,
}

/// The two that are compared, in the order in which they take turns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Published,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Ours, Self::Published];
}

/// The two programs.
pub(crate) struct Programs {
    varta: PathBuf,
    published: PathBuf,
    cores: Cores,
}

pub(crate) fn run(args: &LocalArgs) -> anyhow::Result<()> {
    let cores = Cores::choose()?;
    let used_by_others = machine::used_by_others(cores, std::time::Duration::from_millis(500))?;
    let programs = Programs {
        varta: spine::program(args.varta.as_ref())?.canonicalize()?,
        published: args.published.canonicalize()?,
        cores,
    };
    machine::stay_on_either(cores)?;
    let mut report = Report::new(used_by_others, observer::queue()?);
    for agents in &args.agents {
        report.add_load(&load::take(&programs, *agents)?);
    }
    report.add_stalls(&stalls::take(&programs)?);
    report.write(&mut std::io::stdout().lock())?;
    anyhow::ensure!(!args.check || report.reached(), "a goal is missed");
    Ok(())
}
