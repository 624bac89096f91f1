//! Whoever notices that the ingest loop does not turn any more: the service manager, a device that resets the host, a file
//! that others look at, and a thread of this process. The loop's turns feed them, and nothing else does.

mod device;
mod fed;
mod heartbeat;
mod own;

use std::{io, path::PathBuf, time::Duration};

use varta_core::{MonoNs, Now, SECOND};
use varta_vlp::time::nanos;

use self::{
    device::Device,
    fed::{Fed, Pulse},
    heartbeat::Heartbeat,
    own::Own,
};
use crate::notify;

/// From pulse to pulse, nanoseconds.
const PULSE: u64 = SECOND;

/// A watchdog that was asked for and cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchdogError {
    /// The device cannot be opened.
    #[error(
        "cannot open the watchdog device {path}: {source}; [watchdog] device must name one that this process may write \
         to and that nobody else has open"
    )]
    Device {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be put in its place.
    #[error(
        "cannot write the heartbeat file {path}: {source}; [watchdog] heartbeat_file must name a file in a directory that \
         this process may write to"
    )]
    Heartbeat {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread for a watchdog: {0}")]
    Thread(io::Error),
}

/// Something that is due again and again.
#[derive(Debug)]
struct Due {
    every: Option<u64>,
    next: MonoNs,
}

impl Due {
    const fn never() -> Self {
        Self { every: None, next: MonoNs::NEVER }
    }

    /// Due at once and then after so many nanoseconds; never without.
    fn new(every: Option<u64>) -> Self {
        Self { every, next: if every.is_some() { MonoNs(0) } else { MonoNs::NEVER } }
    }

    fn take(&mut self, now: MonoNs) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return false };
        self.next = now.after(every);
        true
    }
}

/// The watchdogs of the ingest loop, which owns them.
#[derive(Debug)]
pub(crate) struct Watchdog {
    service: Due,
    pulse: Due,
    /// When the loop must turn so that its own process does not take it for wedged.
    sign: Due,
    turns: u64,
    own: Option<Own>,
    fed: Vec<Fed>,
}

impl Watchdog {
    /// None at all.
    pub(crate) const fn none() -> Self {
        let [service, pulse, sign] = [const { Due::never() }; 3];
        Self { service, pulse, sign, turns: 0, own: None, fed: Vec::new() }
    }

    /// Opens those that are configured, the device last: from then on it runs. The service manager wants to be told within
    /// `service`.
    ///
    /// # Errors
    /// [`WatchdogError`]; then no device runs.
    pub(crate) fn open(config: &varta_config::Watchdog, service: Option<Duration>) -> Result<Self, WatchdogError> {
        let own = config.limit.map(|limit| Own::watch(limit, own::end)).transpose().map_err(WatchdogError::Thread)?;
        let mut fed = Vec::new();
        if let Some(path) = &config.heartbeat_file {
            fed.push(Fed::spawn("heartbeat", Heartbeat::open(path)?).map_err(WatchdogError::Thread)?);
        }
        if let Some(path) = &config.device {
            fed.push(Fed::spawn("hw-watchdog", Device::open(path)?).map_err(WatchdogError::Thread)?);
        }
        let quarter = |limit| (nanos(limit) / 4).max(1);
        Ok(Self {
            // Fed twice as often as it must be.
            service: Due::new(service.map(|limit| (nanos(limit) / 2).max(1))),
            pulse: Due::new((!fed.is_empty()).then_some(PULSE)),
            sign: Due::new(config.limit.map(quarter)),
            turns: 0,
            own,
            fed,
        })
    }

    /// When the loop must turn for them; never where there are none.
    pub(crate) fn next(&self) -> MonoNs {
        self.service.next.min(self.pulse.next).min(self.sign.next)
    }

    /// A turn of the loop.
    pub(crate) fn turn(&mut self, now: Now) {
        self.turns += 1;
        if let Some(own) = &self.own {
            own.turned(self.turns);
            self.sign.take(now.mono);
        }
        if self.service.take(now.mono) {
            notify::feed();
        }
        if self.pulse.take(now.mono) {
            let pulse = Pulse { turns: self.turns, wall: now.wall };
            self.fed.iter().for_each(|fed| fed.pulse(pulse));
        }
    }

    /// The loop turns no more, as it was told. How long saving may take is watched by the main thread; the device is fed
    /// once more before it.
    pub(crate) fn stopping(&mut self, now: Now) {
        self.own = None;
        let pulse = Pulse { turns: self.turns, wall: now.wall };
        self.fed.iter().for_each(|fed| fed.pulse(pulse));
    }

    /// All is saved: the device is to reset nothing.
    pub(crate) fn disarm(self) {
        self.fed.iter().for_each(Fed::disarm);
    }
}

#[cfg(test)]
mod tests;
