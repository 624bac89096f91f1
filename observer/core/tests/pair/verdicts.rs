//! From beats to verdicts: deadlines to the nanosecond, endings, and what is told of them.

use varta_core::{Change, MILLI, MonoNs, Outcome, Reject, SECOND, Settings, SlotChange, Verdict};
use varta_vlp::{Status, sealed::Flags};

use crate::{
    sender::{Say, Sender},
    world::{Pair, assert_once},
};

fn api() -> Sender {
    Sender::new("web-1", "api", 4242)
}

/// Runs until the sender is stalled, and returns how long after now that was, with the deadline that was told.
fn until_stalled(pair: &mut Pair, sender: &Sender, most: u64) -> (u64, MonoNs) {
    let from = pair.t;
    pair.told();
    let end = pair.t + most;
    while pair.t < end {
        let next = pair.core.poll_timeout().0 - pair.mono().0;
        pair.wait(next.min(end - pair.t));
        if pair.verdict(sender) == Verdict::Stalled {
            let deadline = pair.told_of_slots().into_iter().find_map(|change| match change {
                SlotChange::Verdict { to: Verdict::Stalled, deadline, .. } => deadline,
                _ => None,
            });
            return (pair.t - from, deadline.expect("a stall names its deadline"));
        }
    }
    panic!("not stalled within {most} ns: {}", pair.why(sender));
}

#[test]
fn a_promise_of_300_ms_stalls_850_ms_after_the_last_beat() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(300), 300 * MILLI, 20);
    pair.beat(&mut sender, Say::due(300));
    let last = pair.mono();
    assert_eq!(pair.verdict(&sender), Verdict::Up);
    assert_once(&pair.why(&sender), "last beat 0 ms ago");
    assert_once(&pair.why(&sender), "due within 850 ms");
    let (after, deadline) = until_stalled(&mut pair, &sender, 10 * SECOND);
    assert_eq!(after, 850 * MILLI);
    assert_eq!(deadline, last.after(after));
    assert_eq!(pair.counters().stalls, 1);
    assert_eq!(pair.counters().stall_detection.count(), 1);
    assert_eq!(pair.counters().stall_detection.sum_ns, 0, "judged at the deadline itself");
    let why = pair.why(&sender);
    assert_once(
        &why,
        "promised the next within 300 ms, so the deadline is 850 ms after it (promise, 1 more that may be lost, margin of \
         250 ms)",
    );
    assert_once(&why, "silent: last beat 850 ms ago");
    assert_once(&why, "overdue by 0 ms");
    pair.assert_counted();
}

#[test]
fn a_promise_above_a_minute_costs_a_lost_beat_only_a_minute_more() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(600_000));
    let (after, _) = until_stalled(&mut pair, &sender, 3600 * SECOND);
    assert_eq!(after, 660 * SECOND + 250 * MILLI);
}

#[test]
fn without_a_promise_the_threshold_holds_and_has_no_margin() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(0));
    let (after, _) = until_stalled(&mut pair, &sender, 10 * SECOND);
    assert_eq!(after, 2 * SECOND);
    assert_once(&pair.why(&sender), "promised nothing, so the deadline is the threshold of 2000 ms after it");
}

#[test]
fn a_hold_is_an_absence_and_being_overdue_from_it_a_stall() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(300));
    pair.beat(&mut sender, Say::due(60_000).with(Flags::HOLD));
    assert_eq!(pair.verdict(&sender), Verdict::Held);
    let (after, _) = until_stalled(&mut pair, &sender, 100 * SECOND);
    assert_eq!(after, 60 * SECOND + 250 * MILLI);
    assert_once(
        &pair.why(&sender),
        "announced an absence of 60.0 s, so the deadline is 60.2 s after it (with a margin of 250 ms)",
    );
    pair.beat(&mut sender, Say::due(300));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
}

#[test]
fn statuses_are_told_as_they_change() {
    let mut pair = Pair::new();
    let mut sender = api();
    let steps = [
        (Status::Ok, Verdict::Up),
        (Status::Degraded, Verdict::Degraded),
        (Status::Critical, Verdict::Critical),
        (Status::Ok, Verdict::Up),
    ];
    for (status, verdict) in steps {
        pair.wait(MILLI);
        pair.beat(&mut sender, Say::due(1000).status(status));
        assert_eq!(pair.verdict(&sender), verdict);
    }
    let verdict = |from, to| SlotChange::Verdict { from, to, deadline: None };
    assert_eq!(
        pair.told_of_slots(),
        [
            SlotChange::New(Verdict::Up),
            verdict(Verdict::Up, Verdict::Degraded),
            verdict(Verdict::Degraded, Verdict::Critical),
            verdict(Verdict::Critical, Verdict::Up),
        ]
    );
}

#[test]
fn a_first_beat_that_is_critical_is_followed_by_its_stall() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(300).status(Status::Critical));
    assert_eq!(pair.told_of_slots(), [SlotChange::New(Verdict::Critical)]);
    until_stalled(&mut pair, &sender, 10 * SECOND);
}

