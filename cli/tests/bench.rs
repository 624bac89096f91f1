//! `varta bench load` as an observer would receive it.

use std::{
    collections::HashMap,
    net::UdpSocket,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use serde_json::Value;
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    AgentId, Generation, Reject,
    key::{AudienceKey, Name},
    open,
    sealed::{BEAT_LEN, Flags, Header, MAX_LEN, Message},
};

/// An observer's key, and a socket where an observer would be.
struct Stage {
    directory: tempfile::TempDir,
    socket: UdpSocket,
}

/// What came of a load.
struct Received {
    /// The line that it printed.
    line: Value,
    datagrams: Vec<Vec<u8>>,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            directory: tempfile::tempdir().expect("a directory"),
            socket: UdpSocket::bind("127.0.0.1:0").expect("loopback"),
        };
        for args in [&["init"][..], &["observer", "add", "obs-1", "--address", "127.0.0.1:9900", "-o", "."]] {
            let output = varta().arg("keys").args(args).current_dir(stage.directory.path()).output();
            assert!(output.expect("the program is built").status.success(), "{args:?}");
        }
        stage
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("obs-1.observer.key")
    }

    /// Runs a load on the socket and reads until it has ended and nothing more is there. Loopback delivers before it
    /// returns, so that all is there by then; a thread empties the socket meanwhile, for its buffer is small.
    fn load(&self, args: &[&str]) -> Received {
        let to = self.socket.local_addr().expect("bound").to_string();
        let (sender, receiver) = channel();
        let socket = self.socket.try_clone().expect("a descriptor");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        let (ended, end) = channel::<()>();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; MAX_LEN + 1];
            loop {
                let over = end.try_recv().is_ok();
                while let Ok(len) = socket.recv(&mut bytes) {
                    sender.send(bytes[..len].to_vec()).expect("the test reads");
                }
                if over {
                    return;
                }
            }
        });
        let output = run(&to, &self.key_file(), args);
        ended.send(()).expect("the reader waits for this");
        reader.join().expect("no panic");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{args:?}: {out}");
        assert_eq!(out.lines().count(), 1, "{out}");
        let datagrams = std::iter::from_fn(|| match receiver.recv_timeout(Duration::from_secs(10)) {
            Ok(datagram) => Some(datagram),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the reader has ended"),
        });
        Received { line: serde_json::from_str(&out).expect("JSON"), datagrams: datagrams.collect() }
    }

    /// Opens a datagram as the observer would.
    fn open(&self, datagram: &[u8]) -> Result<(Header, varta_vlp::sealed::Body), Reject> {
        let key = ObserverKeyFile::load(&self.key_file()).expect("its own key");
        let header = Header::parse(datagram)?;
        assert_eq!(header.audience, Name::new("obs-1").expect("a name").audience_id());
        let secret = AudienceKey::new(&key.secret).agent(header.agent, header.generation);
        let mut bytes = datagram.to_vec();
        let opened = open::open(&secret, &mut bytes)?;
        Ok((header, Message::parse(&header, opened)?.body))
    }

    /// The pairs of an announce, none of a beat.
    fn metadata(&self, datagram: &[u8]) -> (Vec<(String, String)>, Header) {
        let key = ObserverKeyFile::load(&self.key_file()).expect("its own key");
        let header = Header::parse(datagram).expect("a header");
        let secret = AudienceKey::new(&key.secret).agent(header.agent, header.generation);
        let mut bytes = datagram.to_vec();
        let opened = open::open(&secret, &mut bytes).expect("its tag is right");
        let message = Message::parse(&header, opened).expect("legal");
        let pairs = message.metadata.into_iter().flat_map(|metadata| metadata.iter());
        (pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), header)
    }
}

fn varta() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
    command.stdin(Stdio::null());
    command
}

fn run(to: &str, key: &std::path::Path, args: &[&str]) -> Output {
    let mut command = varta();
    command.args(["bench", "load", "--to", to, "--key"]).arg(key).args(args);
    command.output().expect("the program is built")
}

fn agent(number: u32) -> AgentId {
    Name::new(&format!("bench-{number:07}")).expect("a name").agent_id()
}

