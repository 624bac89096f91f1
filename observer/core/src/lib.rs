//! Who is alive: acceptance and detection as a pure state machine.
//!
//! [`Core`] turns `(now, origin, datagram)` into slot state and changes, and knows nothing of sockets, clocks, files or
//! threads. Time, keys and the seed of its tables come in as arguments; bad peers are a closed [`Reject`], counted and
//! dropped.
//!
//! * in: [`Core::begin_turn`], [`Core::handle_datagram`], [`Core::handle_batch`], [`Core::resume`],
//!   [`Core::handle_unsealed`], [`Core::handle_exit`], [`Core::handle_gap`], [`Core::handle_drops`],
//!   [`Core::handle_timeout`]
//! * out: [`Core::poll_timeout`], [`Core::poll_change`], [`Core::poll_down`], [`Core::page`], [`Core::reasons`]
//! * kept over a restart: [`Core::take_dirty`], [`Core::save_page`], [`Core::restore`], [`Core::start`]

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod accept;
mod agent;
mod audience;
mod batch;
mod blind;
mod commit;
mod counters;
mod deadlines;
mod detector;
mod down;
mod event;
mod evict;
mod judge;
mod limits;
mod names;
mod page;
mod refusal;
mod required;
mod roster;
mod saved;
mod sight;
mod slot;
mod start;
mod table;
mod tell;
mod trust;
mod turnover;
mod unsealed;
mod why;

use std::collections::{HashMap, VecDeque};

pub use audience::Audience;
pub use batch::Datagram;
pub use blind::Cause;
pub use counters::{Counters, Histogram, ListenerCounters, STALL_BUCKETS};
pub use down::{Down, Obstacle};
pub use event::{AgentChange, Beat, Change, ObserverChange, Outcome, SlotChange, SlotId, Subject, Verdict};
pub use limits::{Limits, Settings};
pub use page::{Cursor, SlotView};
pub use roster::{Labels, Roster, RosterEntry};
pub use saved::{Saved, SavedAgent, SavedSlot, SlotKey};
pub use slot::{Exit, Phase};
pub use start::Start;
pub use trust::{Class, Origin, Owner, Sender};
pub use turnover::Retired;
use varta_vlp::time;
pub use varta_vlp::{
    Reject,
    time::{MILLI, MonoNs, Now, SECOND, WallNs},
};
pub use why::Reasons;

/// The observer's knowledge, and the rules by which it grows.
pub struct Core {
    settings: Settings,
    limits: Limits,
    audiences: audience::Audiences,
    roster: Option<Roster>,
    /// While another roster is being put in force.
    turnover: Option<Box<turnover::Turnover>>,
    table: table::Table,
    aside: HashMap<u32, slot::Aside>,
    counters: Counters,
    changes: event::Changes,
    verdicts: [u32; Verdict::ALL.len()],
    /// Agents with a slot neither departed nor ended.
    active_agents: u32,
    /// The restart barrier of the whole fleet.
    barrier: WallNs,
    /// Durable on disk: nothing sent later than this is accepted before it was raised.
    horizon: WallNs,
    /// The largest accepted.
    newest_sent: WallNs,
    sight: blind::Sight,
    losses: blind::Losses,
    witnesses: Vec<u32>,
    witnesses_judged: MonoNs,
    parked: Option<Box<accept::Parked>>,
    overloaded: bool,
    strangers: u32,
    last_shed: Option<MonoNs>,
    required: required::Required,
    dirty_slots: Vec<u32>,
    dirty_agents: Vec<u32>,
    /// Agents without slots, in the order in which they lost their last one.
    slotless: VecDeque<(MonoNs, u32)>,
    /// Agents with changes that were not told.
    flapping: VecDeque<u32>,
    /// Whether what was taken back was saved under another boot of this host.
    other_boot: bool,
    /// Slots that were evicted since they were last saved.
    removed: Vec<saved::SlotKey>,
    alarms: down::Alarms,
    /// Stalled slots of local processes that are known to have ended.
    gone: u32,
    /// Datagrams of local sockets, in all.
    read_locally: u64,
    /// When room for senders without a key was last looked for.
    room_made: MonoNs,
    due: Vec<(u32, MonoNs)>,
}

