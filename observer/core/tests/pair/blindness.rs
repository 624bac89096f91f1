//! What the observer could not see: gaps, its own clock, lost datagrams, and the limit of it all.

use varta_core::{Cause, Change, MILLI, Now, ObserverChange, Outcome, Reject, SECOND, SlotChange, Verdict};

use crate::{
    sender::{Say, Sender},
    world::{Pair, assert_once},
};

fn senders(count: u32) -> Vec<Sender> {
    (0..count).map(|n| Sender::new(&format!("web-{n}"), "api", 100 + n)).collect()
}

fn observed(told: &[Change]) -> Vec<ObserverChange> {
    let what = |change: &Change| match change {
        Change::Observer { what, .. } => Some(*what),
        _ => None,
    };
    told.iter().filter_map(what).collect()
}

/// The loop stands still for `ns`, and then notices.
fn stand_still(pair: &mut Pair, ns: u64) {
    let from = pair.mono();
    pair.sleep(ns);
    let now = pair.now();
    pair.core.handle_gap(from, now);
}

fn stalls_told(told: &[Change]) -> usize {
    let stall = |change: &&Change| {
        matches!(change, Change::Slot { what: SlotChange::Verdict { to: Verdict::Stalled, .. }, .. })
    };
    told.iter().filter(stall).count()
}

#[test]
fn a_sleep_of_30_s_accuses_nobody_and_tells_one_event() {
    let mut pair = Pair::new();
    let mut all = senders(5);
    for _ in 0..20 {
        for sender in &mut all {
            pair.beat(sender, Say::due(300));
        }
        pair.wait(300 * MILLI);
    }
    pair.told();
    let from = pair.mono();
    stand_still(&mut pair, 30 * SECOND);
    let to = pair.mono();
    let told = pair.told();
    assert_eq!(observed(&told), [ObserverChange::Blind { cause: Cause::Gap, from, to: Some(to), slots: 5 }]);
    for sender in &all {
        assert_eq!(pair.verdict(sender), Verdict::Unknown);
        assert_once(&pair.why(sender), "the observer's own loop was held up when the deadline passed");
    }
    pair.turn();
    assert_eq!(pair.counters().blind_ns[Cause::Gap as usize], 30 * SECOND);
    for sender in &mut all[..4] {
        pair.beat(sender, Say::due(300));
    }
    pair.wait(200 * MILLI);
    assert_eq!(pair.verdict(&all[0]), Verdict::Up);
    assert_eq!(pair.verdict(&all[4]), Verdict::Unknown);
    assert_eq!(stalls_told(&pair.told()), 0);
    // One died inside the gap: it has its whole span from the end, of which 200 ms are over.
    pair.wait(650 * MILLI - 1);
    assert_eq!(pair.verdict(&all[4]), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&all[4]), Verdict::Stalled);
    pair.assert_counted();
}

#[test]
fn what_was_queued_through_a_gap_accuses_nobody() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    // The slot's own deadline lies beyond the gap; the one of the queued beat lies in it.
    pair.beat(&mut sender, Say::due(60_000));
    let from = pair.mono();
    pair.sleep(SECOND);
    let queued = sender.beat(pair.t, Say::due(300));
    pair.sleep(3 * SECOND);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    // It waited 3 s for the observer and was not held back on the way.
    assert!(matches!(pair.deliver(&queued), Outcome::Accepted(_)));
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.sleep(SECOND);
    let from = pair.mono();
    let queued = sender.beat(pair.t, Say::due(300));
    pair.sleep(900 * MILLI);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    assert!(matches!(pair.deliver(&queued), Outcome::Accepted(_)));
    pair.turn();
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(849 * MILLI);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    pair.wait(10 * MILLI);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_beat_that_fell_into_a_gap_is_not_held_against_a_slot_beside_one_lost_later() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    let say = Say::due(10_000);
    pair.run(&mut sender, say, 10 * SECOND, 2);
    pair.beat(&mut sender, say);
    // The next one comes while the observer does not look, and finds the queue full; the one after is lost; the third comes.
    pair.wait(9 * SECOND);
    let from = pair.mono();
    pair.sleep(SECOND);
    let _found_no_room = sender.beat(pair.t, say);
    pair.sleep(6 * SECOND);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    pair.turn();
    pair.told();
    pair.wait(4 * SECOND);
    let _lost = sender.beat(pair.t, say);
    pair.wait(10 * SECOND);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown, "its deadline and the gap are over");
    pair.beat(&mut sender, say);
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    assert_eq!(stalls_told(&pair.told()), 0);
}

