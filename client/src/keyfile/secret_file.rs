//! Opening, judging and creating files that hold secrets.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use zeroize::Zeroizing;

use super::MAX_SECRET_FILE_BYTES;

/// Why a file with a secret was refused. Its text says what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {error}{}", file.display(), unreadable_hint(error))]
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The path names a symbolic link.
    #[error(
        "{}: is a symbolic link, which is not followed to a secret; name the file it leads to, or hand it over as a \
         descriptor with `--key-fd 3 3<FILE`",
        file.display()
    )]
    Symlink {
        /// The file as it was named.
        file: PathBuf,
    },
    /// Not a regular file.
    #[error("{}: is {found}, not a regular file; name the key file itself", file.display())]
    NotRegular {
        /// The file as it was named.
        file: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file has other names.
    #[error(
        "{}: has {found} names (hard links), so somebody may hold it elsewhere; keep one: \
         `cp FILE NEW && chmod 600 NEW`, then remove the others",
        file.display()
    )]
    Links {
        /// The file as it was named.
        file: PathBuf,
        /// How many links it has.
        found: u64,
    },
    /// The file belongs to another user.
    #[error(
        "{0}: belongs to user {found}, where user {user} or root should own it; `chown {user} {0}`",
        file.display()
    )]
    Owner {
        /// The file as it was named.
        file: PathBuf,
        /// The owner found.
        found: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Group or others may read, write or execute it.
    #[error(
        "{0}: has mode {found:04o}, which lets others at the secret; `chmod 600 {0}`, and if others could read it, \
         issue the key anew",
        file.display()
    )]
    Mode {
        /// The file as it was named.
        file: PathBuf,
        /// The permission bits found.
        found: u32,
    },
    /// More than [`MAX_SECRET_FILE_BYTES`].
    #[error("{}: is larger than {} KiB, so it is no key file", file.display(), MAX_SECRET_FILE_BYTES >> 10)]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
    },
    /// Not text.
    #[error("{}: is not UTF-8 text, so it is no key file", file.display())]
    NotUtf8 {
        /// The file as it was named.
        file: PathBuf,
    },
    /// The file to be created is already there.
    #[error("{}: already exists and is never overwritten; name another file, or move this one away", file.display())]
    Exists {
        /// The file as it was named.
        file: PathBuf,
    },
    /// The file cannot be created or written; nothing of it is left.
    #[error("{}: cannot be created: {error}", file.display())]
    Create {
        /// The file as it was named.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

fn unreadable_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as the user who owns it",
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}

/// Where a secret comes from, which decides the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    ByPath,
    ByDescriptor,
}

/// Reads a file that holds a secret. The file is opened without following a symbolic link and without waiting for a writer;
/// it must be a regular file with one name, owned by the effective user or root, closed to group and others, and at most
/// [`MAX_SECRET_FILE_BYTES`] long.
///
/// A credential of systemd (`$CREDENTIALS_DIRECTORY/NAME`) passes. One of a service with `User=` has mode 0440, for the
/// sake of its ACL: a file of root's with just this mode, on a read-only mount, passes too.
///
/// # Errors
/// [`SecretFileError`] naming the rule that is broken.
pub fn read_secret_file(file: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(file)
        .map_err(|error| refuse_open(file, error))?;
    judge(file, &opened, Handed::ByPath)?;
    read(file, opened)
}

/// Reads a secret from descriptor `fd` of this process, opened by whoever started it: `--key-fd 3 3<FILE`, or a pipe,
/// which is read to its end. The rules are those of [`read_secret_file`], but for the name: it may be a pipe or a file
/// without a name. The descriptor is opened once more, through `/proc`, so its file must still be open to this user;
/// the descriptor itself is neither moved nor closed.
///
/// # Errors
/// [`SecretFileError`] naming the rule that is broken; the file is named `/proc/self/fd/N`.
pub fn read_secret_fd(fd: u32) -> Result<Zeroizing<String>, SecretFileError> {
    let file = PathBuf::from(format!("/proc/self/fd/{fd}"));
    let unreadable = |error| SecretFileError::Unreadable { file: file.clone(), error };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(&file)
        .map_err(unreadable)?;
    judge(&file, &opened, Handed::ByDescriptor)?;
    // A pipe is waited for: its writer may not have written yet.
    fcntl(&opened, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| unreadable(errno.into()))?;
    read(&file, opened)
}

