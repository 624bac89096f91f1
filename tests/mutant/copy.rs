// Shared by two build scripts: copies a crate's sources and puts a switch into single lines of them.

use std::{fs, path::Path};

/// A text of one file that is found there exactly once, and what takes its place.
struct Switch {
    file: &'static str,
    text: &'static str,
    with: &'static str,
}

/// Copies everything under `from` to `to`, with the switches in.
fn copy(from: &Path, to: &Path, switches: &[Switch]) {
    println!("cargo::rerun-if-changed={}", from.display());
    let _ = fs::remove_dir_all(to);
    copy_folder(from, to);
    for Switch { file, text, with } in switches {
        let path = to.join(file);
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found = source.matches(text).count();
        assert!(found == 1, "{file} has {found} times what a rule is switched off in: {text}");
        fs::write(&path, source.replace(text, with)).unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            // The copy is not tested; it is there to fail.
            let source = fs::read_to_string(entry.path()).unwrap();
            fs::write(target, source.replace("#[cfg(test)]", "#[cfg(any())]")).unwrap();
        }
    }
}
