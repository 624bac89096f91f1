//! The state on disk: records have one form, a file that was changed is never taken for what was written, and whatever is
//! taken back can be lived with and kept again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use varta_core::{
    Cause, Core, Limits, MonoNs, Now, Phase, SECOND, Saved, SavedAgent, SavedSlot, Settings, SlotKey, Start, WallNs,
};
use varta_vlp::{AgentId, Generation, Status, UnitId, crc::crc32c};
use varta_watch::state::{Boot, State, StateError, record};

use super::{
    input::Input,
    watch::{assert_kept, assert_sane, core, saved, turn},
};

const FILES: [&str; 3] = ["mark", "slots", "journal"];

fn at(second: u64) -> Now {
    Now { mono: MonoNs((5000 + second) * SECOND), wall: WallNs((1_800_000_000 + second) * SECOND) }
}

fn boot(number: u8) -> Boot {
    if number == 0 { Boot::UNKNOWN } else { Boot::new(&format!("boot {number}"), "") }
}

fn near(input: &mut Input<'_>, now: u64) -> u64 {
    match input.byte() % 4 {
        0 => now,
        1 => now.saturating_sub(u64::from(input.short()) * SECOND / 64),
        2 => now.saturating_add(u64::from(input.short()) * SECOND / 64),
        _ => input.odd(),
    }
}

fn record_of(input: &mut Input<'_>) -> Saved {
    let agent = AgentId(u64::from(input.byte() % 4));
    let now = at(0);
    let key = SlotKey {
        agent: agent.into(),
        unit: UnitId(u32::from(input.byte() % 4)),
        pid: 2 + u32::from(input.byte() % 4),
    };
    match input.byte() % 8 {
        0 => return Saved::Removed(key),
        1 | 2 => {
            return Saved::Agent(SavedAgent {
                agent,
                floor: Generation(input.byte().into()),
                floor_since: input.word(),
                barrier: WallNs(near(input, now.wall.0)),
            });
        }
        _ => {}
    }
    let phases = [
        Phase::Live,
        Phase::Held,
        Phase::Stalled,
        Phase::Departed,
        Phase::Ended,
        Phase::Unknown(Cause::Restart),
        Phase::Unknown(Cause::Gap),
        Phase::Unknown(Cause::Clock),
        Phase::Unknown(Cause::Drops),
    ];
    let announces: [&[u8]; 3] = [b"\x04site\x03ams", b"\x04unit\x01a\x07version\x011", b"no metadata at all"];
    Saved::Slot(Box::new(SavedSlot {
        key,
        generation: Generation(input.byte().into()),
        session: near(input, now.wall.0),
        window: (input.odd(), u128::from(input.long()) << 64 | 1),
        previous: input.flag().then(|| (near(input, now.wall.0), input.odd(), u128::from(input.short()) | 1)),
        last_counter: input.flag().then(|| input.odd()),
        boot: input.byte().into(),
        timestamp: input.odd(),
        sent_at: WallNs(near(input, now.wall.0)),
        offset: input.flag().then(|| input.odd().cast_signed()),
        arrival: MonoNs(near(input, now.mono.0)),
        heard: MonoNs(near(input, now.mono.0)),
        deadline: MonoNs(near(input, now.mono.0)),
        contested_until: input.flag().then(|| MonoNs(near(input, now.mono.0))),
        beats: input.odd(),
        next_due_ms: input.word(),
        payload: input.word(),
        restarts: input.word(),
        stalls: input.word(),
        status: input.pick(&[Status::Ok, Status::Degraded, Status::Critical, Status::Stall]),
        phase: input.pick(&phases),
        hold: input.flag(),
        terminal: input.flag(),
        announce: input.flag().then(|| Box::from(input.pick(&announces))),
    }))
}

