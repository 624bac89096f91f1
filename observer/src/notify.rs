//! What the service manager is told, where there is one: where to is read from `NOTIFY_SOCKET` by the sd-notify crate
//! itself at each call. A manager that does not listen is no reason to stop.

use std::time::Duration;

use sd_notify::NotifyState;
use varta_core::MonoNs;

use crate::{clock::Clock, roster::nanos};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// The service manager, as a daemon tells it of its life; one that is embedded tells it nothing.
#[derive(Debug)]
pub(crate) struct Manager {
    status: Option<String>,
}

impl Manager {
    pub(crate) fn new(daemon: bool, name: &str) -> Self {
        Self { status: daemon.then(|| format!("{name} is observing")) }
    }

    /// Ready, at first or again after a reload.
    pub(crate) fn ready(&self) {
        if let Some(status) = &self.status {
            tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        }
    }

    /// A reload begins.
    pub(crate) fn reloading(&self) {
        if self.status.is_some() {
            tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(i128::from(Clock::monotonic_usec()))]);
        }
    }

    /// The stop begins.
    pub(crate) fn stopping(&self) {
        if self.status.is_some() {
            tell(&[NotifyState::Stopping, NotifyState::Status("stopping: saving the state")]);
        }
    }
}

/// The watchdog, fed by the turns of the ingest loop and by nothing else.
#[derive(Debug)]
pub(crate) struct Watchdog {
    every: Option<u64>,
    next: MonoNs,
}

impl Watchdog {
    /// A watchdog that must be fed within `interval`, or none. It is fed twice as often.
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        let every = interval.map(|interval| (nanos(interval) / 2).max(1));
        Self { every, next: if every.is_some() { MonoNs(0) } else { MonoNs::NEVER } }
    }

    /// When the loop must turn for it; never where there is none.
    pub(crate) const fn next(&self) -> MonoNs {
        self.next
    }

    /// A turn of the loop. Says whether it was fed.
    pub(crate) fn turn(&mut self, now: MonoNs) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else {
            return false;
        };
        self.next = now.after(every);
        tell(&[NotifyState::Watchdog]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_at_half_its_interval_and_none_never_wakes() {
        let mut watchdog = Watchdog::new(Some(Duration::from_nanos(100)));
        assert!(watchdog.turn(MonoNs(1_000)));
        assert_eq!(watchdog.next(), MonoNs(1_050));
        assert!(!watchdog.turn(MonoNs(1_049)));
        assert!(watchdog.turn(MonoNs(1_050)));
        let mut none = Watchdog::new(None);
        assert_eq!(none.next(), MonoNs::NEVER);
        assert!(!none.turn(MonoNs(5)));
    }
}
