//! What is wrong with a configuration, told to the operator.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::read::MAX_FILE_BYTES;

/// Why a configuration was refused. Its text names the file, the line, the key and what to write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The path names a directory.
    #[error("{}: is a directory; name the configuration file in it", file.display())]
    Directory {
        /// The path as it was named.
        file: PathBuf,
    },
    /// The file holds more than [`MAX_FILE_BYTES`].
    #[error("{}: is larger than {} KiB, so it is no configuration file", file.display(), MAX_FILE_BYTES >> 10)]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
    },
    /// The file is not text.
    #[error("{}:{line}: is not UTF-8 text; save the file as UTF-8", file.display())]
    NotUtf8 {
        /// The file as it was named.
        file: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
    },
    /// The contents are wrong.
    #[error("{0}")]
    Invalid(Problems),
}

/// All that is wrong with one configuration, in the order of the file; displayed as one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The file, or `None` for a configuration built in code.
    pub file: Option<PathBuf>,
    /// At least one and at most 20 problems, by line.
    pub list: Vec<Problem>,
    /// How many more were found.
    pub more: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// The key or section, such as `stall.threshold` or `listen[0].sealed`; empty for a mistake of TOML syntax.
    pub key: String,
    /// What is wrong and what to write.
    pub message: String,
}

impl Problems {
    const MAX: usize = 20;

    /// Adds a problem, or only counts it once there are enough to show.
    pub(crate) fn push(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < Self::MAX {
            self.list.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// `Ok` if nothing was added.
    pub(crate) fn into_result(mut self) -> Result<(), ConfigError> {
        self.list.sort_by_key(|problem| problem.line);
        if self.list.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(self)) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}:", file.display())?;
                match problem.line {
                    Some(line) => write!(f, "{line}: ")?,
                    None => write!(f, " ")?,
                }
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}", problem.message)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}
