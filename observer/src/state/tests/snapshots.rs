//! Snapshots, and the journal that they make short.

use proptest::prelude::*;

use super::{super::disk::JOURNAL, *};

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
                        let slot = known.slots.get(&number)?;
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
