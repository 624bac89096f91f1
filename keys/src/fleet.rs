//! The fleet's record, `fleet.toml` of a vault: what was ever issued. Public, plain, in a fixed order.

use std::collections::BTreeMap;
use std::path::Path;

use varta_client::keyfile::{AgentKeyFile, ContentError, Fault, Section, UnixSeconds, push_quoted};
use varta_vlp::key::{Peer, PublicKey};

use crate::names::Names;
use crate::pieces::read_agents;
use crate::public_file::{LoadError, read_public_file};
use crate::roster::{Roster, RosterAgent, claim};

/// Everything a vault ever issued, without any secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Rises with every change; the roster's version.
    pub version: u64,
    /// Observers by name.
    pub observers: BTreeMap<String, FleetObserver>,
    /// Relays by name.
    pub relays: BTreeMap<String, FleetRelay>,
    /// Agents by name.
    pub agents: BTreeMap<String, FleetAgent>,
}

/// An observer of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetObserver {
    /// Its address, `host:port`.
    pub address: String,
    /// By what a relay knows it; `None` of one that was added before that was recorded.
    pub key: Option<PublicKey>,
    /// When it was added.
    pub created: UnixSeconds,
    /// Gone: agents are no longer issued keys for it, and its name is never given again.
    pub retired: bool,
}

/// A relay of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetRelay {
    /// Where observers dial, `host:port`.
    pub address: String,
    /// By what they know it.
    pub key: PublicKey,
    /// When it was added.
    pub created: UnixSeconds,
    /// Gone: its name is never given again.
    pub retired: bool,
}

/// An agent of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAgent {
    /// What the roster says of it.
    pub entry: RosterAgent,
    /// The audiences of its newest key file.
    pub audiences: Vec<String>,
    /// The audiences were chosen for it; otherwise they are all observers there were.
    pub chosen_audiences: bool,
    /// When it was first issued.
    pub created: UnixSeconds,
    /// Gone: it is not in the roster, and its name is never given again.
    pub retired: bool,
}

const KEYS: &[&str] = &["format", "version", "observer", "relay", "agent"];
const OBSERVER_KEYS: &[&str] = &["name", "address", "key", "created", "retired"];
/// The keys of [`RosterAgent`] and those the record has beside them.
const AGENT_KEYS: &[&str] = &[
    "name",
    "generation",
    "labels",
    "expires",
    "required",
    "recovery",
    "max_promise",
    "max_hold",
    "generation_overlap",
    "return_within",
    "revoked",
    "audiences",
    "chosen_audiences",
    "created",
    "retired",
];

impl Fleet {
    /// A fleet has at most this many observers.
    pub const MAX_OBSERVERS: usize = 10_000;
    /// A fleet has at most this many relays.
    pub const MAX_RELAYS: usize = 1000;
    /// The version of the file's form that this program writes and reads.
    pub const FORMAT: u64 = 1;

    /// Reads and checks `file`, under the rules of [`Roster::load`].
    ///
    /// # Errors
    /// The file cannot be read or breaks a rule, or a mistake in its contents.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let text = read_public_file(file)?;
        Ok(Self::parse(&text, file)?)
    }

    /// Reads the text of a record that came from `file`, which is only named in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ContentError> {
        let head = |root: &Section<'_>| {
            root.version("format", Self::FORMAT)?;
            let mut fleet = Self { version: root.integer("version", 1..=u64::MAX)?, ..Self::default() };
            let mut names = Names::new(|name| name.audience_id());
            for section in root.sections("observer", OBSERVER_KEYS, 0..=Self::MAX_OBSERVERS)? {
                claim(&mut names, &section)?;
                let (name, observer) = FleetObserver::read(&section)?;
                fleet.observers.insert(name, observer);
            }
            for section in root.sections("relay", OBSERVER_KEYS, 0..=Self::MAX_RELAYS)? {
                let (name, relay) = FleetRelay::read(&section)?;
                if fleet.relays.insert(name, relay).is_some() {
                    return Err(section.fault("name", Fault::Duplicate { first: "a relay before it".to_owned() }));
                }
            }
            Ok(fleet)
        };
        let mut names = Names::new(|name| name.agent_id());
        let agent = |fleet: &mut Self, section: &Section<'_>| {
            claim(&mut names, section)?;
            let agent = FleetAgent::read(section, &fleet.observers)?;
            fleet.agents.insert(agent.entry.name.clone(), agent);
            Ok(())
        };
        read_agents(text, file, KEYS, AGENT_KEYS, Roster::MAX_AGENTS, head, agent)
    }

    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(1024 + self.agents.len() * 192);
        out.push_str("# Varta fleet: everything this vault ever issued. Public; written by `varta keys`.\n");
        out.push_str("# Names stay here for good, so that no id is given twice. Who edits this raises the version.\n");
        out.push_str(&format!("format = {}\nversion = {}\n", Self::FORMAT, self.version));
        for (name, observer) in &self.observers {
            out.push_str("\n[[observer]]\nname = ");
            push_quoted(&mut out, name);
            out.push_str("\naddress = ");
            push_quoted(&mut out, &observer.address);
            push_key(&mut out, Peer::Observer, observer.key);
            push_life(&mut out, observer.created, observer.retired);
        }
        for (name, relay) in &self.relays {
            out.push_str("\n[[relay]]\nname = ");
            push_quoted(&mut out, name);
            out.push_str("\naddress = ");
            push_quoted(&mut out, &relay.address);
            push_key(&mut out, Peer::Relay, Some(relay.key));
            push_life(&mut out, relay.created, relay.retired);
        }
        for agent in self.agents.values() {
            out.push_str("\n[[agent]]\n");
            agent.push(&mut out);
        }
        out
    }

    /// The roster of this fleet: every agent that is not retired.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let agents = self.agents.values().filter(|agent| !agent.retired);
        Roster { version: self.version, agents: agents.map(|agent| agent.entry.clone()).collect() }
    }
}

