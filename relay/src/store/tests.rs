//! The store on a real disk, with times that are handed in.

use std::path::Path;

use varta_vlp::{key::Name, subject::Verdict};

use super::*;
use crate::fleet::{IncidentId, Kind, Matcher, SavedIncident, SavedUnit, Silence, SilenceId, UnitKey};

const START: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const KEEP: Keep = Keep { ms: 30 * 24 * HOUR, bytes: 1 << 30 };

fn at_start() -> u64 {
    START
}

fn an_hour_later() -> u64 {
    START + HOUR
}

fn unit(agent: &str) -> SavedUnit {
    let key = UnitKey {
        owner: varta_vlp::subject::Owner::Agent(Name::new(agent).unwrap().agent_id()),
        unit: Name::new("api").unwrap().unit_id(),
        pid: 0,
        observer: UnitKey::SHARED,
    };
    SavedUnit {
        key,
        agent: agent.to_owned(),
        unit: "api".to_owned(),
        pid: 42,
        observers: vec!["obs-1".to_owned()],
        labels: vec![1, b'a', 1, b'b'],
    }
}

fn key(unit: &SavedUnit) -> Vec<u8> {
    key_of(&unit.key, None)
}

fn turn(store: &Store, unit: &SavedUnit, at_ms: u64, verdict: Option<Verdict>) {
    store.note(|pending| pending.turn(key(unit), Some(UnitRow::of(unit.clone())), at_ms, verdict));
}

fn open(directory: &Path) -> Store {
    Store::open(directory, KEEP, at_start).unwrap().0
}

fn segments(store: &Store, unit: &SavedUnit, now_ms: u64) -> Vec<(u64, Option<u64>, &'static str)> {
    let history = store.history(&key(unit), now_ms).unwrap();
    history.segments.iter().map(|one| (one.from_ms - START, one.to_ms.map(|to| to - START), one.verdict)).collect()
}

fn incident(id: u64, closed_ms: Option<u64>) -> SavedIncident {
    SavedIncident {
        id: IncidentId(id),
        kind: Kind::Host,
        subject: "web-7".to_owned(),
        title: "host web-7: 6 units stalled".to_owned(),
        opened_ms: START,
        closed_ms,
        most: 6,
        evidence: vec!["a line".to_owned()],
        acked: None,
    }
}

fn silence(until_ms: u64) -> Silence {
    let matcher = Matcher {
        agent: "web-*".to_owned(),
        unit: "*".to_owned(),
        kind: "*".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    Silence { id: SilenceId(until_ms), matcher, by: "ada".to_owned(), note: String::new(), from_ms: START, until_ms }
}

#[test]
fn what_was_written_is_there_again_and_the_time_between_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (web, db) = (unit("web-1"), unit("db-1"));
    {
        let store = open(directory.path());
        turn(&store, &web, START + 10, Some(Verdict::Up));
        turn(&store, &db, START + 10, Some(Verdict::Up));
        assert_eq!(segments(&store, &web, START + 20), [(10, None, "up")], "known before it is written");
        store.write(START + 50);
        turn(&store, &web, START + 60, Some(Verdict::Stalled));
        turn(&store, &db, START + 60, None);
        store.note(|pending| {
            pending.incident(incident(7, None));
            pending.incident(incident(6, Some(START + 5)));
            pending.silences(vec![silence(START + 1), silence(START + 2 * HOUR)]);
            pending.mark(11, 6, Some(Mark::Told));
            pending.mark(11, 7, Some(Mark::Waits));
            pending.mark(12, 7, Some(Mark::Told));
        });
        store.write(START + 90);
        store.note(|pending| pending.mark(11, 6, None));
        store.write(START + 100);
    }
    let (store, loaded) = Store::open(directory.path(), KEEP, an_hour_later).unwrap();
    assert_eq!(loaded.units, std::slice::from_ref(&web), "what is gone is not known any more");
    assert_eq!(Vec::from(loaded.incidents), [incident(6, Some(START + 5)), incident(7, None)]);
    assert_eq!(loaded.silences, [silence(START + 2 * HOUR)], "what is over is over");
    assert_eq!(loaded.marks, Marks::from([(11, [(7, Mark::Waits)].into()), (12, [(7, Mark::Told)].into())]));
    assert_eq!(loaded.gap, Some((START + 100, START + HOUR)));
    let expected =
        [(10, Some(60), "up"), (60, Some(100), "stalled"), (100, Some(HOUR), "unseen"), (HOUR, None, "stalled")];
    assert_eq!(segments(&store, &web, START + HOUR + 5), expected);
    assert_eq!(segments(&store, &db, START + HOUR + 5)[..1], [(10, Some(60), "up")]);
    assert_eq!(segments(&store, &unit("other"), START + HOUR), []);
}

