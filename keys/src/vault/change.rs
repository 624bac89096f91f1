//! A change of a vault: made in memory, then committed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use varta_client::keyfile::{AgentAudience, AgentKeyFile, UnixSeconds, check_name, parse_address};
use varta_vlp::key::{AudienceKey, Generation, IdentitySecret, Name, RootSecret};
use zeroize::Zeroizing;

use super::{Vault, VaultError};
use crate::fleet::{Fleet, FleetAgent, FleetObserver, FleetRelay};
use crate::grants::{LabelError, check_label};
use crate::names::Names;
use crate::observer_key::ObserverKeyFile;
use crate::public_file::replace_public_file;
use crate::relay_key::RelayKeyFile;
use crate::roster::{Roster, RosterAgent};

/// A change of a vault, which it keeps locked. Dropped without [`Change::commit`], nothing happened.
pub struct Change<'v> {
    vault: &'v Vault,
    _lock: File,
    root: RootSecret,
    fleet: Fleet,
    before: Fleet,
    agent_names: Names<varta_vlp::AgentId>,
    audience_names: Names<varta_vlp::AudienceId>,
}

/// Which agents are to be issued keys, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The agents' names, each once.
    pub agents: Vec<String>,
    /// The audiences chosen; none is all observers, or those chosen for the agent before.
    pub audiences: Vec<String>,
    /// Labels to set; an agent keeps the others it has.
    pub labels: BTreeMap<String, String>,
}

/// An agent's key, issued.
#[derive(Debug)]
pub struct Issued {
    /// The key file.
    pub key: AgentKeyFile,
    /// The agent was issued a key of this generation before.
    pub again: bool,
}

impl std::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl<'v> Change<'v> {
    pub(super) fn new(vault: &'v Vault, lock: File, root: RootSecret, fleet: Fleet) -> Result<Self, VaultError> {
        let mut agent_names = Names::new(|name| name.agent_id());
        let mut audience_names = Names::new(|name| name.audience_id());
        for name in fleet.agents.keys() {
            agent_names.claim(checked(name)?)?;
        }
        for name in fleet.observers.keys() {
            audience_names.claim(checked(name)?)?;
        }
        Ok(Self { vault, _lock: lock, root, before: fleet.clone(), fleet, agent_names, audience_names })
    }

    /// The fleet as it will be.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Adds an observer and makes its key. With `again`, one that was added before gets its audience secret with a
    /// fresh identity, and its address is set to this one.
    ///
    /// # Errors
    /// The name or address is bad, or the name cannot be given.
    pub fn add_observer(
        &mut self,
        name: &str,
        address: &str,
        again: bool,
        now: UnixSeconds,
    ) -> Result<ObserverKeyFile, VaultError> {
        let name = checked(name)?;
        parse_address(address)?;
        self.audience_names.claim(name)?;
        let identity = fresh_identity()?;
        let key = Some(identity.public());
        match self.fleet.observers.get_mut(name.as_str()) {
            Some(known) if known.retired => {
                return Err(VaultError::Retired { name: name.as_str().to_owned() });
            }
            Some(known) if !again => {
                return Err(VaultError::ObserverThere {
                    name: name.as_str().to_owned(),
                    address: known.address.clone(),
                });
            }
            Some(known) => (known.address, known.key) = (address.to_owned(), key),
            None => {
                if self.fleet.observers.len() >= Fleet::MAX_OBSERVERS {
                    return Err(VaultError::TooMany { max: Fleet::MAX_OBSERVERS, what: "observers" });
                }
                let observer = FleetObserver { address: address.to_owned(), key, created: now, retired: false };
                self.fleet.observers.insert(name.as_str().to_owned(), observer);
            }
        }
        Ok(ObserverKeyFile {
            audience: name.as_str().to_owned(),
            secret: self.root.audience(name),
            identity,
            retiring: Vec::new(),
        })
    }

    /// Adds a relay and makes its key. With `again`, one that was added before gets a fresh identity, and its address is set
    /// to this one.
    ///
    /// # Errors
    /// The name or address is bad, or the name cannot be given.
    pub fn add_relay(
        &mut self,
        name: &str,
        address: &str,
        again: bool,
        now: UnixSeconds,
    ) -> Result<RelayKeyFile, VaultError> {
        let name = checked(name)?.as_str().to_owned();
        parse_address(address)?;
        let identity = fresh_identity()?;
        let key = identity.public();
        let full = self.fleet.relays.len() >= Fleet::MAX_RELAYS;
        match self.fleet.relays.get_mut(&name) {
            Some(known) if known.retired => return Err(VaultError::Retired { name }),
            Some(known) if !again => {
                return Err(VaultError::RelayThere { name, address: known.address.clone() });
            }
            Some(known) => (known.address, known.key) = (address.to_owned(), key),
            None if full => {
                return Err(VaultError::TooMany { max: Fleet::MAX_RELAYS, what: "relays" });
            }
            None => {
                let relay = FleetRelay { address: address.to_owned(), key, created: now, retired: false };
                self.fleet.relays.insert(name.clone(), relay);
            }
        }
        Ok(RelayKeyFile { relay: name, identity })
    }

