//! Why a relay does not run, or runs no longer.

use std::{io, net::SocketAddr};

use varta_client::keyfile::KeyFileError;
use varta_config::ConfigError;
use varta_daemon::http::{self, TokenError};
use varta_link::LinkError;

use crate::{store::StoreError, webhook::WebhookError};

/// Why a relay does not run, or runs no longer. Its text names the file or address and the remedy.
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
    /// The relay's key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file with the bearer token.
    #[error(transparent)]
    Token(TokenError),
    /// A webhook.
    #[error(transparent)]
    Webhook(WebhookError),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Observers cannot be listened for.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// History cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// HTTP cannot listen.
    #[error("cannot serve HTTP on {address}: {error}{}", http::advice(error))]
    Http {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The system refuses what every relay needs.
    #[error("cannot {what}: {error}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody can arrive any more.
    #[error("the socket for observers is gone; this is a defect, please report it with the log")]
    LinkEnded,
    /// A broken invariant.
    #[error("the relay's thread panicked; this is a defect, please report it with the log")]
    Panicked,
}

impl RunError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(Failure::System { what, error })
    }
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.into())
    }
}

impl From<KeyFileError> for RunError {
    fn from(error: KeyFileError) -> Self {
        Self::Configuration(error.into())
    }
}
