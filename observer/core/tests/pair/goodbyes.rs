//! Sessions after their FINAL, against a slow model, and the largest send time of a slot.

use std::collections::BTreeSet;

use varta_core::{Limits, MILLI, Outcome, Reject, SECOND, Saved, Settings, Start, WallNs};
use varta_vlp::sealed::Flags;

use crate::{
    sender::{Say, Sender, seal_beat},
    world::{EPOCH, Pair, Seed},
};

/// How far a window reaches below its newest counter.
const WIDTH: u64 = 128;

/// What a session is known by, slowly.
#[derive(Default)]
struct Session {
    accepted: BTreeSet<u64>,
    last: Option<u64>,
}

impl Session {
    fn newest(&self) -> u64 {
        self.accepted.last().copied().unwrap_or(0)
    }

    /// The reasons that a frame is refused for; none if it is accepted, late.
    fn refusals(&self, counter: u64, goodbye: bool) -> Vec<Reject> {
        let last = self.last.expect("a goodbye was said");
        let old = counter + WIDTH <= self.newest();
        if counter > last && !goodbye {
            // Where both are so, one is as good as the other.
            let far = self.newest() - counter.min(self.newest()) > u64::from(u16::MAX) - 2;
            return if far { vec![Reject::AfterFinal, Reject::CounterTooOld] } else { vec![Reject::AfterFinal] };
        }
        match counter {
            _ if old => vec![Reject::CounterTooOld],
            _ if counter == self.newest() => vec![Reject::CloneSuspected],
            _ if self.accepted.contains(&counter) => vec![Reject::Replayed],
            _ => vec![],
        }
    }
}

/// Frames of a session whose goodbye came, with counters around what is known of it.
fn say_again(pair: &mut Pair, sender: &mut Sender, session: &mut Session, seed: &mut Seed, most: u64) {
    let (newest, last) = (session.newest(), session.last.unwrap());
    let counter = match seed.below(4) {
        0 => newest + 1 + seed.below(most),
        1 => (last + 3).saturating_sub(seed.below(6)),
        2 => last + seed.below(newest - last + 1),
        _ => (newest + 2).saturating_sub(seed.below(WIDTH + 4)),
    };
    let goodbye = seed.below(2) == 0;
    let (mut header, body) = sender.compose(pair.t, if goodbye { Say::goodbye() } else { Say::due(1000) });
    header.counter = counter;
    let outcome = pair.deliver(&seal_beat(&header, &body));
    let wanted = session.refusals(counter, goodbye);
    match outcome {
        Outcome::AcceptedLate(_) if wanted.is_empty() => {
            session.accepted.insert(counter);
        }
        Outcome::Rejected(reject) if wanted.contains(&reject) => {}
        other => panic!("{other:?}, not {wanted:?}: {counter} after {last}, newest {newest}, goodbye {goodbye}"),
    }
    pair.wait(MILLI);
}

#[test]
fn counters_around_a_goodbye_are_judged_as_by_a_slow_model() {
    for seed in 0..60 {
        let mut seed = Seed(seed);
        let most = [3, 200, 40_000][seed.below(3) as usize];
        let mut pair = Pair::new();
        let mut sender = Sender::new("web-1", "api", 4242);
        let mut session = Session::default();
        let mut beat = |pair: &mut Pair, sender: &mut Sender, say| {
            pair.beat(sender, say);
            session.accepted.insert(sender.next_counter() - 1);
        };
        for _ in 0..1 + seed.below(4) {
            beat(&mut pair, &mut sender, Say::due(1000));
            sender.skip_counters(seed.below(200));
        }
        beat(&mut pair, &mut sender, Say::goodbye());
        session.last = Some(session.newest());
        for _ in 0..60 {
            say_again(&mut pair, &mut sender, &mut session, &mut seed, most);
        }
        // The same while it is the session before.
        pair.beat(&mut sender.successor(5555), Say::due(1000));
        for _ in 0..60 {
            say_again(&mut pair, &mut sender, &mut session, &mut seed, most);
        }
    }
}

#[test]
fn the_first_goodbye_is_known_after_a_restart() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.beat(&mut sender, Say::due(1000));
    let before = sender.beat(pair.t, Say::due(1000));
    pair.beat(&mut sender, Say::goodbye());
    let between = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.send(&mut sender, Say::goodbye()), Outcome::AcceptedLate(_)));
    let now = pair.mono();
    pair.restart(MILLI, true, |core, _| Start::Clean { stopped: now, away: MILLI, barrier: core.barrier() });
    assert_eq!(pair.deliver(&between), Outcome::Rejected(Reject::AfterFinal));
    assert!(matches!(pair.deliver(&before), Outcome::AcceptedLate(_)));
}

