//! Disks that refuse, are full, or do not answer.

use std::sync::atomic::Ordering::SeqCst;

use super::{super::writer, *};

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
