//! Opening what an observer needs that is polled.

use varta_config::ObserverConfig;
use varta_vlp::time::nanos;

use crate::{
    clock::Clock,
    command,
    forward::Marks,
    ingest::{Parts, Sleep},
    journal,
    run::{Addresses, Known, Misconfiguration, RunError, bind},
    watchdog::Watchdog,
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
    if !config.relay.is_empty() || config.peers.key_file.is_some() {
        return Err(Misconfiguration::PolledRelay.into());
    }
    let known = Known::open(config)?;
    let filter = known.filter();
    let listeners = bind(config, &filter)?;
    let addresses = Addresses::of(&listeners, None);
    let (sleep, waker) = Sleep::new().map_err(RunError::system("make a poller"))?;
    // Nobody asks, and nobody tells: events are polled.
    let (_, commands) = command::channel(waker);
    let (journal, _) = journal::channel(Clock::now(), None, None, false);
    let (core, keeper) = known.begin(config, !addresses.sealed.is_empty())?;
    let (gather, watchdog) = (nanos(config.ingest.gather), Watchdog::none());
    let recovery = None;
    let parts = Parts {
        listeners,
        core,
        filter,
        keeper,
        journal,
        sleep,
        gather,
        commands,
        watchdog,
        recovery,
        marks: Marks::off(),
    };
    Ok((parts, addresses))
}
