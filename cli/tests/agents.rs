//! `varta beat` and `varta exec`, heard by a socket that opens what they send.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead as _, BufReader},
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use varta_client::keyfile::{AgentAudience, AgentKeyFile, create_secret_file};
use varta_vlp::{
    Generation, Status,
    key::{AgentSecret, AudienceKey, AudienceSecret, Name},
    open,
    sealed::{Body, Flags, Header, MAX_LEN, Message},
};

/// A socket in an observer's place, and an agent's key for it.
struct Listener {
    socket: UdpSocket,
    secret: AgentSecret,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Listener {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("web-1.agent.key");
        let derived = || {
            let audience = AudienceKey::new(&AudienceSecret::from_bytes([7; 32]));
            audience.agent(Name::new("web-1").unwrap().agent_id(), Generation(1))
        };
        let address = socket.local_addr().unwrap().to_string();
        let audiences = vec![AgentAudience { name: "obs-1".to_owned(), address, secret: derived() }];
        let file = AgentKeyFile { agent: "web-1".to_owned(), generation: Generation(1), audiences };
        create_secret_file(&key, &file.render()).unwrap();
        Self { socket, secret: derived(), key, _folder: folder }
    }

    /// Runs `varta VERB --key KEY ..` to its end; what it printed and what it sent.
    fn run(&self, verb: &str, arguments: &[&str]) -> (Output, Vec<(Header, Body)>) {
        let output = Command::new(env!("CARGO_BIN_EXE_varta"))
            .arg(verb)
            .arg("--key")
            .arg(&self.key)
            .args(arguments)
            .output()
            .unwrap();
        (output, self.heard())
    }

    /// The next beat, unless there is none for a while.
    fn next(&self) -> Option<Body> {
        let mut buffer = [0; MAX_LEN];
        let len = self.socket.recv(&mut buffer).ok()?;
        let datagram = &mut buffer[..len];
        let header = Header::parse(datagram).unwrap();
        Some(Message::parse(&header, open::open(&self.secret, datagram).unwrap()).unwrap().body)
    }

    /// Whether there is a beat of this status by and by.
    fn hears(&self, status: Status) -> bool {
        (0..1000).any(|_| self.next().is_some_and(|body| body.frame.status == status))
    }

    /// Everything that has arrived.
    fn heard(&self) -> Vec<(Header, Body)> {
        let mut heard = Vec::new();
        let mut buffer = [0; MAX_LEN];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let datagram = &mut buffer[..len];
            let header = Header::parse(datagram).unwrap();
            let opened = open::open(&self.secret, datagram).unwrap();
            heard.push((header, Message::parse(&header, opened).unwrap().body));
        }
        heard
    }
}

fn last_words(heard: &[(Header, Body)]) -> (bool, bool, Status, u32) {
    let (_, body) = heard.last().unwrap();
    (body.flags.has(Flags::FINAL), body.frame.is_terminal(), body.frame.status, body.frame.payload)
}

#[test]
fn one_beat_says_what_it_was_told() {
    let listener = Listener::new();
    let (output, heard) = listener.run("beat", &["--unit", "api", "--status", "degraded", "--payload", "42"]);
    assert!(output.status.success(), "{output:?}");
    let [(header, body)] = heard.as_slice() else { panic!("{} beats", heard.len()) };
    assert_eq!(header.agent, Name::new("web-1").unwrap().agent_id());
    assert_eq!(body.unit, Name::new("api").unwrap().unit_id());
    assert_eq!((body.frame.status, body.frame.payload, body.next_due_ms), (Status::Degraded, 42, 0));
}

#[test]
fn beats_are_counted_paced_and_ended() {
    let listener = Listener::new();
    let (output, heard) = listener.run("beat", &["--unit", "cron", "--every", "20ms", "--count", "3", "--final"]);
    assert!(output.status.success(), "{output:?}");
    let promised: Vec<_> = heard.iter().map(|(_, body)| body.next_due_ms).collect();
    assert_eq!(promised, [20, 20, 0, 0, 0], "two beats, and the last as a goodbye said three times");
    assert_eq!(last_words(&heard), (true, false, Status::Ok, 0));
    let counters: Vec<_> = heard.iter().map(|(header, _)| header.counter).collect();
    assert_eq!(counters, [0, 1, 2, 3, 4]);
}

