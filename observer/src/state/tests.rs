//! The state from within, on disks that a test has in its hand.

mod damaged;
#[path = "../../tests/state_world/kept.rs"]
mod kept;
mod marks;
mod refusing;
mod snapshots;

use std::{collections::BTreeMap, fs, path::Path};

use varta_core::{Limits, Phase, SavedAgent, SavedSlot, Settings, SlotKey, Start};
use varta_vlp::{AgentId, Generation, UnitId};

use self::kept::at;
use super::*;
use crate::gate::Gate;

const BOOT: Boot = Boot(7);

/// In memory where there is such a file system: these tests sync a great deal.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let made = made.unwrap();
    fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    made
}

fn agent_id(number: u32) -> AgentId {
    AgentId(u64::from(number / 4))
}

fn key(number: u32) -> SlotKey {
    SlotKey { agent: agent_id(number).into(), unit: UnitId(number), pid: 100 + number }
}

fn agent(number: u32, barrier: u64) -> Saved {
    Saved::Agent(SavedAgent { agent: agent_id(number), floor: Generation(1), floor_since: 9, barrier: WallNs(barrier) })
}

fn slot(number: u32, beats: u64) -> Saved {
    Saved::Slot(Box::new(SavedSlot {
        window: (beats, 1),
        previous: number.is_multiple_of(2).then_some((1, 2, 3)),
        beats,
        phase: Phase::Departed,
        announce: Some(vec![1, b'k', 1, b'v'].into()),
        ..kept::slot(key(number))
    }))
}

fn empty_core() -> Core {
    Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 42)
}

/// A core that knows so many slots, of which each has had so many beats.
fn core(slots: u32, beats: u64) -> Core {
    let mut core = empty_core();
    for number in 0..slots {
        core.restore(agent(number, 1), true);
        core.restore(slot(number, beats), true);
    }
    core.start(at(0), Start::First, 0);
    core
}

/// What is known in the end, once every record has been taken in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    agents: BTreeMap<u64, SavedAgent>,
    /// By unit, which no two slots share here.
    slots: BTreeMap<u32, SavedSlot>,
}

impl Known {
    fn take(&mut self, saved: Saved) {
        match saved {
            Saved::Agent(agent) => drop(self.agents.insert(agent.agent.0, agent)),
            Saved::Slot(slot) => drop(self.slots.insert(slot.key.unit.0, *slot)),
            Saved::Removed(key) => drop(self.slots.remove(&key.unit.0)),
        }
    }

    fn of(records: impl IntoIterator<Item = Saved>) -> Self {
        let mut known = Self::default();
        records.into_iter().for_each(|saved| known.take(saved));
        known
    }

    fn of_core(core: &Core) -> Self {
        let mut known = Self::default();
        assert_eq!(core.save_page(0, u32::MAX, |saved| known.take(saved)), None);
        known
    }
}

fn open(path: &Path, now: Now) -> (State, Loaded) {
    State::open(path, now, BOOT).unwrap()
}

fn open_gated(path: &Path, now: Now) -> (State, Loaded, Gate) {
    let disk = Directory::open(path).unwrap();
    let gate = disk.gate.clone();
    let (loaded, found) = load::load(&disk, now, BOOT).unwrap();
    (State::start(disk, now, BOOT, &loaded, &found).unwrap(), loaded, gate)
}

/// Waits until everything asked for so far was carried out or refused.
fn settle(state: &mut State) {
    for _ in 0..2 {
        // The second is answered in a later turn of the writer than the first.
        let _ = state.put_horizon(WallNs(0), BEGIN_LIMIT);
    }
}

fn files_of(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn write_files(path: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(path).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(path.join(name), bytes).unwrap();
    }
}
