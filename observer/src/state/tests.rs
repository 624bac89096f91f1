use std::{collections::BTreeMap, fs, path::Path, sync::atomic::Ordering::SeqCst};

use proptest::prelude::*;
use varta_core::{Limits, MonoNs, Phase, SavedAgent, SavedSlot, Settings, SlotKey, Start};
use varta_vlp::{AgentId, Generation, Status, UnitId};

use super::{
    disk::{Gate, JOURNAL, MARK, SLOTS},
    *,
};

const BOOT: Boot = Boot(7);

fn at(second: u64) -> Now {
    Now { mono: MonoNs(second * SECOND), wall: WallNs((1_800_000_000 + second) * SECOND) }
}

/// In memory where there is such a file system: these tests sync a great deal.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let made = made.unwrap();
    fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    made
}

fn key(number: u32) -> SlotKey {
    SlotKey { agent: AgentId(u64::from(number / 4)), unit: UnitId(number), pid: 100 + number }
}

fn agent(number: u32, barrier: u64) -> Saved {
    Saved::Agent(SavedAgent {
        agent: key(number).agent,
        floor: Generation(1),
        floor_since: 9,
        barrier: WallNs(barrier),
    })
}

fn slot(number: u32, beats: u64) -> Saved {
    Saved::Slot(Box::new(SavedSlot {
        key: key(number),
        generation: Generation(1),
        session: 3,
        window: (beats, 1),
        previous: number.is_multiple_of(2).then_some((1, 2, 3)),
        last_counter: None,
        boot: 4,
        timestamp: 5,
        sent_at: WallNs(6),
        offset: Some(-7),
        arrival: MonoNs(8),
        heard: MonoNs(8),
        deadline: MonoNs(2000 * SECOND),
        contested_until: None,
        beats,
        next_due_ms: 1000,
        payload: 9,
        restarts: 1,
        stalls: 2,
        status: Status::Ok,
        phase: Phase::Departed,
        hold: false,
        terminal: false,
        announce: Some(vec![1, b'k', 1, b'v'].into()),
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
    slots: BTreeMap<(u64, u32), SavedSlot>,
}

impl Known {
    fn take(&mut self, saved: Saved) {
        match saved {
            Saved::Agent(agent) => drop(self.agents.insert(agent.agent.0, agent)),
            Saved::Slot(slot) => drop(self.slots.insert((slot.key.agent.0, slot.key.unit.0), *slot)),
            Saved::Removed(key) => drop(self.slots.remove(&(key.agent.0, key.unit.0))),
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

/// What a life of the observer got promised by its state.
#[derive(Debug, Default)]
struct Life {
    begun: bool,
    /// The largest horizon on which frames could be accepted.
    relied_on: WallNs,
    closed: bool,
}

/// A life with everything in it, on whatever disk `state` has. `known` is what the core knows at its end.
fn live(mut state: State, known: &Core, from: u64) -> Life {
    let mut life = Life::default();
    if let Ok(horizon) = state.begin(at(from), at(from).wall) {
        life.begun = true;
        life.relied_on = horizon;
    }
    for turn in from + 1..from + 5 {
        state.note((0..3).map(|number| slot(number, turn)).collect());
        if let Ok(horizon) = state.raise_horizon(at(turn).wall) {
            life.relied_on = horizon;
        }
        state.mark(at(turn), at(turn).wall, turn);
        settle(&mut state);
        if turn == from + 2 {
            // As when the journal has grown.
            state.desk.board().wants_snapshot = true;
            while state.feed_snapshot(known) {
                settle(&mut state);
            }
        }
    }
    settle(&mut state);
    life.closed = state.close(known, at(from + 5)).is_ok();
    life
}

/// Every state that a disk can be left in when it stops to take writes at some point, for good or for a while.
#[test]
fn a_disk_that_refuses_at_any_point_never_leads_to_a_wrong_start() {
    let known = core(6, 50);
    let (mut clean, mut crashed, mut lost) = (0, 0, 0);
    for refusing in [u64::MAX, 1, 3] {
        for passing in 0.. {
            let place = directory();
            let before = core(2, 1);
            let (state, _) = open(place.path(), at(0));
            assert!(live(state, &before, 0).closed);
            let (state, _, gate) = open_gated(place.path(), at(9));
            gate.refusing.store(refusing, SeqCst);
            gate.passing.store(passing, SeqCst);
            let life = live(state, &known, 10);
            let untouched = gate.passing.load(SeqCst) > 0;

            let (_, loaded) = open(place.path(), at(20));
            let which = format!("{passing} operations pass, then {refusing} are refused: {life:?} {:?}", loaded.said);
            match loaded.how {
                // Also when all of the clean mark was written and only its sync was refused.
                Start::Clean { .. } if life.closed || life.relied_on > WallNs(0) => {
                    clean += 1;
                    assert_eq!(Known::of(loaded.records), Known::of_core(&known), "{which}");
                }
                // The disk took nothing at all of the second life.
                Start::Clean { .. } => assert_eq!(Known::of(loaded.records), Known::of_core(&before), "{which}"),
                Start::Crash { horizon, .. } => {
                    crashed += 1;
                    assert!(!life.closed && horizon >= life.relied_on, "{which}");
                }
                Start::Lost => {
                    lost += 1;
                    assert!(!life.closed, "{which}");
                }
                Start::First => panic!("{which}"),
            }
            if untouched {
                assert!(life.closed, "{which}");
                break;
            }
        }
    }
    assert!(clean > 10 && crashed > 10, "{clean} {crashed} {lost}");
}

/// A state after a crash with notes in its journal, the second batch not yet said to be durable; and what is in it.
fn crashed_state() -> (BTreeMap<String, Vec<u8>>, WallNs, usize) {
    let place = directory();
    let known = core(3, 5);
    let (mut state, _) = open(place.path(), at(0));
    state.begin(at(0), at(0).wall).unwrap();
    state.close(&known, at(1)).unwrap();
    let (mut state, _) = open(place.path(), at(2));
    state.begin(at(2), at(2).wall).unwrap();
    state.note(vec![slot(0, 6), slot(1, 6)]);
    state.mark(at(3), at(3).wall, 1);
    settle(&mut state);
    state.mark(at(4), at(4).wall, 1);
    settle(&mut state);
    let durable = fs::read(place.path().join(JOURNAL)).unwrap().len();
    state.note(vec![slot(2, 7)]);
    settle(&mut state);
    let horizon = state.durable_horizon().unwrap();
    drop(state);
    assert_eq!(horizon, at(6).wall);
    (files_of(place.path()), horizon, durable)
}

fn load_from(path: &Path) -> Loaded {
    load::load(&Directory::open(path).unwrap(), at(10), BOOT).unwrap().0
}

/// Every byte of every file flipped, and every file cut at every length.
fn damaged(files: &BTreeMap<String, Vec<u8>>, mut check: impl FnMut(&str, usize, bool, &BTreeMap<String, Vec<u8>>)) {
    for name in [MARK, SLOTS, JOURNAL] {
        for place in 0..files[name].len() {
            if name == MARK && place % 2048 > 520 && place % 97 != 0 {
                continue; // Never read.
            }
            let mut changed = files.clone();
            changed.get_mut(name).unwrap()[place] ^= 0x10;
            check(name, place, false, &changed);
            let mut cut = files.clone();
            cut.get_mut(name).unwrap().truncate(place);
            check(name, place, true, &cut);
        }
    }
}

#[test]
fn a_clean_state_damaged_anywhere_is_whole_or_lost() {
    let place = directory();
    let known = core(3, 5);
    let (mut state, _) = open(place.path(), at(0));
    state.begin(at(0), at(0).wall).unwrap();
    state.close(&known, at(1)).unwrap();
    let files = files_of(place.path());
    let whole = load_from(place.path());
    let clean = Start::Clean { stopped: at(1).mono, away: 9 * SECOND, barrier: known.barrier() };
    assert_eq!(whole.how, clean);
    assert_eq!(Known::of(whole.records), Known::of_core(&known));
    let (mut wholes, mut losts) = (0, 0);
    damaged(&files, |name, at, cut, changed| {
        write_files(place.path(), changed);
        let loaded = load_from(place.path());
        if loaded.how == Start::Lost {
            losts += 1;
            assert!(name != MARK || cut, "a damaged copy of the mark leaves the other: byte {at}");
            assert!(loaded.said.iter().any(|notice| notice.level == Level::Warn && notice.text.contains(name)));
        } else {
            wholes += 1;
            assert!(name == MARK, "{name}, byte {at}, cut: {cut}");
            assert_eq!(loaded.how, clean);
            assert_eq!(Known::of(loaded.records), Known::of_core(&known));
        }
    });
    assert!(wholes > 1000 && losts > 1000, "{wholes} {losts}");
}

#[test]
fn a_crashed_state_damaged_anywhere_keeps_its_horizon_or_is_lost() {
    let (files, horizon, durable) = crashed_state();
    let place = directory();
    let crash = Start::Crash { horizon, away: 6 * SECOND };
    write_files(place.path(), &files);
    let whole = load_from(place.path());
    assert_eq!(whole.how, crash);
    let beats = |loaded: Loaded| Known::of(loaded.records).slots.values().map(|slot| slot.beats).collect::<Vec<_>>();
    assert_eq!(beats(whole), [6, 6, 7]);
    damaged(&files, |name, at, cut, changed| {
        write_files(place.path(), changed);
        let loaded = load_from(place.path());
        let which = format!("{name}, byte {at}, cut: {cut}: {:?}", loaded.said);
        let torn = name == JOURNAL && at >= durable;
        let other_copy = name == MARK && (!cut || at >= 512);
        if torn || other_copy {
            assert_eq!(loaded.how, crash, "{which}");
            assert_eq!(beats(loaded), if torn { [6, 6, 5] } else { [6, 6, 7] }, "{which}");
        } else {
            assert_eq!(loaded.how, Start::Lost, "{which}");
            let kept = loaded.records.count();
            assert!(kept > 0 || name == SLOTS, "what is whole is read: {which}");
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Change(u32, u64),
    Remove(u32),
    Begin,
    Page,
    End,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..12u32, 1..1000u64).prop_map(|(number, beats)| Step::Change(number, beats)),
        2 => (0..12u32).prop_map(Step::Remove),
        2 => Just(Step::Begin),
        4 => Just(Step::Page),
        2 => Just(Step::End),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Pages of a snapshot and notes, mixed in any way: what comes back is what was known.
    #[test]
    fn a_snapshot_taken_while_things_change_is_right(steps in proptest::collection::vec(step(), 1..60)) {
        let place = directory();
        let begin = |now| {
            let disk = Directory::open(place.path()).unwrap();
            let (loaded, found) = load::load(&disk, now, BOOT).unwrap();
            let mut files = Files::new(disk, &found, BOOT);
            files.begin();
            files.establish().unwrap();
            files.write_mark(Progress { now, ..Progress::default() }).unwrap();
            (files, loaded)
        };
        let (mut files, _) = begin(at(0));
        let mut known = Known::default();
        // Where in the twelve places the snapshot being written is.
        let mut cursor = None;
        for step in steps {
            match step {
                Step::Change(number, beats) => {
                    known.take(slot(number, beats));
                    files.note(&[slot(number, beats)]).unwrap();
                }
                Step::Remove(number) => {
                    known.take(Saved::Removed(key(number)));
                    files.note(&[Saved::Removed(key(number))]).unwrap();
                }
                Step::Begin => {
                    files.begin_snapshot(0).unwrap();
                    cursor = Some(0);
                }
                Step::Page => if let Some(from) = cursor.filter(|from| *from < 12) {
                    let page = (from..from + 3).filter_map(|number| {
                        let slot = known.slots.get(&(key(number).agent.0, number))?;
                        Some(Saved::Slot(Box::new(slot.clone())))
                    });
                    files.page(&page.collect::<Vec<_>>()).unwrap();
                    cursor = Some(from + 3);
                },
                Step::End => if cursor == Some(12) {
                    files.end_snapshot().unwrap();
                    cursor = None;
                },
                Step::Crash => {
                    drop(files);
                    let (again, loaded) = begin(at(1));
                    prop_assert!(matches!(loaded.how, Start::Crash { .. }), "{:?}", loaded.said);
                    prop_assert_eq!(&Known::of(loaded.records), &known);
                    (files, cursor) = (again, None);
                }
            }
        }
        files.sync_notes().unwrap();
        drop(files);
        prop_assert_eq!(&Known::of(begin(at(1)).1.records), &known);
    }
}

#[test]
fn a_stuck_disk_holds_nothing_up_and_nothing_grows() {
    let place = directory();
    let mut known = core(6, 50);
    let (mut state, _, gate) = open_gated(place.path(), at(0));
    let durable = state.begin(at(0), at(0).wall).unwrap();
    assert_eq!(state.horizon(WallNs(0)), durable);

    let stuck = gate.stuck.lock().unwrap();
    state.mark(at(1), at(1).wall, 0);
    assert_eq!(state.failing(), None, "it has not had its second yet");
    state.mark(at(2), at(2).wall, 0);
    assert!(state.failing().unwrap().contains("has not answered"));
    assert_eq!(state.horizon(at(2).wall), WallNs(u64::MAX));
    assert!(matches!(state.raise_horizon(at(3).wall), Err(StateError::Refused(_))));
    state.desk.board().wants_snapshot = true;
    assert!(!state.keep(&mut known, 100), "a small snapshot is asked for at once, and never begun");
    for beats in 0..200 {
        state.note((0..1000).map(|number| slot(number % 6, beats)).collect());
    }
    assert!(state.desk.board().noted() <= writer::NOTED_MAX);
    assert!(state.failures() >= 2);
    drop(stuck);

    settle(&mut state);
    assert_eq!(state.horizon(at(3).wall), at(5).wall);
    assert!(state.horizon(at(6).wall) == WallNs(u64::MAX), "accepted meanwhile, and not covered yet");
    for second in 4..20 {
        state.mark(at(second), at(second).wall, 0);
        settle(&mut state);
        while state.keep(&mut known, 100) {
            settle(&mut state);
        }
    }
    settle(&mut state);
    assert_eq!(state.failing(), None);
    let said: Vec<Notice> = std::iter::from_fn(|| state.poll_notice()).collect();
    assert!(
        said.iter().any(|notice| notice.level == Level::Warn && notice.text.contains("changes behind")),
        "{said:?}"
    );
    assert!(said.iter().any(|notice| notice.level == Level::Info), "{said:?}");
    drop(state);
    let (_, loaded) = open(place.path(), at(30));
    assert!(matches!(loaded.how, Start::Crash { .. }), "{:?}", loaded.said);
    assert_eq!(Known::of(loaded.records), Known::of_core(&known), "the snapshot made up for it");
}

#[test]
fn an_older_mark_that_comes_through_does_not_stand_for_one_overdue() {
    let mut board = writer::Board::default();
    board.overdue(2, &"here", "late");
    board.answer(1, &"here", Ok(WallNs(10)));
    assert_eq!((board.horizon, board.mark_failed.as_deref()), (WallNs(10), Some("late")));
    board.answer(2, &"here", Ok(WallNs(20)));
    assert_eq!((board.horizon, board.mark_failed), (WallNs(20), None));
}

#[test]
fn a_full_disk_is_told_and_got_over() {
    let place = directory();
    let mut known = core(6, 50);
    let (mut state, _, gate) = open_gated(place.path(), at(0));
    state.begin(at(0), at(0).wall).unwrap();
    gate.refusing.store(u64::MAX, SeqCst);
    gate.passing.store(0, SeqCst);
    assert!(state.raise_horizon(at(1).wall).unwrap_err().to_string().contains("no storage space"));
    assert_eq!(state.horizon(WallNs(0)), WallNs(u64::MAX));
    state.note(vec![slot(1, 9)]);
    state.mark(at(1), at(1).wall, 0);
    settle(&mut state);
    let warnings = std::iter::from_fn(|| state.poll_notice()).filter(|notice| notice.level == Level::Warn).count();
    assert_eq!(warnings, 2, "once for each kind of write, however often it fails");

    gate.refusing.store(0, SeqCst);
    state.mark(at(2), at(2).wall, 0);
    settle(&mut state);
    assert_eq!(state.horizon(at(2).wall), at(4).wall);
    for second in 3..20 {
        state.mark(at(second), at(second).wall, 0);
        settle(&mut state);
        while state.keep(&mut known, 100) {}
    }
    settle(&mut state);
    assert_eq!(state.failing(), None);
    state.close(&known, at(20)).unwrap();
    let (_, loaded) = open(place.path(), at(21));
    assert!(matches!(loaded.how, Start::Clean { .. }));
}

/// The horizon does not fall, whatever order and size the requests come in.
#[test]
fn a_horizon_never_falls() {
    let place = directory();
    let (mut state, _) = open(place.path(), at(0));
    state.begin(at(0), at(50).wall).unwrap();
    assert_eq!(state.raise_horizon(at(10).wall).unwrap(), at(50).wall);
    assert_eq!(state.raise_horizon(at(60).wall).unwrap(), at(62).wall);
    state.mark(at(1), at(20).wall, 0);
    settle(&mut state);
    assert_eq!(state.durable_horizon(), Some(at(62).wall));
    drop(state);
    let (mut state, loaded) = open(place.path(), at(2));
    assert_eq!(loaded.how, Start::Crash { horizon: at(62).wall, away: SECOND });
    assert_eq!(state.begin(at(2), at(3).wall).unwrap(), at(62).wall, "also when the clock was set back");
}

#[test]
fn a_long_journal_is_made_short_by_a_snapshot() {
    let place = directory();
    let mut known = core(100, 1);
    let (mut state, _) = open(place.path(), at(0));
    state.begin(at(0), at(0).wall).unwrap();
    assert!(!state.wants_snapshot());
    let journal = || fs::metadata(place.path().join(JOURNAL)).unwrap().len();
    while journal() <= 4 << 20 {
        state.note((0..1000).map(|number| slot(number % 100, 1)).collect());
        settle(&mut state);
    }
    assert!(state.wants_snapshot());
    while state.keep(&mut known, 10) {
        settle(&mut state);
    }
    settle(&mut state);
    settle(&mut state);
    assert!(!state.wants_snapshot());
    assert_eq!(journal(), batch::HEADER_LEN as u64);
    drop(state);
    let (_, loaded) = open(place.path(), at(3));
    assert!(matches!(loaded.how, Start::Crash { .. }), "{:?}", loaded.said);
    assert_eq!(Known::of(loaded.records), Known::of_core(&known));
}

/// So many batches are checked on several threads; nothing but speed may depend on that.
#[test]
fn many_batches_are_checked_as_few_are() {
    let (mut bytes, mut sum, mut starts) = (Vec::new(), batch::Trailer::default(), Vec::new());
    for number in 0..1000 {
        starts.push(bytes.len());
        let records = [slot(number, 1), agent(number, 2)];
        let records = if number % 3 == 0 { &records[..] } else { &records[..1] };
        batch::write(records, &mut bytes, |count, crc| sum.add(count, crc));
    }
    let whole = batch::scan(&bytes, 0);
    assert_eq!((whole.sum, whole.good.len(), whole.end, whole.broken), (sum, 1000, bytes.len(), None));
    bytes[starts[701] + 20] ^= 1;
    bytes[starts[900] + 20] ^= 1;
    let broken = batch::scan(&bytes, 0);
    assert_eq!((broken.good.len(), broken.end), (998, starts[701]));
    assert_eq!(broken.broken, Some(format!("a batch fails its checksum at byte {}", starts[701])));
    assert_eq!(broken.good[700].start, starts[700] + 8);
    assert_eq!(broken.good[701].start, starts[702] + 8, "in their order");
}
