//! Reading and replacing files that are public but must not be forged: rosters and the fleet's record.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use varta_client::keyfile::ContentError;

/// A roster or a fleet's record may have this many bytes, 256 MiB.
pub const MAX_PUBLIC_FILE_BYTES: u64 = 256 << 20;

/// Why a public file was refused. Its text says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicFileError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Not a regular file.
    #[error("{}: is not a regular file; name the file itself", file.display())]
    NotRegular {
        /// The file as it was named.
        file: PathBuf,
    },
    /// Group or others may write it.
    #[error("{0}: has mode {found:04o}, so others can change who is trusted; `chmod go-w {0}`", file.display())]
    Mode {
        /// The file as it was named.
        file: PathBuf,
        /// The permission bits found.
        found: u32,
    },
    /// More than [`MAX_PUBLIC_FILE_BYTES`].
    #[error("{}: is larger than {} MiB", file.display(), MAX_PUBLIC_FILE_BYTES >> 20)]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
    },
    /// Not text.
    #[error("{}:{line}: is not UTF-8 text", file.display())]
    NotUtf8 {
        /// The file as it was named.
        file: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
    },
}

/// Why a public file was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be read, or breaks a rule.
    #[error(transparent)]
    File(#[from] PublicFileError),
    /// Its contents are wrong.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Reads a file that group and others cannot write. A symbolic link is followed; a named pipe is not waited for.
pub(crate) fn read_public_file(file: &Path) -> Result<String, PublicFileError> {
    let opened = open_regular(file)?;
    let unreadable = |error| PublicFileError::Unreadable { file: file.to_owned(), error };
    let metadata = opened.metadata().map_err(unreadable)?;
    if metadata.mode() & 0o022 != 0 {
        let found = metadata.mode() & 0o7777;
        return Err(PublicFileError::Mode { file: file.to_owned(), found });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(64));
    opened.take(MAX_PUBLIC_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_PUBLIC_FILE_BYTES {
        return Err(PublicFileError::TooLarge { file: file.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let right = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        PublicFileError::NotUtf8 { file: file.to_owned(), line: 1 + right.filter(|byte| **byte == b'\n').count() }
    })
}

/// Opens a regular file of bounded length for reading.
pub(crate) fn open_regular(file: &Path) -> Result<File, PublicFileError> {
    let unreadable = |error: io::Error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO) => PublicFileError::NotRegular { file: file.to_owned() },
        _ => PublicFileError::Unreadable { file: file.to_owned(), error },
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(file)
        .map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(PublicFileError::NotRegular { file: file.to_owned() });
    }
    if metadata.len() > MAX_PUBLIC_FILE_BYTES {
        return Err(PublicFileError::TooLarge { file: file.to_owned() });
    }
    Ok(opened)
}

/// Replaces `file` with `text`, mode 0644, at once and durably: a reader sees the old contents or the new, also after a
/// power cut.
///
/// # Errors
/// What the system said; `file` is then as it was.
pub fn replace_public_file(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", u64::from_le_bytes(random)));
    let beside = directory.join(beside);
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
    created
        .write_all(text.as_bytes())
        .and_then(|()| created.sync_all())
        .and_then(|()| std::fs::rename(&beside, file))
        .inspect_err(|_| {
            // The first error says more than a failure to tidy up.
            drop(std::fs::remove_file(&beside));
        })?;
    match File::open(directory)?.sync_all() {
        // Some file systems cannot synchronise a directory and say so in this way.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        other => other,
    }
}
