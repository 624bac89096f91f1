//! Sessions and the minimum offset: rotation, restarts, clock steps, drift, paths that change.

use varta_core::{Limits, MILLI, Outcome, Reject, SECOND, Settings, SlotChange, Verdict};

use crate::{
    sender::{Say, Sender, seal_beat},
    world::Pair,
};

fn api() -> Sender {
    Sender::new("web-1", "api", 4242)
}

/// Sends now, delivers `delay` later, and says what became of it.
fn travel(pair: &mut Pair, sender: &mut Sender, say: Say, delay: u64) -> Outcome {
    let bytes = sender.beat(pair.t, say);
    pair.wait(delay);
    pair.deliver(&bytes)
}

#[test]
fn sessions_rotate_without_any_visible_effect() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(1000));
    pair.told();
    let first = sender.session_start();
    pair.wait(SECOND);
    pair.run(&mut sender, Say::due(1000), SECOND, 1800);
    assert!(sender.session_start() > first);
    assert_eq!(pair.told(), []);
    let view = pair.core.view(pair.now(), pair.slot(&sender)).unwrap();
    assert_eq!((view.restarts, view.stalls, view.beats), (0, 0, 1801));
}

#[test]
fn a_minimum_offset_carries_over_a_rotation() {
    let mut pair = Pair::new();
    let mut sender = api();
    for _ in 0..3 {
        assert!(matches!(travel(&mut pair, &mut sender, Say::due(1000), 20 * MILLI), Outcome::Accepted(_)));
        pair.wait(980 * MILLI);
    }
    sender.renew(pair.t);
    let outcome = travel(&mut pair, &mut sender, Say::due(1000), 1100 * MILLI);
    assert_eq!(outcome, Outcome::Rejected(Reject::Delayed), "measured against the session before");
}

#[test]
fn a_restarted_unit_is_a_restart_and_learns_its_offset_anew() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(3000), SECOND, 3);
    pair.told();
    let mut next = sender.successor(4300);
    assert!(matches!(travel(&mut pair, &mut next, Say::due(1000), 1500 * MILLI), Outcome::Accepted(_)));
    assert_eq!(pair.told_of_slots(), [SlotChange::Restarted { old_pid: 4242 }], "neither a stall nor a stranger");
    assert_eq!(pair.core.sizes(), (1, 1));
    assert_eq!(pair.core.view(pair.now(), pair.slot(&next)).unwrap().restarts, 1);
}

#[test]
fn a_stepped_session_learns_its_offset_anew_and_is_no_restart() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.told();
    for step in [3 * SECOND as i64, -2 * SECOND as i64] {
        sender.skew += step;
        pair.run(&mut sender, Say::due(1000), SECOND, 3);
        assert_eq!(pair.verdict(&sender), Verdict::Up);
    }
    assert_eq!(pair.told(), []);
}

#[test]
fn a_fast_or_slow_clock_within_the_leak_is_never_delayed() {
    for ppm in [-900, 900] {
        let mut pair = Pair::with(Settings { skew: 5 * SECOND, ..Settings::default() }, Limits::default());
        let mut sender = api();
        sender.ppm = ppm;
        pair.wait(SECOND);
        // 400 s of 900 ppm are 360 ms: within one session, and within what makes a sender begin another.
        pair.run(&mut sender, Say::due(1000), SECOND, 400);
        assert_eq!(pair.verdict(&sender), Verdict::Up);
        assert_eq!(pair.counters().stalls, 0);
    }
}

#[test]
fn the_minimum_offset_leaks_at_1000_ppm() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(60_000), SECOND, 20);
    // max_delay of a minute's promise is the skew, 5 s; of none it is 1 s.
    pair.beat(&mut sender, Say::due(60_000));
    pair.wait(60 * SECOND);
    let exact = SECOND + 60 * MILLI + SECOND / 1000;
    let bytes = sender.beat(pair.t, Say::due(0));
    pair.wait(exact + MILLI);
    // The frame waited 61 s after the last acceptance: 61 ms leaked, and a little for its own wait.
    assert_eq!(pair.deliver(&bytes), Outcome::Rejected(Reject::Delayed));
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(60_000), SECOND, 20);
    pair.beat(&mut sender, Say::due(60_000));
    pair.wait(60 * SECOND);
    let bytes = sender.beat(pair.t, Say::due(0));
    pair.wait(exact);
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
}

