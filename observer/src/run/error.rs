//! Why an observer does not run, or runs no longer.

use std::{io, net::SocketAddr};

use varta_client::keyfile::KeyFileError;
use varta_config::ConfigError;
use varta_daemon::http::{self, TokenError};

use crate::{
    audit::AuditError,
    export::tsv::ExportError,
    listen::{udp::ListenError, uds::LocalError},
    roster::RosterError,
    state::StateError,
    watchdog::WatchdogError,
};

/// Why an observer does not run, or runs no longer. Its text names the file or address and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// What it was told to do is wrong: exit code 2.
    #[error(transparent)]
    Configuration(#[from] Misconfiguration),
    /// It could not do it: exit code 1.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What is wrong with what the operator said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misconfiguration {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The observer's key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// Rules for an observer that is polled.
    #[error(
        "recovery: an observer that is polled runs nothing when a slot stalls: whoever polls it is told; leave every \
        [[recovery]] out"
    )]
    PolledRecovery,
    /// Relays or peers for an observer that is polled.
    #[error(
        "relay, peers: an observer that is polled tells nobody but whoever polls it; leave every [relay] and peers.key_file out"
    )]
    PolledRelay,
    /// The file with the bearer token.
    #[error(transparent)]
    Token(TokenError),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A sealed listener cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A local socket cannot be listened on.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// HTTP cannot listen.
    #[error("cannot serve HTTP on {address}: {error}{}", http::advice(error))]
    Http {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The event file cannot be opened.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A watchdog that was asked for.
    #[error(transparent)]
    Watchdog(#[from] WatchdogError),
    /// The system refuses what every observer needs.
    #[error("cannot {what}: {error}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The ingest thread panicked: a broken invariant.
    #[error("the ingest thread panicked: {0}; this is a defect, please report it with the log")]
    Panicked(String),
    /// The ingest thread did not stop in time.
    #[error("the ingest thread did not stop within {0} s; the state on disk is that of a crash")]
    Stuck(u64),
}

impl RunError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(Failure::System { what, error })
    }
}

/// Shortens `?` on errors of the two kinds.
macro_rules! into_run_error {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for RunError {
            fn from(error: $error) -> Self {
                Self::$kind(error.into())
            }
        })*
    };
}

into_run_error! {
    ConfigError => Configuration,
    KeyFileError => Configuration,
    RosterError => Configuration,
    ListenError => Failed,
    LocalError => Failed,
    AuditError => Failed,
    StateError => Failed,
    ExportError => Failed,
    WatchdogError => Failed,
}