impl Core {
    /// A core that knows nobody. `seed` is random; it keeps its tables' order from being guessed. `listeners` is how
    /// many there are. Until [`Self::start`] is called the barrier is in the infinite past and the horizon beyond all time.
    #[must_use]
    pub fn new(settings: Settings, limits: Limits, audiences: Vec<Audience>, listeners: usize, seed: u64) -> Self {
        Self {
            settings,
            limits,
            audiences: audience::Audiences::new(audiences),
            roster: None,
            turnover: None,
            table: table::Table::new(seed),
            aside: HashMap::new(),
            counters: Counters { listeners: vec![ListenerCounters::default(); listeners], ..Counters::default() },
            changes: event::Changes::new(limits.changes),
            verdicts: [0; Verdict::ALL.len()],
            active_agents: 0,
            barrier: WallNs(0),
            horizon: WallNs(u64::MAX),
            newest_sent: WallNs(0),
            sight: blind::Sight::default(),
            losses: blind::Losses::default(),
            witnesses: Vec::new(),
            witnesses_judged: MonoNs(0),
            parked: None,
            overloaded: false,
            strangers: 0,
            last_shed: None,
            required: required::Required::default(),
            dirty_slots: Vec::new(),
            dirty_agents: Vec::new(),
            slotless: VecDeque::new(),
            flapping: VecDeque::new(),
            other_boot: false,
            removed: Vec::new(),
            alarms: down::Alarms::default(),
            gone: 0,
            read_locally: 0,
            room_made: MonoNs(0),
            due: Vec::new(),
        }
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts other settings in force; deadlines already fixed stay as they are.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Puts other audience keys in force, the first 255 at most. Agents' cached keys are derived anew where keys changed.
    pub fn set_audiences(&mut self, audiences: Vec<Audience>) {
        if self.audiences.replace(audiences) {
            return;
        }
        for number in 0..self.table.agent_numbers() {
            self.table.agent_mut(number).audience = agent::NO_AUDIENCE;
        }
        if let Some(parked) = &mut self.parked {
            parked.audience = agent::NO_AUDIENCE;
        }
    }

    /// Everything sent at or before this is refused.
    #[must_use]
    pub const fn barrier(&self) -> WallNs {
        self.barrier
    }

    /// What the horizon is to be raised above: the largest accepted send time.
    #[must_use]
    pub const fn newest_sent(&self) -> WallNs {
        self.newest_sent
    }

    /// The horizon in force.
    #[must_use]
    pub const fn horizon(&self) -> WallNs {
        self.horizon
    }

    /// Says that `horizon` is durable on disk; `WallNs(u64::MAX)` suspends the protection when the disk refuses.
    pub fn set_horizon(&mut self, horizon: WallNs) {
        self.horizon = horizon;
    }

    /// Changes that found the queue full.
    #[must_use]
    pub const fn changes_lost(&self) -> u64 {
        self.changes.lost
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { changes_lost: self.changes.lost, ..self.counters.clone() }
    }

    /// What was counted of a listener.
    #[must_use]
    pub fn listener_counters(&self, listener: usize) -> Option<&ListenerCounters> {
        self.counters.listeners.get(listener)
    }

    /// The next change, oldest first.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop()
    }

    /// How many slots and agents are known.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.table.slot_count(), self.table.agent_count())
    }

    /// The class a slot of `owner` has when it is heard on a listener declared eligible, or not.
    #[must_use]
    pub fn class_of(&self, owner: Owner, attested: bool) -> Class {
        match owner {
            Owner::Agent(agent) => self.class(agent, attested),
            Owner::Local => Class::KernelAttested,
            Owner::Plain(_) => Class::NetworkUnverified,
        }
    }

    /// The class a slot of `agent` has when it is heard on a listener declared eligible, or not.
    fn class(&self, agent: varta_vlp::AgentId, attested: bool) -> Class {
        let granted = attested && self.roster.as_ref().and_then(|roster| roster.get(agent)).is_some_and(|e| e.recovery);
        if granted { Class::OperatorAttested } else { Class::NetworkVerified }
    }
}
