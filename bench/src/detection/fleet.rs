//! Ten thousand agents, and one observer that is held up or started again: what it tells of them.

use anyhow::ensure;
use varta_core::{
    AgentChange, Change, Core, ObserverChange, Outcome, SECOND as SECOND_NS, Saved, SlotChange, Start, Verdict, WallNs,
};

use super::{
    Ns,
    subject::{self, Sender, now, origin},
    trace::{Beat, Span},
    units::{MILLI, SECOND},
};

/// Seconds in which all beat before and after.
const SEEN: u32 = 20;
/// When the observer stops to look, and when it looks again: not a whole number of promises later, so that beats come at
/// other places between two looks than before.
const AWAY: Span = ((1 + SEEN as Ns) * SECOND, (1 + SEEN as Ns) * SECOND + 10_400 * MILLI);
/// Of so many agents one loses its first beat afterwards, which by itself is no mistake.
const LOSSES: usize = 100;

/// What keeps the observer from looking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    HeldUp,
    CleanRestart,
    Crash,
}

impl Absence {
    pub(super) const ALL: [Self; 3] = [Self::HeldUp, Self::CleanRestart, Self::Crash];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HeldUp => "a loop held up for 10.4 s",
            Self::CleanRestart => "a restart of 10.4 s",
            Self::Crash => "a crash and 10.4 s to the next start",
        }
    }
}

/// What was told of the absence and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Told {
    pub(super) agents: u32,
    /// Events that say that the observer could not see.
    pub(super) events: u32,
    /// Stalls, and agents missing: what wakes somebody for a single agent.
    pub(super) pages: u32,
    /// Agents that are up in the end.
    pub(super) up: u32,
}

pub(super) fn take(agents: u32, absence: Absence) -> anyhow::Result<Told> {
    let mut fleet = Fleet::new(agents)?;
    let (from, to) = AWAY;
    while fleet.at < from {
        fleet.second(|_, _| true)?;
    }
    fleet.told = Told { agents, events: 0, pages: 0, up: 0 };
    let (saved, barrier) = (fleet.saved(), fleet.core.barrier());
    let horizon = fleet.core.newest_sent().after(2 * SECOND_NS);
    while fleet.at + SECOND <= to {
        fleet.second(|_, _| false)?;
    }
    let away = to.abs_diff(from);
    let stopped = subject::mono(from);
    match absence {
        Absence::HeldUp => fleet.core.handle_gap(stopped, now(to)),
        Absence::CleanRestart => fleet.core = begin(saved, to, Start::Clean { stopped, away, barrier })?,
        Absence::Crash => fleet.core = begin(saved, to, Start::Crash { horizon, away })?,
    }
    fleet.collect();
    // The second in which it looks again, and the next.
    for _ in 0..2 {
        fleet.second(|place, at| at > to && (place % LOSSES != LOSSES / 2 || at > to + SECOND))?;
    }
    for _ in 0..SEEN {
        fleet.second(|_, _| true)?;
    }
    ensure!(fleet.core.counters().changes_lost == 0, "changes were lost");
    let up = fleet.core.verdict_counts().get(Verdict::Up as usize).copied().unwrap_or_default();
    Ok(Told { up, ..fleet.told })
}

/// Agents that beat once a second, each at its own place in the second.
struct Fleet {
    core: Core,
    senders: Vec<Sender>,
    at: Ns,
    told: Told,
}

fn begin(saved: Vec<Saved>, at: Ns, how: Start) -> anyhow::Result<Core> {
    let mut core = subject::core()?;
    for record in saved {
        core.restore(record, true);
    }
    core.start(now(at), how, 0);
    core.set_horizon(WallNs(u64::MAX));
    Ok(core)
}

impl Fleet {
    fn new(agents: u32) -> anyhow::Result<Self> {
        let senders = (0..agents).map(|number| Sender::new(&format!("web-{number}"), 1000));
        let senders = senders.collect::<anyhow::Result<_>>()?;
        let told = Told { agents, events: 0, pages: 0, up: 0 };
        Ok(Self { core: begin(Vec::new(), 0, Start::First)?, senders, at: SECOND, told })
    }

    /// A second of beats; `heard` says of an agent and an arrival whether the observer hears it.
    fn second(&mut self, heard: impl Fn(usize, Ns) -> bool) -> anyhow::Result<()> {
        let step = SECOND / self.senders.len().max(1) as Ns;
        for (place, sender) in self.senders.iter_mut().enumerate() {
            let sent = self.at + step * place as Ns;
            let arrives = sent + MILLI;
            let beat = Beat { number: 0, sent, lag: 0, arrives };
            if !heard(place, arrives) {
                sender.skip(&beat);
                continue;
            }
            self.core.begin_turn(false);
            let outcome = self.core.handle_datagram(now(arrives), origin(), &mut sender.seal(&beat));
            ensure!(!matches!(outcome, Outcome::Waiting(_)), "a beat waits for the disk");
            self.core.handle_timeout(now(arrives));
        }
        self.at += SECOND;
        self.collect();
        Ok(())
    }

    fn collect(&mut self) {
        while let Some(change) = self.core.poll_change() {
            match change {
                Change::Observer { what: ObserverChange::Blind { .. }, .. } => self.told.events += 1,
                Change::Slot { what: SlotChange::Verdict { to: Verdict::Stalled, .. }, .. }
                | Change::Agent { what: AgentChange::Missing, .. } => self.told.pages += 1,
                _ => {}
            }
        }
    }

    fn saved(&self) -> Vec<Saved> {
        let (mut records, mut cursor) = (Vec::new(), Some(0));
        while let Some(from) = cursor {
            cursor = self.core.save_page(from, 1000, |saved| records.push(saved));
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_one_event_and_nobody_is_accused_for_it() {
        for absence in Absence::ALL {
            let told = take(500, absence).unwrap();
            assert_eq!(told, Told { agents: 500, events: 1, pages: 0, up: 500 }, "{}", absence.name());
        }
    }

    #[test]
    fn what_is_silent_without_an_absence_is_a_page_each() {
        let mut fleet = Fleet::new(50).unwrap();
        fleet.second(|_, _| true).unwrap();
        fleet.at += 10 * SECOND;
        fleet.core.handle_timeout(now(fleet.at));
        fleet.collect();
        assert_eq!(fleet.told, Told { agents: 50, events: 0, pages: 50, up: 0 });
    }
}
