//! `varta config`: is this file right, and what does it amount to?

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use varta_config::ObserverConfig;

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
        /// An observer.toml.
        file: PathBuf,
    },
    /// Show what is in force: a file with every key that it leaves out at its default, or the defaults alone.
    Show {
        /// An observer.toml.
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let loaded = match &args.verb {
        Verb::Check { file } | Verb::Show { file: Some(file) } => ObserverConfig::load(file),
        Verb::Show { file: None } => Ok(ObserverConfig::default()),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            crate::complain(&error.into());
            return Ok(ExitCode::from(crate::USAGE));
        }
    };
    match &args.verb {
        Verb::Check { file } => writeln!(out, "{}: ok", file.display())?,
        Verb::Show { .. } => write!(out, "{}", config.render())?,
    }
    Ok(ExitCode::SUCCESS)
}
