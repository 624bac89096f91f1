//! An observer in this process, agents that beat at it from plain sockets, and a client of its HTTP.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use varta_client::keyfile::create_secret_file;
use varta_config::{Listen, ObserverConfig};
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    Frame, Generation, Status,
    key::{AgentSecret, AudienceKey, IdentitySecret, Name, RootSecret},
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind},
};
use varta_watch::{Observer, RunError, RunOptions, Running};

use crate::clock::{realtime, wait};

pub(crate) const AUDIENCE: &str = "obs-1";

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// The vault's root in these tests.
pub(crate) fn root() -> RootSecret {
    RootSecret::from_bytes([7; 32])
}

/// A directory with a key file, and the configuration of an observer in it.
pub(crate) struct Rig {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: ObserverConfig,
}

impl Rig {
    /// An observer on free ports of loopback, with a state directory, and skew small enough to wait out.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("obs-1.observer.key");
        write_key(&key_file, AUDIENCE);
        let state_dir = directory.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = ObserverConfig::default();
        config.observer.key_file = Some(key_file);
        config.observer.state_dir = Some(state_dir);
        config.listen = vec![Listen::sealed(loopback)];
        config.http.listen = Some(loopback);
        config.acceptance.skew = Duration::from_millis(500);
        Self { directory, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start(&self) -> Observed {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<Observed, RunError> {
        Observer::start(self.config.clone(), RunOptions::default()).map(Observed)
    }

    /// Writes the configuration to a file and starts an observer from it.
    pub(crate) fn start_from(&self, file: &Path) -> Observed {
        std::fs::write(file, self.config.render()).unwrap();
        let options = RunOptions { config_file: Some(file.to_owned()), ..RunOptions::default() };
        Observed(Observer::start(ObserverConfig::load(file).unwrap(), options).unwrap())
    }

    pub(crate) fn refusal(&self) -> RunError {
        self.try_start().err().expect("the observer must not start")
    }
}

pub(crate) fn write_key(file: &Path, audience: &str) {
    let keys = ObserverKeyFile {
        audience: audience.to_owned(),
        secret: root().audience(name(audience)),
        identity: IdentitySecret::from_bytes([9; 32]),
        retiring: Vec::new(),
    };
    create_secret_file(file, &keys.render()).unwrap();
}

/// A running observer.
pub(crate) struct Observed(pub(crate) Running);

impl Observed {
    pub(crate) fn sealed(&self) -> SocketAddr {
        self.0.sealed_addrs()[0]
    }

    pub(crate) fn stop(self) {
        self.0.stop();
        self.0.join().unwrap();
    }

    /// The status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.0.http_addr().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: observer\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunk(body) } else { body.to_owned() })
    }

    /// All slots.
    pub(crate) fn slots(&self) -> Vec<Value> {
        let (status, body) = self.get("/api/v1/slots");
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(page["next"], Value::Null);
        page["slots"].as_array().unwrap().clone()
    }

    /// The slot of an agent and unit by name, once `is` holds for it.
    pub(crate) fn wait_slot(&self, agent: &str, unit: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait(&format!("{agent}/{unit} is so"), || {
            self.slots().into_iter().find(|slot| slot["agent"] == agent && slot["unit"] == unit).filter(&is)
        })
    }

    /// The value of one series.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        let line = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series} in\n{body}")).parse().unwrap()
    }

    /// How many datagrams the first listener refused for `reason`.
    pub(crate) fn rejected(&self, configured: SocketAddr, reason: &str) -> f64 {
        self.metric(&format!("varta_datagrams_rejected_total{{listener=\"{configured}\",reason=\"{reason}\"}}"))
    }
}

fn unchunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
    text
}

/// An agent's unit, with a session of its own.
pub(crate) struct Agent {
    socket: UdpSocket,
    key: AgentSecret,
    header: Header,
    agent: String,
    unit: String,
    pub(crate) pid: u32,
    pub(crate) next_due_ms: u32,
}

static SALT: AtomicU64 = AtomicU64::new(1);

impl Agent {
    pub(crate) fn new(agent: &str, unit: &str, generation: u32) -> Self {
        Self::over("127.0.0.1:0", agent, unit, generation)
    }

    /// An agent that sends from this address.
    pub(crate) fn over(from: &str, agent: &str, unit: &str, generation: u32) -> Self {
        let id = name(agent).agent_id();
        let generation = Generation(generation);
        Self {
            socket: UdpSocket::bind(from).unwrap(),
            key: AudienceKey::new(&root().audience(name(AUDIENCE))).agent(id, generation),
            header: Header {
                kind: Kind::Beat,
                audience: name(AUDIENCE).audience_id(),
                agent: id,
                generation,
                session_start: realtime(),
                salt: [0; 8],
                counter: 0,
            },
            agent: agent.to_owned(),
            unit: unit.to_owned(),
            pid: 4242,
            next_due_ms: 60_000,
        }
    }

    fn next_header(&mut self) -> Header {
        let header = Header { salt: SALT.fetch_add(1, Ordering::Relaxed).to_le_bytes(), ..self.header };
        self.header.counter += 1;
        header
    }

    fn body(&self, header: &Header, sent_at: u64, flags: Flags) -> Body {
        Body {
            frame: Frame {
                status: Status::Ok,
                pid: self.pid,
                timestamp: sent_at - header.session_start,
                nonce: header.counter + 1,
                payload: 17,
            },
            sent_at,
            next_due_ms: self.next_due_ms,
            lag_us: 0,
            unit: name(&self.unit).unit_id(),
            flags,
            boot: 1,
        }
    }

    /// A sealed beat, not sent.
    pub(crate) fn frame(&mut self, flags: Flags) -> Vec<u8> {
        let header = self.next_header();
        let body = self.body(&header, realtime().max(header.session_start), flags);
        seal::beat(&self.key, &header, &body).to_vec()
    }

    /// A sealed announce, not sent.
    pub(crate) fn announce(&mut self) -> Vec<u8> {
        let header = self.next_header();
        let body = self.body(&header, realtime().max(header.session_start), Flags::default());
        let pairs = [("agent", self.agent.as_str()), ("site", "ams"), ("unit", self.unit.as_str())];
        let mut metadata = Vec::new();
        for part in pairs.iter().flat_map(|(key, value)| [key, value]) {
            metadata.push(u8::try_from(part.len()).unwrap());
            metadata.extend(part.as_bytes());
        }
        let mut datagram = [0; ANNOUNCE_MAX_LEN];
        let len = seal::announce(&self.key, &header, &body, &metadata, &mut datagram).unwrap();
        datagram[..len].to_vec()
    }

    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        assert_eq!(self.socket.send_to(datagram, to).unwrap(), datagram.len());
    }
}
