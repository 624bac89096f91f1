//! Making a sealed handle.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use varta_vlp::{Generation, UnitId, key::Name};

use super::{
    super::course::{Course, whole_ms},
    ConnectError, MAX_AUDIENCES, SealedTransport,
    audience::Audience,
    endpoint::Endpoint,
};
use crate::{
    announce::{Announcement, RESERVED, check_label},
    boot,
    client::Varta,
    keyfile::{AgentAudience, AgentKeyFile},
    process::{Process, Refused},
    sources::{OsSources, Sources},
};

/// How a sealed handle is to be. Begun by [`Varta::builder`].
#[derive(Debug, Default)]
#[must_use = "nothing is connected before `connect`"]
pub struct SealedBuilder {
    key: Option<Key>,
    unit: Option<String>,
    every: Duration,
    labels: BTreeMap<String, String>,
    host: Option<String>,
    version: Option<String>,
    only: Vec<String>,
    address: Option<String>,
    reconnect_after: u32,
}

#[derive(Debug)]
enum Key {
    File(PathBuf),
    Read(AgentKeyFile),
}

impl SealedBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The agent key file to read.
    pub fn key_file(mut self, path: impl AsRef<Path>) -> Self {
        self.key = Some(Key::File(path.as_ref().to_owned()));
        self
    }

    /// An agent key already read.
    pub fn key(mut self, key: AgentKeyFile) -> Self {
        self.key = Some(Key::Read(key));
        self
    }

    /// The unit's name: what the process is, whatever its pid. Without one it is known by its pid.
    pub fn unit(mut self, name: impl Into<String>) -> Self {
        self.unit = Some(name.into());
        self
    }

    /// The promise: every beat promises another within this, in whole milliseconds, rounded up. Also the plan by which
    /// the handle tells how late a beat is. Zero, as at first, promises nothing. Above 60 s each beat is sent three
    /// times; observers hold promises to their `max_promise`, 1 h unless they say otherwise.
    pub fn every(mut self, promise: Duration) -> Self {
        self.every = promise;
        self
    }

    /// A label to be announced, for grouping. Keys have 1 to 32 bytes, values up to 255 and no control characters. A
    /// later label of the same key replaces an earlier.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Several labels.
    pub fn labels<K: Into<String>, V: Into<String>>(mut self, labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.labels.extend(labels);
        self
    }

    /// The host's name to announce, in place of the kernel's. An empty one is not announced.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// The program's version to announce, in place of this library's. An empty one is not announced.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Beats to this audience of the key only; may be called again for another. Without a call, to all.
    pub fn audience(mut self, name: impl Into<String>) -> Self {
        self.only.push(name.into());
        self
    }

    /// The observer's address, `host:port`, in place of the key's. The key must have one audience, or one be chosen.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// See [`Varta::set_reconnect_after`].
    pub fn reconnect_after(mut self, beats: u32) -> Self {
        self.reconnect_after = beats;
        self
    }

    /// Reads the key, resolves names, makes sockets. Sends nothing. May block and allocate.
    ///
    /// An audience whose name does not resolve yet, or to which there is no way yet, does not keep the others waiting:
    /// it is tried again while running, and its outcome says so.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::NoWay`] only where no audience at all can be connected to.
    pub fn connect(self) -> Result<Varta<SealedTransport>, ConnectError> {
        self.connect_with(OsSources)
    }

    /// Connects with time, randomness and pid from elsewhere, for tests. A production build uses
    /// [`connect`](Self::connect): salts that are not the operating system's own may repeat, and a frame sealed twice
    /// under one nonce gives its key's protection away.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with<S: Sources>(mut self, mut sources: S) -> Result<Varta<SealedTransport<S>>, ConnectError> {
        let key = match self.key.take() {
            None => return Err(ConnectError::NoKey),
            Some(Key::Read(key)) => key,
            Some(Key::File(path)) => AgentKeyFile::load(&path)?,
        };
        if key.generation == Generation(0) {
            return Err(ConnectError::Generation { agent: key.agent });
        }
        let AgentKeyFile { agent: agent_name, generation, .. } = key;
        let agent = check_name("agent", &agent_name)?.agent_id();
        let mut audiences = self.choose(key.audiences)?;
        let announcement = self.announcement(&agent_name)?;
        let pid = sources.pid();
        if pid == 1 && self.unit.is_none() {
            return Err(ConnectError::UnitRequired);
        }
        let unit = self.unit.as_deref().map(|name| check_name("unit", name)).transpose()?;
        let now = sources.now().map_err(ConnectError::Clock)?;
        for audience in &mut audiences {
            audience.prove_entropy(&mut sources).map_err(ConnectError::Entropy)?;
        }
        let process = Process::enter(pid, now.boottime_ns).map_err(ConnectError::ForkDetection)?;
        let mut transport = SealedTransport {
            sources,
            resolver_mark: process.mark(),
            process,
            agent_name,
            agent,
            generation,
            unit: unit.map_or(UnitId::NONE, Name::unit_id),
            announcement,
            boot: boot::read(),
            course: Course::new(whole_ms(self.every)),
            audiences,
            resolver: None,
            reconnect_after: self.reconnect_after,
            clock_regressions: 0,
            fork_recoveries: 0,
            entropy_failures: 0,
        };
        if let Some(unit) = unit {
            transport.announcement.name_unit(unit);
        }
        match transport.claim_all(transport.unit) {
            Ok(places) => transport.take_all(places),
            Err((_, Refused::Full)) => return Err(ConnectError::TooManyHandles),
            Err((audience, Refused::Taken)) => {
                return Err(ConnectError::AlreadyOpen {
                    agent: transport.agent_name.clone(),
                    unit: self.unit.unwrap_or_default(),
                    audience,
                });
            }
        }
        connect_all(&mut transport.audiences, now.boottime_ns)?;
        transport.watch_names().map_err(ConnectError::Resolver)?;
        Ok(Varta::over(transport))
    }

    fn choose(&self, audiences: Vec<AgentAudience>) -> Result<Vec<Audience>, ConnectError> {
        let list = |audiences: &[AgentAudience]| {
            let names: Vec<_> = audiences.iter().map(|audience| audience.name.as_str()).collect();
            names.join(", ")
        };
        if audiences.is_empty() || audiences.len() > MAX_AUDIENCES {
            return Err(ConnectError::AudienceCount { count: audiences.len() });
        }
        if let Some(name) = self.only.iter().find(|name| audiences.iter().all(|has| has.name != **name)) {
            return Err(ConnectError::NoSuchAudience { name: name.clone(), known: list(&audiences) });
        }
        let mut chosen = audiences;
        if !self.only.is_empty() {
            chosen.retain(|audience| self.only.contains(&audience.name));
        }
        if self.address.is_some() && chosen.len() != 1 {
            return Err(ConnectError::OneAddress { count: chosen.len(), known: list(&chosen) });
        }
        chosen
            .into_iter()
            .map(|audience| {
                let id = check_name("audience", &audience.name)?.audience_id();
                let address = self.address.as_ref().unwrap_or(&audience.address);
                let endpoint = Endpoint::parse(address).map_err(|source| ConnectError::BadAddress {
                    audience: audience.name.clone(),
                    address: address.clone(),
                    source,
                })?;
                Ok(Audience::new(audience.name, id, endpoint, audience.secret))
            })
            .collect()
    }

    fn announcement(&self, agent: &str) -> Result<Announcement, ConnectError> {
        for (key, value) in &self.labels {
            if RESERVED.contains(&key.as_str()) {
                return Err(ConnectError::ReservedLabel { key: key.clone() });
            }
            check_label(key, value).map_err(|source| ConnectError::BadLabel { key: key.clone(), source })?;
        }
        let mut pairs = self.labels.clone();
        pairs.insert("agent".to_owned(), agent.to_owned());
        let kernels = || {
            let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
            // A host may have a name that cannot be announced; it is then not announced.
            check_label("host", &name).is_ok().then_some(name)
        };
        let host = self.host.clone().or_else(kernels).unwrap_or_default();
        let version = self.version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
        for (key, value) in [("host", host), ("version", version)] {
            check_label(key, &value).map_err(|source| ConnectError::BadLabel { key: key.to_owned(), source })?;
            if !value.is_empty() {
                pairs.insert(key.to_owned(), value);
            }
        }
        Announcement::new(&pairs).map_err(ConnectError::Announcement)
    }
}

fn check_name<'a>(what: &'static str, name: &'a str) -> Result<Name<'a>, ConnectError> {
    Name::new(name).map_err(|source| ConnectError::BadName { what, name: name.to_owned(), source })
}

/// Connects to as many as can be; that is enough.
fn connect_all(audiences: &mut [Audience], boottime_ns: u64) -> Result<(), ConnectError> {
    let mut failure = None;
    let mut connected = false;
    for audience in audiences {
        match audience.connect(boottime_ns) {
            Ok(()) => connected = true,
            Err(source) => {
                let no_way = || ConnectError::NoWay {
                    audience: audience.name.clone(),
                    address: audience.endpoint.to_string(),
                    source,
                };
                failure = failure.or_else(|| Some(no_way()));
            }
        }
    }
    match failure {
        Some(error) if !connected => Err(error),
        _ => Ok(()),
    }
}
