//! `varta dev`: a whole mesh on loopback in one process, with throw-away keys, to look at.

mod agents;
mod mesh;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::task::LocalSet;

use crate::duration;
use mesh::Mesh;

/// Run two observers, a relay with its dashboard, and sample agents on loopback, with throw-away keys and nothing to
/// configure. One of the agents misbehaves now and then.
#[derive(Args)]
pub(crate) struct DevArgs {
    /// How many sample agents.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    agents: u16,
    /// Keep keys and state in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Stop after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    stop_after: Option<Duration>,
    /// UDP port for sealed beats, of the first observer; 0 is any.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    sealed_port: u16,
    /// TCP port of the first observer's HTTP; 0 is any.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    http_port: u16,
    /// TCP port of the dashboard; 0 is any.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    dashboard_port: u16,
}

pub(crate) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::Builder::new().prefix("varta-dev-").tempdir().context("no temporary directory")?;
    let home = args.state.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(home).with_context(|| format!("{}: cannot be made", home.display()))?;
    let mesh = Mesh::start(args, home)?;
    let agents = agents::connect(args.agents, &mesh.audiences()?)?;

    let mut out = std::io::stdout().lock();
    for http in mesh.observers() {
        writeln!(out, "observer http://{http}")?;
    }
    if let Some(http) = mesh.dashboard() {
        writeln!(out, "dashboard http://{http}")?;
    }
    let (sealed, key_file) = mesh.sealed()?;
    writeln!(out, "sealed   udp://{sealed}, key {}", key_file.display())?;
    writeln!(out, "agents   {} sample agents beat; Ctrl-C stops everything", agents.len())?;
    out.flush()?;
    drop(out);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no timer to be had")?;
    runtime.block_on(LocalSet::new().run_until(agents::beat_until_told(agents, args.stop_after)))?;
    mesh.stop()?;
    Ok(ExitCode::SUCCESS)
}
