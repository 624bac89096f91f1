//! What a file of this family is, without its secrets.

use std::io::Read as _;
use std::path::Path;

use varta_client::keyfile::{AgentKeyFile, ContentError, KeyFileError, SecretFileError, Source, read_secret_file};
use zeroize::Zeroizing;

use crate::fleet::Fleet;
use crate::observer_key::ObserverKeyFile;
use crate::public_file::{LoadError, MAX_PUBLIC_FILE_BYTES, PublicFileError, open_regular};
use crate::relay_key::RelayKeyFile;
use crate::roster::Roster;
use crate::vault::parse_root;

/// A file, and what stands in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inspected {
    /// An agent's key.
    AgentKey(AgentKeyFile),
    /// An observer's key.
    ObserverKey(ObserverKeyFile),
    /// A relay's key.
    RelayKey(RelayKeyFile),
    /// A vault's root: nothing of it is shown.
    Root,
    /// A roster.
    Roster(Roster),
    /// A vault's record.
    Fleet(Fleet),
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file with a secret breaks its rules, or a mistake in its contents.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A public file breaks its rules, or a mistake in its contents.
    #[error(transparent)]
    Public(#[from] LoadError),
}

/// Which file it is, told by its keys.
#[derive(Clone, Copy)]
enum Kind {
    AgentKey,
    ObserverKey,
    RelayKey,
    Root,
    Roster,
    Fleet,
}

/// Reads any file of this family, with all the rules that its user would apply.
///
/// # Errors
/// What its user would be told.
pub fn inspect(file: &Path) -> Result<Inspected, InspectError> {
    let text = read_any(file)?;
    let kind = kind_of(&text, file).map_err(LoadError::from)?;
    drop(text);
    Ok(match kind {
        Kind::AgentKey => Inspected::AgentKey(AgentKeyFile::load(file)?),
        Kind::ObserverKey => Inspected::ObserverKey(ObserverKeyFile::load(file)?),
        Kind::RelayKey => Inspected::RelayKey(RelayKeyFile::load(file)?),
        Kind::Root => {
            let text = read_secret_file(file).map_err(KeyFileError::from)?;
            drop(parse_root(&text, file).map_err(KeyFileError::from)?);
            Inspected::Root
        }
        Kind::Roster => Inspected::Roster(Roster::load(file)?),
        Kind::Fleet => Inspected::Fleet(Fleet::load(file)?),
    })
}

/// The text of a file of which it is not yet known whether it is secret.
fn read_any(file: &Path) -> Result<Zeroizing<String>, InspectError> {
    let opened = open_regular(file).map_err(LoadError::from)?;
    let unreadable = |error| {
        let file = file.to_owned();
        InspectError::from(LoadError::from(PublicFileError::Unreadable { file, error }))
    };
    let length = opened.metadata().map_err(unreadable)?.len();
    // Room for all of it: a buffer that grew would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(64)));
    opened.take(MAX_PUBLIC_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            let file = file.to_owned();
            Err(KeyFileError::from(SecretFileError::NotUtf8 { file }).into())
        }
    }
}

fn kind_of(text: &str, file: &Path) -> Result<Kind, ContentError> {
    Source::new(file, text).look(|root| match () {
        () if root.has("format") => Kind::Fleet,
        () if root.has("generation") || (root.has("agent") && root.has("audience")) => Kind::AgentKey,
        () if root.has("relay") && root.has("identity") => Kind::RelayKey,
        () if root.has("audience") || root.has("identity") || root.has("retiring") => Kind::ObserverKey,
        () if root.has("secret") => Kind::Root,
        () => Kind::Roster,
    })
}
