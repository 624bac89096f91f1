//! What is kept on disk while the observer runs: the horizon ahead of all that is accepted, and every change.

use std::path::Path;

use varta_core::{Core, MILLI, MonoNs, Now, Outcome, SECOND, Start, WallNs};

use crate::{
    clock::Clock,
    state::{Boot, Level, Loaded, Notice, State, StateError},
};

/// How often the horizon is moved while beats come in.
const EVERY: u64 = SECOND;
/// Most records taken out of the core in one turn.
const RECORDS: usize = 1024;
/// A horizon beyond all time: no frame waits for the disk.
const SUSPENDED: WallNs = WallNs(u64::MAX);

/// Keeps the state, or knows that there is no place for it.
pub(crate) struct Keeper {
    state: Option<State>,
    /// The newest accepted send time when the horizon was last moved.
    marked: WallNs,
    /// Whether there is something that the disk was not told, or an answer of the disk that was not read.
    active: bool,
    /// While active, when the disk is next told.
    next: MonoNs,
    /// Whether changes were handed over since the last mark.
    noted: bool,
}

/// What an observer finds of its own past.
pub(crate) struct Past(Option<Loaded>);

impl Past {
    /// The version of the newest roster that was in force.
    pub(crate) fn roster_version(&self) -> Option<u64> {
        self.0.as_ref().map(|loaded| loaded.roster_version).filter(|version| *version > 0)
    }
}

impl Keeper {
    /// Opens the state in `directory`; without one nothing is kept, and no frame waits.
    ///
    /// # Errors
    /// [`StateError`], naming the directory and the remedy.
    pub(crate) fn open(directory: Option<&Path>, now: Now) -> Result<(Self, Past), StateError> {
        let opened = directory.map(|directory| State::open(directory, now, Boot::of_this_host()));
        let (state, loaded) = opened.transpose()?.unzip();
        Ok((Self { state, marked: WallNs(0), active: false, next: MonoNs(0), noted: false }, Past(loaded)))
    }

    /// Gives a core its past back, starts it, and begins to keep what it learns from now on: from here a crash is seen to be
    /// one. Returns the instant of the start; reading back a long past takes a while. `sealed`: whether sealed datagrams will
    /// come, which without a past may be replays.
    pub(crate) fn begin(&mut self, core: &mut Core, past: Past, sealed: bool) -> Now {
        let now;
        match past.0 {
            None if !sealed => {
                tracing::info!("no state_dir: nothing is kept over a restart");
                now = Clock::now();
                core.start(now, Start::First, 0);
            }
            None => {
                tracing::warn!(
                    "no state_dir: nothing is kept over a restart, and at each start frames sent within the first {} ms are \
                     refused too",
                    core.settings().skew / MILLI
                );
                now = Clock::now();
                core.start(now, Start::Lost, 0);
            }
            Some(loaded) => {
                loaded.said.iter().for_each(say);
                for saved in loaded.records {
                    core.restore(saved, loaded.same_boot);
                }
                if loaded.how == Start::Lost {
                    core.may_have_accepted(loaded.horizon);
                }
                now = Clock::now();
                core.start(now, loaded.how, loaded.blind_run);
            }
        }
        if let Some(state) = &mut self.state {
            // A disk that refuses is told by a notice, and does not keep the observer from observing.
            let _ = state.begin(now, core.barrier());
            self.listen();
        }
        self.follow(core);
        now
    }

    /// When the loop must turn for the disk.
    pub(super) const fn next(&self) -> MonoNs {
        if self.active { self.next } else { MonoNs::NEVER }
    }

    /// How many writes failed.
    pub(super) fn failures(&self) -> u64 {
        self.state.as_ref().map_or(0, State::failures)
    }

    /// Whether the newest write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.failing().is_some())
    }

    /// Remembers which roster is in force.
    pub(crate) fn keep_roster_version(&mut self, version: u64) {
        if let Some(state) = &mut self.state {
            state.set_roster_version(version);
            self.noted = true;
        }
    }

    /// Takes over how far the disk has come.
    pub(super) fn follow(&self, core: &mut Core) {
        let horizon = self.state.as_ref().map_or(SUSPENDED, |state| state.horizon(core.newest_sent()));
        core.set_horizon(horizon);
    }

    /// A frame sent at `to` waits for the horizon: makes it durable, and has the frame judged again.
    pub(super) fn settle(&mut self, core: &mut Core, now: Now, to: WallNs) -> Option<Outcome> {
        self.follow(core);
        if core.horizon() < to {
            if let Some(state) = &mut self.state {
                // A disk that refuses suspends the horizon, and a notice says so.
                let _ = state.raise_horizon(to);
            }
            self.listen();
            self.follow(core);
        }
        let outcome = core.resume(now);
        assert!(!matches!(outcome, Some(Outcome::Waiting(_))), "a frame waits for a horizon that was raised");
        outcome
    }

    /// Hands on what changed; and while there is something to tell, tells the disk once a second how far the observer got.
    /// Says whether there is more to be done soon.
    pub(super) fn turn(&mut self, core: &mut Core, now: Now) -> bool {
        let Some(state) = &mut self.state else {
            return core.take_dirty(RECORDS, drop) && core.is_dirty();
        };
        let due = self.active && now.mono >= self.next;
        self.noted |= core.is_dirty();
        let more = state.keep(core, RECORDS);
        let news = self.noted || core.newest_sent() > self.marked;
        if due {
            let ask = news || state.failing().is_some();
            if ask {
                state.mark(now, core.newest_sent(), core.blind_run());
                self.marked = core.newest_sent();
                self.noted = false;
            }
            // One more look when all is told: the disk answers later.
            self.active = ask;
            self.next = now.mono.after(EVERY);
            self.listen();
        } else if news && !self.active {
            self.active = true;
            self.next = now.mono.after(EVERY);
        }
        more
    }

    /// Logs what the disk's writer has to say.
    fn listen(&mut self) {
        while let Some(notice) = self.state.as_mut().and_then(State::poll_notice) {
            say(&notice);
        }
    }

    /// Writes all that the core knows, and that this was a clean stop.
    pub(super) fn close(mut self, core: &Core, now: Now) {
        self.listen();
        let Some(state) = self.state else { return };
        if let Err(error) = state.close(core, now) {
            tracing::warn!("{error}; the next start will be as after a crash");
        }
    }
}

fn say(notice: &Notice) {
    match notice.level {
        Level::Info => tracing::info!("{}", notice.text),
        Level::Warn => tracing::warn!("{}", notice.text),
    }
}
