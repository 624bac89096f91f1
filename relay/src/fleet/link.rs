//! Links: who is connected, and what their messages bring about.

use std::sync::Arc;

use varta_vlp::{
    report::{FromObserver, Hello, Status},
    time::Now,
};

use super::{
    Allowance, At, Change, Fleet, Kind, ObserverChange,
    observer::{Observer, Said, Seen, State},
    record::Lane,
    sweep::Sweep,
};

/// One link of one observer. A newer one takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    pub(super) observer: u16,
    pub(super) number: u64,
}

impl LinkId {
    /// Its number; a newer link has a higher one.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }
}

/// Why an observer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its name is not the one of its key.
    #[error("the observer's name is not the one that its key stands for in relay.toml")]
    Name,
    /// It is not on the list.
    #[error("the observer is not in relay.toml")]
    Unknown,
    /// Its life has no name.
    #[error("the observer does not say which life of it this is")]
    Boot,
}

/// What a message is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Nothing,
    /// Everything up to this number is taken in.
    Ack(u64),
    /// A snapshot is asked for.
    Resync,
    /// The link is closed, for this reason.
    Close(&'static str),
}

impl Fleet {
    /// Puts a list of observers in the place of the one in force. Those who are not on it are as good as lost.
    pub fn set_allowed(&mut self, now: Now, allowed: &[Allowance]) {
        self.now = now;
        for allowance in allowed {
            let number = self.observer_number(&allowance.name);
            let Some(observer) = self.observers.get_mut(number) else { continue };
            observer.allowed = true;
            observer.agents.clone_from(&allowance.agents);
            observer.site = allowance.site.as_deref().map(Arc::from);
        }
        for number in 0..self.observers.len() {
            let Some(observer) = self.observers.get_mut(number) else { continue };
            if observer.allowed && !allowed.iter().any(|allowance| *allowance.name == *observer.name) {
                observer.allowed = false;
                observer.state = State::Never(At::NEVER);
                observer.heard = false;
                observer.seen = None;
                self.unpin(Kind::ObserverLost, number);
                self.sweeps.push_back(Sweep::drop_all(number_of(number)));
            }
        }
    }

    /// The number of the observer of this name, a new one if need be.
    pub(super) fn observer_number(&mut self, name: &str) -> usize {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        let number = self.observers.len();
        self.observers.push(Observer::new(Arc::clone(&name), self.at(), self.grace));
        self.by_name.insert(name, number);
        number
    }

