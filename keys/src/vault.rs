//! The vault: the operator's directory with the fleet root and the record of what was issued.

mod change;
mod error;
mod root_key;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use varta_client::keyfile::{SecretFileError, create_secret_file};
use varta_vlp::key::RootSecret;
use zeroize::Zeroizing;

pub use change::{Change, Issued, Request};
pub use error::VaultError;
pub(crate) use root_key::parse_root;

use crate::fleet::Fleet;
use crate::public_file::replace_public_file;

/// An operator's vault: `root.key`, which is secret, and `fleet.toml`, which is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    directory: PathBuf,
}

impl Vault {
    /// Makes a vault with a fresh root in `directory`, which is created with mode 0700 if it is not there.
    ///
    /// # Errors
    /// There is a vault already, or the directory cannot be made or written, or others can get at it.
    pub fn init(directory: &Path) -> Result<Self, VaultError> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(VaultError::io(directory, error));
            }
            _ => {}
        }
        let vault = Self { directory: directory.to_owned() };
        vault.judge()?;
        let lock = vault.lock()?;
        let (root_file, fleet_file) = (vault.root_file(), vault.fleet_file());
        if root_file.symlink_metadata().is_ok() {
            return Err(VaultError::AlreadyThere { root_file });
        }
        // The record comes first: a vault is one as soon as it has a root, and then it must be whole.
        let empty = Fleet { version: 1, ..Fleet::default() };
        if fleet_file.symlink_metadata().is_ok() {
            if Fleet::load(&fleet_file)? != empty {
                return Err(VaultError::RootLost { fleet_file, root_file });
            }
        } else {
            replace_public_file(&fleet_file, &empty.render()).map_err(|error| VaultError::io(&fleet_file, error))?;
        }
        let mut fresh = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *fresh).map_err(VaultError::Randomness)?;
        let text = root_key::render_root(&RootSecret::from_bytes(*fresh));
        create_secret_file(&root_file, &text).map_err(VaultError::from_file)?;
        drop(lock);
        Ok(vault)
    }

    /// The vault in `directory`.
    ///
    /// # Errors
    /// There is none, or others can get at it.
    pub fn open(directory: &Path) -> Result<Self, VaultError> {
        let vault = Self { directory: directory.to_owned() };
        vault.judge()?;
        if vault.root_file().symlink_metadata().is_err() {
            return Err(VaultError::NoVault { directory: vault.directory });
        }
        Ok(vault)
    }

    /// Everything this vault ever issued. Needs neither the lock nor the root.
    ///
    /// # Errors
    /// The record cannot be read, or holds a mistake.
    pub fn fleet(&self) -> Result<Fleet, VaultError> {
        Ok(Fleet::load(&self.fleet_file())?)
    }

    /// Begins a change: nobody else can until it is dropped, and nothing is written before [`Change::commit`].
    ///
    /// # Errors
    /// Somebody else is changing the vault, or its files cannot be read.
    pub fn change(&self) -> Result<Change<'_>, VaultError> {
        let lock = self.lock()?;
        let root = root_key::load_root(&self.root_file())?;
        Change::new(self, lock, root, self.fleet()?)
    }

    fn root_file(&self) -> PathBuf {
        self.directory.join("root.key")
    }

    pub(crate) fn fleet_file(&self) -> PathBuf {
        self.directory.join("fleet.toml")
    }

    fn judge(&self) -> Result<(), VaultError> {
        let directory = || self.directory.clone();
        let metadata = match std::fs::metadata(&self.directory) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::NoVault { directory: directory() });
            }
            Err(error) => return Err(VaultError::io(&self.directory, error)),
        };
        if !metadata.is_dir() {
            return Err(VaultError::NotADirectory { directory: directory() });
        }
        let user = nix::unistd::geteuid().as_raw();
        if metadata.uid() != user && metadata.uid() != 0 {
            return Err(VaultError::Owner { directory: directory(), found: metadata.uid(), user });
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(VaultError::Mode { directory: directory(), found: metadata.mode() & 0o7777 });
        }
        Ok(())
    }

    /// Takes the lock without waiting; it is given back when the file is dropped.
    fn lock(&self) -> Result<File, VaultError> {
        let file = self.directory.join("lock");
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&file)
            .map_err(|error| VaultError::io(&file, error))?;
        match opened.try_lock() {
            Ok(()) => Ok(opened),
            Err(TryLockError::WouldBlock) => Err(VaultError::Busy { directory: self.directory.clone() }),
            Err(TryLockError::Error(error)) => Err(VaultError::io(&file, error)),
        }
    }
}

impl VaultError {
    fn io(file: &Path, error: io::Error) -> Self {
        Self::Io { file: file.to_owned(), error }
    }

    fn from_file(error: SecretFileError) -> Self {
        Self::Root(error.into())
    }
}