/// When a sender whose clock is `skew` ahead sends at the world's time.
fn sent(pair: &Pair, skew: u64) -> WallNs {
    WallNs(EPOCH + pair.t + skew)
}

fn largest(pair: &Pair, sender: &Sender) -> WallNs {
    let largest = pair.core.newest_sent_of(pair.slot(sender)).unwrap();
    let kept = pair.saved().into_iter().find_map(|saved| match saved {
        Saved::Slot(slot) if slot.key.unit == sender.unit => Some(slot.sent_at),
        _ => None,
    });
    assert_eq!(kept, Some(largest), "what is saved");
    largest
}

/// A sender that was 2 s ahead, whose clock was set right 10 s after its start; and its newest send time until then.
fn set_back(pair: &mut Pair) -> (Sender, WallNs) {
    let mut sender = Sender::new("web-1", "api", 4242);
    sender.skew = 2 * SECOND as i64;
    pair.run(&mut sender, Say::due(1000), SECOND, 10);
    pair.beat(&mut sender, Say::due(1000));
    let newest = sent(pair, 2 * SECOND);
    sender.skew = 0;
    pair.wait(SECOND);
    pair.beat(&mut sender, Say::due(1000));
    (sender, newest)
}

#[test]
fn the_largest_send_time_outlives_a_clock_set_back_until_it_is_reached_again() {
    let mut pair = Pair::new();
    let (mut sender, newest) = set_back(&mut pair);
    assert!(newest > sent(&pair, 0));
    assert_eq!(largest(&pair, &sender), newest);
    pair.wait(900 * MILLI);
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(largest(&pair, &sender), newest, "not reached yet");
    for _ in 0..3 {
        pair.wait(200 * MILLI);
        pair.beat(&mut sender, Say::due(1000));
        assert_eq!(largest(&pair, &sender), newest.max(sent(&pair, 0)));
    }
    assert!(largest(&pair, &sender) > newest);
}

#[test]
fn a_refused_frame_is_newer_only_beyond_the_largest_send_time() {
    let mut pair = Pair::new();
    let (mut sender, newest) = set_back(&mut pair);
    let mut refuse = |pair: &mut Pair| {
        pair.wait(200 * MILLI);
        let (header, mut body) = sender.compose(pair.t, Say::due(1000));
        body.flags = Flags(1 << 3);
        assert_eq!(pair.deliver(&seal_beat(&header, &body)), Outcome::Rejected(Reject::BadFlags));
        pair.why(&sender).contains("refused since")
    };
    while sent(&pair, 200 * MILLI) <= newest {
        assert!(!refuse(&mut pair), "sent before what was accepted");
    }
    assert!(refuse(&mut pair));
}

#[test]
fn a_late_frame_of_the_session_before_counts_for_the_largest_send_time() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    sender.skew = 2 * SECOND as i64;
    pair.run(&mut sender, Say::due(1000), SECOND, 10);
    let late = sender.beat(pair.t, Say::due(1000));
    let newest = sent(&pair, 2 * SECOND);
    sender.skew = 0;
    pair.wait(SECOND);
    pair.beat(&mut sender, Say::due(1000));
    assert!(largest(&pair, &sender) < newest);
    assert!(matches!(pair.deliver(&late), Outcome::AcceptedLate(_)));
    assert_eq!(largest(&pair, &sender), newest);
}

#[test]
fn a_goodbye_said_again_counts_for_the_largest_send_time() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    pair.beat(&mut sender, Say::goodbye());
    for _ in 0..2 {
        pair.wait(3 * MILLI);
        assert!(matches!(pair.send(&mut sender, Say::goodbye()), Outcome::AcceptedLate(_)));
        assert_eq!(largest(&pair, &sender), sent(&pair, 0));
    }
    pair.wait(MILLI);
    assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::AfterFinal));
    assert!(largest(&pair, &sender) < sent(&pair, 0), "refused frames do not count");
}

#[test]
fn who_gives_way_leaves_the_largest_send_time_as_a_barrier() {
    let mut pair = Pair::with(Settings::default(), Limits { slots_per_agent: 1, ..Limits::default() });
    let (_, newest) = set_back(&mut pair);
    pair.wait(20 * SECOND);
    pair.beat(&mut Sender::new("web-1", "other", 4343), Say::due(1000));
    let barrier = |saved: &Saved| if let Saved::Agent(agent) = saved { Some(agent.barrier) } else { None };
    assert_eq!(pair.saved().iter().find_map(barrier), Some(newest));
}