    /// Takes the observer whose key stands for `name`, which has dialled from `remote`. Says, with the link, up to which
    /// number of its present life everything is here; 0 asks for a snapshot.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn connect(
        &mut self,
        now: Now,
        name: &str,
        remote: String,
        hello: &Hello<'_>,
    ) -> Result<(LinkId, u64), Refusal> {
        self.now = now;
        let at = self.at();
        if hello.observer.as_str() != name {
            return Err(Refusal::Name);
        }
        if hello.boot == 0 {
            return Err(Refusal::Boot);
        }
        let number = *self.by_name.get(name).ok_or(Refusal::Unknown)?;
        self.links += 1;
        let link = LinkId { observer: number_of(number), number: self.links };
        if self.observers.get(number).is_some_and(|observer| observer.allowed && observer.boot != hello.boot) {
            self.begin_life(number, hello.boot);
        }
        let observer = self.observers.get_mut(number).filter(|observer| observer.allowed).ok_or(Refusal::Unknown)?;
        let news = !matches!(observer.state, State::Connected(_) | State::Lingering(_));
        if news {
            observer.since = at;
        }
        observer.state = State::Connected(link);
        (observer.remote, observer.version) = (remote, hello.version.to_owned());
        observer.last_heard = at;
        let held = if observer.complete { observer.held } else { 0 };
        observer.deaf = held == 0;
        if held > 0 && !observer.heard {
            observer.heard = true;
            self.sweeps.push_back(Sweep::judge(link.observer));
        }
        self.unpin(Kind::ObserverLost, number);
        if news {
            self.tell_observer(number, ObserverChange::Connected);
        }
        Ok((link, held))
    }

    /// Begins a life of an observer: what it said in the one before stands beside until its first snapshot is complete. Where
    /// something of an earlier life is left still, what the last one said is written over instead, and goes with that snapshot
    /// where it was not.
    fn begin_life(&mut self, number: usize, boot: u64) {
        let Some(observer) = self.observers.get_mut(number) else { return };
        observer.boot = boot;
        if !observer.has_earlier() {
            observer.odd = !observer.odd;
            self.sweeps.retain(|sweep| !sweep.is_of_life(number_of(number)));
        }
        observer.held = 0;
        observer.complete = false;
        observer.seen = None;
        observer.foreign_told = false;
    }

    pub(super) fn tell_observer(&mut self, number: usize, what: ObserverChange) {
        if let Some(observer) = self.observers.get(number) {
            let name = Arc::clone(&observer.name);
            self.tell(Change::Observer { name, what });
        }
    }

    /// Whether a link is the newest of its observer.
    #[must_use]
    pub fn is_current(&self, link: LinkId) -> bool {
        self.observers.get(usize::from(link.observer)).and_then(Observer::link) == Some(link)
    }

    /// A link has ended. The observer's word holds for a while yet, unless it was `silent` for that long before.
    pub fn disconnect(&mut self, now: Now, link: LinkId, silent: bool) {
        self.now = now;
        if !self.is_current(link) {
            return;
        }
        let until = self.at().after(if silent { 0 } else { self.settings.lost_after });
        if let Some(observer) = self.observers.get_mut(usize::from(link.observer)) {
            observer.state = State::Lingering(until);
        }
    }

    /// What is due of observers: a link that was missed for too long.
    pub(super) fn observers_due(&mut self) {
        let at = self.at();
        for number in 0..self.observers.len() {
            let Some(observer) = self.observers.get_mut(number) else { continue };
            if observer.due().is_none_or(|due| due > at) {
                continue;
            }
            observer.state = State::Lost;
            observer.since = at;
            observer.heard = false;
            self.tell_observer(number, ObserverChange::Lost);
            self.sweeps.push_back(Sweep::judge(number_of(number)));
            self.pin(Kind::ObserverLost, number);
        }
    }

    /// Takes in a message of a link.
    pub fn handle(&mut self, now: Now, link: LinkId, message: &FromObserver<'_>) -> Reaction {
        self.now = now;
        if !self.is_current(link) {
            return Reaction::Close("a newer link of this observer has taken the place of this one");
        }
        let at = self.at();
        let number = usize::from(link.observer);
        let Some(observer) = self.observers.get_mut(number) else { return Reaction::Nothing };
        observer.last_heard = at;
        observer.reports += 1;
        match message {
            FromObserver::Hello(_) => Reaction::Close("an observer says hello once"),
            FromObserver::Status(status) => {
                self.status(number, status);
                Reaction::Nothing
            }
            FromObserver::Snapshot { seq } => {
                observer.held = *seq;
                observer.complete = false;
                observer.deaf = false;
                observer.seen = Some(Seen::default());
                self.sweeps.retain(|sweep| !sweep.is_unseen(link.observer));
                Reaction::Ack(*seq)
            }
            FromObserver::Items { seq, items } => match observer.in_order(*seq) {
                Err(reaction) => reaction,
                Ok(()) => {
                    observer.held = *seq;
                    for item in items.iter() {
                        let applied =
                            item.map_err(|_| "an item is malformed").and_then(|item| self.apply(number, &item));
                        if let Err(reason) = applied {
                            return Reaction::Close(reason);
                        }
                    }
                    Reaction::Ack(*seq)
                }
            },
            FromObserver::End { seq } => match observer.in_order(*seq) {
                Err(reaction) => reaction,
                Ok(()) => {
                    observer.held = *seq;
                    self.snapshot_is_complete(number);
                    Reaction::Ack(*seq)
                }
            },
        }
    }

    fn snapshot_is_complete(&mut self, number: usize) {
        let Some(observer) = self.observers.get_mut(number) else { return };
        observer.complete = true;
        if observer.seen.is_none() {
            return;
        }
        self.sweeps.push_back(Sweep::unseen(number_of(number)));
        self.sweeps.push_back(Sweep::earlier(number_of(number)));
        if !observer.heard {
            observer.heard = true;
            self.sweeps.push_back(Sweep::judge(number_of(number)));
        }
    }

    fn status(&mut self, number: usize, status: &Status<'_>) {
        let Some(observer) = self.observers.get_mut(number) else { return };
        let before = std::mem::replace(&mut observer.said, Said::of(status)).blindness.critical;
        if status.critical == before {
            return;
        }
        if status.critical {
            self.tell_observer(number, ObserverChange::Blind(status.blind.to_owned()));
            self.pin(Kind::ObserverBlind, number);
        } else {
            self.tell_observer(number, ObserverChange::Sighted);
            self.unpin(Kind::ObserverBlind, number);
        }
    }
}

impl Observer {
    /// Whether a message is the next one; if not, what it is answered with.
    fn in_order(&mut self, seq: u64) -> Result<(), Reaction> {
        if self.deaf {
            return Err(Reaction::Nothing);
        }
        match seq.checked_sub(self.held) {
            Some(1) => Ok(()),
            Some(0) | None => Err(Reaction::Ack(self.held)),
            Some(_) => {
                self.deaf = true;
                self.complete = false;
                self.resyncs += 1;
                Err(Reaction::Resync)
            }
        }
    }

    pub(super) const fn lane(&self, roster: bool) -> Lane {
        Lane::new(self.odd, roster)
    }
}

/// An observer's number as views carry it. There are far fewer than that.
pub(super) fn number_of(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX - 1)
}