#[test]
fn gaps_one_after_another_excuse_no_death_for_ever() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.beat(&mut sender, Say::due(1000));
    let died = pair.t;
    while pair.verdict(&sender) != Verdict::Stalled {
        assert!(pair.t - died < 10 * SECOND, "half of the time is seen");
        stand_still(&mut pair, 600 * MILLI);
        pair.turn();
        pair.wait(600 * MILLI);
    }
    assert!(pair.t - died > 4 * SECOND, "the deadline has moved by what was not seen: {}", pair.t - died);
}

#[test]
fn gaps_told_twice_for_one_time_move_deadlines_once() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.beat(&mut sender, Say::due(60_000));
    let timeout = pair.core.poll_timeout();
    let from = pair.mono();
    pair.sleep(2 * SECOND);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    pair.core.handle_gap(from.after(SECOND), now);
    assert_eq!(pair.core.blind_run(), 2 * SECOND);
    pair.wait(timeout.after(2 * SECOND).0 - pair.mono().0 - 1);
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    pair.wait(1);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_gap_does_not_lengthen_a_contest() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let mut copy = sender.clone();
    pair.beat(&mut sender, Say::due(1000));
    pair.send(&mut copy, Say::due(1000));
    pair.beat(&mut sender, Say::goodbye());
    stand_still(&mut pair, 3600 * SECOND);
    pair.turn();
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
}

#[test]
fn blindness_beyond_the_limit_is_the_observers_own_failure() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.beat(&mut sender, Say::due(300));
    pair.told();
    stand_still(&mut pair, 40 * SECOND);
    pair.turn();
    assert!(!pair.core.blindness().1);
    stand_still(&mut pair, 21 * SECOND);
    assert!(pair.core.blindness().1, "two gaps in a row add up");
    pair.turn();
    assert_eq!(observed(&pair.told()).iter().filter(|what| **what == ObserverChange::BlindLimit).count(), 1);
    pair.wait(SECOND);
    pair.turn();
    assert!(!pair.core.blindness().1, "one turn of sight ends it");
    stand_still(&mut pair, 40 * SECOND);
    pair.turn();
    assert!(!pair.core.blindness().1);
}

/// Beats of all, a second apart, for `seconds`; what becomes of them does not matter.
fn beat_on(pair: &mut Pair, all: &mut [Sender], seconds: u32) {
    for _ in 0..seconds {
        for sender in all.iter_mut() {
            pair.send(sender, Say::due(1000));
        }
        pair.turn();
        pair.wait(SECOND);
    }
}

#[test]
fn the_observers_clock_is_suspect_when_most_agents_say_so_and_only_they_are_unknown() {
    for (off, future) in [(-3600_i64, true), (3600, false)] {
        let mut pair = Pair::new();
        let mut all = senders(5);
        beat_on(&mut pair, &mut all, 3);
        pair.told();
        // The observer's clock jumps. Four agents beat on, the fifth dies.
        pair.skew = off * SECOND as i64;
        beat_on(&mut pair, &mut all[..4], 5);
        let told = pair.told();
        assert_eq!(observed(&told), [ObserverChange::ClockSuspect { witnesses: 4, active: 5, future }]);
        for sender in &all[..4] {
            assert_eq!(pair.verdict(sender), Verdict::Unknown, "{}", pair.why(sender));
            assert_once(&pair.why(sender), "the observer's own clock is suspect");
        }
        assert_eq!(pair.verdict(&all[4]), Verdict::Stalled, "no frame of it was refused");
        assert_eq!(pair.core.blindness().0, Some(Cause::Clock));
        pair.skew = 0;
        beat_on(&mut pair, &mut all[..4], 2);
        assert_eq!(observed(&pair.told()), [ObserverChange::Sighted(Cause::Clock)]);
        for sender in &all[..4] {
            assert_eq!(pair.verdict(sender), Verdict::Up);
        }
    }
}

