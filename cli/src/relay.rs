//! `varta relay`: one picture of the fleet out of every observer's.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use varta_config::RelayConfig;
use varta_relay::{RunError, RunOptions};
use varta_watch::logging;

use crate::watch::color;

/// Run a relay: observers report to it, and people look at its dashboard.
#[derive(Args)]
pub(crate) struct RelayArgs {
    /// The configuration. Flags given beside it win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The relay's key file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where history is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The UDP address that observers dial.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The TCP address of the dashboard and the API.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Stop cleanly after this many seconds.
    #[arg(long, value_name = "S")]
    shutdown_after_secs: Option<u64>,
}

impl RelayArgs {
    fn configuration(&self) -> anyhow::Result<RelayConfig> {
        let mut config = match &self.config {
            Some(file) => RelayConfig::load(file)?,
            None => RelayConfig::default(),
        };
        for (given, known) in [(&self.key, &mut config.relay.key_file), (&self.state, &mut config.relay.state_dir)] {
            if given.is_some() {
                known.clone_from(given);
            }
        }
        for (given, known) in [(self.listen, &mut config.link.listen), (self.http, &mut config.http.listen)] {
            *known = given.or(*known);
        }
        config.validate()?;
        Ok(config)
    }
}

pub(crate) fn run(args: &RelayArgs) -> anyhow::Result<ExitCode> {
    let config = match args.configuration() {
        Ok(config) => config,
        Err(error) => {
            crate::complain(&error);
            return Ok(ExitCode::from(crate::USAGE));
        }
    };
    let log = logging::init(&config.log, color())?;
    let options = RunOptions {
        config_file: args.config.clone(),
        log: Some(log),
        shutdown_after: args.shutdown_after_secs.map(Duration::from_secs),
        ..RunOptions::default()
    };
    match varta_relay::run(config, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ RunError::Configuration(_)) => {
            crate::complain(&error.into());
            Ok(ExitCode::from(crate::USAGE))
        }
        Err(error) => Err(error.into()),
    }
}
