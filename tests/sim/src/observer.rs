//! One observer: the real core, driven as the shell drives it, beside the model.

mod checks;
mod drain;
mod life;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
};

use varta_core::{Audience, Change, Core, Limits, MonoNs, Now, SECOND, Settings, WallNs};

use crate::{
    clock::HostClock,
    disk::{Disk, End},
    model::{Expected, Key, Model},
    registry::Registry,
    rng::Rng,
    rules::Breach,
};

pub use life::Tally;

/// A turn that begins later than this after it should have is a gap.
const GAP: u64 = 500 * varta_core::MILLI;
/// How often the horizon is moved while beats come in.
const EVERY: u64 = SECOND;

/// A datagram in the socket's queue.
#[derive(Clone)]
struct Queued {
    bytes: Rc<[u8]>,
    /// The kernel's stamp: realtime at its arrival.
    arrived: WallNs,
    /// World time of it.
    t: u64,
    listener: usize,
    from: SocketAddr,
}

/// What became of a genuine datagram.
#[derive(Clone, Copy, Debug)]
pub struct Treated {
    /// Its number in the registry.
    pub number: usize,
    /// World time at which it reached the socket.
    pub arrived: u64,
    /// What became of it.
    pub got: Expected,
}

/// An observer process with its host, its disk, and what should be true of it.
pub struct Observer {
    /// Its name among the world's audiences.
    pub audience: String,
    /// What an operator set.
    pub settings: Settings,
    limits: Limits,
    /// Its host's clocks.
    pub clock: HostClock,
    core: Option<Core>,
    model: Model,
    /// Its state directory.
    pub disk: Disk,
    queue: VecDeque<Queued>,
    /// So many datagrams fit into its socket.
    pub room: usize,
    lost: u64,
    /// Since when its loop stands still, world time.
    stalled: Option<u64>,
    /// When the clock was last read: boottime and world time.
    last: (MonoNs, u64),
    expected: MonoNs,
    slept: Option<MonoNs>,
    behind: bool,
    seen: MonoNs,
    emptied: bool,
    marked: u64,
    mark_at: Option<MonoNs>,
    noted: bool,
    lives: BTreeMap<(u64, Key), life::Life>,
    unseen: life::Unseen,
    tally: Tally,
    /// What became of genuine datagrams since this was last taken.
    pub treated: Vec<Treated>,
    /// When the clock was last read.
    now: Now,
    /// Up to when deadlines were judged.
    judged: MonoNs,
    stalled_from: u64,
    frozen: bool,
    /// The gaps told, and the time between a clean stop and the start, by boottime.
    gaps: Vec<(u64, u64)>,
    /// Changes told, for scenarios to read.
    pub told: Vec<Change>,
    /// Changes told since this was last taken.
    pub(crate) told_now: Vec<Change>,
    erred: bool,
    /// Whether slots have to give way in this world.
    churn: bool,
    seed: u64,
}

impl Observer {
    /// An observer that was never started.
    #[must_use]
    pub fn new(audience: &str, settings: Settings, limits: Limits, clock: HostClock, seed: u64) -> Self {
        let (id, _) = crate::names::audience(audience);
        Self {
            audience: audience.to_owned(),
            settings,
            limits,
            clock,
            core: None,
            model: Model::new(settings, &limits, id.0),
            disk: Disk::default(),
            queue: VecDeque::new(),
            room: 256,
            lost: 0,
            stalled: None,
            last: (MonoNs(0), 0),
            expected: MonoNs(0),
            slept: None,
            behind: false,
            seen: MonoNs(0),
            emptied: true,
            marked: 0,
            mark_at: None,
            noted: false,
            lives: BTreeMap::new(),
            unseen: life::Unseen::default(),
            tally: Tally::default(),
            told: Vec::new(),
            told_now: Vec::new(),
            erred: false,
            treated: Vec::new(),
            now: Now::default(),
            judged: MonoNs(0),
            stalled_from: 0,
            frozen: false,
            gaps: Vec::new(),
            churn: limits.slots_per_agent < Limits::default().slots_per_agent,
            seed,
        }
    }

