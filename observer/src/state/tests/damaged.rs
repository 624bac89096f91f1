//! Files with a byte flipped, or cut short.

use super::{
    super::disk::{JOURNAL, MARK, SLOTS},
    *,
};

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
