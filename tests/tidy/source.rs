//! Rules about Rust files.

use crate::{File, files, none};

fn sources() -> Vec<File> {
    files(&[".rs"])
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// `file:line` of every line of `file` for which `bad` holds.
fn lines_where<'a>(file: &'a File, bad: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
    let numbered = file.text.lines().enumerate();
    numbered
        .filter(move |(_, line)| bad(line))
        .map(|(index, line)| format!("{}:{}: {}", file.path, index + 1, line.trim()))
}

#[test]
fn clocks_are_read_in_clock_files_only() {
    let reads = ["Instant::now(", "SystemTime::now(", "clock_gettime("];
    let mut offenders = Vec::new();
    for file in sources().iter().filter(|file| !is_test(&file.path) && !file.path.ends_with("clock.rs")) {
        offenders.extend(lines_where(file, |line| reads.iter().any(|read| line.contains(read))));
    }
    none(&offenders, "only files named clock.rs read a clock");
}

#[test]
fn the_environment_is_read_in_the_command_line_only() {
    let mut offenders = Vec::new();
    for file in sources().iter().filter(|file| !is_test(&file.path) && !file.path.starts_with("cli/")) {
        offenders.extend(lines_where(file, |line| line.contains("env::var")));
    }
    none(&offenders, "only cli reads the environment");
}

#[test]
fn unsafe_code_is_in_its_room_only() {
    // A server that forks calls `fork`.
    let rooms = ["client/src/fork.rs", "client/tests/", "client/examples/prefork.rs"];
    let mut offenders = Vec::new();
    for file in sources().iter().filter(|file| !rooms.iter().any(|room| file.path.starts_with(room))) {
        offenders.extend(lines_where(file, |line| {
            let code = line.split("//").next().unwrap_or_default();
            let quoted = code.contains('"');
            !quoted && ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word))
        }));
    }
    none(&offenders, "unsafe code outside client/src/fork.rs");
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut offenders = Vec::new();
    for file in sources().iter().filter(|file| !file.path.starts_with("tests/tidy/")) {
        offenders.extend(lines_where(file, |line| line.contains("#[allow(") || line.contains("#![allow(")));
        let text = file.text.replace('\n', " ");
        for part in text.split("#[expect(").skip(1) {
            let end = part.find(")]").unwrap_or(part.len());
            if !part[..end].contains("reason") {
                offenders.push(format!("{}: expect({})", file.path, &part[..end]));
            }
        }
    }
    none(&offenders, "write #[expect(lint, reason = \"..\")]");
}

#[test]
fn ignored_tests_say_why() {
    let mut offenders = Vec::new();
    for file in sources().iter().filter(|file| !file.path.starts_with("tests/tidy/")) {
        offenders.extend(lines_where(file, |line| line.trim() == "#[ignore]"));
    }
    none(&offenders, "write #[ignore = \"reason\"]");
}

#[test]
fn nothing_is_left_to_do_in_the_source() {
    // Put together, so that this list is not itself what it looks for.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut offenders = Vec::new();
    for file in &sources() {
        offenders.extend(lines_where(file, |line| words.iter().any(|word| line.contains(word))));
    }
    none(&offenders, "left behind");
}

#[test]
fn files_stay_readable() {
    let long = |file: &&File| !is_test(&file.path) && file.text.lines().count() > 500;
    let offenders: Vec<_> =
        sources().iter().filter(long).map(|file| format!("{} ({})", file.path, file.text.lines().count())).collect();
    none(&offenders, "files of more than 500 lines want splitting");
}

#[test]
fn names_say_what_a_room_is_for() {
    let vague = ["util", "utils", "helper", "helpers", "manager", "common", "misc"];
    let offenders: Vec<_> = sources()
        .into_iter()
        .filter(|file| file.path.split(['/', '.']).any(|part| vague.contains(&part)))
        .map(|file| file.path)
        .collect();
    none(&offenders, "a vague name");
}