#[test]
fn beats_are_sealed_in_turn_and_counted() {
    let stage = Stage::new();
    let Received { line, datagrams } = stage.load(&["--agents", "3", "--count", "100", "--promise", "1500ms"]);
    assert_eq!(datagrams.len(), 100);
    let mut counters = HashMap::new();
    let (mut newest, mut sessions) = (0, Vec::new());
    for (number, datagram) in datagrams.iter().enumerate() {
        assert_eq!(datagram.len(), BEAT_LEN);
        let (header, body) = stage.open(datagram).expect("a beat that an observer accepts");
        assert_eq!(header.agent, agent(number as u32 % 3));
        let counter = counters.entry(header.agent).or_insert(0);
        assert_eq!((header.counter, body.frame.nonce), (*counter, *counter + 1));
        *counter += 1;
        assert!(body.sent_at > newest, "send times rise");
        newest = body.sent_at;
        assert_eq!((header.generation, body.next_due_ms, body.flags), (Generation(1), 1500, Flags::default()));
        assert_eq!(body.frame.timestamp, body.sent_at - header.session_start);
        sessions.push(header.session_start);
    }
    sessions.dedup();
    assert_eq!((counters.len(), sessions.len()), (3, 1));

    let to = stage.socket.local_addr().expect("bound").to_string();
    assert_eq!(line["to"], to);
    for (field, value) in [("agents", 3), ("sent", 100), ("goodbyes", 0), ("refused_by_kernel", 0)] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    let (sending, whole) = (line["sending_seconds"].as_f64().unwrap(), line["whole_seconds"].as_f64().unwrap());
    assert!(sending > 0.0 && sending <= whole, "{line}");
    let rate = line["per_second"].as_f64().unwrap();
    assert!((rate * sending / 100.0 - 1.0).abs() < 0.01, "{line}");
}

#[test]
fn salts_differ() {
    let stage = Stage::new();
    let Received { datagrams, .. } = stage.load(&["--agents", "2", "--count", "50"]);
    let salts: std::collections::HashSet<_> =
        datagrams.iter().map(|datagram| Header::parse(datagram).expect("a header").salt).collect();
    assert_eq!(salts.len(), 50);
}

#[test]
fn a_rate_is_kept_by_plan() {
    let stage = Stage::new();
    let Received { line, datagrams } = stage.load(&["--agents", "7", "--count", "120", "--rate", "1000"]);
    assert_eq!(datagrams.len(), 120);
    // The last one is due 119 ms after the first, however fast the machine is.
    let sending = line["sending_seconds"].as_f64().unwrap();
    assert!(sending >= 0.119, "{line}");
    assert!(line["per_second"].as_u64().unwrap() <= 1008, "{line}");
    let times: Vec<u64> = datagrams.iter().map(|datagram| stage.open(datagram).expect("a beat").1.sent_at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000), "one each millisecond, as planned: {times:?}");
}

#[test]
fn every_agent_says_goodbye() {
    let stage = Stage::new();
    let Received { line, datagrams } = stage.load(&["--agents", "40", "--count", "60", "--final"]);
    assert_eq!((line["sent"].as_u64(), line["goodbyes"].as_u64()), (Some(60), Some(40)));
    assert_eq!(datagrams.len(), 100);
    for (number, datagram) in datagrams[60..].iter().enumerate() {
        let (header, body) = stage.open(datagram).expect("a beat");
        assert_eq!((header.agent, body.flags), (agent(number as u32), Flags::FINAL));
        assert_eq!(header.counter, if number < 20 { 2 } else { 1 }, "the counters go on");
    }
    assert!(datagrams[..60].iter().all(|datagram| stage.open(datagram).expect("a beat").1.flags == Flags::default()));
}