#[test]
fn a_program_that_ends_well_says_goodbye() {
    let listener = Listener::new();
    let (output, heard) = listener.run("exec", &["--unit", "job", "--", "sh", "-c", "echo out; exit 0"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"out\n", "standard output is the program's own");
    assert_eq!(last_words(&heard), (true, false, Status::Ok, 0));
}

#[test]
fn a_program_that_fails_says_how() {
    let listener = Listener::new();
    let (output, heard) = listener.run("exec", &["--unit", "job", "--", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(last_words(&heard), (false, true, Status::Critical, 3));
    assert_eq!(heard.iter().filter(|(_, body)| body.frame.is_terminal()).count(), 3, "said three times");
}

#[test]
fn a_program_that_is_killed_says_by_what() {
    let listener = Listener::new();
    let (output, heard) = listener.run("exec", &["--unit", "job", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(128 + 9));
    assert_eq!(last_words(&heard), (false, true, Status::Critical, 256 + 9));
}

#[test]
fn a_stop_that_was_asked_for_is_a_goodbye() {
    let listener = Listener::new();
    // The program asks for its own stop by way of its parent, once it is there to be stopped.
    let script = "kill -TERM $PPID; while :; do sleep 1 & wait $!; done";
    let (output, heard) = listener.run("exec", &["--unit", "job", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(128 + 15));
    assert_eq!(last_words(&heard), (true, false, Status::Ok, 0));
}

#[test]
fn a_program_that_is_not_there_is_127_and_never_alive() {
    let listener = Listener::new();
    let (output, heard) = listener.run("exec", &["--unit", "job", "--", "/nowhere/at-all"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/at-all: cannot be run"));
    assert!(heard.is_empty());
}

#[test]
fn a_bad_key_runs_nothing() {
    let listener = Listener::new();
    let token = std::fs::read_to_string(&listener.key).unwrap().replace("VARTA-AGENT", "VARTA-ROOT");
    let bad = listener.key.with_file_name("bad.agent.key");
    create_secret_file(&bad, &token).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_varta"))
        .args(["exec", "--key"])
        .arg(&bad)
        .args(["--", "sh", "-c", "echo ran"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "the program did not run");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("bad.agent.key:"), "{said}");
    assert!(listener.heard().is_empty());
}

#[test]
fn a_program_that_notifies_is_believed_and_its_manager_too() {
    let listener = Listener::new();
    let folder = tempfile::tempdir().unwrap();
    let above = UnixDatagram::bind(folder.path().join("manager")).unwrap();
    above.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_varta"))
        .args(["exec", "--unit", "job", "--every", "20ms", "--notify", "--watchdog", "500ms", "--key"])
        .arg(&listener.key)
        .args(["--", "sh", "-c", "echo $NOTIFY_SOCKET $WATCHDOG_USEC $WATCHDOG_PID; read line; exit 0"])
        .env("NOTIFY_SOCKET", folder.path().join("manager"))
        .env("WATCHDOG_PID", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut told).unwrap();
    let (path, usec) = told.trim_end().split_once(' ').unwrap();
    assert_eq!(usec.trim_end(), "500000", "and no pid");
    let said = UnixDatagram::unbound().unwrap();
    let say = |message: &str| {
        said.send_to(message.as_bytes(), path).unwrap();
        let mut bytes = [0; 64];
        let len = above.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], message.as_bytes(), "handed on");
    };
    assert!(listener.hears(Status::Degraded), "it starts");
    say("READY=1");
    assert!(listener.hears(Status::Ok));
    assert!((0..1000).any(|_| listener.next().is_none()), "no pulse: it falls silent");
    say("WATCHDOG=1");
    assert!(listener.hears(Status::Ok));
    say("WATCHDOG=trigger");
    assert!(listener.hears(Status::Critical));
    say("STOPPING=1\nWATCHDOG=1");
    assert!(listener.hears(Status::Degraded));
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert_eq!(last_words(&listener.heard()), (true, false, Status::Ok, 0));
    assert!(!Path::new(path).exists(), "nothing is left behind");
}
