//! `varta watch`: the observer.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use varta_config::{Listen, ObserverConfig};
use varta_watch::{
    logging,
    run::{RunError, RunOptions},
};

/// Observe: verify beats, tell silences, serve metrics. With --config, or with flags alone.
///
/// SIGHUP takes changed files; SIGTERM and SIGINT stop cleanly. Exits 0 if stopped on request, 1 if it failed while
/// running, 2 for a wrong command line or configuration.
#[derive(Args)]
pub(crate) struct WatchArgs {
    /// The configuration file; the flags below, where given, win over it until it is reloaded.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Hear sealed beats on this UDP address.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// The observer's key file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The roster.
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// Keep state in this directory.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What this observer calls itself.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Serve metrics, health and the API on this TCP address.
    #[arg(long, value_name = "ADDR", alias = "prom-addr")]
    http: Option<SocketAddr>,
    /// Silence, in milliseconds, that is a stall for senders that promise nothing.
    #[arg(long, value_name = "MS")]
    threshold_ms: Option<u64>,
    /// Append events to this file, tab-separated.
    #[arg(long, value_name = "FILE")]
    export_file: Option<PathBuf>,
    /// Stop cleanly after this many seconds.
    #[arg(long, value_name = "S")]
    shutdown_after_secs: Option<u64>,
}

impl WatchArgs {
    fn configuration(&self) -> anyhow::Result<ObserverConfig> {
        let mut config = match &self.config {
            Some(file) => ObserverConfig::load(file)?,
            None => {
                let mut config = ObserverConfig::default();
                config.http.listen = None;
                config
            }
        };
        if !self.listen.is_empty() {
            config.listen = self.listen.iter().map(|address| Listen::sealed(*address)).collect();
        }
        let identity = &mut config.observer;
        for (given, known) in [
            (&self.key, &mut identity.key_file),
            (&self.roster, &mut identity.roster_file),
            (&self.state, &mut identity.state_dir),
            (&self.export_file, &mut config.export.file),
        ] {
            if given.is_some() {
                known.clone_from(given);
            }
        }
        if self.name.is_some() {
            identity.name.clone_from(&self.name);
        }
        if self.http.is_some() {
            config.http.listen = self.http;
        }
        if let Some(ms) = self.threshold_ms {
            config.stall.threshold = Duration::from_millis(ms);
        }
        config.validate().context("flags and file together")?;
        Ok(config)
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here and handed down")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether text on standard error may be coloured.
pub(crate) fn color() -> bool {
    environment("NO_COLOR").is_none() && std::io::stderr().is_terminal()
}

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
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
        watchdog: environment("WATCHDOG_USEC").and_then(|text| text.parse().ok()).map(Duration::from_micros),
        shutdown_after: args.shutdown_after_secs.map(Duration::from_secs),
        ..RunOptions::default()
    };
    match varta_watch::run::run(config, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ RunError::Configuration(_)) => {
            crate::complain(&error.into());
            Ok(ExitCode::from(crate::USAGE))
        }
        Err(error) => Err(error.into()),
    }
}
