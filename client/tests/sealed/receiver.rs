//! An observer's ear on loopback, and a host whose clocks and randomness obey the test.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use varta_client::{
    Sources,
    keyfile::{AgentAudience, AgentKeyFile},
    session::{SenderTime, Starts},
};
use varta_vlp::{
    Generation,
    key::{AudienceKey, AudienceSecret, Name},
    open,
    sealed::{Body, Header, MAX_LEN, Message},
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const GENERATION: Generation = Generation(3);

pub(crate) struct Receiver {
    pub(crate) name: &'static str,
    pub(crate) socket: UdpSocket,
    key: AudienceKey,
}

#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) header: Header,
    pub(crate) body: Body,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    pub(crate) from: SocketAddr,
}

impl Receiver {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::at(name, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn at(name: &'static str, address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let key = AudienceKey::new(&AudienceSecret::from_bytes([name.len() as u8; 32]));
        Self { name, socket, key }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) fn audience(&self, agent: &str) -> AgentAudience {
        AgentAudience {
            name: self.name.to_owned(),
            address: self.address().to_string(),
            secret: self.key.agent(Name::new(agent).unwrap().agent_id(), GENERATION),
        }
    }

    /// What is received next, opened and checked.
    pub(crate) fn next(&self) -> Heard {
        let mut buffer = [0; MAX_LEN + 1];
        let (len, from) = self.socket.recv_from(&mut buffer).expect("a datagram within the limit");
        let datagram = &mut buffer[..len];
        let header = Header::parse(datagram).unwrap();
        let secret = self.key.agent(header.agent, header.generation);
        let message = Message::parse(&header, open::open(&secret, datagram).unwrap()).unwrap();
        let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Heard {
            header,
            body: message.body,
            metadata: message.metadata.map(|metadata| metadata.iter().map(text).collect()),
            from,
        }
    }

    /// Whether nothing more has arrived. Loopback delivers before `send` returns.
    pub(crate) fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let quiet = self.socket.recv(&mut [0; 8]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
        quiet
    }
}

pub(crate) fn key(agent: &str, receivers: &[&Receiver]) -> AgentKeyFile {
    AgentKeyFile {
        agent: agent.to_owned(),
        generation: GENERATION,
        audiences: receivers.iter().map(|receiver| receiver.audience(agent)).collect(),
    }
}

/// Clocks that move when they are told to, and randomness that can fail.
#[derive(Clone)]
pub(crate) struct Host {
    realtime_ns: Arc<AtomicU64>,
    boottime_ns: Arc<AtomicU64>,
    starts: &'static Starts,
    salts: Arc<AtomicU64>,
    pub(crate) has_entropy: Arc<AtomicBool>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            realtime_ns: Arc::new(AtomicU64::new(1_800_000_000 * SECOND)),
            // Later than the boottime of any machine, since handles of one process share its first connect.
            boottime_ns: Arc::new(AtomicU64::new(1_000_000_000 * SECOND)),
            starts: Box::leak(Box::default()),
            salts: Arc::default(),
            has_entropy: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(crate) fn now(&self) -> SenderTime {
        SenderTime {
            realtime_ns: self.realtime_ns.load(Ordering::Relaxed),
            boottime_ns: self.boottime_ns.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn pass(&self, ns: u64) {
        self.realtime_ns.fetch_add(ns, Ordering::Relaxed);
        self.boottime_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Sources for Host {
    fn now(&mut self) -> io::Result<SenderTime> {
        Ok(Host::now(self))
    }

    fn salt(&mut self) -> io::Result<[u8; 8]> {
        if self.has_entropy.load(Ordering::Relaxed) {
            Ok(self.salts.fetch_add(1, Ordering::Relaxed).to_le_bytes())
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn pid(&mut self) -> u32 {
        std::process::id()
    }

    fn starts(&self) -> &'static Starts {
        self.starts
    }
}