#[test]
fn a_suspect_clock_excuses_nobody_beyond_the_limit() {
    let mut pair = Pair::new();
    let mut all = senders(4);
    beat_on(&mut pair, &mut all, 3);
    pair.skew = 3600 * SECOND as i64;
    beat_on(&mut pair, &mut all, 55);
    assert_eq!(pair.verdict(&all[0]), Verdict::Unknown);
    beat_on(&mut pair, &mut all, 10);
    assert_eq!(pair.verdict(&all[0]), Verdict::Stalled);
    assert!(pair.core.blindness().1, "and the observer itself is critical");
}

#[test]
fn a_suspicion_that_comes_and_goes_excuses_nobody_for_longer() {
    let mut pair = Pair::new();
    let mut all = senders(5);
    beat_on(&mut pair, &mut all, 3);
    let began = pair.t;
    let mut stalled = None;
    // Every five seconds the clock is right for one, in which the first three are heard; the last two are always refused.
    let mut sighted = 0;
    for second in 0..100 {
        let right = second % 5 == 2;
        pair.skew = if right { 0 } else { 3600 * SECOND as i64 };
        for sender in &mut all[..if right { 3 } else { 5 }] {
            pair.send(sender, Say::due(1000));
        }
        pair.wait(200 * MILLI);
        sighted += u32::from(second > 5 && pair.core.blindness().0.is_none());
        pair.wait(800 * MILLI);
        if pair.verdict(&all[4]) == Verdict::Stalled {
            stalled = Some(pair.t - began);
            break;
        }
    }
    assert!(sighted >= 10, "the suspicion came and went: {sighted}");
    let stalled = stalled.expect("a stall in the end");
    assert!((60 * SECOND..=68 * SECOND).contains(&stalled), "{stalled}");
}

#[test]
fn two_agents_or_half_of_them_are_no_witnesses() {
    for (count, off) in [(2, 2), (6, 3)] {
        let mut pair = Pair::new();
        let mut all = senders(count);
        beat_on(&mut pair, &mut all, 3);
        pair.told();
        for sender in &mut all[..off] {
            sender.skew = 3600 * SECOND as i64;
        }
        beat_on(&mut pair, &mut all, 5);
        assert_eq!(observed(&pair.told()), []);
        assert_eq!(pair.verdict(&all[0]), Verdict::Stalled);
    }
}

#[test]
fn replays_of_refused_frames_are_no_witnesses() {
    let mut pair = Pair::new();
    let mut all = senders(3);
    beat_on(&mut pair, &mut all, 3);
    // Withheld, and played again and again while nothing else arrives.
    let withheld: Vec<_> = all.iter_mut().map(|sender| sender.beat(pair.t, Say::due(1000))).collect();
    pair.wait(6 * SECOND + MILLI);
    for bytes in &withheld {
        assert_eq!(pair.deliver(bytes), Outcome::Rejected(Reject::Stale));
    }
    pair.turn();
    pair.wait(6 * SECOND);
    pair.turn();
    pair.told();
    for _ in 0..5 {
        for bytes in &withheld {
            pair.deliver(bytes);
        }
        pair.turn();
        pair.wait(SECOND);
    }
    assert_eq!(observed(&pair.told()), []);
}

