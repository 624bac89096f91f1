//! Opening what an observer needs that is polled.

use varta_config::ObserverConfig;

use crate::{
    clock::Clock,
    command,
    ingest::{Keeper, Parts, Sleep},
    journal,
    keyring::Keyring,
    listen::filter::Filter,
    notify::Watchdog,
    roster::{self, nanos},
    run::{Addresses, Misconfiguration, RunError, bind, new_core},
};

/// Opens configuration, keys, roster, state and sockets, in this order.
///
/// # Errors
/// [`RunError`], naming the file or address and the remedy.
pub(super) fn open(config: &ObserverConfig) -> Result<(Parts, Addresses), RunError> {
    config.validate()?;
    if !config.recovery.is_empty() {
        return Err(Misconfiguration::PolledRecovery.into());
    }
    let keyring = match &config.observer.key_file {
        Some(file) => Keyring::load(file)?,
        None => Keyring::empty(),
    };
    let roster = config.observer.roster_file.as_deref();
    let roster = roster.map(|file| Ok::<_, RunError>((roster::load(file)?, file))).transpose()?;
    let (mut keeper, past) = Keeper::open(config.observer.state_dir.as_deref(), Clock::now())?;
    let roster = roster.map(|(roster, file)| roster.no_older_than(past.roster_version(), file)).transpose()?;
    let filter = Filter::new(keyring.audiences.iter().map(|audience| audience.id));
    let listeners = bind(config, &filter)?;
    let addresses = Addresses::of(&listeners, None);
    let (sleep, waker) = Sleep::new().map_err(RunError::system("make a poller"))?;
    // Nobody asks, and nobody tells: events are polled.
    let (_, commands) = command::channel(waker);
    let (journal, _) = journal::channel(Clock::now(), None, None, false);
    let mut core = new_core(config, keyring.audiences)?;
    let started = keeper.begin(&mut core, past, !addresses.sealed.is_empty());
    if let Some(roster) = &roster {
        keeper.keep_roster_version(roster.version);
    }
    core.set_roster(started, roster.map(|roster| roster.roster));
    let (gather, watchdog) = (nanos(config.ingest.gather), Watchdog::new(None));
    let recovery = None;
    let parts = Parts { listeners, core, filter, keeper, journal, sleep, gather, commands, watchdog, recovery };
    Ok((parts, addresses))
}
