//! An observer as the relay knows it.

use std::sync::Arc;

use varta_vlp::{report, subject::Verdict};

use super::{
    At, LinkId, Pattern,
    record::{Lane, Record, ViewId},
};

/// Whether an observer can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObserverState {
    /// It has not come since the relay's start.
    Never,
    /// It has a link.
    Connected,
    /// Its link ended, or it never came in the time it had.
    Lost,
}

impl ObserverState {
    /// Every state, in declared order.
    pub const ALL: [Self; 3] = [Self::Never, Self::Connected, Self::Lost];

    /// Its published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Connected => "connected",
            Self::Lost => "lost",
        }
    }
}

/// Where its link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// None yet; until when nothing is made of that.
    Never(At),
    Connected(LinkId),
    /// Its link ended; until when its word holds.
    Lingering(At),
    Lost,
}

/// What it said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blindness {
    /// Why it is blind; empty where it sees.
    pub cause: String,
    /// For longer than its limit.
    pub critical: bool,
    /// In all, milliseconds.
    pub ms: u64,
}

/// What an observer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) verdicts: [u32; Verdict::ALL.len()],
    pub(super) blindness: Blindness,
    pub(super) datagrams: [u64; 3],
    pub(super) stalls: u64,
    pub(super) rejects: Vec<(Box<str>, u64)>,
}

impl Said {
    pub(super) fn of(status: &report::Status<'_>) -> Self {
        Self {
            verdicts: status.verdicts,
            blindness: Blindness { cause: status.blind.to_owned(), critical: status.critical, ms: status.blind_ms },
            datagrams: status.datagrams,
            stalls: status.stalls,
            rejects: status.rejects.iter().map(|(reason, count)| (reason.into(), count)).collect(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Observer {
    pub(super) name: Arc<str>,
    pub(super) site: Option<Arc<str>>,
    pub(super) agents: Vec<Pattern>,
    /// Whether it is on the list; one that is not any more has no link and is forgotten once nothing is known from it.
    pub(super) allowed: bool,
    pub(super) state: State,
    pub(super) since: At,
    /// Whether its word counts.
    pub(super) heard: bool,
    /// Names its present life; 0 before the first.
    pub(super) boot: u64,
    pub(super) odd: bool,
    pub(super) tables: [Vec<Option<Record>>; Lane::COUNT],
    /// The newest message that was taken in.
    pub(super) held: u64,
    /// Whether everything it knows is here, up to that.
    pub(super) complete: bool,
    /// Whether messages are ignored until a snapshot begins.
    pub(super) deaf: bool,
    /// During a snapshot, and until what was not in it is gone: which slots were in it.
    pub(super) seen: Option<Seen>,
    pub(super) said: Said,
    pub(super) version: String,
    pub(super) remote: String,
    pub(super) last_heard: At,
    pub(super) reports: u64,
    pub(super) resyncs: u64,
    pub(super) foreign: u64,
    /// Whether that was told in its present life.
    pub(super) foreign_told: bool,
    /// Views of it, by lane.
    pub(super) held_in: [u32; Lane::COUNT],
}

/// Handles of a snapshot, by lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen([Vec<u64>; Lane::COUNT]);

impl Seen {
    pub(super) fn mark(&mut self, view: ViewId) {
        let (word, bit) = (view.handle as usize / 64, view.handle % 64);
        let bits = &mut self.0[view.lane.index()];
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        bits[word] |= 1 << bit;
    }

    pub(super) fn has(&self, view: ViewId) -> bool {
        let word = self.0[view.lane.index()].get(view.handle as usize / 64).copied().unwrap_or(0);
        word >> (view.handle % 64) & 1 == 1
    }
}

/// An observer, for those who look.
#[derive(Clone, Debug)]
pub struct ObserverView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it stands.
    pub site: Option<&'a str>,
    /// Whether it can be heard.
    pub state: ObserverState,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Where it dialled from last; empty before the first time.
    pub remote: &'a str,
    /// Version of its software; empty before it said so.
    pub version: &'a str,
    /// Units that it has a word on.
    pub units: u32,
    /// Its own counts, in the order of [`Verdict::ALL`].
    pub verdicts: [u32; Verdict::ALL.len()],
    /// What it said of its blindness.
    pub blindness: &'a Blindness,
    /// Datagrams received, accepted and accepted late.
    pub datagrams: [u64; 3],
    /// Stalls told.
    pub stalls: u64,
    /// Refused datagrams by reason.
    pub rejects: &'a [(Box<str>, u64)],
    /// Since anything was heard from it, milliseconds; `None` before the first.
    pub quiet_ms: Option<u64>,
    /// Entries of agents that it may not report.
    pub foreign: u64,
    /// Messages taken in.
    pub reports: u64,
    /// Snapshots asked for because a message was missing.
    pub resyncs: u64,
}

impl Observer {
    pub(super) fn new(name: Arc<str>, now: At, grace: At) -> Self {
        Self {
            name,
            site: None,
            agents: Vec::new(),
            allowed: true,
            state: State::Never(grace.max(now)),
            since: now,
            heard: false,
            boot: 0,
            odd: false,
            tables: Default::default(),
            held: 0,
            complete: false,
            deaf: true,
            seen: None,
            said: Said::default(),
            version: String::new(),
            remote: String::new(),
            last_heard: now,
            reports: 0,
            resyncs: 0,
            foreign: 0,
            foreign_told: false,
            held_in: [0; Lane::COUNT],
        }
    }

    pub(super) fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Connected(link) => Some(link),
            _ => None,
        }
    }

    /// Whether it is connected and has said everything.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.state, State::Connected(_)) && self.complete
    }

    pub(super) fn due(&self) -> Option<At> {
        match self.state {
            State::Never(at) | State::Lingering(at) => Some(at),
            State::Connected(_) | State::Lost => None,
        }
    }

    pub(super) fn shown_state(&self) -> ObserverState {
        match self.state {
            State::Never(_) => ObserverState::Never,
            State::Connected(_) | State::Lingering(_) => ObserverState::Connected,
            State::Lost => ObserverState::Lost,
        }
    }

    /// Whether it may report an agent of this name, or one that is known by its id alone.
    pub(super) fn may_report(&self, name: Option<&str>) -> bool {
        self.agents.iter().any(|pattern| match name {
            Some(name) => pattern.matches(name),
            None => pattern.is_any(),
        })
    }

    pub(super) fn record(&self, view: ViewId) -> Option<&Record> {
        self.tables[view.lane.index()].get(view.handle as usize)?.as_ref()
    }

    pub(super) fn record_mut(&mut self, view: ViewId) -> Option<&mut Record> {
        self.tables[view.lane.index()].get_mut(view.handle as usize)?.as_mut()
    }

    /// Puts a record in its place, which may be beyond those there are.
    pub(super) fn put(&mut self, view: ViewId, record: Record) {
        let table = &mut self.tables[view.lane.index()];
        let place = view.handle as usize;
        if table.len() <= place {
            table.resize_with(place + 1, || None);
        }
        table[place] = Some(record);
        self.held_in[view.lane.index()] += 1;
    }

    pub(super) fn take(&mut self, view: ViewId) -> Option<Record> {
        let record = self.tables[view.lane.index()].get_mut(view.handle as usize)?.take()?;
        self.held_in[view.lane.index()] -= 1;
        Some(record)
    }

    /// Views of it.
    pub(super) fn views(&self) -> u32 {
        self.held_in.iter().sum()
    }

    /// Whether anything is left of a life other than the present one.
    pub(super) fn has_earlier(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| lane.is_odd() != self.odd && self.held_in[lane.index()] > 0)
    }
}
