use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60 * SECOND;
const EPOCH: u64 = 1_800_000_000 * SECOND;

/// The clocks of a simulated host, and the sessions of one audience of one process on it.
struct Sender {
    now: SenderTime,
    starts: Starts,
    session: Session,
    jitter: u64,
}

impl Sender {
    fn new() -> Self {
        Self {
            now: SenderTime { realtime_ns: EPOCH, boottime_ns: 1_000 * SECOND },
            starts: Starts::new(),
            session: Session::new(false),
            jitter: 0,
        }
    }

    /// A sender whose first, short session is over.
    fn settled() -> Self {
        let mut sender = Self::new();
        sender.stamp();
        sender.pass(16 * SECOND);
        assert_eq!(sender.stamp().began, Some(Cause::Age));
        sender
    }

    fn stamp(&mut self) -> Stamp {
        self.session.stamp(self.now, &self.starts, self.jitter)
    }

    fn pass(&mut self, ns: u64) {
        self.now.realtime_ns += ns;
        self.now.boottime_ns += ns;
    }

    fn set_clock(&mut self, by: i64) {
        self.now.realtime_ns = self.now.realtime_ns.saturating_add_signed(by);
    }
}

fn ns(duration: u64) -> i64 {
    i64::try_from(duration).unwrap()
}

fn flags(continues: bool, stepped: bool) -> Flags {
    Flags(u32::from(continues) * Flags::CONTINUES.0 + u32::from(stepped) * Flags::STEPPED.0)
}

#[test]
fn a_first_session_begins_at_the_wall_clock() {
    let mut sender = Sender::new();
    let first = sender.stamp();
    assert_eq!(
        first,
        Stamp {
            session_start: EPOCH,
            counter: 0,
            sent_at: EPOCH,
            flags: flags(false, false),
            began: Some(Cause::Connect),
            regressed: false,
        }
    );
    sender.pass(SECOND);
    let second = sender.stamp();
    assert_eq!((second.counter, second.sent_at), (1, EPOCH + SECOND));
    assert_eq!((second.began, second.session_start), (None, EPOCH));
}

#[test]
fn sent_at_rises_though_the_clocks_stand_still() {
    let mut sender = Sender::new();
    for i in 0..5 {
        assert_eq!(sender.stamp().sent_at, EPOCH + i);
    }
    sender.pass(2);
    assert_eq!(sender.stamp().sent_at, EPOCH + 5);
    sender.pass(100);
    assert_eq!(sender.stamp().sent_at, EPOCH + 102);
}

#[test]
fn sent_at_follows_boottime_not_the_wall_clock() {
    let mut sender = Sender::new();
    sender.stamp();
    sender.pass(SECOND);
    sender.set_clock(-ns(400 * MS));
    assert_eq!(sender.stamp().sent_at, EPOCH + SECOND);
    sender.set_clock(ns(800 * MS));
    assert_eq!(sender.stamp().sent_at, EPOCH + SECOND + 1);
}

#[test]
fn a_first_session_lives_15_s_and_the_next_10_min_10_percent_either_way() {
    let mut sender = Sender::new();
    sender.stamp();
    sender.pass(15 * SECOND);
    assert_eq!(sender.stamp().began, None);
    sender.pass(1);
    let second = sender.stamp();
    assert_eq!(second.began, Some(Cause::Age));
    assert_eq!(second.flags, flags(true, false));
    assert_eq!(second.counter, 0);
    for (jitter, age) in [(0, 540 * SECOND), (AGE_JITTER_NS, 660 * SECOND), (AGE_JITTER_NS + 1, 540 * SECOND)] {
        let mut sender = Sender::settled();
        sender.jitter = jitter;
        sender.session.renew(Cause::Reconnect);
        sender.stamp();
        sender.pass(age);
        assert_eq!(sender.stamp().began, None, "jitter {jitter}");
        sender.pass(1);
        assert_eq!(sender.stamp().began, Some(Cause::Age), "jitter {jitter}");
    }
}

#[test]
fn reconnect_and_goodbye_continue_in_a_new_session() {
    for cause in [Cause::Reconnect, Cause::Farewell] {
        let mut sender = Sender::new();
        let first = sender.stamp();
        sender.session.renew(cause);
        let second = sender.stamp();
        assert_eq!(second.began, Some(cause));
        assert_eq!(second.session_start, first.session_start + 1, "the clock stood still and starts do not");
        assert_eq!((second.counter, second.flags), (0, flags(true, false)));
        assert_eq!(sender.stamp().flags, flags(true, false), "on every frame");
    }
}

