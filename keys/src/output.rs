//! Writing what was issued: all of it or nothing, and never over a file that is there.

use std::path::{Path, PathBuf};

use varta_client::keyfile::{SecretFileError, create_secret_file};
use zeroize::Zeroizing;

/// Files named in one error at most.
const MAX_NAMED: usize = 10;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Files are there already.
    #[error("{}", told(existing, *more))]
    Existing {
        /// The first of them, at most 10.
        existing: Vec<PathBuf>,
        /// How many more there are.
        more: usize,
    },
    /// A file could not be written; those written before it were removed again.
    #[error("{error}{}", if *removed > 0 { format!("; the {removed} key files written before it were removed again") } else { String::new() })]
    Write {
        /// What went wrong.
        error: SecretFileError,
        /// How many files had been written.
        removed: usize,
    },
}

fn told(existing: &[PathBuf], more: usize) -> String {
    let names: Vec<_> = existing.iter().map(|file| file.display().to_string()).collect();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (verb, them) = if names.len() + more == 1 { ("exists", "it") } else { ("exist", "them") };
    format!(
        "{}{and_more} already {verb}, and a key file is never overwritten: move {them} away or name another place; \
         nothing was changed",
        names.join(", ")
    )
}

/// Refuses if any of `files` is there, be it a symbolic link that leads nowhere.
///
/// # Errors
/// [`OutputError::Existing`] naming up to 10 of them.
pub fn refuse_existing<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), OutputError> {
    let mut there = files.into_iter().filter(|file| file.symlink_metadata().is_ok());
    let existing: Vec<_> = there.by_ref().take(MAX_NAMED).map(Path::to_owned).collect();
    let more = there.count();
    if existing.is_empty() { Ok(()) } else { Err(OutputError::Existing { existing, more }) }
}

/// Creates every file with the rules of [`create_secret_file`]. If one cannot be written, those written before it are
/// removed again: what was issued can be issued again.
///
/// # Errors
/// [`OutputError::Write`] for the first that could not be written.
pub fn create_all<'a>(files: impl IntoIterator<Item = (&'a Path, Zeroizing<String>)>) -> Result<(), OutputError> {
    let mut written: Vec<&Path> = Vec::new();
    for (file, text) in files {
        if let Err(error) = create_secret_file(file, &text) {
            let removed = written.iter().filter(|file| std::fs::remove_file(file).is_ok()).count();
            return Err(OutputError::Write { error, removed });
        }
        written.push(file);
    }
    Ok(())
}
