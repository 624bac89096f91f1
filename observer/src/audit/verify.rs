//! Verifying: does the chain hold, and does it hold what was handed out?

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    chain::{AuditKey, Link},
    files::{self, KEPT},
    walk::{Broken, Torn, Walk},
};

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The link before the first line; what was before that is not here.
    pub before: Link,
    /// The newest link.
    pub last: Link,
    /// How many lines there are.
    pub lines: u64,
    /// How many files they are in.
    pub files: usize,
    /// How many lines tell of torn ones that were set aside.
    pub recovered: u64,
    /// The numbers of spawns without an end, in order.
    pub running: Vec<u64>,
    /// The last line breaks off: it is no part of the chain.
    pub torn: Option<Torn>,
}

/// Why a log that holds together does not hold a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// It ends before.
    Truncated {
        /// Its newest link.
        last: Link,
    },
    /// It has another line of this number.
    Replaced {
        /// That line's link.
        found: Link,
    },
    /// Its oldest line is newer.
    Rotated {
        /// The number of its oldest line.
        first: u64,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { last } => write!(f, "the log was truncated: it ends with {last}"),
            Self::Replaced { found } => write!(f, "the log was replaced: it holds {found}"),
            Self::Rotated { first } => {
                write!(f, "its oldest line is {first}; put the older files beside it, oldest with the highest number")
            }
        }
    }
}

/// Why a log is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file cannot be opened.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The chain is broken.
    #[error("{}:{}: {}", file.display(), broken.line, broken.fault)]
    Broken {
        /// The file.
        file: PathBuf,
        /// The line, and what is wrong.
        broken: Broken,
    },
    /// The chain holds, without the link that was asked for.
    #[error("{}: the chain holds, but not {wanted}: {missing}", file.display())]
    Missing {
        /// The log.
        file: PathBuf,
        /// The link that was asked for.
        wanted: Link,
        /// What is there instead.
        missing: Missing,
    },
}

/// Verifies one file of a log. It must follow `expected_first` where that is given.
///
/// # Errors
/// The first line that is wrong.
pub fn verify(reader: impl BufRead, key: &AuditKey, expected_first: Option<Link>) -> Result<Verified, Broken> {
    let mut walk = Walk::new(key, expected_first);
    let torn = walk.file(reader, true)?;
    Ok(verified(walk, 1, torn))
}

/// Verifies the log at `path` from its oldest file on, `path.8` to `path.1` and `path` itself, as many as there are. It
/// must hold the link `against` where that is given. A log that is being written can be verified: it is judged as it was
/// at some point meanwhile.
///
/// # Errors
/// A file that cannot be read, the first line that is wrong, or the link that is not there.
pub fn verify_files(path: &Path, key: &AuditKey, against: Option<Link>) -> Result<Verified, VerifyError> {
    let files = oldest_first(path)?;
    let mut walk = Walk::new(key, None);
    walk.seek(against);
    let mut torn = None;
    let count = files.len();
    for (number, file) in files {
        let through = walk.file(BufReader::new(file), number == 0);
        torn = through.map_err(|broken| VerifyError::Broken { file: files::name(path, number), broken })?;
    }
    let met = walk.met;
    let verified = verified(walk, count, torn);
    match against.and_then(|wanted| Some((wanted, missing(&verified, wanted, met)?))) {
        Some((wanted, missing)) => Err(VerifyError::Missing { file: path.to_owned(), wanted, missing }),
        None => Ok(verified),
    }
}

fn verified(walk: Walk<'_>, files: usize, torn: Option<Torn>) -> Verified {
    let mut running: Vec<_> = walk.running.into_iter().collect();
    running.sort_unstable();
    Verified {
        before: walk.before.unwrap_or(Link::START),
        last: walk.last.unwrap_or(Link::START),
        lines: walk.lines,
        files,
        recovered: walk.recovered,
        running,
        torn,
    }
}

fn missing(verified: &Verified, wanted: Link, met: Option<Link>) -> Option<Missing> {
    match met {
        Some(found) if found == wanted => None,
        Some(found) => Some(Missing::Replaced { found }),
        None if wanted.seq > verified.last.seq => Some(Missing::Truncated { last: verified.last }),
        None => Some(Missing::Rotated { first: verified.before.seq.saturating_add(1) }),
    }
}

/// Opens the files of a log. They are opened newest first: a rotation meanwhile moves files to where they are met again,
/// and none to where it is missed.
fn oldest_first(path: &Path) -> Result<Vec<(u32, File)>, VerifyError> {
    let mut found: Vec<(u32, File)> = Vec::new();
    let mut seen = Vec::new();
    let mut absent = None;
    for number in 0..=KEPT {
        let file = files::name(path, number);
        let opened = File::open(&file).and_then(|opened| {
            let about = opened.metadata()?;
            Ok((opened, (about.dev(), about.ino())))
        });
        match opened {
            Ok((opened, identity)) => {
                if !seen.contains(&identity) {
                    seen.push(identity);
                    found.push((number, opened));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                absent.get_or_insert(error);
            }
            Err(error) => return Err(VerifyError::Io { file, error }),
        }
    }
    if let (true, Some(error)) = (found.is_empty(), absent) {
        return Err(VerifyError::Io { file: path.to_owned(), error });
    }
    found.reverse();
    Ok(found)
}
