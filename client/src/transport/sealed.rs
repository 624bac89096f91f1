//! Sealed datagrams over UDP: SPEC, "Sender".

mod audience;
mod builder;
pub(super) mod endpoint;
mod error;
mod resolver;
mod units;

use std::{io, path::Path, time::Duration};

use varta_vlp::{
    AgentId, Generation, Status, UnitId,
    sealed::{Body, INIT_PID},
};

pub use builder::SealedBuilder;
pub use error::{ConnectError, UnitError};

use self::{
    audience::{Audience, Round},
    resolver::{Resolver, Watched},
};
use super::course::{Course, matters};
use crate::{
    announce::Announcement,
    client::{Beat, BeatKind, BeatTransport, Varta, closed},
    outcome::{BeatError, BeatFault, BeatOutcome},
    process::Process,
    session::{Cause, SenderTime},
    sources::{OsSources, Sources},
};

/// More than a key file holds is never connected to.
const MAX_AUDIENCES: usize = crate::keyfile::AgentKeyFile::MAX_AUDIENCES;
/// A beat that ends something, or that promises another only after long, is sent so many times.
const COPIES: u32 = 3;

/// Sealed UDP to one observer or several, one datagram and one session for each.
pub struct SealedTransport<S: Sources = OsSources> {
    sources: S,
    process: Process,
    agent_name: String,
    agent: AgentId,
    generation: Generation,
    unit: UnitId,
    announcement: Announcement,
    boot: u64,
    course: Course,
    audiences: Vec<Audience>,
    resolver: Option<Resolver>,
    /// The process in which the resolver's thread runs.
    resolver_mark: u64,
    reconnect_after: u32,
    clock_regressions: u64,
    fork_recoveries: u64,
    entropy_failures: u64,
}

impl Varta<SealedTransport> {
    /// Connects with an agent key file, to all its audiences, without a unit and without a promise.
    ///
    /// # Errors
    /// See [`SealedBuilder::connect`].
    pub fn sealed(key_file: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::builder().key_file(key_file).connect()
    }

    /// Begins a sealed handle.
    pub fn builder() -> SealedBuilder {
        SealedBuilder::new()
    }
}

impl<S: Sources> Varta<SealedTransport<S>> {
    /// Says goodbye: the process ends, and well if `status` is ok. Sent three times. A later beat begins a new session.
    pub fn finish(&mut self, status: Status, payload: u32) -> BeatOutcome {
        self.transport.say(status, payload, BeatKind::Final)
    }

    /// Announces an absence: nobody is to expect a beat for `absence`, in whole milliseconds, at least one. Observers
    /// hold it to their `max_hold`, 1 h unless they say otherwise. The last beat's status and payload are said again.
    pub fn hold(&mut self, absence: Duration) -> BeatOutcome {
        let beat = self.transport.course.hold(absence);
        self.transport.send(beat)
    }

    /// Names the unit of a handle that has none: a handle connected without, or one in a forked child. The process, if
    /// it was already known by its pid, says goodbye under that.
    ///
    /// Never blocks and never allocates where it succeeds.
    ///
    /// # Errors
    /// [`UnitError`]; the handle goes on as it was.
    pub fn name_unit(&mut self, name: &str) -> Result<(), UnitError> {
        self.transport.name_unit(name)
    }

    /// What became of the last beat, by audience, in the key file's order. Before the first beat there is nothing.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, BeatOutcome)> {
        self.transport.audiences.iter().filter_map(|audience| Some((audience.name.as_str(), audience.outcome?)))
    }

    /// How often the operating system had no randomness for a frame.
    #[must_use]
    pub fn entropy_failures(&self) -> u64 {
        self.transport.entropy_failures
    }

    /// The agent's name.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.transport.agent_name
    }
}

impl<S: Sources> SealedTransport<S> {
    fn say(&mut self, status: Status, payload: u32, kind: BeatKind) -> BeatOutcome {
        let beat = Beat { status, payload, kind };
        match self.try_say(beat) {
            Ok(outcome) => outcome,
            Err(error) => {
                let outcome = BeatOutcome::Failed(error);
                for audience in &mut self.audiences {
                    audience.outcome = Some(outcome);
                }
                outcome
            }
        }
    }