#[test]
fn a_forked_child_continues_nothing() {
    let mut sender = Sender::settled();
    sender.session.restart(Cause::Fork, false);
    sender.set_clock(ns(MINUTE));
    let first = sender.stamp();
    assert_eq!((first.began, first.flags), (Some(Cause::Fork), flags(false, false)));
    sender.pass(15 * SECOND + 1);
    assert_eq!(sender.stamp().began, Some(Cause::Age), "a process's first session is short");
}

#[test]
fn a_handle_opened_again_continues() {
    let mut session = Session::new(true);
    let sender = Sender::new();
    assert_eq!(session.stamp(sender.now, &sender.starts, 0).flags, flags(true, false));
}

#[test]
fn a_step_of_more_than_500_ms_begins_a_session() {
    for (step, begins) in
        [(ns(500 * MS), false), (ns(500 * MS) + 1, true), (-ns(500 * MS), false), (-ns(500 * MS) - 1, true)]
    {
        let mut sender = Sender::settled();
        sender.pass(MINUTE);
        sender.set_clock(step);
        let stamp = sender.stamp();
        assert_eq!(stamp.began, begins.then_some(Cause::Clock), "{step}");
        if begins {
            assert_eq!(stamp.session_start, sender.now.realtime_ns);
            assert_eq!(stamp.flags, flags(true, true));
            assert!(!stamp.regressed);
            sender.pass(SECOND);
            assert_eq!(sender.stamp().flags, flags(true, true), "on the whole session");
        }
    }
}

#[test]
fn a_resume_from_sleep_that_only_the_wall_clock_saw_begins_a_session() {
    // A restored image: the wall clock goes on, boottime does not.
    let mut sender = Sender::settled();
    sender.now.realtime_ns += 3_600 * SECOND;
    assert_eq!(sender.stamp().began, Some(Cause::Clock));
    // And boottime that goes back, restored on a younger host.
    sender.now.boottime_ns = 5;
    sender.now.realtime_ns += SECOND;
    assert_eq!(sender.stamp().began, Some(Cause::Clock));
}

#[test]
fn a_slow_slew_is_told_by_stepped_once_it_is_50_ms() {
    for (slew, stepped) in [(ns(50 * MS), false), (ns(50 * MS) + 1, true), (-ns(50 * MS) - 1, true)] {
        let mut sender = Sender::settled();
        sender.pass(MINUTE);
        sender.set_clock(slew);
        assert_eq!(sender.stamp().began, None);
        sender.pass(600 * SECOND);
        let stamp = sender.stamp();
        assert_eq!((stamp.began, stamp.flags), (Some(Cause::Age), flags(true, stepped)), "{slew}");
    }
}

#[test]
fn a_small_step_back_keeps_starts_rising() {
    let mut sender = Sender::settled();
    let start = sender.stamp().session_start;
    sender.pass(SECOND);
    sender.set_clock(-ns(5 * SECOND));
    // The wall clock is now 4 s below the last start.
    let stamp = sender.stamp();
    assert_eq!((stamp.began, stamp.session_start), (Some(Cause::Clock), start + 1));
    assert!(!stamp.regressed);
    // The timeline stays near the least start that can be had, without a session for every beat.
    let mut sessions = 0;
    let mut last = stamp.session_start;
    for _ in 0..6_000 {
        sender.pass(MS);
        let stamp = sender.stamp();
        sessions += u32::from(stamp.began.is_some());
        assert!(stamp.session_start >= last);
        last = stamp.session_start;
    }
    assert!((1..=12).contains(&sessions), "{sessions}");
    assert!(sender.stamp().sent_at.abs_diff(sender.now.realtime_ns) <= MAX_DRIFT_NS);
}

#[test]
fn ten_seconds_below_the_last_start_is_the_limit() {
    for (below, regressed) in [(10 * SECOND, false), (10 * SECOND + 1, true)] {
        let mut sender = Sender::settled();
        let start = sender.stamp().session_start;
        sender.pass(SECOND);
        sender.now.realtime_ns = start - below;
        let stamp = sender.stamp();
        assert_eq!(stamp.regressed, regressed, "{below}");
        assert_eq!(stamp.session_start, if regressed { sender.now.realtime_ns } else { start + 1 });
    }
}

