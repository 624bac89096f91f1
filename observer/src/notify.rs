//! What the service manager is told, where there is one: where to is read from `NOTIFY_SOCKET` by the sd-notify crate
//! itself at each call. A manager that does not listen is no reason to stop.

use sd_notify::NotifyState;

use crate::clock::Clock;

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

/// The ingest loop turns.
pub(crate) fn feed() {
    tell(&[NotifyState::Watchdog]);
}
