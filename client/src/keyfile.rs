//! Agent key files, and the rules for every file that holds a secret: SPEC, "Key files".
//!
//! A file is opened without following a symbolic link and judged by its descriptor, never by its path, so that what was
//! judged is what is read. No error of this module ever carries text of a file: a mistake is told by line and key.

mod agent;
mod fault;
mod fields;
mod form;
mod secret_file;
#[cfg(test)]
mod tests;

pub use agent::{AgentAudience, AgentKeyFile};
pub use fault::{ContentError, Fault};
pub use fields::{Integer, Section, Source};
pub use form::{BadAddress, NameError, UnixSeconds, check_name, holds_secret, parse_address, push_quoted};
pub use secret_file::{SecretFileError, create_secret_file, read_secret_fd, read_secret_file};

/// A file that holds a secret may have this many bytes, 64 KiB.
pub const MAX_SECRET_FILE_BYTES: u64 = 64 << 10;

/// Why a key file was refused. Its text names the file and what to do, and holds nothing of the file's contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file breaks the rules for secret files, or cannot be read.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file's contents are wrong.
    #[error(transparent)]
    Content(#[from] ContentError),
}