#[test]
fn passing_the_largest_start_used_before_a_step_back_begins_a_session() {
    let mut sender = Sender::settled();
    let largest = sender.stamp().session_start;
    sender.set_clock(-ns(MINUTE));
    let back = sender.stamp();
    assert!(back.regressed);
    assert_eq!(back.flags, flags(true, true));
    sender.pass(MINUTE);
    assert_eq!(sender.now.realtime_ns, largest);
    assert_eq!(sender.stamp().began, None, "reached, not passed");
    sender.pass(1);
    let past = sender.stamp();
    assert_eq!(past.began, Some(Cause::CaughtUp));
    assert_eq!(past.flags, flags(true, false), "same timeline");
    assert!(past.session_start > largest);
    sender.pass(SECOND);
    assert_eq!(sender.stamp().began, None, "once");
}

#[test]
fn a_step_back_seen_by_one_audience_is_caught_up_by_all() {
    let mut sender = Sender::settled();
    let mut other = Session::new(true);
    let largest = other.stamp(sender.now, &sender.starts, 0).session_start;
    assert!(largest > sender.stamp().session_start);
    sender.set_clock(-ns(MINUTE));
    assert!(sender.stamp().regressed);
    let stamp = other.stamp(sender.now, &sender.starts, 0);
    assert!(stamp.regressed);
    assert_eq!(stamp.began, Some(Cause::Clock));
    sender.pass(MINUTE + 2);
    assert_eq!(sender.stamp().began, Some(Cause::CaughtUp));
    assert_eq!(other.stamp(sender.now, &sender.starts, 0).began, Some(Cause::CaughtUp));
}

#[test]
fn the_counter_ends_at_2_to_the_32() {
    let mut sender = Sender::settled();
    sender.session.timeline.as_mut().unwrap().counter = COUNTER_END - 1;
    assert_eq!(sender.stamp().counter, COUNTER_END - 1);
    let next = sender.stamp();
    assert_eq!((next.began, next.counter), (Some(Cause::Counter), 0));
}

#[test]
fn no_clock_makes_it_panic() {
    let times = [0, 1, EPOCH, u64::MAX - 1, u64::MAX];
    for realtime_ns in times {
        for boottime_ns in times {
            for then in times {
                let mut sender = Sender::new();
                sender.now = SenderTime { realtime_ns, boottime_ns };
                sender.stamp();
                sender.now = SenderTime { realtime_ns: then, boottime_ns: then };
                sender.stamp();
                sender.stamp();
            }
        }
    }
}

/// What may happen to a sender between frames.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Beat,
    Pass(u64),
    StepForward(u64),
    /// Back by so much, and where steps are to be small, to no more than 10 s below the last start.
    StepBack(u64),
    Renew,
    Fork,
    OtherAudience,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => Just(Turn::Beat),
        4 => (0..2 * MINUTE).prop_map(Turn::Pass),
        1 => (0..20 * MINUTE).prop_map(Turn::Pass),
        2 => (0..100u64).prop_map(Turn::Pass),
        1 => (0..5 * SECOND).prop_map(Turn::StepForward),
        1 => (0..60 * MINUTE).prop_map(Turn::StepForward),
        3 => (0..3 * SECOND).prop_map(Turn::StepBack),
        1 => (0..60 * MINUTE).prop_map(Turn::StepBack),
        1 => Just(Turn::Renew),
        1 => Just(Turn::Fork),
        2 => Just(Turn::OtherAudience),
    ]
}

