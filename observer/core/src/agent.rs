//! What is kept of an agent, and of those who hold no key: a local process, an address. Its size matters: there may be a
//! million.

use varta_vlp::{AgentId, Generation, key::AgentSecret};

use crate::{slot::NONE, time::WallNs};

/// No audience: the key is to be derived when the next frame comes.
pub(crate) const NO_AUDIENCE: u8 = u8::MAX;

/// Which kind of [`crate::Owner`] a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// An agent of which at least one frame has authenticated.
    Agent,
    /// One local process; the number in place of an id is its pid.
    Process,
    /// A source of plaintext; its address stands in the table.
    Address,
}

/// The record of an agent.
pub(crate) struct Agent {
    /// An agent's id; of other realms, a number of their own.
    pub(crate) id: AgentId,
    pub(crate) realm: Realm,
    /// P for `audience` and `generation`, as last used.
    pub(crate) secret: AgentSecret,
    /// Of `secret`; the floor too, unless the table says otherwise.
    pub(crate) generation: Generation,
    /// When the floor first authenticated, seconds since the Unix epoch.
    pub(crate) floor_since: u32,
    pub(crate) first_slot: u32,
    /// When its allowance of told changes will be whole again, seconds.
    pub(crate) changes_full: u32,
    pub(crate) slots: u16,
    /// How many of its slots are neither departed nor ended.
    pub(crate) active: u16,
    pub(crate) audience: u8,
    /// Whether its frames were refused for their times since the last acceptance, and with which sign.
    pub(crate) witness: Witness,
    pub(crate) marks: AgentMarks,
}

const _: () = assert!(size_of::<Agent>() <= 64, "there may be a million agents");

impl Agent {
    /// One that has no slot yet, and whose floor is `generation`.
    pub(crate) fn new(id: AgentId, generation: Generation, secret: AgentSecret, audience: u8) -> Self {
        Self {
            id,
            realm: Realm::Agent,
            secret,
            generation,
            floor_since: 0,
            first_slot: NONE,
            changes_full: 0,
            slots: 0,
            active: 0,
            audience,
            witness: Witness::None,
            marks: AgentMarks::default(),
        }
    }

    /// One that holds no key.
    pub(crate) fn unsealed(realm: Realm, number: u32) -> Self {
        let nothing = AgentSecret::from_bytes([0; 32]);
        Self { realm, ..Self::new(AgentId(number.into()), Generation(0), nothing, NO_AUDIENCE) }
    }
}

/// How an agent may differ from the ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentMarks(u8);

impl AgentMarks {
    /// It stands in the list of witnesses.
    pub(crate) const LISTED: u8 = 1;
    /// The roster has to be asked for every frame.
    pub(crate) const WATCHED: u8 = 1 << 1;
    /// It stands in the list of agents to be saved.
    pub(crate) const DIRTY: u8 = 1 << 2;
    /// It was told as missing and not heard since.
    pub(crate) const MISSING: u8 = 1 << 3;
    /// It stands in the list of agents without slots.
    pub(crate) const SLOTLESS: u8 = 1 << 4;
    /// The table keeps a [`Rare`] of it.
    pub(crate) const RARE: u8 = 1 << 5;
    /// The key last used is of a generation below the floor.
    pub(crate) const BELOW_FLOOR: u8 = 1 << 6;

    pub(crate) const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    pub(crate) const fn set(&mut self, mark: u8, on: bool) {
        self.0 = if on { self.0 | mark } else { self.0 & !mark };
    }

    /// Sets a mark, and says whether it was set before.
    pub(crate) const fn put(&mut self, mark: u8) -> bool {
        let had = self.has(mark);
        self.set(mark, true);
        had
    }
}

/// What few agents have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rare {
    /// Nothing sent at or before this is accepted.
    pub(crate) barrier: WallNs,
    /// The highest generation that authenticated, where the key last used is of a lower one.
    pub(crate) floor: Option<Generation>,
    /// When its allowance of new slots will be whole again, seconds.
    pub(crate) slots_full: u32,
    /// Changes not told; while there are any it stands in the list of flapping agents.
    pub(crate) untold: u32,
    /// When it lost its last slot, seconds.
    pub(crate) slotless_since: u32,
    /// When its frames were last refused for their times, milliseconds, wrapping.
    pub(crate) witness_at: u32,
}

/// Whether an agent's frames were refused for their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    None,
    Future,
    Past,
}