/// Bytes as records: what decodes has exactly this form.
fn decoded(mut bytes: &[u8]) -> Vec<Saved> {
    let mut records = Vec::new();
    loop {
        let before = bytes;
        match record::decode(&mut bytes) {
            None => return records,
            Some(Ok(saved)) => {
                let mut again = Vec::new();
                record::encode(&saved, &mut again);
                assert_eq!(again, before[..before.len() - bytes.len()], "a record has one form: {saved:?}");
                records.push(saved);
            }
            Some(Err(malformed)) => {
                assert!(!malformed.to_string().is_empty());
                assert!(bytes.len() < before.len(), "a malformed record is gone past");
            }
        }
    }
}

/// Records as they are written, with some bytes changed behind their lengths.
fn bent(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + input.byte() % 3 {
        let start = bytes.len() + 2;
        record::encode(&record_of(input), &mut bytes);
        for _ in 0..input.byte() % 4 {
            let width = if input.flag() { 16 } else { bytes.len() - start };
            let place = start + input.below(width);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (input.byte() % 8);
            }
        }
    }
    bytes
}

/// A core that takes `records` back and starts.
fn started(records: &[Saved], now: Now, how: Start, same_boot: bool) -> Core {
    let mut core = core(Settings::default(), Limits::default());
    for saved in records {
        core.restore(saved.clone(), same_boot);
    }
    core.start(now, how, 0);
    core
}

/// Whatever was taken back, the core goes on: for two days, in leaps.
fn live_with(core: &mut Core, second: u64) {
    assert_sane(core, at(second));
    for later in [0, 1, 5, 60, 700, 7200, 2 * 86_400] {
        let now = at(second + later);
        turn(core, now);
        assert_sane(core, now);
    }
    assert_kept(&saved(core));
}

fn choose_start(input: &mut Input<'_>, now: Now) -> Start {
    match input.byte() % 4 {
        0 => Start::First,
        1 => Start::Lost,
        2 => Start::Crash { horizon: WallNs(near(input, now.wall.0)), away: input.odd() },
        _ => Start::Clean {
            stopped: MonoNs(near(input, now.mono.0)),
            away: input.odd(),
            barrier: WallNs(near(input, now.wall.0)),
        },
    }
}

fn read_all(directory: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    FILES.iter().map(|name| directory.join(name)).map(|path| (path.clone(), fs::read(path).ok())).collect()
}

/// What a directory of files is made of, and how it was left.
struct Image {
    directory: tempfile::TempDir,
    records: Vec<Saved>,
    clean: bool,
    boot: Boot,
}

impl Image {
    /// Written by an observer that took `records` back and was stopped, cleanly or not.
    fn new(input: &mut Input<'_>) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a directory");
        let (clean, boot) = (input.flag(), boot(input.byte() % 3));
        let given: Vec<_> = (0..input.byte() % 6).map(|_| record_of(input)).collect();
        let core = started(&given, at(0), Start::First, true);
        let mut records = saved(&core);
        let (mut state, loaded) = State::open(directory.path(), at(0), boot).expect("an empty directory");
        assert_eq!(loaded.how, Start::First);
        state.begin(at(0), core.barrier()).expect("a disk that does not refuse");
        state.close(&core, at(1)).expect("a disk that does not refuse");
        if !clean {
            let (mut state, _) = State::open(directory.path(), at(2), boot).expect("what was closed opens");
            state.begin(at(2), core.barrier()).expect("a disk that does not refuse");
            let noted: Vec<_> = (0..input.byte() % 4).map(|_| record_of(input)).collect();
            records.extend(noted.iter().cloned());
            state.note(noted);
            state.mark(at(2), core.newest_sent(), 0);
            // The first that is waited for may be written together with that mark, before what was noted; the second
            // then says that it is durable.
            for _ in 0..2 {
                state.raise_horizon(core.newest_sent()).expect("a disk that does not refuse");
            }
            drop(state);
        }
        Self { directory, records, clean, boot }
    }

