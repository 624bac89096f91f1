//! What `varta beat` and `varta exec` share: whose key, which unit, which observers.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use varta_client::{ConnectError, SealedTransport, Varta};

#[derive(Args, Clone)]
pub(crate) struct AgentArgs {
    /// The agent's key file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Beat to this address (HOST:PORT) instead of the key file's.
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    /// Beat to this audience of the key file only (may be repeated).
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// Which unit of the agent this is; without one the process is known by its pid.
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// A label to announce, KEY=VALUE (may be repeated).
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl AgentArgs {
    /// A handle that promises each next beat within `every`, where that is said.
    pub(crate) fn connect(&self, every: Option<Duration>) -> Result<Varta<SealedTransport>, ConnectError> {
        let mut builder = Varta::builder().key_file(&self.key).version(env!("CARGO_PKG_VERSION"));
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
        if let Some(every) = every {
            builder = builder.every(every);
        }
        builder.connect()
    }
}
