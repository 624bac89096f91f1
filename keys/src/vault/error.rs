//! What can go wrong with a vault.

use std::io;
use std::path::PathBuf;

use varta_client::keyfile::{BadAddress, KeyFileError, NameError};

use crate::grants::LabelError;
use crate::names::Collision;
use crate::public_file::LoadError;

/// Why a vault did not do as it was asked. Nothing was changed. Its text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no vault.
    #[error("{0}: no vault is here; make one with `varta keys init --vault {0}`, or name the right one with --vault", directory.display())]
    NoVault {
        /// Where one was looked for.
        directory: PathBuf,
    },
    /// The path is not a directory.
    #[error("{}: is not a directory; a vault is one", directory.display())]
    NotADirectory {
        /// The path as it was named.
        directory: PathBuf,
    },
    /// The directory belongs to another user.
    #[error("{0}: belongs to user {found}, where user {user} or root should own it; `chown {user} {0}`", directory.display())]
    Owner {
        /// The vault.
        directory: PathBuf,
        /// The owner found.
        found: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Group or others can get at the directory.
    #[error("{0}: has mode {found:04o}, which lets others at the vault; `chmod 700 {0}`", directory.display())]
    Mode {
        /// The vault.
        directory: PathBuf,
        /// The permission bits found.
        found: u32,
    },
    /// A vault is there already.
    #[error("{}: already exists, and the root of a fleet is never replaced; nothing was changed", root_file.display())]
    AlreadyThere {
        /// The root that is there.
        root_file: PathBuf,
    },
    /// The record is there, but not the root.
    #[error("{}: records a fleet, but {} is gone; put it back from its backup, or choose another directory", fleet_file.display(), root_file.display())]
    RootLost {
        /// The record.
        fleet_file: PathBuf,
        /// The root that is missing.
        root_file: PathBuf,
    },
    /// Somebody else is changing the vault.
    #[error("{}: another `varta keys` is changing this vault; try again when it is done", directory.display())]
    Busy {
        /// The vault.
        directory: PathBuf,
    },
    /// The system refused.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gives no randomness, so no secret can be made: {0}")]
    Randomness(getrandom::Error),
    /// The root's file is bad.
    #[error(transparent)]
    Root(#[from] KeyFileError),
    /// The record is bad.
    #[error(transparent)]
    Fleet(#[from] LoadError),
    /// A name is of bad form.
    #[error("{}{error}", shown(name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        error: NameError,
    },
    /// A name stands twice in one request.
    #[error("{name}: named twice; name each agent once")]
    NamedTwice {
        /// The name.
        name: String,
    },
    /// Two names have one id.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// A name that is never given again.
    #[error("{name}: was retired, and a retired name is never given again; choose another")]
    Retired {
        /// The name.
        name: String,
    },
    /// An address of bad form.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// A label of bad form.
    #[error("label: {0}")]
    Label(#[from] LabelError),
    /// The observer was added before.
    #[error(
        "{name}: was added before, with address {address}; with --again its key file is made anew: the same audience secret, a fresh identity"
    )]
    ObserverThere {
        /// The observer.
        name: String,
        /// Its address.
        address: String,
    },
    /// The relay was added before.
    #[error(
        "{name}: was added before, with address {address}; with --again its key file is made anew, with a fresh identity"
    )]
    RelayThere {
        /// The relay.
        name: String,
        /// Its address.
        address: String,
    },
    /// There is no observer to issue keys for.
    #[error(
        "no observer is there to issue keys for; add one with `varta keys observer add NAME --address HOST:PORT -o FILE`"
    )]
    NoObserver,
    /// No observer of this name.
    #[error("no observer is called {name}; there are: {}", known.join(", "))]
    UnknownAudience {
        /// The name.
        name: String,
        /// The first observers there are, at most 10.
        known: Vec<String>,
    },
    /// More audiences than an agent key file holds.
    #[error("an agent has at most {max} audiences, and these would be {found}; choose with --audience")]
    TooManyAudiences {
        /// The most there may be.
        max: usize,
        /// How many there were.
        found: usize,
    },
    /// More agents or observers than a fleet may have.
    #[error("a fleet has at most {max} {what}")]
    TooMany {
        /// The most there may be.
        max: usize,
        /// Of what.
        what: &'static str,
    },
}

/// A bad name, and a colon, as errors show it: not if it may be a secret or would play with the terminal.
fn shown(name: &str) -> String {
    let harmless = !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    if harmless && !varta_client::keyfile::holds_secret(name) { format!("{name}: ") } else { String::new() }
}