    fn try_say(&mut self, beat: Beat) -> Result<BeatOutcome, BeatError> {
        if beat.status == Status::Stall {
            return Err(BeatError::plain(BeatFault::StallStatus, io::ErrorKind::InvalidInput));
        }
        let (pid, now) = self.look_around()?;
        if pid == 1 && self.unit == UnitId::NONE {
            return Err(BeatError::plain(BeatFault::UnitRequired, io::ErrorKind::InvalidInput));
        }
        let body = self.body(beat, pid, now);
        let copies = if matters(&body) { COPIES } else { 1 };
        let starts = self.sources.starts();
        let mut round = Round {
            sources: &mut self.sources,
            process: &self.process,
            starts,
            now,
            pid,
            agent: self.agent,
            generation: self.generation,
            body,
            metadata: self.announcement.bytes(),
            copies,
            reconnect_after: self.reconnect_after,
            entropy_failures: &mut self.entropy_failures,
            regressed: false,
        };
        let mut outcome = BeatOutcome::Sent;
        for audience in &mut self.audiences {
            outcome = outcome.worst(audience.send(&mut round));
            if beat.kind == BeatKind::Final {
                audience.renew_session(Cause::Farewell);
            }
        }
        self.clock_regressions += u64::from(round.regressed);
        self.course.said(&body, now.boottime_ns);
        Ok(outcome)
    }

    /// Reads pid and clocks, and recovers if this is a forked child.
    fn look_around(&mut self) -> Result<(u32, SenderTime), BeatError> {
        let (pid, now, is_child) = self.process.look_around(&mut self.sources)?;
        if is_child {
            self.unit = UnitId::NONE;
            self.announcement.forget_unit();
            self.course.enter_child();
            for audience in &mut self.audiences {
                audience.enter_child();
            }
            self.fork_recoveries += 1;
        }
        Ok((pid, now))
    }

    fn body(&mut self, beat: Beat, pid: u32, now: SenderTime) -> Body {
        let shown = if pid == 1 { INIT_PID } else { pid };
        let body = self.course.body(beat, shown, now.boottime_ns, self.process.first_connect_ns());
        Body { unit: self.unit, boot: self.boot, ..body }
    }

    /// Watches the names among the addresses, if there are any.
    fn watch_names(&mut self) -> io::Result<()> {
        let watched: Vec<_> = self
            .audiences
            .iter()
            .filter(|audience| audience.endpoint.is_name())
            .map(|audience| Watched {
                endpoint: audience.endpoint.clone(),
                known: audience.connected_address(),
                news: audience.news.clone(),
            })
            .collect();
        if !watched.is_empty() {
            self.resolver = Some(Resolver::spawn(watched)?);
        }
        self.resolver_mark = self.process.mark();
        Ok(())
    }
}

impl<S: Sources> closed::Closed for SealedTransport<S> {}

impl<S: Sources> BeatTransport for SealedTransport<S> {
    fn send(&mut self, beat: Beat) -> BeatOutcome {
        self.say(beat.status, beat.payload, beat.kind)
    }

    fn reconnect(&mut self) -> io::Result<()> {
        let (_, now) = self.look_around().map_err(BeatError::to_io_error)?;
        let mut failure = None;
        let mut connected = false;
        for audience in &mut self.audiences {
            match audience.connect(now.boottime_ns) {
                Ok(()) => connected = true,
                Err(error) => failure = Some(error),
            }
            audience.renew_session(Cause::Reconnect);
        }
        self.course.count_anew();
        if self.resolver_mark != self.process.mark() {
            self.watch_names()?;
        }
        match failure {
            Some(error) if !connected => Err(error),
            _ => Ok(()),
        }
    }

    fn set_reconnect_after(&mut self, beats: u32) {
        self.reconnect_after = beats;
    }

    fn clock_regressions(&self) -> u64 {
        self.clock_regressions
    }

    fn fork_recoveries(&self) -> u64 {
        self.fork_recoveries
    }
}

impl<S: Sources> Drop for SealedTransport<S> {
    fn drop(&mut self) {
        for audience in &mut self.audiences {
            if let Some(place) = audience.give_place() {
                self.process.release(place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