    /// Issues keys: to a new agent of generation 1, to a known one its present generation again.
    ///
    /// # Errors
    /// A name, label or audience is bad or cannot be given. The change is then half made: drop it.
    pub fn issue(&mut self, request: &Request, now: UnixSeconds) -> Result<Vec<Issued>, VaultError> {
        for (key, value) in &request.labels {
            check_label(key, value)?;
        }
        let chosen = (!request.audiences.is_empty()).then(|| self.audiences(&request.audiences)).transpose()?;
        let mut all = None;
        let mut named = BTreeSet::new();
        let mut keys = BTreeMap::new();
        let mut issued = Vec::with_capacity(request.agents.len());
        for name in &request.agents {
            let name = checked(name)?;
            if !named.insert(name) {
                return Err(VaultError::NamedTwice { name: name.as_str().to_owned() });
            }
            let again = !self.agent_names.claim(name)?;
            let audiences = match (&chosen, self.fleet.agents.get(name.as_str())) {
                (Some(chosen), _) => chosen.clone(),
                (None, Some(known)) if known.chosen_audiences => self.audiences(&known.audiences)?,
                _ => match &all {
                    Some(all) => Vec::clone(all),
                    None => all.insert(self.audiences(&[])?).clone(),
                },
            };
            let generation = self.record(name, &audiences, request, now)?;
            let key = self.seal_up(name, generation, &audiences, &mut keys)?;
            issued.push(Issued { key, again });
        }
        if self.fleet.agents.len() > Roster::MAX_AGENTS {
            return Err(VaultError::TooMany { max: Roster::MAX_AGENTS, what: "agents" });
        }
        Ok(issued)
    }

    /// Writes the record, with its version raised, if there is anything new in it.
    ///
    /// # Errors
    /// The record cannot be written; it is then as it was.
    pub fn commit(mut self) -> Result<(), VaultError> {
        if self.fleet == self.before {
            return Ok(());
        }
        self.fleet.version += 1;
        let file = self.vault.fleet_file();
        replace_public_file(&file, &self.fleet.render()).map_err(|error| VaultError::io(&file, error))
    }

    /// The observers of these names, or all that are not retired.
    fn audiences(&self, names: &[String]) -> Result<Vec<String>, VaultError> {
        let there = || self.fleet.observers.iter().filter(|(_, observer)| !observer.retired).map(|(name, _)| name);
        for name in names {
            if !there().any(|known| known == name) {
                checked(name)?;
                if there().next().is_none() {
                    return Err(VaultError::NoObserver);
                }
                return Err(VaultError::UnknownAudience {
                    name: name.clone(),
                    known: there().take(10).cloned().collect(),
                });
            }
        }
        let set: BTreeSet<_> = if names.is_empty() { there().collect() } else { names.iter().collect() };
        match set.len() {
            0 => Err(VaultError::NoObserver),
            found if found > AgentKeyFile::MAX_AUDIENCES => {
                Err(VaultError::TooManyAudiences { max: AgentKeyFile::MAX_AUDIENCES, found })
            }
            _ => Ok(set.into_iter().cloned().collect()),
        }
    }

    fn record(
        &mut self,
        name: Name<'_>,
        audiences: &[String],
        request: &Request,
        now: UnixSeconds,
    ) -> Result<Generation, VaultError> {
        let agent = self.fleet.agents.entry(name.as_str().to_owned()).or_insert_with(|| FleetAgent {
            entry: RosterAgent::new(name, Generation(1)),
            audiences: Vec::new(),
            chosen_audiences: false,
            created: now,
            retired: false,
        });
        if agent.retired {
            return Err(VaultError::Retired { name: name.as_str().to_owned() });
        }
        agent.audiences = audiences.to_vec();
        agent.chosen_audiences |= !request.audiences.is_empty();
        for (key, value) in &request.labels {
            agent.entry.labels.insert(key.clone(), value.clone());
        }
        if agent.entry.labels.len() > crate::grants::MAX_LABELS {
            return Err(LabelError::TooMany.into());
        }
        Ok(agent.entry.generation)
    }

    /// The key of one agent. What is common to all agents of an audience is worked out once, in `keys`.
    fn seal_up(
        &self,
        name: Name<'_>,
        generation: Generation,
        audiences: &[String],
        keys: &mut BTreeMap<String, AudienceKey>,
    ) -> Result<AgentKeyFile, VaultError> {
        let mut list = Vec::with_capacity(audiences.len());
        for audience in audiences {
            let observer = self.fleet.observers.get(audience).ok_or(VaultError::NoObserver)?;
            if !keys.contains_key(audience) {
                keys.insert(audience.clone(), AudienceKey::new(&self.root.audience(checked(audience)?)));
            }
            if let Some(key) = keys.get(audience) {
                list.push(AgentAudience {
                    name: audience.clone(),
                    address: observer.address.clone(),
                    secret: key.agent(name.agent_id(), generation),
                });
            }
        }
        Ok(AgentKeyFile { agent: name.as_str().to_owned(), generation, audiences: list })
    }
}

fn fresh_identity() -> Result<IdentitySecret, VaultError> {
    let mut fresh = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *fresh).map_err(VaultError::Randomness)?;
    Ok(IdentitySecret::from_bytes(*fresh))
}

fn checked(name: &str) -> Result<Name<'_>, VaultError> {
    check_name(name).map_err(|error| VaultError::Name { name: name.to_owned(), error })
}