#[test]
fn a_second_relay_is_sent_away() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    let second = Store::open(directory.path(), KEEP, at_start).map(drop).unwrap_err();
    assert!(second.to_string().contains("another relay uses this state directory"), "{second}");
}

#[test]
fn a_damaged_file_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    for number in 1..=2 {
        std::fs::write(directory.path().join("history.redb"), vec![0x5a; 8192]).unwrap();
        let (store, loaded) = Store::open(directory.path(), KEEP, at_start).unwrap();
        assert!(loaded.units.is_empty());
        drop(store);
        let aside = directory.path().join(format!("history.redb.damaged-{number}"));
        assert_eq!(std::fs::read(aside).unwrap(), vec![0x5a; 8192], "nothing of it is lost");
    }
}

thread_local! {
    /// Whether the disk is full, for who writes on this thread.
    static FULL: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A file on a disk that may be full.
#[derive(Debug)]
struct Disk(redb::backends::FileBackend);

impl Disk {
    fn room() -> std::io::Result<()> {
        if FULL.get() { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        Self::room()?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Self::room()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        Self::room()?;
        self.0.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

fn open_on_disk(directory: &Path) -> Result<(Store, Loaded), StoreError> {
    let open = |file| redb::Builder::new().create_with_backend(Disk(redb::backends::FileBackend::new(file)?));
    Store::open_by(open, directory, KEEP, at_start)
}

#[test]
fn what_a_full_disk_refuses_is_written_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open_on_disk(directory.path()).unwrap();
    let web = unit("web-1");
    turn(&store, &web, START, Some(Verdict::Up));
    store.write(START);
    FULL.set(true);
    for second in 1..=5 {
        turn(&store, &web, START + second, Some(if second % 2 == 0 { Verdict::Up } else { Verdict::Stalled }));
        store.write(START + second);
        assert_eq!(store.failures(), (second, true));
    }
    FULL.set(false);
    // What is kept in memory is not lost by one more try that fails for another reason: the file is open again by then.
    store.write(START + 6);
    store.write(START + 7);
    assert!(!store.failures().1, "it is written again");
    drop(store);
    let (store, loaded) = Store::open(directory.path(), KEEP, at_start).unwrap();
    assert_eq!(loaded.units.len(), 1);
    let verdicts: Vec<_> = segments(&store, &web, START + HOUR).iter().map(|one| (one.0, one.2)).collect();
    let expected = [(0, "up"), (1, "stalled"), (2, "up"), (3, "stalled"), (4, "up"), (5, "stalled")];
    assert_eq!(verdicts, expected);
}

#[test]
fn a_disk_that_is_full_at_the_start_costs_nothing_of_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open_on_disk(directory.path()).unwrap();
    turn(&store, &unit("web-1"), START, Some(Verdict::Up));
    store.write(START);
    drop(store);
    FULL.set(true);
    let error = open_on_disk(directory.path()).map(drop).unwrap_err();
    FULL.set(false);
    assert!(matches!(error, StoreError::Disk { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is put aside");
    assert_eq!(open_on_disk(directory.path()).unwrap().1.units.len(), 1);
}

#[test]
fn what_is_old_goes_and_what_lasts_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (lasting, gone, late) = (unit("lasting"), unit("gone"), unit("late"));
    for minute in 0..100 {
        let verdict = if minute % 2 == 0 { Verdict::Up } else { Verdict::Stalled };
        turn(&store, &lasting, START + minute * 60_000, Some(verdict));
        store.write(START);
    }
    turn(&store, &gone, START, Some(Verdict::Up));
    turn(&store, &late, START, Some(Verdict::Up));
    store.write(START);
    turn(&store, &gone, START + 1000, None);
    turn(&store, &late, START + 2 * HOUR, None);
    store.note(|pending| {
        pending.incident(incident(1, Some(START + 5)));
        pending.incident(incident(2, Some(START + 2 * HOUR)));
        pending.incident(incident(3, None));
        (1..=3).for_each(|id| pending.mark(11, id, Some(Mark::Told)));
    });
    store.write(START);
    store.forget_before(START + 50 * 60_000).unwrap();
    let now = START + 3 * HOUR;
    assert_eq!(segments(&store, &lasting, now)[0].0, 50 * 60_000);
    assert_eq!(segments(&store, &lasting, now).len(), 50);
    assert_eq!(segments(&store, &gone, now), []);
    assert_eq!(segments(&store, &late, now), [(0, Some(2 * HOUR), "up")]);
    drop(store);
    let (_store, loaded) = Store::open(directory.path(), KEEP, an_hour_later).unwrap();
    assert_eq!(loaded.units, [lasting]);
    let ids: Vec<_> = loaded.incidents.iter().map(|one| one.id.0).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!(loaded.marks[&11].keys().collect::<Vec<_>>(), [&2, &3]);
}

#[test]
fn the_file_stays_below_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 4 << 20, ..KEEP };
    let store = Store::open(directory.path(), keep, at_start).unwrap().0;
    let units: Vec<_> = (0..500).map(|number| unit(&format!("web-{number}"))).collect();
    let mut now = START;
    for round in 0..400_u64 {
        now = START + round * HOUR / 2;
        let verdict = if round % 2 == 0 { Verdict::Up } else { Verdict::Stalled };
        units.iter().for_each(|unit| turn(&store, unit, now, Some(verdict)));
        if round % 20 == 0 {
            store.write(now);
        }
    }
    store.write(now);
    let size = || std::fs::metadata(directory.path().join("history.redb")).unwrap().len();
    assert!(size() > keep.bytes, "{} bytes are no test", size());
    store.prune(now);
    assert!(size() <= keep.bytes, "{} bytes", size());
    let left = segments(&store, &units[7], now);
    assert!(left.len() > 5 && left.len() < 400 && left.last().unwrap().1.is_none(), "{} segments", left.len());
}

#[test]
fn what_waits_is_bounded_and_keeps_the_newest() {
    let mut pending = Pending::default();
    let web = unit("web-1");
    for at in 0..1000 {
        let verdict = if at % 2 == 0 { Verdict::Up } else { Verdict::Stalled };
        pending.turn(key(&web), Some(UnitRow::of(web.clone())), START + at, Some(verdict));
    }
    let unit = &pending.units[&key(&web)];
    assert_eq!((unit.turns.len(), unit.turns.last()), (64, Some(&(START + 999, Verdict::Stalled as u8))));
    pending.mark(11, 1, Some(Mark::Waits));
    pending.mark(11, 2, Some(Mark::Waits));
    let older = std::mem::take(&mut pending);
    pending.turn(key(&web), None, START + 2000, None);
    pending.mark(11, 2, None);
    pending.put_back(older);
    assert_eq!(pending.marks, [((11, 1), Some(Mark::Waits)), ((11, 2), None)].into());
    let unit = &pending.units[&key(&web)];
    assert_eq!((unit.turns.len(), unit.turns.last()), (64, Some(&(START + 2000, super::pending::GONE))));
    let packed = unit.row.as_deref().unwrap();
    assert_eq!(UnitRow::unpack(packed), Some(UnitRow::of(web)));
    // Of one that is cut short nothing is made up; only where observers end cannot be seen.
    assert!((0..68).all(|end| UnitRow::unpack(&packed[..end]).is_none()));
}