#[test]
fn every_agent_is_announced_with_its_name_and_the_labels() {
    let stage = Stage::new();
    let args = ["--agents", "40", "--count", "60", "--announce", "--label", "site=zrh", "--label", "ad=1"];
    let Received { line, datagrams } = stage.load(&args);
    assert_eq!((line["sent"].as_u64(), line["announces"].as_u64()), (Some(60), Some(40)));
    assert_eq!(datagrams.len(), 100);
    for (number, datagram) in datagrams.iter().enumerate() {
        let (metadata, header) = stage.metadata(datagram);
        assert_eq!((header.agent, header.counter), (agent(number as u32 % 40), number as u64 / 40), "in turn");
        let name = format!("bench-{number:07}");
        let host = format!("{name}.example");
        let announced = [("ad", "1"), ("agent", &name), ("host", &host), ("site", "zrh")];
        let announced = announced.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(metadata, if number < 40 { announced.to_vec() } else { vec![] });
    }
    for label in ["site", "agent=other", "=empty"] {
        let to = stage.socket.local_addr().expect("bound").to_string();
        let output = run(&to, &stage.key_file(), &["--announce", "--label", label]);
        assert!(!output.status.success(), "{label}");
    }
}

#[test]
fn each_kind_of_garbage_is_refused_where_it_should_be() {
    let stage = Stage::new();
    let load = |kind: &[&str]| {
        let args = [&["--agents", "5", "--count", "64", "--garbage"], kind].concat();
        let received = stage.load(&args);
        assert_eq!(received.line["sent"], 64);
        assert_eq!(received.datagrams.len(), 64);
        assert!(received.datagrams.iter().all(|datagram| datagram.len() == BEAT_LEN));
        received.datagrams
    };
    let agents: Vec<AgentId> = (0..5).map(agent).collect();
    for noise in [load(&[]), load(&["noise"])] {
        let legal = noise.iter().filter(|datagram| Header::parse(datagram).is_ok()).count();
        assert_eq!(legal, 0, "four bytes of noise are right once in four billion");
    }
    for datagram in load(&["header"]) {
        let header = Header::parse(&datagram).expect("the right header");
        assert!(!agents.contains(&header.agent));
        assert_eq!(stage.open(&datagram).err(), Some(Reject::AuthFailure));
    }
    for datagram in load(&["tag"]) {
        let header = Header::parse(&datagram).expect("the right header");
        assert!(agents.contains(&header.agent));
        assert_eq!(stage.open(&datagram).err(), Some(Reject::AuthFailure));
    }
}

#[test]
fn what_nobody_receives_is_said() {
    let stage = Stage::new();
    let to = stage.socket.local_addr().expect("bound").to_string();
    let key = stage.key_file();
    // It keeps the port from others, and receives from nobody but one who never sends.
    stage.socket.connect("127.0.0.1:9").expect("no packet is sent for this");
    let output = run(&to, &key, &["--count", "320"]);
    let line: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), line["sent"].as_u64()), (Some(0), Some(320)));
    assert!(line["refused_by_kernel"].as_u64().unwrap() > 0, "{line}");
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let to = stage.socket.local_addr().expect("bound").to_string();
    let absent = stage.directory.path().join("absent.key");
    let key = stage.key_file();
    for (target, code) in [
        ("192.0.2.1:9900", 2),
        ("8.8.8.8:53", 2),
        ("[2001:db8::1]:9900", 2),
        ("[::ffff:8.8.8.8]:9900", 2),
        ("169.254.0.1:9900", 2),
        ("0.0.0.0:9900", 2),
        ("example.com:9900", 2),
        ("127.0.0.1:0", 2),
    ] {
        let output = run(target, &key, &[]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(code), true), "{target}: {err}");
        assert!(err.contains("--to"), "{target}: {err}");
    }
    for (args, word) in [
        (&["--rate", "0"][..], "--rate"),
        (&["--rate", "fast"], "--rate"),
        (&["--rate", "1000000001"], "--rate"),
        (&["--agents", "0"], "--agents"),
        (&["--count", "0"], "--count"),
        (&["--promise", "0s"], "--promise"),
        (&["--garbage", "rubbish"], "--garbage"),
        (&["--garbage", "noise", "--final"], "--final"),
    ] {
        let output = run(&to, &key, args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(word), "{args:?}: {err}");
    }
    let output = run(&to, &absent, &[]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("absent.key"), "{err}");

    stage.socket.set_nonblocking(true).expect("a socket");
    assert!(stage.socket.recv(&mut [0; 1]).is_err(), "nothing was sent");
}
