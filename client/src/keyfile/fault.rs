//! Mistakes in the contents of key files and their kin: by line and key, without any text of the file.

use std::fmt;
use std::path::PathBuf;

use varta_vlp::key::TokenError;

/// A mistake in the contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentError {
    /// The file as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `audience[0].address`; empty for a mistake of TOML syntax.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.fault)
    }
}

impl std::error::Error for ContentError {}

/// What is wrong with a key or its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not TOML.
    Syntax(String),
    /// A key that does not belong here.
    UnknownKey {
        /// The keys that do.
        known: &'static [&'static str],
    },
    /// A key that must be there.
    MissingKey,
    /// A value of another type.
    WrongType {
        /// The type wanted.
        wanted: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A file of a version this program does not know.
    Version {
        /// The version known.
        wanted: u64,
        /// The version found.
        found: u64,
    },
    /// A value of the right type that is wrong all the same; says what to write.
    Value(String),
    /// The text of a secret is wrong.
    Secret(TokenError),
    /// What stands here stood before.
    Duplicate {
        /// The key or name that is doubled, as its place in the file: never a value of a secret file.
        first: String,
    },
    /// Too few entries, or too many.
    Count {
        /// The fewest there may be.
        least: usize,
        /// The most there may be.
        max: usize,
        /// How many there are.
        found: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "not TOML: {message}"),
            Self::UnknownKey { known } => write!(f, "unknown key; the keys here are {}", known.join(", ")),
            Self::MissingKey => f.write_str("is missing"),
            Self::WrongType { wanted, found } => write!(f, "{found} where {wanted} belongs"),
            Self::Version { wanted, found } => {
                write!(f, "version {found} is not known to this program; it reads version {wanted}")
            }
            Self::Value(message) => f.write_str(message),
            Self::Secret(error) => write!(f, "{error}"),
            Self::Duplicate { first } => write!(f, "the same as {first}; write each once"),
            Self::Count { least, max, found } => write!(f, "found {found}; write {least} to {max}"),
        }
    }
}