#[test]
fn nothing_but_delayed_frames_for_long_enough_teaches_the_offset_anew() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.told();
    let mut queue = std::collections::VecDeque::new();
    let began = pair.t;
    let mut refused = 0;
    loop {
        queue.push_back((pair.t + 2 * SECOND, sender.beat(pair.t, Say::due(1000))));
        pair.wait(500 * MILLI);
        while queue.front().is_some_and(|(at, _)| *at <= pair.t) {
            let (_, bytes) = queue.pop_front().unwrap();
            match pair.deliver(&bytes) {
                Outcome::Rejected(Reject::Delayed) => refused += 1,
                Outcome::Accepted(_) => {
                    assert_eq!(pair.t - began, 8 * SECOND, "6 s after the first of them came");
                    assert_eq!(refused, 12);
                    let relearned = |change: &SlotChange| match change {
                        SlotChange::OffsetRelearned(by) => Some(by / MILLI),
                        _ => None,
                    };
                    let told: Vec<_> = pair.told_of_slots().iter().filter_map(relearned).collect();
                    assert_eq!(told, [1991], "2 s less the leak");
                    assert_eq!(pair.verdict(&sender), Verdict::Up);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn frames_of_the_session_before_are_late_for_a_while_and_judged_by_its_own_offset() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let old = [sender.beat(pair.t, Say::due(1000)), sender.beat(pair.t, Say::due(1000))];
    // The new session's timeline lies 3 s ahead: by its offset the old frames would seem held back.
    sender.skew += 3 * SECOND as i64;
    pair.wait(MILLI);
    pair.beat(&mut sender, Say::due(1000));
    assert!(matches!(pair.deliver(&old[0]), Outcome::AcceptedLate(_)));
    assert_eq!(pair.deliver(&old[0]), Outcome::Rejected(Reject::Replayed));
    pair.wait(1500 * MILLI);
    assert_eq!(pair.deliver(&old[1]), Outcome::Rejected(Reject::Delayed));
}

#[test]
fn the_session_before_keeps_its_goodbye_and_its_process() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.beat(&mut sender, Say::goodbye());
    pair.wait(MILLI);
    let after = sender.beat(pair.t, Say::due(1000));
    let (header, mut body) = sender.compose(pair.t, Say::goodbye());
    body.boot = 1;
    let foreign = seal_beat(&header, &body);
    let mut next = sender.successor(4300);
    pair.beat(&mut next, Say::due(1000));
    assert_eq!(pair.deliver(&after), Outcome::Rejected(Reject::AfterFinal));
    assert_eq!(pair.deliver(&foreign), Outcome::Rejected(Reject::SessionConflict));
}

#[test]
fn a_frame_of_the_session_before_with_a_long_promise_is_no_proof_of_a_second_process() {
    let mut pair = Pair::new();
    let mut sender = api();
    sender.skew = 4900 * MILLI as i64;
    pair.run(&mut sender, Say::due(60_000), SECOND, 3);
    let withheld = sender.beat(pair.t, Say::due(60_000));
    sender.skew = 0;
    pair.run(&mut sender, Say::due(300), 300 * MILLI, 45);
    // 13.5 s later it is still fresh by its own promise, and the late window of the slot's newest promise is over.
    assert_eq!(pair.deliver(&withheld), Outcome::Rejected(Reject::SessionSuperseded));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
}

#[test]
fn units_and_pids_are_slots_of_their_own() {
    let mut pair = Pair::new();
    let pid = Sender::new("web-1", "", 4242);
    let senders = [
        api(),
        Sender::new("web-1", "db", 4242),
        Sender::new("web-1", "", 4242),
        Sender::new("web-1", "", 4243),
        Sender::new("web-2", "", 4242),
        Sender::new("web-2", "api", 4242),
    ];
    for mut sender in senders {
        pair.beat(&mut sender, Say::due(1000));
    }
    assert_eq!(pair.core.sizes(), (6, 2));
    assert_eq!(pair.verdict(&pid), Verdict::Up);
    pair.assert_counted();
}
