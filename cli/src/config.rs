//! `varta config`: is this file right, and what does it amount to?

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use varta_config::{ConfigError, ObserverConfig, RelayConfig};

/// Check and show configuration files.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check a file; says nothing but its name if it is right.
    Check {
        /// An observer.toml or a relay.toml: which, is told by its sections.
        file: PathBuf,
        /// It is a relay.toml.
        #[arg(long)]
        relay: bool,
    },
    /// Show what is in force: a file with every key that it leaves out at its default, or the defaults alone.
    Show {
        /// An observer.toml or a relay.toml: which, is told by its sections.
        file: Option<PathBuf>,
        /// It is a relay.toml; without a file, the defaults of one.
        #[arg(long)]
        relay: bool,
    },
}

/// The text of the configuration in force.
fn rendered(file: Option<&Path>, relay: bool) -> Result<String, ConfigError> {
    let Some(file) = file else {
        return Ok(if relay { RelayConfig::default().render() } else { ObserverConfig::default().render() });
    };
    // What cannot be read is told by whoever reads it.
    let is_relay = relay || std::fs::read_to_string(file).is_ok_and(|text| RelayConfig::is_likely(&text));
    if is_relay { Ok(RelayConfig::load(file)?.render()) } else { Ok(ObserverConfig::load(file)?.render()) }
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (file, relay) = match &args.verb {
        Verb::Check { file, relay } => (Some(file.as_path()), *relay),
        Verb::Show { file, relay } => (file.as_deref(), *relay),
    };
    let text = match rendered(file, relay) {
        Ok(text) => text,
        Err(error) => {
            crate::complain(&error.into());
            return Ok(ExitCode::from(crate::USAGE));
        }
    };
    match &args.verb {
        Verb::Check { file, .. } => writeln!(out, "{}: ok", file.display())?,
        Verb::Show { .. } => write!(out, "{text}")?,
    }
    Ok(ExitCode::SUCCESS)
}
