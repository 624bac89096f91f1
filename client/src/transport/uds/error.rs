//! Why there is no way to a local socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::super::bare::NoWay;

/// Why a handle for a local socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdsConnectError {
    /// No path was given.
    #[error("no socket given: name the path that the observer listens on")]
    NoPath,
    /// The path has more bytes than a socket's address holds.
    #[error("{path}: {length} bytes, and a socket's path has {} at most; choose a shorter one", Self::PATH_MAX_LEN)]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How many bytes it has.
        length: usize,
    },
    /// There is nothing at the path.
    #[error("{path}: there is no such socket; start the observer, or name the path that it listens on")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// What is at the path is nobody's socket any more, or none at all.
    #[error("{path}: no observer listens there; start it again, or name the path that it listens on")]
    Refused {
        /// The path.
        path: PathBuf,
    },
    /// The socket may not be written to, or a folder above it not be searched.
    #[error("{path}: permission denied; this user must be let write to the socket and search the folders above it")]
    Denied {
        /// The path.
        path: PathBuf,
    },
    /// Pid 1 of a PID namespace names nothing outside it, and a base frame does not carry it.
    #[error("this process is pid 1 of its namespace, which no base frame carries: beat with a key and a unit")]
    PidOne,
    /// A clock cannot be read.
    #[error("cannot read the clock: {0}")]
    Clock(#[source] io::Error),
    /// There is no memory that is wiped on fork, without which a forked child could not be told from its parent.
    #[error("no memory that is wiped on fork (needs Linux 4.14): {0}")]
    ForkDetection(#[source] io::Error),
    /// Anything else that the operating system has against it.
    #[error("cannot connect to {path}: {source}")]
    NoWay {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl UdsConnectError {
    /// The most bytes that the path of a socket has.
    pub const PATH_MAX_LEN: usize = 107;

    pub(super) fn check_path(path: &Path) -> Result<(), Self> {
        match path.as_os_str().len() {
            0 => Err(Self::NoPath),
            1..=Self::PATH_MAX_LEN => Ok(()),
            length => Err(Self::PathTooLong { path: path.to_owned(), length }),
        }
    }

    pub(super) fn of(path: PathBuf, problem: NoWay) -> Self {
        match problem {
            NoWay::PidOne => Self::PidOne,
            NoWay::Clock(error) => Self::Clock(error),
            NoWay::ForkDetection(error) => Self::ForkDetection(error),
            NoWay::Socket(error) => match error.kind() {
                io::ErrorKind::NotFound => Self::Missing { path },
                io::ErrorKind::ConnectionRefused => Self::Refused { path },
                io::ErrorKind::PermissionDenied => Self::Denied { path },
                _ => Self::NoWay { path, source: error },
            },
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NoPath | Self::PathTooLong { .. } => io::ErrorKind::InvalidInput,
            Self::Missing { .. } => io::ErrorKind::NotFound,
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::Denied { .. } => io::ErrorKind::PermissionDenied,
            Self::PidOne => io::ErrorKind::Unsupported,
            Self::Clock(source) | Self::ForkDetection(source) | Self::NoWay { source, .. } => source.kind(),
        }
    }
}

impl From<UdsConnectError> for io::Error {
    fn from(error: UdsConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn errors_name_the_path_and_what_to_do() {
        let told =
            |errno: Errno| UdsConnectError::of("/run/varta.sock".into(), NoWay::Socket(errno.into())).to_string();
        for (errno, advice) in [
            (Errno::ENOENT, "start the observer"),
            (Errno::ECONNREFUSED, "start it again"),
            (Errno::EACCES, "must be let write"),
            (Errno::EPROTOTYPE, "Protocol wrong type for socket"),
        ] {
            let told = told(errno);
            assert!(told.contains("/run/varta.sock") && told.contains(advice), "{told}");
        }
    }
}
