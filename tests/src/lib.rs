//! Varta's tests of the whole: `tidy/` holds the repository's rules, `net/` the network namespaces script, `fuzz/` the
//! targets and corpora whose bodies are in [`fuzz`].

#![forbid(unsafe_code)]

pub mod fuzz;

use std::path::{Path, PathBuf};

/// The repository's top folder.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
