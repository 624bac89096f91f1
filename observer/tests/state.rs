//! The state on a real disk, from outside: how a start is judged, and what an operator is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "state_world/kept.rs"]
mod kept;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use varta_core::{Core, Limits, MonoNs, Now, SECOND, Saved, SavedAgent, SavedSlot, Settings, SlotKey, Start, WallNs};
use varta_vlp::{AgentId, Generation, UnitId, crc::crc32c};
use varta_watch::state::{Boot, Level, Loaded, State, StateError};

use self::kept::at;

fn boot() -> Boot {
    Boot::new("1f0e3dad-9990-4b1a-8d0e-0123456789ab", "")
}

fn directory() -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    fs::set_permissions(made.path(), fs::Permissions::from_mode(0o700)).unwrap();
    made
}

fn records(slots: u32) -> impl Iterator<Item = Saved> {
    (0..slots).flat_map(|number| {
        let agent = AgentId(u64::from(number));
        let record = SavedAgent { agent, floor: Generation(2), floor_since: 9, barrier: WallNs(3) };
        let key = SlotKey { agent: agent.into(), unit: UnitId(7), pid: number };
        let slot = SavedSlot { generation: Generation(2), ..kept::slot(key) };
        [Saved::Agent(record), Saved::Slot(Box::new(slot))]
    })
}

fn core(slots: u32) -> Core {
    let limits = Limits { agents: slots.max(1), ..Limits::default() };
    let mut core = Core::new(Settings::default(), limits, Vec::new(), 1, 42);
    records(slots).for_each(|saved| core.restore(saved, true));
    core.start(at(0), Start::Clean { stopped: at(0).mono, away: 0, barrier: WallNs(12) }, 0);
    core
}

fn kept(core: &Core) -> Vec<Saved> {
    let mut all = Vec::new();
    assert_eq!(core.save_page(0, u32::MAX, |saved| all.push(saved)), None);
    all
}

fn open(path: &Path, now: Now) -> (State, Loaded) {
    State::open(path, now, boot()).unwrap()
}

/// Leaves a state of three slots, cleanly stopped at second 10 or not stopped at all.
fn leave(path: &Path, clean: bool) {
    let core = core(3);
    let (mut state, _) = open(path, at(0));
    state.begin(at(0), at(0).wall).unwrap();
    state.set_roster_version(5);
    state.close(&core, at(10)).unwrap();
    if !clean {
        let (mut state, _) = open(path, at(10));
        state.begin(at(10), at(10).wall).unwrap();
        state.mark(at(11), at(11).wall, 77);
        state.raise_horizon(at(12).wall).unwrap();
    }
}

fn is_told(loaded: &Loaded, level: Level, what: &str) -> bool {
    loaded.said.iter().any(|notice| notice.level == level && notice.text.contains(what))
}

#[test]
fn an_empty_directory_is_a_first_start() {
    let place = directory();
    let inner = place.path().join("made/here");
    let (state, loaded) = open(&inner, at(0));
    assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(loaded.how, Start::First);
    assert!(is_told(&loaded, Level::Info, "first start"));
    assert_eq!(loaded.records.count(), 0);
    state.close(&core(3), at(1)).unwrap();
    assert_eq!(open(&inner, at(2)).1.how, Start::First, "it never began");

    fs::create_dir(inner.join("lost+found")).unwrap();
    let (mut state, loaded) = open(&inner, at(3));
    assert_eq!(loaded.how, Start::First, "a file system of its own");
    state.begin(at(3), at(3).wall).unwrap();
    drop(state);
    let (_, loaded) = open(&inner, at(5));
    assert_eq!(loaded.how, Start::Crash { horizon: at(3).wall, away: 2 * SECOND }, "from the first moment on");
}

#[test]
fn a_clean_stop_loses_nothing() {
    let place = directory();
    leave(place.path(), true);
    for _ in 0..2 {
        // Opened and not begun, it stays clean.
        let (_, loaded) = open(place.path(), at(70));
        assert_eq!(loaded.how, Start::Clean { stopped: at(10).mono, away: 60 * SECOND, barrier: WallNs(12) });
        assert!(loaded.same_boot);
        assert_eq!(loaded.roster_version, 5);
        assert_eq!(loaded.records.size_hint(), (6, Some(6)));
        assert_eq!(loaded.records.collect::<Vec<_>>(), kept(&core(3)));
        assert!(is_told(&Loaded { records: Default::default(), ..loaded }, Level::Info, "stopped cleanly 1m ago"));
    }
}

