//! `varta watch`: the observer.

mod recovery;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap, ffi::OsString, io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, FromArgMatches as _};
use varta_config::{Listen, ObserverConfig};
use varta_watch::{
    logging,
    run::{RunError, RunOptions},
};

/// Observe: verify beats, tell silences, serve metrics. With --config, or with flags alone.
///
/// Flags alone keep no state, serve no HTTP unless told where, and export every beat, to a file that is not rotated unless
/// told when. By the name varta-watch it takes the flags of the published program of that name, of which --socket and
/// --threshold-ms are required.
///
/// SIGHUP takes changed files; SIGTERM and SIGINT stop cleanly. Exits 0 if stopped on request, 1 if it failed while
/// running, 2 for a wrong command line or configuration.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The configuration file; the flags below, where given, win over it until it is reloaded.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Hear sealed beats on this UDP address.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Hear the processes of this host on a Unix datagram socket at this path.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The file mode of that socket: who may write to it may beat.
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = parse_mode)]
    socket_mode: u32,
    /// Accepted for the sake of older units, without effect: no reading waits.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    read_timeout_ms: u64,
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
    #[arg(long, value_name = "ADDR", visible_alias = "prom-addr")]
    http: Option<SocketAddr>,
    /// Silence, in milliseconds, that is a stall for senders that promise nothing.
    #[arg(long, value_name = "MS")]
    threshold_ms: Option<u64>,
    /// Append events to this file, tab-separated.
    #[arg(long, value_name = "FILE")]
    export_file: Option<PathBuf>,
    /// Put that file aside before it is larger than this, as FILE.1, and keep as many as the configuration says: 5 without one.
    #[arg(long, value_name = "N")]
    export_file_max_bytes: Option<u32>,
    /// Replace this file once a second by a line of two numbers while beats are read: the turns of the loop that reads them,
    /// and the time in nanoseconds since 1970.
    #[arg(long, value_name = "PATH")]
    heartbeat_file: Option<PathBuf>,
    /// End with exit status 1 if that loop has not turned for this many seconds.
    #[arg(long, value_name = "SECS")]
    self_watchdog_secs: Option<u64>,
    /// Feed this watchdog device of the kernel while that loop turns. Only a clean stop disarms it.
    #[arg(long, value_name = "PATH")]
    hw_watchdog: Option<PathBuf>,
    /// Stop cleanly after this many seconds.
    #[arg(long, value_name = "S")]
    shutdown_after_secs: Option<u64>,
    #[command(flatten)]
    recovery: recovery::RecoveryArgs,
}

/// Up to 0777, in the forms 600, 0600 and 0o600.
fn parse_mode(text: &str) -> Result<u32, &'static str> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")).unwrap_or(text);
    let is_octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777).ok_or("write the mode in octal digits, 0 to 0777")
}

/// Whether the program was called by the name of the published observer, with or without a folder before it.
pub(crate) fn is_compatible_name(program: Option<&OsString>) -> bool {
    program.is_some_and(|program| std::path::Path::new(program).file_name().is_some_and(|name| name == "varta-watch"))
}

/// The flags of a program of that name. A file that says where to listen serves as well.
pub(crate) fn parse_compatible(words: impl Iterator<Item = OsString>) -> Result<WatchArgs, clap::Error> {
    let mut command = WatchArgs::augment_args(clap::Command::new("varta-watch").version(env!("CARGO_PKG_VERSION")));
    for required in ["socket", "threshold_ms"] {
        command = command.mut_arg(required, |flag| flag.required_unless_present("config"));
    }
    WatchArgs::from_arg_matches(&command.try_get_matches_from(words)?)
}

impl WatchArgs {
    /// `path` is where programs are looked for.
    fn configuration(&self, path: Option<&str>) -> anyhow::Result<ObserverConfig> {
        let mut config = match &self.config {
            Some(file) => ObserverConfig::load(file)?,
            None => {
                let mut config = ObserverConfig::default();
                config.http.listen = None;
                (config.export.rotate_at, config.export.keep) = (None, 5);
                config
            }
        };
        let sealed = self.listen.iter().map(|address| Listen::sealed(*address));
        let socket = self.socket.iter().map(|path| Listen { mode: self.socket_mode, ..Listen::socket(path) });
        let listeners: Vec<_> = sealed.chain(socket).collect();
        if !listeners.is_empty() {
            config.listen = listeners;
        }
        let identity = &mut config.observer;
        for (given, known) in [
            (&self.key, &mut identity.key_file),
            (&self.roster, &mut identity.roster_file),
            (&self.state, &mut identity.state_dir),
            (&self.export_file, &mut config.export.file),
            (&self.heartbeat_file, &mut config.watchdog.heartbeat_file),
            (&self.hw_watchdog, &mut config.watchdog.device),
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
        if self.export_file_max_bytes.is_some() {
            config.export.rotate_at = self.export_file_max_bytes;
        }
        if let Some(secs) = self.self_watchdog_secs {
            config.watchdog.limit = Some(Duration::from_secs(secs));
        }
        if let Some(rule) = self.recovery.rule(path)? {
            config.recovery = vec![rule];
        }
        if self.config.is_none() {
            config.export.beats = config.export.file.is_some();
        }
        config.validate().context("flags and file together")?;
        Ok(config)
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment is read here and handed down")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// All variables that are text.
fn whole_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether text on standard error may be coloured.
pub(crate) fn color() -> bool {
    environment("NO_COLOR").is_none() && std::io::stderr().is_terminal()
}

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let config = match args.configuration(environment("PATH").as_deref()) {
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
        environment: whole_environment(),
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