/// Plays a history; gives every (start, counter) of each process, in order. Audiences of one process are taken as one:
/// their starts come from one store.
fn play(turns: &[Turn], small_steps_only: bool) -> Vec<Vec<(u64, u64, u64)>> {
    let mut sender = Sender::new();
    let mut other = Session::new(false);
    let mut processes = vec![Vec::new()];
    for turn in turns {
        match *turn {
            Turn::Beat => {
                let stamp = sender.stamp();
                processes.last_mut().unwrap().push((stamp.session_start, stamp.counter, stamp.sent_at));
            }
            Turn::OtherAudience => {
                let stamp = other.stamp(sender.now, &sender.starts, 7);
                processes.last_mut().unwrap().push((stamp.session_start, stamp.counter, stamp.sent_at));
            }
            Turn::Pass(by) => sender.pass(by),
            Turn::StepForward(by) => sender.set_clock(ns(by)),
            Turn::StepBack(by) => {
                let mut target = sender.now.realtime_ns - by;
                if small_steps_only {
                    let last = sender.starts.last.load(Ordering::Relaxed);
                    target = target.max(last.saturating_sub(SMALL_STEP_BACK_NS)).min(sender.now.realtime_ns);
                }
                sender.now.realtime_ns = target;
            }
            Turn::Renew => sender.session.renew(Cause::Reconnect),
            Turn::Fork => {
                sender.session.restart(Cause::Fork, false);
                other.restart(Cause::Fork, false);
                processes.push(Vec::new());
            }
        }
    }
    processes
}

proptest! {
    /// Without a large step back, start and counter alone never repeat in a process and its line of children: the salt
    /// is not needed.
    #[test]
    fn start_and_counter_are_unique_while_the_clock_is_not_set_far_back(
        turns in prop::collection::vec(turn(), 1..200),
    ) {
        let mut seen = HashSet::new();
        for (start, counter, _) in play(&turns, true).into_iter().flatten() {
            prop_assert!(seen.insert((start, counter)), "{start} {counter} again");
        }
    }

    /// Whatever the clock does, each session counts from 0 by one, and its times rise from its start.
    #[test]
    fn a_session_counts_up_and_its_times_rise(turns in prop::collection::vec(turn(), 1..200)) {
        let turns: Vec<_> = turns
            .into_iter()
            .filter(|turn| !matches!(turn, Turn::OtherAudience))
            .collect();
        for process in play(&turns, false) {
            let mut last: Option<(u64, u64, u64)> = None;
            for (start, counter, sent_at) in process {
                prop_assert!(sent_at >= start);
                match last {
                    Some((old, before, earlier)) if counter > 0 => {
                        prop_assert_eq!((old, before + 1), (start, counter));
                        prop_assert!(sent_at > earlier);
                    }
                    _ => prop_assert_eq!((counter, sent_at), (0, start)),
                }
                last = Some((start, counter, sent_at));
            }
        }
    }

    /// The timeline is never further from the wall clock than the design says: 500 ms, or what a small step back forces.
    #[test]
    fn the_timeline_stays_near_the_wall_clock(turns in prop::collection::vec(turn(), 1..200)) {
        let mut sender = Sender::new();
        for turn in turns {
            match turn {
                Turn::Pass(by) => sender.pass(by),
                Turn::StepForward(by) => sender.set_clock(ns(by)),
                Turn::StepBack(by) => sender.set_clock(-ns(by)),
                Turn::Renew => sender.session.renew(Cause::Reconnect),
                Turn::Fork => sender.session.restart(Cause::Fork, false),
                Turn::Beat | Turn::OtherAudience => {
                    let sent_at = sender.stamp().sent_at;
                    let off = sent_at.abs_diff(sender.starts.candidate(sender.now.realtime_ns));
                    prop_assert!(off <= MAX_DRIFT_NS + 200, "{off}");
                    prop_assert!(sent_at.saturating_sub(sender.now.realtime_ns) <= SMALL_STEP_BACK_NS + MAX_DRIFT_NS + 200);
                }
            }
        }
    }
}

/// A clock that is set far back and forward again to the same nanosecond makes start and counter repeat: there the salt
/// keeps nonces apart.
#[test]
fn after_a_large_step_back_only_the_salt_keeps_nonces_apart() {
    let repeats = |mut salt: Box<dyn FnMut() -> u64>| {
        let mut sender = Sender::new();
        let mut seen = HashSet::new();
        let mut repeats = 0;
        for step in [-ns(MINUTE), ns(MINUTE), 0] {
            let stamp = sender.stamp();
            repeats += u32::from(!seen.insert((stamp.session_start, salt(), stamp.counter)));
            sender.set_clock(step);
        }
        repeats
    };
    assert_eq!(repeats(Box::new(|| 7)), 1, "a constant salt repeats a nonce here");
    let mut fresh = 0;
    assert_eq!(
        repeats(Box::new(move || {
            fresh += 1;
            fresh
        })),
        0
    );
}