    /// Changes one file; whether anything changed, and whether its checksums were made right again.
    fn tamper(&self, input: &mut Input<'_>) {
        let name = input.pick(&FILES);
        let path = self.directory.path().join(name);
        let Ok(mut bytes) = fs::read(&path) else { return };
        match input.byte() % 8 {
            0 => {
                fs::remove_file(&path).expect("removed");
                return;
            }
            1 => bytes.truncate(input.below(bytes.len() + 1)),
            2 => bytes.extend(input.bytes(40)),
            // All that lies between a header and a trailer.
            3 if input.flag() && bytes.len() > 96 => drop(bytes.drain(64..bytes.len() - 32)),
            3 => {
                let records: Vec<_> = (0..1 + input.byte() % 3).map(|_| record_of(input)).collect();
                let mut body = Vec::new();
                records.iter().for_each(|saved| record::encode(saved, &mut body));
                bytes.extend([0; 4]);
                bytes.extend(u32::try_from(body.len()).expect("short").to_le_bytes());
                bytes.extend(body);
            }
            _ => {
                for _ in 0..1 + input.byte() % 4 {
                    let place = input.below(bytes.len().min(65_536));
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= input.byte();
                    }
                }
            }
        }
        if input.flag() {
            reseal(name, &mut bytes);
        }
        fs::write(&path, bytes).expect("written");
    }
}

fn seal(bytes: &mut [u8]) {
    let end = bytes.len().saturating_sub(4);
    let sum = crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
}

/// Makes every checksum right for the bytes as they are now, so that what lies behind them is read.
fn reseal(name: &str, bytes: &mut [u8]) {
    if name == "mark" {
        bytes.chunks_mut(2048).filter_map(|copy| copy.get_mut(..512)).for_each(seal);
        return;
    }
    if bytes.len() < 64 {
        return;
    }
    seal(&mut bytes[..64]);
    let end = if name == "slots" { bytes.len().saturating_sub(32).max(64) } else { bytes.len() };
    let (mut place, mut records, mut chain) = (64, 0_u64, 0_u32);
    while let Some(length) = bytes.get(place + 4..place + 8) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let next = place + 8 + length;
        if length == 0 || next > end {
            break;
        }
        let sum = crc32c(&bytes[place + 4..next]);
        bytes[place..place + 4].copy_from_slice(&sum.to_le_bytes());
        let mut rest = &bytes[place + 8..next];
        while record::decode(&mut rest).is_some() {
            records += 1;
        }
        chain = crc32c(&(u64::from(chain) << 32 | u64::from(sum)).to_le_bytes());
        place = next;
    }
    if name == "slots" && bytes.len() >= 96 {
        let trailer = bytes.len() - 32;
        bytes[trailer + 8..trailer + 16].copy_from_slice(&records.to_le_bytes());
        bytes[trailer + 24..trailer + 28].copy_from_slice(&chain.to_le_bytes());
        seal(&mut bytes[trailer..]);
    }
}

