//! What is measured: `varta relay` as it ships, a process of its own on the first core, and the keys of a throw-away fleet.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use varta_client::keyfile::UnixSeconds;
use varta_keys::{RelayKeyFile, Vault, create_all};
use varta_link::Identity;
use varta_vlp::key::{IdentitySecret, Peer, PublicKey};

use super::{feeder::Feeder, session::Dialled};
use crate::{
    clock,
    machine::{self, Cores},
    process::Process,
    receiver::spawn_on,
};

/// How long a relay may take to be ready; it may have a million units to bring back.
const READY: Duration = Duration::from_secs(60);
/// What a relay says when it is open.
const TAKES: &str = " takes observers on ";
const SERVES: &str = " serves http://";
/// A relay that uses less than this share of a core is at rest.
const REST: f64 = 0.02;

/// The name of the observer of that number.
pub(crate) fn observer_name(number: usize) -> String {
    format!("observer-{number:03}")
}

/// Keys of one relay and its observers.
pub(crate) struct Keys {
    relay: PathBuf,
    /// The first observer's key file.
    pub(crate) observer: PathBuf,
    /// By what observers know the relay.
    pub(crate) pin: PublicKey,
    pub(crate) identities: Vec<Identity>,
    _directory: TempDir,
}

impl Keys {
    /// Of so many observers.
    pub(crate) fn new(observers: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let vault = Vault::init(&directory.path().join("vault"))?;
        let mut change = vault.change()?;
        let now = UnixSeconds(clock::realtime().as_secs());
        let relay = change.add_relay("relay", "127.0.0.1:9920", false, now)?;
        let (file, observer) = (directory.path().join("relay.key"), directory.path().join("observer.key"));
        create_all([(file.as_path(), relay.render())])?;
        let mut identities = Vec::new();
        for number in 0..observers {
            let key = change.add_observer(&observer_name(number), "127.0.0.1:9900", false, now)?;
            if number == 0 {
                create_all([(observer.as_path(), key.render())])?;
            }
            identities.push(Identity::new(&key.identity));
        }
        change.commit()?;
        let pin = relay.identity.public();
        Ok(Self { relay: file, observer, pin, identities, _directory: directory })
    }

    /// The relay's secret, for one that the bench plays.
    pub(crate) fn relay_secret(&self) -> anyhow::Result<IdentitySecret> {
        Ok(RelayKeyFile::load(&self.relay)?.identity)
    }

    /// The pin as observer.toml has it.
    pub(crate) fn pin_text(&self) -> String {
        self.pin.to_text(Peer::Relay).to_string()
    }
}

/// How a relay is set up beside its defaults.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// Lines of `[fleet]`.
    pub(crate) fleet: String,
    /// Whole sections.
    pub(crate) more: String,
    /// No state directory.
    pub(crate) forgets: bool,
}

/// A running relay.
pub(crate) struct Server {
    cores: Cores,
    varta: PathBuf,
    setup: Setup,
    pub(crate) link: SocketAddr,
    pub(crate) http: SocketAddr,
    process: Option<Process>,
    directory: TempDir,
}

fn quoted(path: &Path) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&path.to_string_lossy())?)
}

fn config(keys: &Keys, setup: &Setup, state: &Path, link: SocketAddr, http: SocketAddr) -> anyhow::Result<String> {
    let mut text = format!("[relay]\nkey_file = {}\n", quoted(&keys.relay)?);
    if !setup.forgets {
        text += &format!("state_dir = {}\n", quoted(state)?);
    }
    text += &format!(
        "[link]\nlisten = \"{link}\"\n[http]\nlisten = \"{http}\"\n[fleet]\n{}\n{}\n",
        setup.fleet, setup.more
    );
    for (number, identity) in keys.identities.iter().enumerate() {
        let key = identity.public().to_text(Peer::Observer);
        text += &format!("[[observer]]\nname = \"{}\"\nkey = \"{}\"\n", observer_name(number), key.as_str());
    }
    Ok(text)
}

