//! The mark, and the horizon in it.

use super::{super::writer, *};

#[test]
fn an_older_mark_that_comes_through_does_not_stand_for_one_overdue() {
    let mut board = writer::Board::default();
    board.overdue(2, &"here", "late");
    board.answer(1, &"here", Ok(WallNs(10)));
    assert_eq!((board.horizon, board.mark_failed.as_deref()), (WallNs(10), Some("late")));
    board.answer(2, &"here", Ok(WallNs(20)));
    assert_eq!((board.horizon, board.mark_failed), (WallNs(20), None));
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
