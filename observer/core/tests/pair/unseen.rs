//! Nobody is accused for time that the observer did not see: what of a beat's own time fell into gaps, and what was
//! heard while a barrier was waited out.

use varta_core::{Limits, MILLI, Outcome, Reject, SECOND, Settings, Start, Verdict};

use crate::{
    sender::{Say, Sender},
    world::{EPOCH, Pair},
};

/// The loop stands still for `ns`, and then notices.
fn stand_still(pair: &mut Pair, ns: u64) {
    let from = pair.mono();
    pair.sleep(ns);
    let now = pair.now();
    pair.core.handle_gap(from, now);
}

fn started() -> (Pair, Sender) {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    (pair, sender)
}

#[test]
fn a_beat_sent_within_a_gap_has_its_deadline_moved_by_what_was_left_of_it() {
    let (mut pair, mut sender) = started();
    let from = pair.mono();
    pair.sleep(SECOND);
    let queued = sender.beat(pair.t, Say::due(1000));
    pair.sleep(700 * MILLI);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    assert!(matches!(pair.deliver(&queued), Outcome::Accepted(_)));
    pair.turn();
    // 2250 ms of sight after it, of which none was in the 700 ms of the gap that were left.
    pair.wait(2250 * MILLI - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_beat_read_after_two_gaps_counts_both() {
    let (mut pair, mut sender) = started();
    let on_the_way = sender.beat(pair.t, Say::due(3000));
    stand_still(&mut pair, 600 * MILLI);
    pair.turn();
    pair.wait(100 * MILLI);
    stand_still(&mut pair, 600 * MILLI);
    assert!(matches!(pair.deliver(&on_the_way), Outcome::Accepted(_)));
    // 100 ms of its 6250 were seen by now.
    pair.wait(6150 * MILLI - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_beat_that_brings_nothing_up_delays_the_judgement_of_an_unknown_slot() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(300), 300 * MILLI, 3);
    let from = pair.mono();
    pair.sleep(SECOND);
    let queued = sender.beat(pair.t, Say::due(300));
    pair.sleep(900 * MILLI);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    pair.turn();
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    assert!(matches!(pair.deliver(&queued), Outcome::Accepted(_)));
    assert_eq!(pair.verdict(&sender), Verdict::Unknown, "its own deadline passed 50 ms ago");
    pair.wait(850 * MILLI - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

/// A crash; the observer is back at once and waits its barrier out until the world time returned.
fn crashed(pair: &mut Pair) -> u64 {
    let horizon = pair.core.newest_sent().after(2 * SECOND);
    pair.restart(MILLI, true, |_, _| Start::Crash { horizon, away: MILLI });
    horizon.after(5 * SECOND).0 - EPOCH
}

#[test]
fn what_is_heard_while_the_barrier_is_waited_out_and_then_silent_is_unknown() {
    let (mut pair, mut sender) = started();
    let sighted = crashed(&mut pair);
    pair.wait(3 * SECOND);
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    pair.wait(2250 * MILLI);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(sighted + 2250 * MILLI - pair.t - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_gap_after_the_wait_is_not_held_against_what_was_heard_in_it() {
    let (mut pair, mut sender) = started();
    let sighted = crashed(&mut pair);
    pair.wait(3 * SECOND);
    pair.beat(&mut sender, Say::due(60_000));
    pair.wait(sighted + SECOND - pair.t);
    stand_still(&mut pair, 15 * SECOND);
    pair.wait(sighted + 15 * SECOND + 120_250 * MILLI - pair.t - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_clean_stop_within_the_wait_keeps_what_is_left_of_it() {
    let (mut pair, mut sender) = started();
    let sighted = crashed(&mut pair);
    pair.wait(3 * SECOND);
    pair.beat(&mut sender, Say::due(1000));
    pair.wait(SECOND);
    let left = sighted - pair.t;
    pair.restart(SECOND, true, |core, stopped| Start::Clean { stopped, away: SECOND, barrier: core.barrier() });
    pair.wait(left + 2250 * MILLI - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_slot_that_is_unknown_gives_way_to_nobody() {
    let mut pair = Pair::with(Settings::default(), Limits { slots_per_agent: 2, ..Limits::default() });
    let mut both = [1, 2].map(|unit| Sender::new("web-1", "api", 4242).of_unit(unit));
    for _ in 0..3 {
        for sender in &mut both {
            pair.beat(sender, Say::due(10_000));
        }
        pair.wait(10 * SECOND);
    }
    stand_still(&mut pair, 60 * SECOND);
    pair.turn();
    assert_eq!(pair.verdict(&both[0]), Verdict::Unknown);
    let mut third = Sender::new("web-1", "api", 4242).of_unit(3);
    assert_eq!(pair.send(&mut third, Say::due(1000)), Outcome::Rejected(Reject::SlotQuota));
    pair.wait(21 * SECOND);
    assert_eq!(pair.verdict(&both[0]), Verdict::Stalled);
    assert!(matches!(pair.send(&mut third, Say::due(1000)), Outcome::Accepted(_)));
}

#[test]
fn what_waited_for_an_observer_that_did_not_look_was_not_held_back() {
    let (mut pair, mut sender) = started();
    let held_back = sender.beat(pair.t, Say::due(1000));
    pair.wait(1100 * MILLI);
    let from = pair.mono();
    pair.sleep(MILLI);
    let goodbye = sender.beat(pair.t, Say::goodbye());
    pair.sleep(20 * SECOND);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    assert_eq!(pair.deliver(&held_back), Outcome::Rejected(Reject::Delayed), "1.1 s before the gap, too");
    assert!(matches!(pair.deliver(&goodbye), Outcome::Accepted(_)));
    pair.turn();
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    // The queue is empty: from the next turn on the bound is what it was.
    let mut other = Sender::new("web-2", "api", 50);
    pair.run(&mut other, Say::due(1000), SECOND, 2);
    let late = other.beat(pair.t, Say::due(1000));
    pair.wait(1100 * MILLI);
    assert_eq!(pair.deliver(&late), Outcome::Rejected(Reject::Delayed));
}