/// Where a relay listens, as its log says.
fn opened(log: &str) -> Option<anyhow::Result<(SocketAddr, SocketAddr)>> {
    let behind = |words: &str| {
        let line = log.split_inclusive('\n').find(|line| line.contains(words) && line.ends_with('\n'))?;
        let rest = line.split(words).nth(1)?;
        Some(rest.split([',', '\n']).next().unwrap_or_default().trim().to_owned())
    };
    let (link, http) = behind(TAKES).zip(behind(SERVES))?;
    let parse = |text: String| text.parse().with_context(|| format!("varta relay listens on {text:?}"));
    Some(parse(link).and_then(|link| Ok((link, parse(http)?))))
}

impl Server {
    /// A relay that knows nobody yet, on ports of the system's choice.
    pub(crate) fn start(cores: Cores, varta: &Path, keys: &Keys, setup: Setup) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let directory = tempfile::tempdir()?;
        let mut server = Self { cores, varta: varta.to_owned(), setup, link: any, http: any, process: None, directory };
        server.open(keys)?;
        Ok(server)
    }

    /// Starts it where it listened before, if it did, and waits until it is open.
    pub(crate) fn open(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let place = |name: &str| self.directory.path().join(name);
        let text = config(keys, &self.setup, &place("state"), self.link, self.http)?;
        fs::write(place("relay.toml"), text)?;
        let log = place("log");
        let mut command = Command::new(&self.varta);
        command.arg("relay").arg("--config").arg(place("relay.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut process = spawn_on(self.cores, &mut command)?;
        let ready = clock::wait_for(READY, || {
            let text = fs::read_to_string(&log)?;
            if let Some(status) = process.0.try_wait()? {
                bail!("varta relay ended with {status}: {text}");
            }
            opened(&text).transpose()
        })?;
        (self.link, self.http) = ready.context("varta relay does not say where it listens")?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once, without a word.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the relay does not run")?;
        process.0.kill()?;
        process.0.wait()?;
        Ok(())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("the relay does not run")?.id())
    }

    /// CPU time of all of it, nanoseconds.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        machine::cpu_ns(self.id()?)
    }

    /// Waits until it has nothing to do for a second and a half; it writes history once a second.
    pub(crate) fn rest(&self, limit: Duration) -> anyhow::Result<()> {
        const STEP: Duration = Duration::from_millis(500);
        let (mut before, mut calm) = (self.cpu_ns()?, 0);
        let rested = clock::wait_for(limit, || {
            clock::pass(STEP);
            let now = self.cpu_ns()?;
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of half a second")]
            let share = (now - before) as f64 / STEP.as_nanos() as f64;
            before = now;
            calm = if share < REST { calm + 1 } else { 0 };
            Ok((calm >= 3).then_some(()))
        })?;
        rested.with_context(|| format!("the relay was not at rest within {} s", limit.as_secs()))
    }

    /// How the observer of that number dials it.
    pub(crate) fn dialled(&self, keys: &Keys, number: usize) -> Dialled {
        let identity = keys.identities[number].clone();
        Dialled { remote: self.link, pin: keys.pin, identity, name: observer_name(number) }
    }

    /// Connects one played observer.
    pub(crate) fn connect(&self, feeder: &Feeder, keys: &Keys) -> anyhow::Result<super::session::Session> {
        let to = self.dialled(keys, 0);
        feeder.run(super::session::Session::connect(&to, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_where_a_relay_listens_once_it_is_all_there() {
        let text =
            "INFO relay takes observers on 127.0.0.1:7, as varta-relay:abc\nINFO relay serves http://127.0.0.1:8\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(opened(text).unwrap().unwrap(), (at("127.0.0.1:7"), at("127.0.0.1:8")));
        assert!(opened(&text[..text.len() - 1]).is_none(), "its line may not be whole yet");
        assert!(opened("relay takes observers on x, y\n relay serves http://z\n").unwrap().is_err());
    }
}
