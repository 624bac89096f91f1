//! What the tests of the state agree on: the time, and a slot as a core hands it out.

use varta_core::{MonoNs, Now, Phase, SECOND, SavedSlot, SlotKey, WallNs};
use varta_vlp::{Generation, Status};

pub(crate) fn at(second: u64) -> Now {
    Now { mono: MonoNs(second * SECOND), wall: WallNs((1_800_000_000 + second) * SECOND) }
}

/// A slot that lives, with something in every field that matters to nobody here.
pub(crate) fn slot(key: SlotKey) -> SavedSlot {
    SavedSlot {
        key,
        generation: Generation(1),
        session: 1,
        window: (40, 0xFF),
        previous: Some((1, 2, 3)),
        last_counter: None,
        boot: 4,
        timestamp: 5,
        sent_at: WallNs(6),
        offset: Some(-7),
        arrival: MonoNs(8),
        heard: MonoNs(8),
        deadline: MonoNs(2000 * SECOND),
        contested_until: None,
        beats: 10,
        next_due_ms: 1000,
        payload: 11,
        restarts: 0,
        stalls: 0,
        status: Status::Ok,
        phase: Phase::Live,
        hold: false,
        terminal: false,
        announce: None,
    }
}