fn check_files(input: &mut Input<'_>) {
    let image = Image::new(input);
    let directory = image.directory.path();
    let before = read_all(directory);
    let tampers = input.byte() % 4;
    let sealed_again = (0..tampers).fold(false, |_, _| {
        image.tamper(input);
        true
    });
    let after = read_all(directory);
    let changed = |name: &str| {
        let place = FILES.iter().position(|file| *file == name).expect("a file");
        before[place] != after[place]
    };
    let boot_now = boot(input.byte() % 3);
    let opened = State::open(directory, at(60), boot_now);
    let (mut state, loaded) = match opened {
        Ok(opened) => opened,
        Err(StateError::Newer { version, .. }) => {
            assert!(sealed_again && version > 1, "version {version}, which nothing wrote");
            return;
        }
        Err(error) => panic!("refused: {error}"),
    };
    assert!(!loaded.said.is_empty(), "a start says what it found");
    let announced = loaded.records.size_hint();
    let records: Vec<_> = loaded.records.collect();
    assert_eq!(announced, (records.len(), Some(records.len())), "records announced and given out");
    if !FILES.iter().any(|name| changed(name)) {
        match loaded.how {
            Start::Clean { stopped, barrier, .. } => {
                assert!(image.clean && stopped == at(1).mono && barrier == at(0).wall);
            }
            Start::Crash { horizon, .. } => assert!(!image.clean && horizon >= at(0).wall, "{horizon:?}"),
            other => panic!("files as they were written are {other:?}"),
        }
        assert_eq!(records, image.records, "files as they were written hold what was written");
        assert_eq!(loaded.same_boot, image.boot == boot_now && image.boot != Boot::UNKNOWN);
    }
    // Of any length other than it had, with whatever checksums, a file is not what the observer stopped with.
    let resized = |place: usize| before[place].1.as_ref().map(Vec::len) != after[place].1.as_ref().map(Vec::len);
    if image.clean && !changed("mark") && (resized(1) || resized(2)) {
        assert!(!matches!(loaded.how, Start::Clean { .. }), "{:?} with files of other lengths", loaded.how);
    }
    let length = |files: &[(PathBuf, Option<Vec<u8>>)]| files[2].1.as_ref().map(Vec::len);
    if !changed("mark") && !changed("slots") && length(&after) < length(&before) {
        assert_eq!(loaded.how, Start::Lost, "what was durable is cut off");
    }
    if FILES.iter().any(|name| fs::metadata(directory.join(name)).is_err() && changed(name)) {
        assert_eq!(loaded.how, Start::Lost, "a file is missing");
    }
    let now = at(60);
    let mut core = started(&records, now, loaded.how, loaded.same_boot);
    assert!(core.barrier() >= loaded.horizon || loaded.how != Start::Lost || loaded.horizon > core.newest_sent());
    state.begin(now, core.barrier()).expect("a disk that does not refuse");
    let kept = saved(&core);
    state.close(&core, at(61)).expect("a disk that does not refuse");
    let (state, again) = State::open(directory, at(62), boot_now).expect("what was closed opens");
    assert!(matches!(again.how, Start::Clean { .. }), "{:?}", again.how);
    assert_eq!(again.records.collect::<Vec<_>>(), kept, "kept as it was");
    drop(state);
    live_with(&mut core, 60);
}

/// A change that is not covered by a checksum made anew is seen.
fn check_unsealed(input: &mut Input<'_>) {
    let image = Image::new(input);
    let directory = image.directory.path();
    let name = input.pick(&FILES);
    let path = directory.join(name);
    let mut bytes = fs::read(&path).expect("written before");
    let place = input.below(bytes.len());
    let turned = input.byte() | 1;
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= turned;
    }
    fs::write(&path, bytes).expect("written");
    let (state, loaded) = State::open(directory, at(60), image.boot).expect("a corrupt file is no error");
    drop(state);
    if name == "mark" {
        // Of its two copies one is whole, or the byte lies in neither.
        let whole = matches!(loaded.how, Start::Clean { .. }) == image.clean && loaded.how != Start::Lost;
        assert!(whole, "{:?} after byte {place} of the mark", loaded.how);
    } else {
        let same = loaded.how == Start::Lost;
        assert!(same, "{:?} after byte {place} of {name} was changed", loaded.how);
        let aside = directory.join(format!("{name}.corrupt-1"));
        assert!(aside.is_file(), "a corrupt {name} is kept aside");
    }
    for saved in loaded.records {
        assert!(image.records.contains(&saved), "a record that was never written: {saved:?}");
    }
}

/// Judges bytes as records, records that they choose, or the files of a directory that are changed.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => {
            let records = if input.flag() { decoded(input.rest()) } else { decoded(&bent(&mut input)) };
            live_with(&mut started(&records, at(0), Start::Crash { horizon: at(0).wall, away: 0 }, true), 0);
        }
        1 => {
            let (same_boot, how) = (input.flag(), choose_start(&mut input, at(0)));
            let mut records = Vec::new();
            while !input.is_empty() && records.len() < 24 {
                records.push(record_of(&mut input));
            }
            assert_kept(&records);
            live_with(&mut started(&records, at(0), how, same_boot), 0);
        }
        2 => check_unsealed(&mut input),
        _ => check_files(&mut input),
    }
}