#[test]
fn once_begun_it_is_a_crash() {
    let place = directory();
    leave(place.path(), false);
    let (_, loaded) = open(place.path(), at(20));
    assert_eq!(loaded.how, Start::Crash { horizon: at(14).wall, away: 9 * SECOND });
    assert_eq!((loaded.horizon, loaded.blind_run, loaded.roster_version), (at(14).wall, 77, 5));
    assert!(is_told(&loaded, Level::Warn, "2027-01-15T08:00:14Z"));
    assert_eq!(loaded.records.collect::<Vec<_>>(), kept(&core(3)));
}

#[test]
fn under_another_boot_the_wall_clock_tells_how_long_it_was_away() {
    let place = directory();
    leave(place.path(), true);
    let booted = Now { mono: MonoNs(1), wall: at(100).wall };
    for other in
        [Boot::new("another", ""), Boot::new("1f0e3dad-9990-4b1a-8d0e-0123456789ab", "boottime 9 0"), Boot::UNKNOWN]
    {
        let (_, loaded) = State::open(place.path(), booted, other).unwrap();
        assert!(!loaded.same_boot);
        assert_eq!(loaded.how, Start::Clean { stopped: at(10).mono, away: 90 * SECOND, barrier: WallNs(12) });
    }
    assert_ne!(Boot::of_this_host(), Boot::UNKNOWN);
    assert_eq!(Boot::of_this_host(), Boot::of_this_host());
}

#[test]
fn a_mark_names_this_boot_only_when_no_record_of_another_is_left() {
    let another = Boot::new("another", "");
    let booted = |second| Now { mono: MonoNs(second * SECOND), wall: at(100 + second).wall };
    for snapshot in [false, true] {
        let place = directory();
        leave(place.path(), true);
        let (mut state, loaded) = State::open(place.path(), booted(1), another).unwrap();
        let mut observer = Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 42);
        loaded.records.for_each(|saved| observer.restore(saved, loaded.same_boot));
        observer.start(booted(1), loaded.how, 0);
        state.begin(booted(1), observer.barrier()).unwrap();
        if snapshot {
            let slots = || fs::read(place.path().join("slots")).unwrap();
            let old = slots();
            while slots() == old {
                state.keep(&mut observer, 100);
                std::thread::yield_now();
            }
            state.raise_horizon(booted(2).wall).unwrap();
        }
        drop(state);
        let (_, loaded) = State::open(place.path(), booted(3), another).unwrap();
        assert_eq!(loaded.same_boot, snapshot);
        assert!(matches!(loaded.how, Start::Crash { .. }));
        assert_eq!(loaded.records.count(), 6);
    }
}

#[test]
fn a_boot_that_is_not_known_is_never_the_same() {
    let place = directory();
    let (mut state, _) = State::open(place.path(), at(0), Boot::UNKNOWN).unwrap();
    state.begin(at(0), at(0).wall).unwrap();
    state.close(&core(1), at(1)).unwrap();
    assert!(!State::open(place.path(), at(2), Boot::UNKNOWN).unwrap().1.same_boot);
}

