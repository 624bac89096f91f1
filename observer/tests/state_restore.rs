//! How long a large fleet takes to be read back and to be written out at a stop.

#[path = "state_world/kept.rs"]
mod kept;

use std::time::Instant;

use varta_core::{Core, Limits, Saved, SavedAgent, SavedSlot, Settings, SlotKey, Start, WallNs};
use varta_vlp::{AgentId, Generation, UnitId};
use varta_watch::state::{Boot, State};

use self::kept::at;

const AGENTS: u32 = 1_000_000;

fn empty() -> Core {
    Core::new(Settings::default(), Limits { agents: AGENTS, ..Limits::default() }, Vec::new(), 1, 42)
}

/// Agents of one unit each, with names as an announce has them.
fn fleet() -> Core {
    let mut core = empty();
    for number in 0..AGENTS {
        // Ids are hashes: spread, and in no order.
        let agent = AgentId(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let record = SavedAgent { agent, floor: Generation(1), floor_since: 9, barrier: WallNs(0) };
        core.restore(Saved::Agent(record), true);
        let slot = SavedSlot {
            window: (40, u128::MAX),
            announce: Some(format!("\x05agent\x0Aweb-{number:06}\x04unit\x03app").into_bytes().into()),
            ..kept::slot(SlotKey { agent: agent.into(), unit: UnitId(number | 1), pid: 4000 })
        };
        core.restore(Saved::Slot(Box::new(slot)), true);
    }
    core.start(at(0), Start::First, 0);
    core
}

#[test]
#[ignore = "measures: run with --release --nocapture"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn a_million_agents_are_restored() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("state");
    let (mut state, _) = State::open(&directory, at(0), Boot::UNKNOWN).unwrap();
    state.begin(at(0), WallNs(0)).unwrap();
    let core = fleet();
    let begun = Instant::now();
    state.close(&core, at(0)).unwrap();
    let closed = begun.elapsed();
    drop(core);

    let size = std::fs::metadata(directory.join("slots")).unwrap().len();
    let begun = Instant::now();
    let (state, loaded) = State::open(&directory, at(0), Boot::UNKNOWN).unwrap();
    let read = begun.elapsed();
    let mut core = empty();
    loaded.records.for_each(|saved| core.restore(saved, loaded.same_boot));
    core.start(at(0), loaded.how, loaded.blind_run);
    let restored = begun.elapsed();
    assert_eq!(core.sizes(), (AGENTS as usize, AGENTS as usize));
    assert!(matches!(loaded.how, Start::Clean { .. }));
    drop(state);
    println!(
        "{AGENTS} agents, {size} bytes: written {closed:.2?}; read and checked {read:.2?}; with the core restored {restored:.2?}"
    );
}
