//! What an observer knows before it hears anything: keys, roster, and its own past.

use varta_config::ObserverConfig;
use varta_core::{Core, Limits};
use varta_link::Identity;

use super::RunError;
use crate::{
    audit::AuditKey,
    clock::Clock,
    ingest::{Keeper, Past},
    keyring::Keyring,
    listen::filter::Filter,
    reload::settings,
    roster::{self, LoadedRoster},
};

/// Keys, roster and state, in this order. Nothing on disk has changed yet.
pub(crate) struct Known {
    keyring: Keyring,
    roster: Option<LoadedRoster>,
    keeper: Keeper,
    past: Past,
}

impl Known {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// [`RunError`], naming the file and the remedy.
    pub(crate) fn open(config: &ObserverConfig) -> Result<Self, RunError> {
        let keyring = match &config.observer.key_file {
            Some(file) => Keyring::load(file)?,
            None => Keyring::empty(),
        };
        let roster = config.observer.roster_file.as_deref();
        let roster = roster.map(|file| Ok::<_, RunError>((roster::load(file)?, file))).transpose()?;
        let (keeper, past) = Keeper::open(config.observer.state_dir.as_deref(), Clock::now())?;
        let roster = roster.map(|(roster, file)| roster.no_older_than(past.roster_version(), file)).transpose()?;
        Ok(Self { keyring, roster, keeper, past })
    }

    /// The audience that the observer answers to, if it has a key.
    pub(crate) fn audience(&self) -> Option<&str> {
        Some(self.keyring.audience.as_str()).filter(|audience| !audience.is_empty())
    }

    /// What its audit log is chained by.
    pub(crate) fn audit_key(&self) -> AuditKey {
        self.keyring.audit.clone()
    }

    /// By what relays know it, if it has a key.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.keyring.identity.clone()
    }

    /// What its listeners filter by.
    pub(crate) fn filter(&self) -> Filter {
        Filter::new(self.keyring.audiences.iter().map(|audience| audience.id))
    }

    /// The version of its roster.
    pub(crate) fn roster_version(&self) -> Option<u64> {
        self.roster.as_ref().map(|roster| roster.version)
    }

    /// A core that begins where the one before it ended. `sealed`: whether sealed datagrams will come.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn begin(self, config: &ObserverConfig, sealed: bool) -> Result<(Core, Keeper), RunError> {
        let Self { keyring, roster, mut keeper, past } = self;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| RunError::system("get randomness")(error.into()))?;
        let varta_config::Limits { agents, slots_per_agent, processes } = config.limits;
        // Its highest legal value is this type's.
        let slots_per_agent = u16::try_from(slots_per_agent).unwrap_or(u16::MAX);
        let limits = Limits { agents, slots_per_agent, processes, ..Limits::default() };
        let seed = u64::from_le_bytes(seed);
        let mut core = Core::new(settings(config), limits, keyring.audiences, config.listen.len(), seed);
        let started = keeper.begin(&mut core, past, sealed);
        if let Some(roster) = &roster {
            keeper.keep_roster_version(roster.version);
        }
        core.set_roster(started, roster.map(|roster| roster.roster));
        Ok((core, keeper))
    }
}