impl FleetObserver {
    fn read(section: &Section<'_>) -> Result<(String, Self), ContentError> {
        let observer = Self {
            address: section.address("address")?.to_owned(),
            key: public_key(section, Peer::Observer)?,
            created: created(section)?,
            retired: section.flag("retired")?,
        };
        Ok((section.name("name")?.as_str().to_owned(), observer))
    }
}

impl FleetRelay {
    fn read(section: &Section<'_>) -> Result<(String, Self), ContentError> {
        let key = public_key(section, Peer::Relay)?;
        let relay = Self {
            address: section.address("address")?.to_owned(),
            key: key.ok_or_else(|| section.fault("key", Fault::MissingKey))?,
            created: created(section)?,
            retired: section.flag("retired")?,
        };
        Ok((section.name("name")?.as_str().to_owned(), relay))
    }
}

fn public_key(section: &Section<'_>, peer: Peer) -> Result<Option<PublicKey>, ContentError> {
    let text = section.opt_str("key")?;
    let key = text.map(|text| PublicKey::from_text(peer, text)).transpose();
    key.map_err(|error| section.fault("key", Fault::Value(error.to_string())))
}

fn push_key(out: &mut String, peer: Peer, key: Option<PublicKey>) {
    if let Some(key) = key {
        out.push_str("\nkey = ");
        push_quoted(out, key.to_text(peer).as_str());
    }
}

fn push_life(out: &mut String, created: UnixSeconds, retired: bool) {
    out.push_str(&format!("\ncreated = {created}\n"));
    if retired {
        out.push_str("retired = true\n");
    }
}

impl FleetAgent {
    fn read(section: &Section<'_>, observers: &BTreeMap<String, FleetObserver>) -> Result<Self, ContentError> {
        let audiences = section.array_of_strings("audiences")?;
        if audiences.is_empty() || audiences.len() > AgentKeyFile::MAX_AUDIENCES {
            let fault = Fault::Count { least: 1, max: AgentKeyFile::MAX_AUDIENCES, found: audiences.len() };
            return Err(section.fault("audiences", fault));
        }
        for (index, audience) in audiences.iter().enumerate() {
            if !observers.contains_key(*audience) || audiences.iter().take(index).any(|earlier| earlier == audience) {
                let message = "each audience is the name of an [[observer]] above, and stands once";
                return Err(section.fault("audiences", Fault::Value(message.to_owned())));
            }
        }
        Ok(Self {
            entry: RosterAgent::read(section)?,
            audiences: audiences.into_iter().map(str::to_owned).collect(),
            chosen_audiences: section.flag("chosen_audiences")?,
            created: created(section)?,
            retired: section.flag("retired")?,
        })
    }

    fn push(&self, out: &mut String) {
        self.entry.push(out);
        out.push_str("audiences = [");
        for (index, audience) in self.audiences.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            push_quoted(out, audience);
        }
        out.push_str("]\n");
        if self.chosen_audiences {
            out.push_str("chosen_audiences = true\n");
        }
        out.push_str(&format!("created = {}\n", self.created));
        if self.retired {
            out.push_str("retired = true\n");
        }
    }
}

fn created(section: &Section<'_>) -> Result<UnixSeconds, ContentError> {
    section.opt_time("created")?.ok_or_else(|| section.fault("created", Fault::MissingKey))
}