    /// The core, while the observer runs.
    #[must_use]
    pub const fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    /// What should be known.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// What became of all datagrams.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What bounds it.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether its clock was ever further off than half of what is allowed to a sender.
    pub const fn has_erred(&mut self, t: u64) -> bool {
        let error = self.clock.error(t).unsigned_abs();
        self.erred |= error > self.settings.skew / 2;
        self.erred
    }

    /// Whether its loop turns.
    #[must_use]
    pub const fn is_awake(&self) -> bool {
        self.core.is_some() && self.stalled.is_none()
    }

    /// Starts at world time `t` with what is on its disk.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn start(&mut self, t: u64) -> Result<(), Breach> {
        let now = self.clock.now(t);
        let (id, key) = crate::names::audience(&self.audience);
        let audiences = vec![Audience { id, key, until: None }];
        let mut core = Core::new(self.settings, self.limits, audiences, 2, self.seed);
        let (past, blind_run) = self.disk.found(now, self.clock.boot_id);
        for (saved, _) in self.disk.records() {
            core.restore(saved.clone(), past.same_boot);
        }
        if past.how == varta_core::Start::Lost {
            core.may_have_accepted(WallNs(past.horizon));
        }
        core.start(now, past.how, blind_run);
        self.model.restart(now, past, self.disk.records().map(|(_, kept)| kept));
        self.disk.begin(now, self.clock.boot_id, core.barrier().0, blind_run);
        core.set_horizon(WallNs(self.disk.horizon()));
        self.core = Some(core);
        self.began(t, now, past.how);
        self.tally = Tally::default();
        self.last = (now.mono, t);
        (self.now, self.judged) = (now, now.mono);
        (self.expected, self.slept, self.behind, self.seen) = (now.mono, None, false, now.mono);
        (self.marked, self.mark_at, self.noted, self.emptied) = (0, None, false, true);
        self.tell_changes(t)?;
        self.check(t)
    }

    /// Ends at world time `t`; what waits in its socket is lost.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn end(&mut self, t: u64, end: End, registry: &mut Registry, rng: &mut Rng) -> Result<(), Breach> {
        if end == End::Clean && self.is_awake() {
            let now = self.tick(t);
            let seen = self.drain(t, now, usize::MAX, registry)?;
            debug_assert!(seen.mono <= now.mono, "time has come no further than now");
            self.tell_changes(t)?;
        }
        let now = self.clock.now(t);
        let Some(core) = self.core.take() else { return Ok(()) };
        // A loop that stands still does not answer when it is asked to stop, and is killed.
        let end = if end == End::Clean && self.stalled.is_some() { End::Killed } else { end };
        self.disk.end(t, end, &core, &self.model, now, rng);
        self.queue.clear();
        self.lost = 0;
        let from = self.stalled.take();
        self.went_down(from.unwrap_or(t));
        self.frozen = false;
        self.clock.freeze(t, false);
        Ok(())
    }

    /// The loop stands still from `t` on.
    pub fn stall(&mut self, t: u64) {
        if self.core.is_some() {
            self.stalled.get_or_insert(t);
        }
    }

    /// It goes on.
    pub fn go_on(&mut self, t: u64) {
        if let Some(from) = self.stalled.take() {
            self.stalled_from = from;
            if self.frozen {
                self.unseen.add(from, t);
                self.unseen.lengthen(t - from);
            }
        }
    }

    /// The host is paused, or goes on, and its clocks with it.
    pub fn freeze(&mut self, t: u64, frozen: bool) {
        self.clock.freeze(t, frozen);
        if frozen {
            self.stall(t);
            self.frozen = true;
        } else {
            self.go_on(t);
            self.frozen = false;
        }
    }

    /// A datagram reaches the socket.
    pub fn arrive(&mut self, t: u64, bytes: Rc<[u8]>, listener: usize, from: SocketAddr) {
        if self.core.is_none() {
            return;
        }
        if self.queue.len() >= self.room {
            self.lost += 1;
            return;
        }
        let arrived = self.clock.now(t).wall;
        self.queue.push_back(Queued { bytes, arrived, t, listener, from });
    }

    /// One turn of the loop. Returns when it wants to be woken next, world time.
    ///
    /// # Errors
    /// An invariant is broken.
    pub fn turn(&mut self, t: u64, registry: &mut Registry, rng: &mut Rng) -> Result<u64, Breach> {
        if !self.is_awake() {
            return Ok(u64::MAX);
        }
        let now = self.tick(t);
        self.disk.settle(t);
        let behind = self.behind;
        self.model.begin_turn(behind);
        if let Some(core) = &mut self.core {
            core.begin_turn(behind);
            core.set_horizon(WallNs(self.disk.horizon()));
        }
        let budget = if self.churn { 4 } else { 16 };
        let seen = self.drain(t, now, budget, registry)?;
        if let Some(core) = &mut self.core {
            core.handle_timeout(seen);
        }
        self.judged = seen.mono;
        self.model.end_turn();
        self.tell_changes(t)?;
        self.keep(t, now, rng);
        self.check(t)?;
        Ok(self.sleep(t, now))
    }

    /// Reads the clock; a turn that comes too late is blindness.
    fn tick(&mut self, t: u64) -> Now {
        let now = self.clock.now(t);
        if now.mono.since(self.expected) > GAP {
            let (from, from_t) = self.last;
            self.gap(from, from_t, t, now);
        }
        self.last = (now.mono, t);
        self.expected = now.mono;
        self.now = now;
        now
    }

    fn gap(&mut self, from: MonoNs, from_t: u64, t: u64, now: Now) {
        if let Some(core) = &mut self.core {
            core.handle_gap(from, now);
        }
        self.unseen.add(from_t.max(self.stalled_from.min(t)), t);
        self.unseen.lengthen(t - from_t);
        let from = from.max(MonoNs(self.gaps.last().map_or(0, |(_, to)| *to)));
        if from >= now.mono {
            return;
        }
        self.gaps.push((from.0, now.mono.0));
        self.model.note_gap(from.0);
        for life in self.lives.values_mut() {
            life.moved += now.mono.since(from);
        }
    }

    fn keep(&mut self, t: u64, now: Now, rng: &mut Rng) {
        let Some(core) = &mut self.core else { return };
        self.noted |= core.is_dirty();
        let (disk, model) = (&mut self.disk, &self.model);
        while core.take_dirty(64, |saved| disk.note(saved, model)) {}
        if disk.rewrites {
            let before = disk.len();
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                cursor = core.save_page(from, 64, |saved| disk.note(saved, model));
            }
            disk.rewritten(before);
            self.noted = true;
        }
        let newest = core.newest_sent().0;
        let news = self.noted || newest > self.marked;
        match self.mark_at {
            Some(at) if now.mono >= at => {
                if news {
                    self.disk.order_mark(t, now, newest, core.blind_run(), rng);
                    self.marked = newest;
                    self.noted = false;
                }
                self.mark_at = news.then(|| now.mono.after(EVERY));
            }
            None if news => self.mark_at = Some(now.mono.after(EVERY)),
            _ => {}
        }
    }

    fn sleep(&mut self, t: u64, now: Now) -> u64 {
        if self.behind {
            self.expected = now.mono;
            return t + 50_000;
        }
        let timeout = self.core.as_ref().map_or(MonoNs::NEVER, Core::poll_timeout);
        let wake = self.mark_at.unwrap_or(MonoNs::NEVER).min(timeout);
        self.expected = now.mono.max(wake);
        self.slept = Some(now.mono);
        if wake == MonoNs::NEVER {
            return u64::MAX;
        }
        let wait = i128::from(wake.since(now.mono)) * 1_000_000 / i128::from(1_000_000 + self.clock.ppm);
        t.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)).saturating_add(1)
    }
}
