//! The loop, turned by whoever asks for events instead of by a thread of its own.

use std::io;

use varta_core::{Exit, Now, Outcome, Owner};

use super::{Ingest, Parts, Sleep, begin, inlet::Kind};
use crate::{
    clock::Clock,
    poll::{Tap, Told},
};

/// An ingest loop that is turned from outside. Dropping it saves the state exactly.
pub(crate) struct Polled {
    /// Gone only while it is dropped.
    ingest: Option<Box<Ingest>>,
    sleep: Sleep,
}

impl Polled {
    /// Made of `parts`, with nothing read yet.
    ///
    /// # Errors
    /// The poller's.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let (mut ingest, sleep) = begin(parts)?;
        ingest.tap = Some(Tap::new(Clock::now().mono));
        Ok(Self { ingest: Some(Box::new(ingest)), sleep })
    }

    /// The oldest event that was not asked for.
    pub(crate) fn pop(&mut self) -> Option<Told> {
        self.ingest.as_mut()?.tap.as_mut()?.pop()
    }

    /// Reads and judges what is there by now.
    pub(crate) fn turn(&mut self) {
        if let Some(ingest) = &mut self.ingest {
            ingest.turn();
        }
    }

    /// Sleeps until something is to be done, for `most` nanoseconds at most.
    pub(crate) fn wait(&mut self, most: u64) {
        let Some(ingest) = &mut self.ingest else { return };
        let now = Clock::now();
        if let Err(error) = ingest.sleep(&mut self.sleep, now.mono.after(most))
            && let Some(tap) = &mut ingest.tap
        {
            tap.io(now, &error);
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(ingest) = self.ingest.take() {
            ingest.stop();
        }
    }
}

impl Ingest {
    /// Makes events of what became of the newest batch, where events are polled.
    pub(super) fn tap_outcomes(&mut self, now: Now, number: usize) {
        let Some(mut tap) = self.tap.take() else { return };
        let kind = self.inlets[number].kind;
        for (place, outcome) in self.outcomes.iter().enumerate() {
            match outcome {
                Outcome::Accepted(beat) => {
                    let owner = beat.subject.agent;
                    let class = self.core.class_of(owner, kind == Kind::Sealed { attested: true });
                    let local = (owner == Owner::Local).then_some(beat.subject.pid);
                    tap.beat(now, beat, class, local.and_then(|pid| self.processes.namespace(pid)));
                }
                Outcome::Rejected(reject) => {
                    let refusal = if kind == Kind::Local { self.refusal(place, *reject) } else { None };
                    tap.rejected(now, *reject, refusal);
                }
                Outcome::AcceptedLate(_) | Outcome::Waiting(_) => {}
            }
        }
        self.tap = Some(tap);
    }

    /// Makes an event of the end of a process, where events are polled.
    pub(super) fn tap_end(&mut self, now: Now, pid: u32, exit: Exit) {
        if let Some(tap) = &mut self.tap {
            tap.end(&self.core, now, pid, exit);
        }
    }
}
