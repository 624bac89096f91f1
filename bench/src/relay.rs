//! `varta-bench relay`: the relay's figures, taken one after another on an otherwise idle machine.
//!
//! What is measured is `varta relay` as it ships: a process of its own in the release build on the first core, with a state
//! directory, HTTP open. What feeds it are observers that the bench plays itself on the second core, over QUIC, with the
//! link and the report that real ones have, and as many messages under way.

mod asking;
pub(crate) mod dashboards;
pub(crate) mod deaf;
pub(crate) mod deltas;
mod feeder;
mod hook;
pub(crate) mod link;
pub(crate) mod memory;
mod page;
mod report;
pub(crate) mod resync;
mod server;
mod session;
pub(crate) mod sink;
pub(crate) mod snapshot;
pub(crate) mod told;
mod units;

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};

use self::{
    feeder::Feeder,
    report::{Found, Report},
    server::Keys,
};
use crate::{
    clock,
    machine::{self, Cores},
    spine,
};

/// The relay's figures.
#[derive(Args)]
pub(crate) struct RelayArgs {
    /// The varta program to measure; without it, the release build of this repository, made if need be.
    #[arg(long, value_name = "FILE")]
    varta: Option<PathBuf>,
    /// Only these figures.
    #[arg(long, value_enum, value_name = "FIGURE", value_delimiter = ',')]
    only: Vec<Figure>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// A million units told by one observer, and the grid of them served.
    Snapshot,
    /// Resident memory per unit.
    Memory,
    /// Changes that one core takes in.
    Deltas,
    /// From a stall to an event, a page and a webhook.
    Told,
    /// What fifty open pages cost, and how late they are.
    Dashboards,
    /// From a killed relay's start until its picture is whole.
    Resync,
    /// The link beside a bare QUIC stream.
    Link,
    /// An observer whose relay does not read.
    Deaf,
}

impl Figure {
    fn take(self, bench: &Bench) -> anyhow::Result<Found> {
        match self {
            Self::Snapshot => snapshot::take(bench),
            Self::Memory => memory::take(bench),
            Self::Deltas => deltas::take(bench),
            Self::Told => told::take(bench),
            Self::Dashboards => dashboards::take(bench),
            Self::Resync => resync::take(bench),
            Self::Link => link::take(bench),
            Self::Deaf => deaf::take(bench),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Memory => "memory",
            Self::Deltas => "deltas",
            Self::Told => "told",
            Self::Dashboards => "dashboards",
            Self::Resync => "resync",
            Self::Link => "link",
            Self::Deaf => "deaf",
        }
    }
}

/// What every figure needs.
pub(crate) struct Bench {
    cores: Cores,
    varta: PathBuf,
    /// Of one observer.
    keys: Keys,
    feeder: Feeder,
}

pub(crate) fn run(args: &RelayArgs) -> anyhow::Result<()> {
    let cores = Cores::choose()?;
    let varta = spine::program(args.varta.as_ref())?;
    let used_by_others = machine::used_by_others(cores, Duration::from_millis(500))?;
    machine::stay_on(cores.feeding)?;
    let bench = Bench { cores, varta, keys: Keys::new(1)?, feeder: Feeder::start()? };
    let began = clock::boottime();
    let mut report = Report { used_by_others, ..Report::default() };
    for figure in Figure::value_variants() {
        if args.only.is_empty() || args.only.contains(figure) {
            report.figures.push((figure.name(), figure.take(&bench)?));
        }
    }
    report.seconds = (clock::boottime() - began).as_secs();
    report.write(&mut std::io::stdout().lock())?;
    let failed = report.failed();
    if !failed.is_empty() {
        bail!("missed, and must not be: {}", failed.join("; "));
    }
    Ok(())
}