#[test]
fn state_that_should_be_there_and_is_not_is_lost() {
    for clean in [true, false] {
        for (missing, left) in [("mark", 6), ("slots", 0), ("journal", 6)] {
            let place = directory();
            leave(place.path(), clean);
            fs::remove_file(place.path().join(missing)).unwrap();
            let (mut state, loaded) = open(place.path(), at(20));
            assert_eq!(loaded.how, Start::Lost, "{missing}");
            assert!(is_told(&loaded, Level::Warn, &format!("{missing} is missing")), "{:?}", loaded.said);
            assert_eq!(loaded.same_boot, missing != "mark");
            assert_eq!(loaded.roster_version, 5, "kept in two files");
            assert_eq!(loaded.records.count(), left);

            // Once it went on and stopped cleanly, all is well.
            let horizon = state.begin(at(20), at(25).wall).unwrap();
            assert_eq!(horizon, at(25).wall);
            state.close(&core(2), at(30)).unwrap();
            let (_, loaded) = open(place.path(), at(31));
            assert!(matches!(loaded.how, Start::Clean { .. }), "{:?}", loaded.said);
            assert_eq!(loaded.records.collect::<Vec<_>>(), kept(&core(2)));
        }
    }
    let place = directory();
    leave(place.path(), true);
    for name in ["mark", "slots", "journal"] {
        fs::remove_file(place.path().join(name)).unwrap();
    }
    let (_, loaded) = open(place.path(), at(20));
    assert_eq!(loaded.how, Start::Lost, "the marker alone says that there was some");
    assert!(is_told(&loaded, Level::Warn, "it holds observed"));
    let place = directory();
    fs::write(place.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(open(place.path(), at(0)).1.how, Start::Lost, "nothing says that this was meant to be empty");
}

#[test]
fn corrupt_files_are_kept_and_named_and_not_for_ever() {
    let place = directory();
    for turn in 1..=5 {
        leave(place.path(), true);
        fs::write(place.path().join("slots"), format!("garbage {turn}")).unwrap();
        let (mut state, loaded) = open(place.path(), at(20));
        assert_eq!(loaded.how, Start::Lost);
        assert!(is_told(&loaded, Level::Warn, "slots is corrupt: it is shorter than its header"), "{:?}", loaded.said);
        assert!(is_told(&loaded, Level::Warn, &format!("slots.corrupt-{turn}")), "{:?}", loaded.said);
        assert_eq!(is_told(&loaded, Level::Warn, "was removed"), turn > 3);
        state.begin(at(20), at(20).wall).unwrap();
        state.close(&core(3), at(21)).unwrap();
    }
    for turn in 1..=5 {
        let kept = fs::read_to_string(place.path().join(format!("slots.corrupt-{turn}")));
        assert_eq!(kept.ok(), (turn > 2).then(|| format!("garbage {turn}")));
    }
}

#[test]
fn what_is_no_file_or_far_too_large_is_set_aside() {
    let place = directory();
    leave(place.path(), true);
    let slots = place.path().join("slots");
    fs::File::options().write(true).open(&slots).unwrap().set_len(1 << 40).unwrap();
    let (state, loaded) = open(place.path(), at(20));
    assert_eq!(loaded.how, Start::Lost);
    assert!(is_told(&loaded, Level::Warn, "1099511627776 bytes are too many"), "{:?}", loaded.said);
    drop(state);
    fs::create_dir(&slots).unwrap();
    let (_, loaded) = open(place.path(), at(20));
    assert!(is_told(&loaded, Level::Warn, "not a regular file; it is kept as"), "{:?}", loaded.said);
}

#[test]
fn files_that_do_not_go_together_are_lost() {
    let (one, other) = (directory(), directory());
    leave(one.path(), true);
    leave(other.path(), true);
    let (mut state, _) = open(other.path(), at(11));
    state.begin(at(11), at(11).wall).unwrap();
    state.close(&core(2), at(12)).unwrap();
    let mix = |name: &str| fs::copy(one.path().join(name), other.path().join(name)).unwrap();
    mix("journal");
    let (state, loaded) = open(other.path(), at(20));
    assert_eq!(loaded.how, Start::Lost);
    assert!(is_told(&loaded, Level::Warn, "goes with another snapshot"), "{:?}", loaded.said);
    drop(state);
    mix("journal");
    mix("slots");
    let (_, loaded) = open(other.path(), at(20));
    assert_eq!(loaded.how, Start::Lost, "an old backup is not what it stopped with");
    assert!(is_told(&loaded, Level::Warn, "slots is older than"), "{:?}", loaded.said);
}

#[test]
fn a_state_of_a_newer_version_is_left_alone() {
    let place = directory();
    leave(place.path(), true);
    for (name, length) in [("slots", 64), ("journal", 64), ("mark", 512)] {
        let file = place.path().join(name);
        let old = fs::read(&file).unwrap();
        let mut newer = old.clone();
        newer[8] = 2;
        let crc = crc32c(&newer[..length - 4]).to_le_bytes();
        newer[length - 4..length].copy_from_slice(&crc);
        fs::write(&file, &newer).unwrap();
        let refused = State::open(place.path(), at(20), boot()).unwrap_err();
        assert!(matches!(&refused, StateError::Newer { path, version: 2 } if *path == file), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), newer);
        fs::write(&file, old).unwrap();
    }
    assert!(matches!(open(place.path(), at(20)).1.how, Start::Clean { .. }));
}

#[test]
fn one_directory_is_one_observers() {
    let place = directory();
    let (state, _) = open(place.path(), at(0));
    let refused = State::open(place.path(), at(0), boot()).unwrap_err();
    assert!(matches!(&refused, StateError::Locked { .. }));
    assert!(refused.to_string().contains(place.path().to_str().unwrap()), "{refused}");
    drop(state);
    open(place.path(), at(0));
}