#[test]
fn what_waited_through_a_gap_is_no_witness_until_the_queue_was_empty_once() {
    let mut pair = Pair::new();
    let mut all = senders(3);
    beat_on(&mut pair, &mut all, 3);
    let queued: Vec<Vec<_>> =
        (0..2).map(|_| all.iter_mut().map(|sender| sender.beat(pair.t, Say::due(1000))).collect()).collect();
    // Held back on the way for longer than is allowed, and then in the queue.
    pair.wait(7 * SECOND);
    stand_still(&mut pair, 10 * SECOND);
    pair.told();
    // The drain takes two turns: the first ends before the queue is empty.
    for (turn, batch) in queued.iter().enumerate() {
        pair.core.begin_turn(turn > 0);
        for bytes in batch {
            assert_eq!(pair.deliver(bytes), Outcome::Rejected(Reject::Stale));
        }
        pair.sleep(200 * MILLI);
        let now = pair.now();
        pair.core.handle_timeout(now);
    }
    assert_eq!(observed(&pair.told()), []);
    // From the next turn on refused frames count again.
    pair.core.begin_turn(false);
    pair.skew = 3600 * SECOND as i64;
    beat_on(&mut pair, &mut all, 1);
    assert!(matches!(observed(&pair.told())[..], [ObserverChange::ClockSuspect { witnesses: 3, .. }, ..]));
}

/// `lost` of `lost + read` datagrams are lost between two beats' deadlines.
fn lose(pair: &mut Pair, other: &mut Sender, lost: u64, read: u32) -> Now {
    for _ in 0..read {
        pair.beat(other, Say::due(60_000));
    }
    let now = pair.now();
    pair.core.handle_drops(now, lost);
    now
}

#[test]
fn lost_datagrams_excuse_a_silence_only_while_it_may_be_their_doing() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    let mut other = Sender::new("web-2", "api", 50);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.beat(&mut sender, Say::due(1000));
    pair.wait(100 * MILLI);
    pair.turn();
    pair.told();
    // Half of all are lost from here on: 2^-19 is above one in a million, 2^-20 is not.
    let mut missed = 0;
    let began = pair.t - 100 * MILLI;
    while missed < 30 {
        pair.wait(10 * MILLI);
        lose(&mut pair, &mut other, 50, 50);
        pair.turn();
        missed = (pair.t - began) / SECOND;
        match pair.verdict(&sender) {
            Verdict::Up => assert!(pair.t - began < 2251 * MILLI + 10 * MILLI),
            Verdict::Unknown => assert!(missed < 20, "{missed}"),
            Verdict::Stalled => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missed, 20);
    assert_once(&pair.why(&sender), "the kernel dropped 50.0 % of all datagrams since");
    let told = observed(&pair.told());
    assert!(matches!(
        told[..],
        [ObserverChange::Blind { cause: Cause::Drops, to: None, slots: 1, .. }, ObserverChange::Sighted(Cause::Drops)]
    ));
    pair.assert_counted();
}

#[test]
fn the_first_losses_ever_count_and_old_ones_do_not() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    let mut other = Sender::new("web-2", "api", 50);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.beat(&mut sender, Say::due(1000));
    pair.wait(SECOND);
    lose(&mut pair, &mut other, 900, 100);
    pair.wait(2 * SECOND);
    assert_eq!(pair.verdict(&sender), Verdict::Unknown);
    assert_once(&pair.why(&sender), "the kernel dropped so many datagrams that its beats may have been among them");
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    pair.wait(3 * SECOND);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled, "nothing was lost since that beat");
}

#[test]
fn a_shed_stranger_leaves_nobody_missing() {
    let mut pair = Pair::new();
    let roster = varta_core::Roster::new([(
        Sender::new("web-1", "", 5).agent,
        varta_core::RosterEntry { name: "web-1".into(), required: true, ..Default::default() },
    )]);
    let now = pair.now();
    pair.core.set_roster(now, Some(roster));
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 1);
    pair.wait(590 * SECOND);
    let bytes = Sender::new("web-1", "", 5).beat(pair.t, Say::due(1000));
    pair.core.begin_turn(true);
    for _ in 0..65 {
        let mut forged = bytes.clone();
        forged[60] ^= 1;
        pair.deliver(&forged);
    }
    assert_eq!(pair.deliver(&bytes), Outcome::Rejected(Reject::Shed));
    pair.told();
    pair.turn();
    assert_eq!(pair.core.verdict_counts()[Verdict::Unknown as usize], 1);
    pair.assert_counted();
    pair.wait(599 * SECOND);
    assert_eq!(pair.told(), []);
    pair.wait(2 * SECOND);
    assert!(matches!(pair.told()[..], [Change::Agent { what: varta_core::AgentChange::Missing, .. }]));
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 1);
}