#[test]
fn a_goodbye_departs_at_once_and_nothing_follows() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(300), 300 * MILLI, 3);
    pair.told();
    pair.beat(&mut sender, Say::goodbye());
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    for _ in 0..2 {
        pair.wait(MILLI);
        assert!(matches!(pair.send(&mut sender, Say::goodbye()), Outcome::AcceptedLate(_)));
    }
    pair.wait(MILLI);
    assert_eq!(pair.send(&mut sender, Say::due(300)), Outcome::Rejected(Reject::AfterFinal));
    pair.wait(3600 * SECOND);
    assert_eq!(
        pair.told_of_slots(),
        [SlotChange::Verdict { from: Verdict::Up, to: Verdict::Departed, deadline: None }]
    );
    assert_once(&pair.why(&sender), "said goodbye 60 min ago");
    assert_eq!(pair.counters().stalls, 0);
}

#[test]
fn any_other_goodbye_is_critical_until_a_newer_session() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(300));
    pair.beat(&mut sender, Say::goodbye().status(Status::Degraded));
    assert_eq!(pair.verdict(&sender), Verdict::Critical);
    assert_once(&pair.why(&sender), "ended: said goodbye with status degraded, 0 ms ago");
    pair.wait(100 * SECOND);
    assert_eq!(pair.verdict(&sender), Verdict::Critical);
    let mut next = sender.successor(4300);
    pair.told();
    pair.beat(&mut next, Say::due(300));
    assert_eq!(pair.verdict(&next), Verdict::Up);
    assert_eq!(
        pair.told_of_slots(),
        [
            SlotChange::Restarted { old_pid: 4242 },
            SlotChange::Verdict { from: Verdict::Critical, to: Verdict::Up, deadline: None },
        ]
    );
}

#[test]
fn a_terminal_beat_ends_a_slot_and_life_takes_it_back() {
    for (payload, words) in [(0, "ended: panic"), (3, "ended: exit 3"), (256 + 9, "ended: signal 9")] {
        let mut pair = Pair::new();
        let mut sender = api();
        pair.run(&mut sender, Say::due(300), 300 * MILLI, 3);
        pair.told();
        pair.beat(&mut sender, Say::end(payload));
        assert_eq!(pair.verdict(&sender), Verdict::Critical);
        assert_once(&pair.why(&sender), words);
        pair.wait(MILLI);
        pair.beat(&mut sender, Say::end(payload));
        pair.wait(100 * SECOND);
        assert_eq!(pair.told_of_slots().len(), 1, "no second event comes, at the deadline or for a repetition");
        assert_eq!(pair.counters().stalls, 0, "an end is not a stall");
        pair.beat(&mut sender, Say::due(300));
        assert_eq!(pair.verdict(&sender), Verdict::Up);
    }
}

#[test]
fn a_goodbye_after_a_terminal_beat_of_its_session_is_no_goodbye() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::end(3));
    pair.beat(&mut sender, Say::due(300));
    assert_eq!(pair.verdict(&sender), Verdict::Up, "life takes the end back");
    pair.beat(&mut sender, Say::goodbye());
    assert_eq!(pair.verdict(&sender), Verdict::Critical);
    assert_once(&pair.why(&sender), "ended: said goodbye after a last beat that told of a bad end");
}

#[test]
fn a_promise_above_the_ceiling_is_held_to_it_and_told_once() {
    let mut pair = Pair::new();
    let mut sender = api();
    let hour = 3_600_000;
    for _ in 0..3 {
        pair.beat(&mut sender, Say::due(2 * hour));
        pair.wait(SECOND);
        sender.renew(pair.t);
    }
    let told = pair.told_of_slots();
    assert_eq!(
        told,
        [SlotChange::New(Verdict::Up), SlotChange::PromiseClamped { asked: 2 * hour, held: hour }],
        "once for each life of a process, whatever its sessions"
    );
    let (after, _) = until_stalled(&mut pair, &sender, 7200 * SECOND);
    assert_eq!(after, 3660 * SECOND + 250 * MILLI - SECOND);
}

#[test]
fn a_beat_whose_own_deadline_has_passed_brings_nothing_up() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(300), 300 * MILLI, 5);
    let held_back = sender.beat(pair.t, Say::due(300));
    pair.wait(900 * MILLI);
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
    assert!(matches!(pair.deliver(&held_back), Outcome::Accepted(_)), "held back for less than max_delay");
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
    pair.beat(&mut sender, Say::due(300));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
}

#[test]
fn a_long_promise_taken_back_by_a_late_short_one_is_judged_by_that() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(60_000));
    let held_back = sender.beat(pair.t, Say::due(300));
    pair.wait(900 * MILLI);
    assert!(matches!(pair.deliver(&held_back), Outcome::Accepted(_)));
    pair.turn();
    assert_eq!(pair.verdict(&sender), Verdict::Stalled);
}