#[test]
fn a_directory_that_others_can_write_or_that_is_none_is_refused() {
    let place = directory();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let refused = State::open(place.path(), at(0), boot()).unwrap_err().to_string();
        assert!(refused.contains(place.path().to_str().unwrap()) && refused.contains("chmod go-w"), "{refused}");
    }
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    open(place.path(), at(0));
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(State::open(&file, at(0), boot()), Err(StateError::NotADirectory { .. })));
    for nowhere in [file.join("below"), "/proc/varta-state".into()] {
        let refused = State::open(&nowhere, at(0), boot()).unwrap_err();
        assert!(refused.to_string().contains(nowhere.to_str().unwrap()), "{refused}");
    }
}

/// A file that cannot be written when the observer begins: it goes on, says so, and writes it as soon as it can.
#[test]
fn a_mark_that_cannot_be_written_suspends_the_protection_only() {
    let place = directory();
    let mark = place.path().join("mark");
    let (mut state, _) = open(place.path(), at(0));
    fs::create_dir(&mark).unwrap();
    let refused = state.begin(at(0), at(0).wall).unwrap_err();
    assert!(refused.to_string().contains("directory"), "{refused}");
    assert!(state.failing().is_some_and(|why| why.contains(place.path().to_str().unwrap())));
    assert_eq!(state.horizon(WallNs(0)), WallNs(u64::MAX));
    let notice = state.poll_notice().unwrap();
    assert!(notice.level == Level::Warn && notice.text.contains("cannot write the mark"), "{notice:?}");

    fs::remove_dir(&mark).unwrap();
    let horizon = state.raise_horizon(at(1).wall).unwrap();
    assert_eq!((horizon, state.horizon(at(1).wall)), (at(3).wall, at(3).wall));
    assert_eq!((state.failing(), state.failures()), (None, 1));
    assert_eq!(state.poll_notice().map(|notice| notice.level), Some(Level::Info));
    drop(state);
    assert!(matches!(open(place.path(), at(2)).1.how, Start::Crash { .. }));
}

/// Links are not followed: a write goes into the directory or nowhere.
#[test]
fn a_link_is_not_followed() {
    let place = directory();
    leave(place.path(), true);
    let outside = directory();
    let target = outside.path().join("target");
    fs::write(&target, "mine").unwrap();
    let (mut state, _) = open(place.path(), at(20));
    symlink(&target, place.path().join("slots.new")).unwrap();
    state.begin(at(20), at(20).wall).unwrap();
    assert!(state.close(&core(3), at(21)).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
}

/// A small disk: state is kept as long as it fits, the horizon goes on when it does not, and a smaller state fits again.
#[test]
#[ignore = "needs root: mounts a small tmpfs"]
fn a_full_disk_costs_the_newest_changes_and_nothing_else() {
    let mounted = Mounted::new("96k");
    let place = mounted.0.path();
    let mut large = core(300);
    let (mut state, loaded) = open(place, at(0));
    assert_eq!(loaded.how, Start::First);
    state.begin(at(0), at(0).wall).unwrap();
    let mut full = None;
    for second in 1..30 {
        state.note(records(100).collect());
        state.mark(at(second), at(second).wall, 0);
        while state.keep(&mut large, 1000) {}
        for _ in 0..2 {
            // The second is answered after all that was asked for before the first.
            state.raise_horizon(at(second).wall).unwrap();
        }
        assert_eq!(state.horizon(at(second).wall), at(second + 2).wall, "the mark needs no room");
        full = full.or(state.failing());
    }
    assert!(full.is_some_and(|why| why.contains("No space left")));
    let refused = state.close(&large, at(30)).unwrap_err().to_string();
    assert!(refused.contains("No space left") && refused.contains(place.to_str().unwrap()), "{refused}");

    let (mut state, loaded) = open(place, at(31));
    assert_eq!(loaded.how, Start::Crash { horizon: at(31).wall, away: 2 * SECOND }, "{:?}", loaded.said);
    assert!(loaded.records.count() >= 200, "what fitted is there");
    state.begin(at(31), at(31).wall).unwrap();
    let small = core(20);
    state.close(&small, at(32)).unwrap();
    let (_, loaded) = open(place, at(33));
    assert!(matches!(loaded.how, Start::Clean { .. }), "{:?}", loaded.said);
    assert_eq!(loaded.records.collect::<Vec<_>>(), kept(&small));
}

/// A file system of its own, for as long as this lives.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(size: &str) -> Self {
        let place = directory();
        let options = format!("size={size},mode=0700");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place.path());
        assert!(mount.status().unwrap().success(), "mount {options}");
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}
