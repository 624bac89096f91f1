//! What lines are written to, and how another takes its place.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::open_file;

/// What lines are written to.
pub(super) trait Sink: Write + Sized {
    /// The bytes in it; none of a device, which is never full.
    fn size(&self) -> Option<u64>;

    /// What takes its place at `path`, with `keep` older ones beside it.
    ///
    /// # Errors
    /// In words; then this one is to be written on.
    fn successor(&self, path: &Path, keep: u32) -> Result<Self, String>;
}

impl Sink for File {
    fn size(&self) -> Option<u64> {
        self.metadata().ok().filter(fs::Metadata::is_file).map(|about| about.len())
    }

    fn successor(&self, path: &Path, keep: u32) -> Result<Self, String> {
        // Where somebody has moved it away already, only its name is to be filled.
        if stands_at(self, path).map_err(|error| error.to_string())? {
            shift(path, keep).map_err(|error| error.to_string())?;
        }
        open_file(path).map_err(|error| error.to_string())
    }
}

/// Whether `path` names this file, and not another or none.
fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn name(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.into()
}

/// Frees the name: each file moves on by one, up to the first number that is free, and what is beyond `keep` goes. What a
/// failure leaves half done is right, too: a higher number is older, and nothing is gone but the oldest.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let is_there = |number: u32| name(path, number).symlink_metadata().is_ok();
    let free = (1..=keep).find(|number| !is_there(*number)).unwrap_or(keep);
    for number in (0..free).rev() {
        fs::rename(name(path, number), name(path, number + 1))?;
    }
    // More were kept before.
    for number in (keep + 1..).take_while(|number| is_there(*number)) {
        fs::remove_file(name(path, number))?;
    }
    Ok(())
}
