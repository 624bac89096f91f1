//! What `varta beat` and `varta exec` share: by whose key or which socket, which unit, which observers.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use varta_client::{BeatOutcome, ConnectError, SealedTransport, Status, UdsConnectError, UdsTransport, Varta};

#[derive(Args, Clone)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    way: Way,
    /// Beat to this address (HOST:PORT) instead of the key file's.
    #[arg(long, value_name = "ADDR", conflicts_with = "socket")]
    to: Option<String>,
    /// Beat to this audience of the key file only (may be repeated).
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    audience: Vec<String>,
    /// Which unit of the agent this is; without one the process is known by its pid.
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    unit: Option<String>,
    /// A label to announce, KEY=VALUE (may be repeated).
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, conflicts_with = "socket")]
    label: Vec<(String, String)>,
}

/// One of the two ways to be heard.
#[derive(Args, Clone)]
#[group(required = true, multiple = false)]
struct Way {
    /// The agent's key file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Beat without a key to the observer on this host that listens on this local socket. It knows the process by the
    /// pid that the kernel attests, without unit and labels.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A handle of either kind.
pub(crate) enum Handle {
    Sealed(Box<Varta<SealedTransport>>),
    Local(Box<Varta<UdsTransport>>),
}

impl Handle {
    pub(crate) fn beat(&mut self, status: Status, payload: u32) -> BeatOutcome {
        match self {
            Self::Sealed(handle) => handle.beat(status, payload),
            Self::Local(handle) => handle.beat(status, payload),
        }
    }

    pub(crate) fn finish(&mut self, status: Status, payload: u32) -> BeatOutcome {
        match self {
            Self::Sealed(handle) => handle.finish(status, payload),
            Self::Local(handle) => handle.finish(status, payload),
        }
    }

    pub(crate) fn terminal(&mut self, payload: u32) -> BeatOutcome {
        match self {
            Self::Sealed(handle) => handle.terminal(payload),
            Self::Local(handle) => handle.terminal(payload),
        }
    }
}

/// Why there is no handle.
#[derive(Debug)]
pub(crate) enum NoHandle {
    /// There is no way to any observer now; later there may be.
    NoWay(anyhow::Error),
    /// What was asked for is wrong, and trying again is no use.
    Wrong(anyhow::Error),
}

impl From<ConnectError> for NoHandle {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoWay { .. } => Self::NoWay(error.into()),
            _ => Self::Wrong(error.into()),
        }
    }
}

impl From<UdsConnectError> for NoHandle {
    fn from(error: UdsConnectError) -> Self {
        match error {
            UdsConnectError::Missing { .. } | UdsConnectError::Refused { .. } => Self::NoWay(error.into()),
            _ => Self::Wrong(error.into()),
        }
    }
}

impl AgentArgs {
    /// A handle that promises each next beat within `every`, where that is said.
    pub(crate) fn connect(&self, every: Option<Duration>) -> Result<Handle, NoHandle> {
        let every = every.unwrap_or_default();
        match &self.way {
            Way { socket: Some(path), .. } => {
                let handle = Varta::local_builder().socket(path).every(every).connect()?;
                Ok(Handle::Local(Box::new(handle)))
            }
            Way { key, .. } => Ok(Handle::Sealed(Box::new(self.connect_sealed(key.as_ref(), every)?))),
        }
    }

    fn connect_sealed(&self, key: Option<&PathBuf>, every: Duration) -> Result<Varta<SealedTransport>, ConnectError> {
        let mut builder = Varta::builder().every(every).version(env!("CARGO_PKG_VERSION"));
        if let Some(key) = key {
            builder = builder.key_file(key);
        }
        builder = builder.labels(self.label.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        for audience in &self.audience {
            builder = builder.audience(audience);
        }
        if let Some(address) = &self.to {
            builder = builder.address(address);
        }
        if let Some(unit) = &self.unit {
            builder = builder.unit(unit);
        }
        builder.connect()
    }
}
