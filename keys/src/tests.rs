//! The vault, rosters and observer key files against real directories.

mod files;
mod vault;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("our own file");
}

fn mode_of(file: &Path) -> u32 {
    fs::metadata(file).expect("it is there").permissions().mode() & 0o7777
}
