//! The queue between what happens and its being told: its bounds, its order, and where rows go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_world {
    #![expect(dead_code, reason = "each test binary uses its part")]
    pub(crate) mod world;
    pub(crate) use world::*;
}

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use export_world::{START, Says, World};
use tokio::sync::oneshot::{self, error::TryRecvError};
use varta_core::{AgentChange, Change, MILLI, MonoNs, Now, Outcome};
use varta_daemon::http::{KEPT, Ring};
use varta_vlp::{Generation, key::Name};
use varta_watch::{
    export::tsv,
    journal::{self, Teller, WAITING},
};

/// Nothing on a local disk takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// The id before the first.
const BEFORE: u64 = 1_767_225_600_000_000;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged for the first time while another thread sets up its log may be kept from both: one test logs at a time.
static LOGGING: Mutex<()> = Mutex::new(());

fn logging() -> MutexGuard<'static, ()> {
    LOGGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells everything on this thread; returns the log's lines.
fn tell(teller: Teller) -> Vec<String> {
    let _alone = logging();
    let log = Log::default();
    let made = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || made.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || teller.run());
    let bytes = log.0.lock().unwrap();
    std::str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect()
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Notes the generations `which` of one agent.
fn note(world: &mut World, which: std::ops::RangeInclusive<u32>) {
    let agent = Name::new("web-1").unwrap().agent_id();
    for generation in which {
        let what = AgentChange::Generation(Generation(generation));
        world.told(&Change::Agent { agent: agent.into(), at: world.now.mono, what });
    }
}

fn accepted(world: &mut World, nonce: u64) {
    world.now = Now { mono: world.now.mono.after(MILLI), wall: world.now.wall.after(MILLI) };
    let outcome = world.beat(Says { nonce, ..Says::default() });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

const WHOLE: u32 = WAITING as u32;

#[test]
fn what_finds_the_queue_full_is_lost_counted_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    let (export, writer) = tsv::open(&path).unwrap();
    let ring = Ring::default();
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, Some(ring.clone()), Some(export), false);
    world.journal = Some(journal);
    note(&mut world, 1..=WHOLE);
    assert_eq!(world.journal.as_ref().unwrap().events_lost(), 0, "as many as fit wait");
    note(&mut world, WHOLE + 1..=WHOLE + 5);
    assert_eq!(world.journal.as_ref().unwrap().events_lost(), 5);
    drop(world.journal.take());
    let log = tell(teller);
    assert_eq!(log.len(), WAITING + 1);
    assert!(log[WAITING - 1].contains(&format!("generation {WHOLE} ")), "{}", log[WAITING - 1]);
    let last = &log[WAITING];
    assert!(last.contains("WARN") && last.contains("some were lost") && last.contains("lost=5"), "{last}");
    let kept: Vec<_> = ring.after(None, usize::MAX).iter().map(|entry| entry.id).collect();
    let end = BEFORE + WAITING as u64;
    assert_eq!(kept, (end - KEPT as u64 + 1..=end).collect::<Vec<_>>());
    assert!(writer.finish(PATIENCE));
    assert_eq!(lines(&path).last().unwrap(), "1000000\tlagged\t-\t-\t-\t5");
}

#[test]
fn room_comes_back_and_the_ids_show_what_was_lost() {
    let ring = Ring::default();
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, Some(ring.clone()), None, false);
    world.journal = Some(journal);
    note(&mut world, 1..=WHOLE + 7);
    let _alone = logging();
    let telling = teller.spawn().unwrap();
    let last = BEFORE + WAITING as u64;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What lay in the journal until it is handed over is told, too.
    world.journal.as_mut().unwrap().hand_over();
    let mut news = ring.news();
    let told =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, news.wait_for(|id| *id == last)).await.is_ok() });
    assert!(told, "everything that waited is told");
    note(&mut world, 1..=1);
    drop(world.journal.take());
    assert!(runtime.block_on(telling.finish(PATIENCE)));
    let newest: Vec<_> = ring.after(Some(last - 1), 9).iter().map(|entry| entry.id).collect();
    assert_eq!(newest, [last, last + 8], "seven ids are missing");
}

