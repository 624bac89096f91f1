//! The repository's own rules. Each test names the file that breaks one.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails its rule")]

mod documents;
mod source;
mod structure;

use std::path::{Path, PathBuf};

use varta_tests::repository;

/// A file of the repository: its path from the top, and its text.
struct File {
    path: String,
    text: String,
}

/// Every text file whose name ends in one of `endings`, build output and hidden folders apart.
fn files(endings: &[&str]) -> Vec<File> {
    let top = repository();
    let mut found = Vec::new();
    walk(&top, &mut |path: &Path| {
        let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
        if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(File { path: name, text: std::fs::read_to_string(path).unwrap() });
        }
    });
    assert!(!found.is_empty(), "no file ends in {endings:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') && name != ".ci" || name == "target" {
            continue;
        }
        if path.is_dir() {
            walk(&path, visit);
        } else if path.is_file() {
            visit(&path);
        }
    }
}

fn read(path: &str) -> String {
    let full = repository().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// Fails with all offenders at once.
fn none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}
