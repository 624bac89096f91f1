//! Taking a changed configuration, key file and roster while running: all of it or nothing.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::oneshot;
use varta_client::keyfile::KeyFileError;
use varta_config::{ConfigError, ObserverConfig};
use varta_core::{Audience, Settings};
use varta_vlp::time::nanos;

use crate::{
    aside::Aside,
    command::{Command, Handle, Reload, Unanswered},
    export::{
        http::App,
        tsv::{self, ExportError, Writer},
    },
    keyring::Keyring,
    logging::LogControl,
    roster::{self, RosterError},
};

/// How long the last lines of an event file are waited for.
const EXPORT_LIMIT: Duration = Duration::from_secs(2);

/// Why a reload changed nothing. Its text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The observer's key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The event file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The ingest thread does not take it.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// What the core is to be told of a configuration.
pub(crate) fn settings(config: &ObserverConfig) -> Settings {
    let (stall, acceptance) = (&config.stall, &config.acceptance);
    Settings {
        skew: nanos(acceptance.skew),
        threshold: nanos(stall.threshold),
        misses: stall.misses,
        margin: nanos(stall.margin),
        max_promise: nanos(stall.max_promise),
        max_hold: nanos(stall.max_hold),
        blind_limit: nanos(stall.blind_limit),
        generation_overlap: nanos(acceptance.generation_overlap),
        return_within: nanos(acceptance.return_within),
    }
}

/// What is in force, and where it came from.
pub(crate) struct InForce {
    pub(crate) config: ObserverConfig,
    /// The configuration's file, where it has one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) roster_version: Option<u64>,
    pub(crate) writer: Option<Writer>,
    pub(crate) log: Option<LogControl>,
    pub(crate) app: Option<App>,
    pub(crate) aside: Aside,
    pub(crate) handle: Handle,
}

/// A roster for the core; outer `None` leaves the one in force.
type NewRoster = Option<Option<varta_core::Roster>>;
/// An event file for the journal; outer `None` opens the one in force anew.
type NewExport = Option<Option<tsv::Export>>;

/// What a reload starts from.
struct Before {
    config: ObserverConfig,
    file: Option<PathBuf>,
    roster_version: Option<u64>,
}

/// Everything that a reload puts in force, read and checked.
struct Read {
    config: ObserverConfig,
    live: Vec<String>,
    restart: Vec<String>,
    audiences: Vec<Audience>,
    roster: NewRoster,
    roster_version: Option<u64>,
    export: NewExport,
    writer: Option<Writer>,
}

impl Before {
    /// Reads everything again and checks all of it.
    fn read(&self) -> Result<Read, ReloadError> {
        let wanted = match &self.file {
            Some(file) => ObserverConfig::load(file)?,
            None => self.config.clone(),
        };
        let varta_config::Reload { config, live, restart } = self.config.reload(&wanted);
        let audiences = match &config.observer.key_file {
            Some(file) => Keyring::load(file)?.audiences,
            None => Vec::new(),
        };
        let (roster, roster_version) = self.read_roster(&config)?;
        let (export, writer) = self.open_export(&config)?;
        Ok(Read { config, live, restart, audiences, roster, roster_version, export, writer })
    }

    /// A roster that was read once is read again, and never goes back. Where none is configured any more, none is in force.
    fn read_roster(&self, config: &ObserverConfig) -> Result<(NewRoster, Option<u64>), ReloadError> {
        let Some(file) = &config.observer.roster_file else {
            return Ok((self.config.observer.roster_file.as_ref().map(|_| None), None));
        };
        let loaded = roster::load(file)?.no_older_than(self.roster_version, file)?;
        Ok((Some(Some(loaded.roster)), Some(loaded.version)))
    }

    /// Another event file is opened before anything changes.
    fn open_export(&self, config: &ObserverConfig) -> Result<(NewExport, Option<Writer>), ReloadError> {
        if config.export.file == self.config.export.file {
            return Ok((None, None));
        }
        match &config.export.file {
            None => Ok((Some(None), None)),
            Some(file) => {
                let (export, writer) = open_export(file, config)?;
                Ok((Some(Some(export)), Some(writer)))
            }
        }
    }
}

impl InForce {
    /// Reads everything again, checks all of it, and only then puts it in force. Reading is done aside: a large roster takes
    /// a while, and neither datagrams nor those who follow events wait for it.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing has changed.
    pub(crate) async fn reload(&mut self) -> Result<(), ReloadError> {
        let (config, file) = (self.config.clone(), self.file.clone());
        let before = Before { config, file, roster_version: self.roster_version };
        // Without an answer whoever reads has panicked, or the process is ending.
        let Read { config, live, restart, audiences, roster, roster_version, export, writer } =
            self.aside.run(move || before.read()).await.map_err(|_| Unanswered::Gone)??;
        let (done, in_force) = oneshot::channel();
        let (switches, switched) = oneshot::channel();
        let moved = export.is_some();
        self.handle.send(Command::Reload(Box::new(Reload {
            settings: settings(&config),
            audiences,
            roster,
            roster_version,
            export: export.map(|export| (export, switches)),
            beats: config.export.beats,
            done,
        })))?;
        let retired = in_force.await.map_err(|_| Unanswered::Gone)?;
        if moved {
            // Only ever dropped; until then lines may come to the old one.
            let _ = switched.await;
            self.end_export(writer);
        }
        self.roster_version = roster_version.or(self.roster_version);
        if let Some(log) = &self.log {
            log.set_level(config.log.level);
        }
        if let Some(app) = &self.app {
            app.set_per_agent(config.metrics.per_agent);
        }
        self.config = config;
        if let Some(writer) = &self.writer {
            rotate(writer, &self.config);
        }
        tell(&live, &restart);
        // A large one takes long to be dropped.
        let _ = self.aside.run(move || drop(retired)).await;
        Ok(())
    }

    /// The event file is another one now: what waits for the old one is written.
    fn end_export(&mut self, writer: Option<Writer>) {
        if let Some(old) = std::mem::replace(&mut self.writer, writer) {
            finish_export(old);
        }
    }
}

/// Opens an event file, to be rotated as the configuration says.
pub(crate) fn open_export(file: &Path, config: &ObserverConfig) -> Result<(tsv::Export, Writer), ExportError> {
    let (export, writer) = tsv::open(file)?;
    rotate(&writer, config);
    Ok((export, writer))
}

fn rotate(writer: &Writer, config: &ObserverConfig) {
    writer.rotate(config.export.rotate_at, config.export.keep);
}

/// Ends an event file. It is waited for, but not for ever.
pub(crate) fn finish_export(writer: Writer) {
    if !writer.finish(EXPORT_LIMIT) {
        tracing::warn!("the event file could not be written to its end in time; its last events are lost");
    }
}

fn tell(live: &[String], restart: &[String]) {
    for change in live {
        tracing::info!("in force now: {change}");
    }
    for change in restart {
        tracing::warn!("waits for a restart: {change}");
    }
    tracing::info!(changes = live.len(), "configuration, keys and roster were read again and are in force");
}