#[test]
fn rows_of_beats_gather_until_they_are_due_or_an_event_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    let (export, writer) = tsv::open(&path).unwrap();
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, None, Some(export), true);
    world.journal = Some(journal);
    accepted(&mut world, 1);
    let due = |world: &World| world.journal.as_ref().unwrap().due();
    let hand_over = |world: &mut World, now| world.journal.as_mut().unwrap().hand_over_due(now);
    assert_eq!(due(&world), MonoNs::NEVER, "a slot's first beat is an event");
    accepted(&mut world, 2);
    let first = world.now.mono.after(100 * MILLI);
    accepted(&mut world, 3);
    hand_over(&mut world, MonoNs(first.0 - 1));
    assert_eq!(due(&world), first, "the first says when");
    hand_over(&mut world, first);
    assert_eq!(due(&world), MonoNs::NEVER);
    accepted(&mut world, 4);
    note(&mut world, 1..=1);
    assert_eq!(due(&world), MonoNs(0), "an event is told at once");
    accepted(&mut world, 5);
    assert_eq!(due(&world), MonoNs::NEVER, "and what came after it went along");
    drop(world.journal.take());
    tell(teller);
    assert!(writer.finish(PATIENCE));
    let kinds: Vec<_> = lines(&path).iter().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect();
    assert_eq!(kinds, ["beat", "new", "beat", "beat", "beat", "generation", "beat"]);
}

#[test]
fn beats_that_are_rows_crowd_out_no_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    let (export, writer) = tsv::open(&path).unwrap();
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, None, Some(export.clone()), true);
    world.journal = Some(journal);
    accepted(&mut world, 1);
    let crc = varta_vlp::DecodeError::BadCrc { expected: 1, actual: 2 };
    let outcome = Outcome::Rejected(varta_vlp::Reject::Decode(crc));
    let journal = world.journal.as_mut().unwrap();
    for _ in 0..WAITING + 2 {
        journal.outcome(world.now, &outcome);
    }
    assert_eq!((journal.export_lost(), journal.events_lost()), (3, 0), "the beat was the first row");
    note(&mut world, 1..=1);
    drop(world.journal.take());
    let log = tell(teller);
    assert_eq!(log.len(), 2, "first heard, and the generation: {log:?}");
    assert!(writer.finish(PATIENCE));
    let kinds: Vec<_> = lines(&path).iter().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect();
    // The file's own queue is as long as this one, and lines may be lost there too; never counted twice.
    assert_eq!(kinds.len() as u64 + export.lost(), WAITING as u64 + 5);
    assert_eq!(kinds[..2], ["beat", "new"], "in the order in which it happened");
}

#[test]
fn a_full_disk_costs_rows_and_nothing_else() {
    let (export, writer) = tsv::open(Path::new("/dev/full")).unwrap();
    let ring = Ring::default();
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, Some(ring.clone()), Some(export.clone()), true);
    world.journal = Some(journal);
    accepted(&mut world, 1);
    note(&mut world, 1..=10);
    assert_eq!(world.journal.as_ref().unwrap().events_lost(), 0);
    drop(world.journal.take());
    assert_eq!(tell(teller).len(), 11);
    assert!(writer.finish(PATIENCE));
    assert_eq!(export.lost(), 12, "a row for the beat, for the new slot, and for each of ten");
    assert_eq!(ring.newest(), Some(BEFORE + 11));
}

#[test]
fn another_event_file_gets_what_happens_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["old.tsv", "new.tsv"].map(|name| directory.path().join(name));
    let ((first, first_writer), (second, second_writer)) = (tsv::open(&old).unwrap(), tsv::open(&new).unwrap());
    let mut world = World::new(1);
    let (journal, teller) = journal::channel(START, None, Some(first), false);
    world.journal = Some(journal);
    note(&mut world, 1..=3);
    let (switches, mut switched) = oneshot::channel();
    world.journal.as_mut().unwrap().set_export(Some(second), switches);
    note(&mut world, 4..=5);
    assert_eq!(switched.try_recv(), Err(TryRecvError::Empty), "what waits is still for the old one");
    drop(world.journal.take());
    tell(teller);
    assert_eq!(switched.try_recv(), Err(TryRecvError::Closed));
    assert!(first_writer.finish(PATIENCE) && second_writer.finish(PATIENCE));
    assert_eq!((lines(&old).len(), lines(&new).len()), (3, 2));
}
