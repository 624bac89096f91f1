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
pub struct Manager {
    status: Option<String>,
}

impl Manager {
    /// One that is told of a life whose `status` in a few words is this, where `daemon` says that this is one.
    #[must_use]
    pub fn new(daemon: bool, status: String) -> Self {
        Self { status: daemon.then_some(status) }
    }

    /// Ready, at first or again after a reload.
    pub fn ready(&self) {
        if let Some(status) = &self.status {
            tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        }
    }

    /// A reload begins.
    pub fn reloading(&self) {
        if self.status.is_some() {
            tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(i128::from(Clock::monotonic_usec()))]);
        }
    }

    /// The stop begins.
    pub fn stopping(&self) {
        if self.status.is_some() {
            tell(&[NotifyState::Stopping, NotifyState::Status("stopping: saving the state")]);
        }
    }
}

/// The daemon's loop turns.
pub fn feed() {
    tell(&[NotifyState::Watchdog]);
}
