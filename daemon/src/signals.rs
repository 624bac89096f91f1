//! The signals that a daemon takes.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    /// A clean stop; the signal's name.
    Stop(&'static str),
    /// Configuration and keys are to be read again.
    Reload,
}

impl Signals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one; never one, where none are taken.
    pub async fn next(signals: &mut Option<Self>) -> Signalled {
        let Some(Self { terminate, interrupt, hangup }) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => Signalled::Stop("SIGTERM"),
            _ = interrupt.recv() => Signalled::Stop("SIGINT"),
            _ = hangup.recv() => Signalled::Reload,
        }
    }
}