fn refuse_open(file: &Path, error: io::Error) -> SecretFileError {
    let file = file.to_owned();
    match error.raw_os_error().map(Errno::from_raw) {
        // A path with a symbolic link elsewhere that leads to itself gives the same error.
        Some(Errno::ELOOP) if file.is_symlink() => SecretFileError::Symlink { file },
        Some(Errno::ENXIO) => SecretFileError::NotRegular { file, found: "a socket or a device" },
        _ => SecretFileError::Unreadable { file, error },
    }
}

fn judge(file: &Path, opened: &File, handed: Handed) -> Result<(), SecretFileError> {
    let metadata = opened.metadata().map_err(|error| SecretFileError::Unreadable { file: file.to_owned(), error })?;
    let file = file.to_owned();
    let kind = metadata.file_type();
    let pipe = kind.is_fifo() && handed == Handed::ByDescriptor;
    if !kind.is_file() && !pipe {
        let found = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a named pipe",
            () if kind.is_socket() => "a socket",
            () if kind.is_char_device() || kind.is_block_device() => "a device",
            () => "something else",
        };
        return Err(SecretFileError::NotRegular { file, found });
    }
    let nameless = metadata.nlink() == 0 && handed == Handed::ByDescriptor;
    if metadata.nlink() != 1 && !nameless {
        let found = metadata.nlink();
        return Err(SecretFileError::Links { file, found });
    }
    let user = nix::unistd::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        let found = metadata.uid();
        return Err(SecretFileError::Owner { file, found, user });
    }
    if metadata.mode() & 0o077 != 0 && !placed_by_manager(opened, &metadata) {
        let found = metadata.mode() & 0o7777;
        return Err(SecretFileError::Mode { file, found });
    }
    if metadata.len() > MAX_SECRET_FILE_BYTES {
        return Err(SecretFileError::TooLarge { file });
    }
    Ok(())
}

/// Whether a service manager placed the file: root's, readable by owner and group and writable by nobody, on a read-only
/// mount. So are systemd's credentials of a service with `User=`, whose ACL shows as group bits, and Kubernetes' secrets
/// of a pod with `fsGroup`.
fn placed_by_manager(opened: &File, metadata: &Metadata) -> bool {
    metadata.uid() == 0
        && metadata.mode() & 0o7777 == 0o440
        && fstatvfs(opened).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_RDONLY))
}

fn read(file: &Path, opened: File) -> Result<Zeroizing<String>, SecretFileError> {
    // Room for the byte too many and for the probe at the end: a buffer that grew would leave a copy behind.
    let room = usize::try_from(MAX_SECRET_FILE_BYTES).unwrap_or(usize::MAX).saturating_add(64);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    opened
        .take(MAX_SECRET_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| SecretFileError::Unreadable { file: file.to_owned(), error })?;
    if bytes.len() as u64 > MAX_SECRET_FILE_BYTES {
        return Err(SecretFileError::TooLarge { file: file.to_owned() });
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(SecretFileError::NotUtf8 { file: file.to_owned() })
        }
    }
}

/// Creates `file` with mode 0600 and writes `text` to it, durably: file and directory are synchronised before this returns.
/// An existing file, or a symbolic link of that name, is never touched.
///
/// # Errors
/// [`SecretFileError::Exists`], or [`SecretFileError::Create`]; in both cases nothing was left behind.
pub fn create_secret_file(file: &Path, text: &str) -> Result<(), SecretFileError> {
    let failed = |error| SecretFileError::Create { file: file.to_owned(), error };
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(file)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SecretFileError::Exists { file: file.to_owned() },
            _ => failed(error),
        })?;
    let written =
        created.write_all(text.as_bytes()).and_then(|()| created.sync_all()).and_then(|()| sync_directory_of(file));
    written.map_err(|error| {
        // Half a key is worse than none. If it cannot be removed either, the first error says more.
        drop(std::fs::remove_file(file));
        failed(error)
    })
}

fn sync_directory_of(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(directory)?.sync_all() {
        // Some file systems cannot synchronise a directory and say so in this way.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        other => other,
    }
}
