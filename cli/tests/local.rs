//! `varta beat` and `varta exec` over a local socket, heard by one that reads what they send.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use varta_vlp::{
    Status, local,
    sealed::{BODY_LEN, Body, Flags},
};

/// A socket in an observer's place.
struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Listener {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("varta.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path, _folder: folder }
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.arg(verb).arg("--socket").arg(&self.path).args(arguments);
        command
    }

    /// Runs `varta VERB --socket PATH ..` to its end: its pid, what it printed and what it sent.
    fn run(&self, verb: &str, arguments: &[&str]) -> (u32, Output, Vec<(usize, Body)>) {
        let child = self.command(verb, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        (pid, child.wait_with_output().unwrap(), self.heard())
    }

    /// The length and the meaning of everything that has arrived.
    fn heard(&self) -> Vec<(usize, Body)> {
        let mut buffer = [0; 128];
        std::iter::from_fn(|| {
            let len = self.socket.recv(&mut buffer).ok()?;
            Some((len, local::parse(&buffer[..len]).unwrap()))
        })
        .collect()
    }
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn one_beat_is_a_bare_base_frame() {
    let listener = Listener::new();
    let (pid, output, heard) = listener.run("beat", &["--status", "degraded", "--payload", "42"]);
    assert!(output.status.success(), "{output:?}");
    let [(32, body)] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((body.frame.status, body.frame.payload), (Status::Degraded, 42));
    assert_eq!((body.frame.pid, body.frame.nonce), (pid, 1));
}

#[test]
fn beats_are_counted_paced_and_ended() {
    let listener = Listener::new();
    let (_, output, heard) = listener.run("beat", &["--every", "20ms", "--count", "3", "--final"]);
    assert!(output.status.success(), "{output:?}");
    let promised: Vec<_> = heard.iter().map(|(len, body)| (*len, body.frame.nonce, body.next_due_ms)).collect();
    assert_eq!(promised, [(BODY_LEN, 1, 20), (BODY_LEN, 2, 20), (BODY_LEN, 3, 0)], "nothing is said three times");
    assert_eq!(heard[2].1.flags, Flags::FINAL);
}

#[test]
fn a_program_is_known_by_the_pid_of_varta_exec() {
    let listener = Listener::new();
    let (pid, output, heard) = listener.run("exec", &["--", "sh", "-c", "echo out; exit 0"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"out\n");
    assert!(heard.iter().all(|(_, body)| body.frame.pid == pid), "{heard:?}");
    let (_, last) = heard.last().unwrap();
    assert_eq!((last.flags, last.frame.status), (Flags::FINAL, Status::Ok));
}

#[test]
fn a_program_that_fails_says_how_once() {
    let listener = Listener::new();
    let (_, output, heard) = listener.run("exec", &["--", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    let ends: Vec<_> = heard.iter().filter(|(_, body)| body.frame.is_terminal()).collect();
    let [(_, end)] = ends.as_slice() else { panic!("{heard:?}") };
    assert_eq!((end.frame.status, end.frame.payload), (Status::Critical, 3));
}

#[test]
fn a_program_runs_before_its_observer() {
    let listener = Listener::new();
    std::fs::remove_file(&listener.path).unwrap();
    // The program itself waits until the observer has been heard from.
    let mut child = listener
        .command("exec", &["--every", "10ms", "--", "sh", "-c", "echo up; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    let late = UnixDatagram::bind(&listener.path).unwrap();
    let mut buffer = [0; 128];
    let len = late.recv(&mut buffer).unwrap();
    assert_eq!(local::parse(&buffer[..len]).unwrap().frame.pid, child.id());
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(said(&output).contains("there is no such socket"), "{output:?}");
}

#[test]
fn without_an_observer_a_beat_fails() {
    let listener = Listener::new();
    std::fs::remove_file(&listener.path).unwrap();
    let (_, output, _) = listener.run("beat", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("varta.sock: there is no such socket; start the observer"), "{output:?}");
}

#[test]
fn a_path_too_long_runs_nothing() {
    let path = "p".repeat(108);
    let output = Command::new(env!("CARGO_BIN_EXE_varta"))
        .args(["exec", "--socket", &path, "--", "sh", "-c", "echo ran"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "the program did not run");
    assert!(said(&output).contains("107 at most"), "{output:?}");
}

#[test]
fn a_key_or_a_socket_and_not_both() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_varta")).arg("beat").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        said(&output).to_owned()
    };
    let neither = refused(&[]);
    assert!(neither.contains("--key <FILE>|--socket <PATH>"), "{neither}");
    let both = refused(&["--key", "k", "--socket", "s"]);
    assert!(both.contains("cannot be used with"), "{both}");
    for option in [["--unit", "api"], ["--to", "h:1"], ["--audience", "obs-1"], ["--label", "a=b"]] {
        let told = refused(&["--socket", "s", option[0], option[1]]);
        assert!(told.contains("cannot be used with") && told.contains(option[0]), "{told}");
    }
}