#[test]
fn a_late_frame_changes_nothing_but_the_window() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let late = sender.announce(pair.t, Say::end(7).with(Flags::FINAL), &[("agent", "web-1")]);
    pair.wait(10 * MILLI);
    pair.beat(&mut sender, Say::due(1000));
    let view = |pair: &Pair| {
        let view = pair.core.view(pair.now(), pair.slot(&sender)).unwrap();
        (view.verdict, view.status, view.payload, view.agent_name.map(str::to_owned), view.beats, view.last_beat_age)
    };
    let (before, timeout) = (view(&pair), pair.core.poll_timeout());
    assert!(matches!(pair.deliver(&late), Outcome::AcceptedLate(_)));
    assert_eq!((view(&pair), pair.core.poll_timeout()), (before, timeout));
    assert_eq!(pair.deliver(&late), Outcome::Rejected(Reject::Replayed));
}

#[test]
fn a_late_frame_never_changes_the_minimum_offset() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.wait(SECOND);
    // Delivered in the instant it is sent, but after a later one that took 100 ms: it would lower the minimum.
    let (mut header, mut body) = sender.compose(pair.t, Say::due(300));
    let newer = sender.beat(pair.t, Say::due(300));
    pair.wait(100 * MILLI);
    assert!(matches!(pair.deliver(&newer), Outcome::Accepted(_)));
    let timeout = pair.core.poll_timeout();
    body.sent_at += 100 * MILLI;
    header.salt = [1; 8];
    let late = crate::sender::seal_beat(&header, &body);
    assert!(matches!(pair.deliver(&late), Outcome::AcceptedLate(_)));
    assert_eq!(pair.core.poll_timeout(), timeout);
    let view = pair.core.view(pair.now(), pair.slot(&sender)).unwrap();
    assert_eq!(view.last_beat_age, Some(0));
}

#[test]
fn the_senders_own_lateness_is_in_why() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say { lag_us: 1_300_000, ..Say::due(300) });
    assert_once(&pair.why(&sender), "the process itself said that its last beat left 1300 ms late");
    let (after, _) = until_stalled(&mut pair, &sender, 10 * SECOND);
    assert_eq!(after, 850 * MILLI, "it explains; it never moves a deadline");
}

#[test]
fn an_agent_whose_clock_is_an_hour_off_is_stalled_and_why_says_so() {
    for (off, words) in [
        (
            3600_i64,
            "5 authentic newer frames refused since, the last as from_future: the sender's clock is 60 min ahead of ours",
        ),
        (
            -3600,
            "5 authentic frames refused since as stale: sent 60 min ago by the sender's clock, which was set back unless \
             they are replays",
        ),
    ] {
        let mut pair = Pair::new();
        let (mut sender, mut other) = (api(), Sender::new("web-2", "", 50));
        pair.beat(&mut sender, Say::due(1000));
        pair.beat(&mut other, Say::due(600_000));
        sender.skew += off * SECOND as i64;
        for _ in 0..5 {
            pair.wait(SECOND);
            assert!(matches!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(_)));
        }
        assert_eq!(pair.verdict(&sender), Verdict::Stalled);
        assert_once(&pair.why(&sender), words);
        sender.skew = 0;
        pair.wait(SECOND);
        pair.beat(&mut sender, Say::due(1000));
        assert_eq!(pair.verdict(&sender), Verdict::Up);
    }
}

#[test]
fn more_changes_than_are_told_are_counted_and_told() {
    let mut pair = Pair::new();
    let mut sender = api();
    let slot_changes = |told: &[Change]| told.iter().filter(|c| matches!(c, Change::Slot { .. })).count() as u32;
    let untold = |told: &[Change]| -> Vec<u32> {
        let count = |change: &Change| match change {
            Change::Agent { what: varta_core::AgentChange::Flapping(count), .. } => Some(*count),
            _ => None,
        };
        told.iter().filter_map(count).collect()
    };
    // Aligned, so that the first 300 changes fall into one second.
    pair.wait(SECOND - pair.t % SECOND);
    for number in 0..300 {
        let status = if number % 2 == 0 { Status::Ok } else { Status::Degraded };
        pair.wait(MILLI);
        pair.beat(&mut sender, Say::due(60_000).status(status));
    }
    let told = pair.told();
    assert_eq!(slot_changes(&told), 100);
    assert_eq!(untold(&told), []);
    pair.wait(5 * SECOND);
    let told = pair.told();
    assert_eq!((slot_changes(&told), untold(&told)), (0, vec![200]), "told though nothing more happens");
    pair.beat(&mut sender, Say::due(60_000));
    assert_eq!(slot_changes(&pair.told()), 1);
}

#[test]
fn settings_change_what_is_judged_next() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.core.set_settings(Settings { misses: 1, margin: 0, ..Settings::default() });
    pair.beat(&mut sender, Say::due(300));
    let (after, _) = until_stalled(&mut pair, &sender, 10 * SECOND);
    assert_eq!(after, 300 * MILLI);
}
