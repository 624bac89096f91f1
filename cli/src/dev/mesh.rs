//! The daemons of the mesh: a relay, and two observers that report to it and watch each other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use varta_client::keyfile::{AgentAudience, AgentKeyFile, create_secret_file};
use varta_config::{Listen, LogLevel, ObserverConfig, RelayConfig, RelayLink, RelayObserver};
use varta_keys::{ObserverKeyFile, RelayKeyFile};
use varta_vlp::{
    Generation,
    key::{AudienceKey, AudienceSecret, IdentitySecret, Name, Peer},
};
use varta_watch::{
    Observer, logging,
    run::{RunOptions, Running},
};
use zeroize::Zeroizing;

use super::DevArgs;
use crate::watch::color;

/// The observers, by site.
const OBSERVERS: [(&str, &str); 2] = [("obs-dev", "north"), ("obs-dev-2", "south")];
const RELAY: &str = "relay-dev";

pub(super) struct Mesh {
    relay: varta_relay::Running,
    observers: Vec<(ObserverKeyFile, PathBuf, Running)>,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn fresh() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
    Ok(bytes)
}

/// A key file that was made before, or a fresh one.
fn key_file<K>(
    file: &Path,
    load: impl FnOnce(&Path) -> anyhow::Result<K>,
    make: impl FnOnce() -> anyhow::Result<(K, Zeroizing<String>)>,
) -> anyhow::Result<K> {
    if file.exists() {
        return load(file);
    }
    let (key, text) = make()?;
    create_secret_file(file, &text)?;
    Ok(key)
}

fn observer_key(file: &Path, name: &str) -> anyhow::Result<ObserverKeyFile> {
    key_file(
        file,
        |file| Ok(ObserverKeyFile::load(file)?),
        || {
            let key = ObserverKeyFile {
                audience: name.to_owned(),
                secret: AudienceSecret::from_bytes(fresh()?),
                identity: IdentitySecret::from_bytes(fresh()?),
                retiring: Vec::new(),
            };
            let text = key.render();
            Ok((key, text))
        },
    )
}

/// The key of the agent of this name at an observer.
pub(super) fn audience(key: &ObserverKeyFile, address: SocketAddr, agent: &str) -> anyhow::Result<AgentAudience> {
    let secret = AudienceKey::new(&key.secret).agent(Name::new(agent)?.agent_id(), Generation(1));
    Ok(AgentAudience { name: key.audience.clone(), address: address.to_string(), secret })
}

impl Mesh {
    pub(super) fn start(args: &DevArgs, home: &Path) -> anyhow::Result<Self> {
        let files = OBSERVERS.map(|(name, _)| home.join(format!("{name}.observer.key")));
        let keys = OBSERVERS.iter().zip(&files).map(|((name, _), file)| observer_key(file, name));
        let keys = keys.collect::<anyhow::Result<Vec<_>>>()?;
        let log = logging::init(&varta_config::Log { level: LogLevel::Info, ..Default::default() }, color())?;
        let relay = start_relay(args, home, &keys)?;
        let link = RelayLink { address: relay.addresses().link.to_string(), pin: relay.addresses().pin.clone() };
        let mut observers: Vec<(ObserverKeyFile, PathBuf, Running)> = Vec::new();
        for (number, (key, file)) in keys.into_iter().zip(files).enumerate() {
            let (name, _) = OBSERVERS[number];
            let first = number == 0;
            let mut config = ObserverConfig::default();
            config.observer.name = Some(name.to_owned());
            config.observer.key_file = Some(file.clone());
            config.observer.state_dir = Some(home.join(if first { "observer" } else { "observer-2" }));
            config.listen = vec![Listen::sealed(loopback(if first { args.sealed_port } else { 0 }))];
            config.http.listen = Some(loopback(if first { args.http_port } else { 0 }));
            config.log.level = LogLevel::Info;
            config.relay = vec![link.clone()];
            // The second one beats to the first.
            if let Some((peer, _, running)) = observers.first() {
                let sealed = running.sealed_addrs().first().copied().context("an observer hears nobody")?;
                let audiences = vec![audience(peer, sealed, name)?];
                let beats = AgentKeyFile { agent: name.to_owned(), generation: Generation(1), audiences };
                let file = home.join(format!("{name}.agent.key"));
                // Its peer may be elsewhere than the last time.
                let _ = std::fs::remove_file(&file);
                create_secret_file(&file, &beats.render())?;
                config.peers.key_file = Some(file);
            }
            let options = RunOptions { log: Some(log.clone()), ..RunOptions::default() };
            observers.push((key, file, Observer::start(config, options)?));
        }
        Ok(Self { relay, observers })
    }

    /// Each observer's key, and where it hears agents.
    pub(super) fn audiences(&self) -> anyhow::Result<Vec<(&ObserverKeyFile, SocketAddr)>> {
        let address = |running: &Running| running.sealed_addrs().first().copied().context("an observer hears nobody");
        self.observers.iter().map(|(key, _, running)| Ok((key, address(running)?))).collect()
    }

    /// Where the observers serve HTTP.
    pub(super) fn observers(&self) -> impl Iterator<Item = SocketAddr> {
        self.observers.iter().filter_map(|(_, _, running)| running.http_addr())
    }

    /// Where the dashboard is.
    pub(super) fn dashboard(&self) -> Option<SocketAddr> {
        self.relay.addresses().http
    }

    /// Where the first observer hears agents, and its key file.
    pub(super) fn sealed(&self) -> anyhow::Result<(SocketAddr, &Path)> {
        let (_, file, running) = self.observers.first().context("there is no observer")?;
        Ok((running.sealed_addrs().first().copied().context("the observer hears nobody")?, file))
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.observers.iter().for_each(|(_, _, running)| running.stop());
        for (_, _, running) in self.observers {
            running.join()?;
        }
        self.relay.stop();
        self.relay.join()?;
        Ok(())
    }
}

fn start_relay(args: &DevArgs, home: &Path, keys: &[ObserverKeyFile]) -> anyhow::Result<varta_relay::Running> {
    let file = home.join(format!("{RELAY}.relay.key"));
    key_file(
        &file,
        |file| Ok(RelayKeyFile::load(file)?),
        || {
            let key = RelayKeyFile { relay: RELAY.to_owned(), identity: IdentitySecret::from_bytes(fresh()?) };
            let text = key.render();
            Ok((key, text))
        },
    )?;
    let mut config = RelayConfig::default();
    config.relay.key_file = Some(file);
    config.relay.state_dir = Some(home.join("relay"));
    config.link.listen = Some(loopback(0));
    config.http.listen = Some(loopback(args.dashboard_port));
    let observer = |(key, (name, site)): (&ObserverKeyFile, (&str, &str))| RelayObserver {
        name: Some(name.to_owned()),
        key: key.identity.public().to_text(Peer::Observer).to_string(),
        site: Some(site.to_owned()),
        ..RelayObserver::default()
    };
    config.observer = keys.iter().zip(OBSERVERS).map(observer).collect();
    Ok(varta_relay::start(config, varta_relay::RunOptions::default())?)
}
