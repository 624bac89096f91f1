//! A whole mesh as a process.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// A whole mesh. It is killed, as by SIGKILL, when this is dropped.
pub(crate) struct Mesh {
    child: Child,
    pub(crate) observer: String,
    pub(crate) relay: String,
}

impl Mesh {
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut command = varta(&["dev", "--for", "300s"]);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |word: &str| {
            let mut lines = lines.by_ref().map(Result::unwrap);
            lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned())).unwrap()
        };
        let (observer, relay) = (address("observer "), address("dashboard "));
        // It says no more after this: nothing is written to a pipe that nobody reads.
        address("agents ");
        Self { child, observer, relay }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The program with these words.
pub(crate) fn varta(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
    command.args(words).stdin(Stdio::null());
    command
}
