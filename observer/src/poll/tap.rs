//! What happened, as events, until they are asked for.

use std::{collections::VecDeque, io};

use varta_core::{Beat, Change, Class, Core, Exit, MonoNs, Now, Owner, Reject, SlotChange, SlotId, Subject, Verdict};
use varta_vlp::{UnitId, sealed::shown_pid};

use super::Event;
use crate::journal::{Offence, Refusal, is_same};

/// An event, and whom it is about where it is about a slot.
pub(crate) type Told = (Event, Option<Subject>);

/// Takes the place of the journal where events are polled. No more is read while any wait, so that few do.
#[derive(Debug)]
pub(crate) struct Tap {
    start: MonoNs,
    events: VecDeque<Told>,
}

impl Tap {
    /// Of an observer that was made at `start`.
    pub(crate) const fn new(start: MonoNs) -> Self {
        Self { start, events: VecDeque::new() }
    }

    /// The oldest event that was not asked for.
    pub(crate) fn pop(&mut self) -> Option<Told> {
        self.events.pop_front()
    }

    fn at(&self, at: MonoNs) -> u64 {
        at.since(self.start)
    }

    /// An accepted beat.
    pub(crate) fn beat(&mut self, now: Now, beat: &Beat, origin: Class, pid_ns_inode: Option<u64>) {
        let Beat { subject, status, payload, nonce, .. } = *beat;
        let (pid, observer_ns) = (shown_pid(subject.pid), self.at(now.mono));
        let event = Event::Beat { pid, status, payload, nonce, origin, pid_ns_inode, observer_ns };
        self.events.push_back((event, Some(subject)));
    }

    /// A refused datagram; `refusal` says more where it was refused for an offence.
    pub(crate) fn rejected(&mut self, now: Now, reject: Reject, refusal: Option<Refusal>) {
        let observer_ns = self.at(now.mono);
        let event = match (reject, refusal) {
            (Reject::Decode(error), _) => Event::Decode(error, observer_ns),
            (_, Some(refusal)) => offence(&refusal, observer_ns),
            (reject, None) => Event::Refused(reject, observer_ns),
        };
        self.events.push_back((event, None));
    }

    /// A listener that could not be read, or the poller.
    pub(crate) fn io(&mut self, now: Now, error: &io::Error) {
        let same = error.raw_os_error().map(io::Error::from_raw_os_error);
        let same = same.unwrap_or_else(|| io::Error::new(error.kind(), error.to_string()));
        self.events.push_back((Event::Io(same, self.at(now.mono)), None));
    }

    /// The end of a process, before the core is told of it.
    pub(crate) fn end(&mut self, core: &Core, now: Now, pid: u32, exit: Exit) {
        if core.find(Owner::Local, UnitId::NONE, pid).is_some() {
            let event = Event::Exit { pid, exit, observer_ns: self.at(now.mono) };
            self.events.push_back((event, Some(Subject { agent: Owner::Local, unit: UnitId::NONE, pid })));
        }
    }

    /// A change, right after it was polled from `core`. `own` is the inode of the observer's PID namespace.
    pub(crate) fn change(&mut self, core: &Core, now: Now, own: Option<u64>, change: &Change) {
        let Change::Slot { slot, subject, at, what } = *change else {
            let (Change::Slot { at, .. } | Change::Agent { at, .. } | Change::Observer { at, .. }) = change;
            let event = Event::Changed(change.clone(), self.at(*at));
            return self.events.push_back((event, None));
        };
        let (pid, observer_ns) = (shown_pid(subject.pid), self.at(at));
        let event = match what {
            SlotChange::Verdict { to: Verdict::Stalled, .. } => self.stall(core, now, own, (slot, subject, at)),
            SlotChange::New(to) => Event::New { pid, to, observer_ns },
            SlotChange::Verdict { from, to, .. } => Event::Verdict { pid, from, to, observer_ns },
            SlotChange::Restarted { old_pid } => Event::Restarted { pid, old_pid: shown_pid(old_pid), observer_ns },
            SlotChange::OriginConflict { observed, pinned } => {
                Event::OriginConflict { claimed_pid: pid, observed_origin: observed, slot_origin: pinned, observer_ns }
            }
            _ => Event::Changed(change.clone(), observer_ns),
        };
        self.events.push_back((event, Some(subject)));
    }

    fn stall(&self, core: &Core, now: Now, own: Option<u64>, (slot, subject, at): (SlotId, Subject, MonoNs)) -> Event {
        // The slot's number may be another's by now.
        let view = core.view(now, slot).filter(|view| view.agent == subject.agent && is_same(view, &subject));
        let heard = view.as_ref().and_then(|view| view.arrival);
        Event::Stall {
            pid: shown_pid(subject.pid),
            last_nonce: view.as_ref().and_then(|view| view.nonce).unwrap_or(0),
            last_ns: heard.map_or(0, |heard| self.at(heard)),
            origin: view.as_ref().map_or_else(|| core.class_of(subject.agent, false), |view| view.class),
            pid_ns_inode: own.filter(|_| view.is_some_and(|view| view.ours)),
            observer_ns: self.at(at),
        }
    }
}

fn offence(refusal: &Refusal, observer_ns: u64) -> Event {
    let claimed_pid = refusal.claimed;
    match refusal.offence {
        Offence::AuthFailure => Event::AuthFailure { claimed_pid, observer_ns },
        Offence::NamespaceConflict => Event::NamespaceConflict {
            claimed_pid,
            observed_ns_inode: refusal.namespace,
            observer_ns_inode: refusal.own,
            observer_ns,
        },
        Offence::CtrlTruncated => {
            let text = "more came with a datagram than the kernel was asked for, such as descriptors";
            Event::CtrlTruncated(io::Error::new(io::ErrorKind::InvalidData, text), observer_ns)
        }
    }
}

#[cfg(test)]
mod tests;
