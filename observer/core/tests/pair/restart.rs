//! What an observer knows after it was stopped, and what it refuses.

use varta_core::{
    AgentChange, Cause, Change, MILLI, MonoNs, ObserverChange, Outcome, Reject, SECOND, Saved, Start, Verdict, WallNs,
};
use varta_vlp::Generation;

use crate::{
    sender::{Say, Sender},
    world::{EPOCH, Pair, assert_once},
};

const HOUR: u64 = 3600 * SECOND;

fn clean(away: u64) -> impl FnOnce(&varta_core::Core, MonoNs) -> Start {
    move |core, stopped| Start::Clean { stopped, away, barrier: core.barrier() }
}

fn crash(away: u64) -> impl FnOnce(&varta_core::Core, MonoNs) -> Start {
    move |core, _| Start::Crash { horizon: core.newest_sent().after(2 * SECOND), away }
}

/// One slot of each kind: live, long promise, held, departed, ended, stalled.
fn everybody() -> (Pair, Vec<Sender>) {
    let mut pair = Pair::new();
    let mut all: Vec<_> = (0..6).map(|n| Sender::new("web-1", &format!("unit-{n}"), 100 + n)).collect();
    for sender in &mut all {
        pair.run(sender, Say::due(1000), 10 * MILLI, 3);
    }
    pair.beat(&mut all[3], Say::goodbye());
    pair.beat(&mut all[4], Say::end(3));
    pair.wait(3 * SECOND);
    let bytes = all[0].announce(pair.t, Say::due(1000), &[("agent", "web-1"), ("unit", "unit-0")]);
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
    pair.beat(&mut all[1], Say::due(60_000));
    pair.beat(&mut all[2], Say::due(60_000).with(varta_vlp::sealed::Flags::HOLD));
    pair.wait(100 * MILLI);
    pair.told();
    (pair, all)
}

fn verdicts(pair: &Pair, all: &[Sender]) -> Vec<Verdict> {
    all.iter().map(|sender| pair.verdict(sender)).collect()
}

const BEFORE: [Verdict; 6] =
    [Verdict::Up, Verdict::Up, Verdict::Held, Verdict::Departed, Verdict::Critical, Verdict::Stalled];
const AFTER: [Verdict; 6] =
    [Verdict::Unknown, Verdict::Unknown, Verdict::Unknown, Verdict::Departed, Verdict::Critical, Verdict::Stalled];

#[test]
fn after_a_clean_stop_nothing_is_lost() {
    for same_boot in [true, false] {
        let (mut pair, mut all) = everybody();
        assert_eq!(verdicts(&pair, &all), BEFORE);
        let last = all[0].beat(pair.t, Say::due(1000));
        assert!(matches!(pair.deliver(&last), Outcome::Accepted(_)));
        pair.restart(2 * SECOND, same_boot, clean(2 * SECOND));
        assert_eq!(verdicts(&pair, &all), AFTER);
        pair.assert_counted();
        let told = pair.told();
        assert!(
            matches!(
                told[..],
                [Change::Observer { what: ObserverChange::Blind { cause: Cause::Restart, slots: 3, .. }, .. }]
            ),
            "{told:?}"
        );
        assert_once(&pair.why(&all[0]), "the observer was restarted and has not heard it since; last beat 2000 ms ago");
        assert_once(&pair.why(&all[4]), "ended: exit 3");
        assert!(!pair.core.is_dirty());
        assert_eq!(
            pair.deliver(&last),
            Outcome::Rejected(Reject::Replayed),
            "the newest again is no clone: its tag is not known any more"
        );
        assert_eq!(pair.core.view(pair.now(), pair.slot(&all[0])).unwrap().unit_name, Some("unit-0"));
        // A deadline moved by the time between: 2250 ms after the last beat, with nothing of it over.
        pair.wait(2249 * MILLI);
        assert_eq!(pair.verdict(&all[0]), Verdict::Unknown);
        pair.wait(2 * MILLI);
        assert_eq!(pair.verdict(&all[0]), Verdict::Stalled);
        assert_eq!(pair.verdict(&all[1]), Verdict::Unknown);
        pair.beat(&mut all[1], Say::due(60_000));
        assert_eq!(pair.verdict(&all[1]), Verdict::Up);
    }
}

#[test]
fn a_beat_sent_while_there_was_no_observer_is_not_held_against_a_slot_beside_one_lost_later() {
    for same_boot in [true, false] {
        let mut pair = Pair::new();
        let mut all = [Sender::new("web-1", "api", 100), Sender::new("web-2", "api", 101)];
        for sender in &mut all {
            pair.run(sender, Say::due(1000), 10 * MILLI, 3);
        }
        // The first promised a beat for the time in between; the second is silent for longer than its span already.
        pair.wait(2 * SECOND);
        pair.beat(&mut all[0], Say::due(1000));
        pair.wait(900 * MILLI);
        pair.restart(600 * MILLI, same_boot, clean(600 * MILLI));
        pair.wait(2250 * MILLI - 1);
        assert_eq!(pair.verdict(&all[0]), Verdict::Unknown);
        assert_eq!(pair.verdict(&all[1]), Verdict::Stalled);
        pair.wait(1);
        assert_eq!(pair.verdict(&all[0]), Verdict::Stalled, "a death is told all the same");
    }
}

#[test]
fn one_restart_after_another_excuses_no_death_for_ever() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 100);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let died = pair.t;
    while pair.verdict(&sender) != Verdict::Stalled {
        assert!(pair.t - died < 20 * SECOND, "half of the time there is an observer");
        pair.restart(SECOND, true, clean(SECOND));
        pair.wait(SECOND);
    }
}

#[test]
fn a_minimum_offset_outlives_a_restart_only_under_the_same_boot() {
    for (same_boot, accepted) in [(true, false), (false, true)] {
        let (mut pair, mut all) = everybody();
        pair.restart(MILLI, same_boot, clean(MILLI));
        let bytes = all[0].beat(pair.t, Say::due(1000));
        pair.wait(1100 * MILLI);
        let outcome = pair.deliver(&bytes);
        assert_eq!(matches!(outcome, Outcome::Accepted(_)), accepted, "{outcome:?}");
    }
}

#[test]
fn after_a_crash_nothing_sent_before_the_horizon_is_accepted_and_nobody_is_accused_for_it() {
    let (mut pair, mut all) = everybody();
    let caught = all[0].beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver(&caught), Outcome::Accepted(_)));
    let horizon = pair.core.newest_sent().after(2 * SECOND);
    pair.restart(SECOND, true, crash(SECOND));
    let started = pair.t;
    assert_eq!(verdicts(&pair, &all), AFTER);
    assert_eq!(pair.core.barrier(), horizon);
    assert_eq!(pair.core.newest_sent(), horizon, "the next horizon is above this one");
    assert_eq!(pair.deliver(&caught), Outcome::Rejected(Reject::BeforeBarrier));
    assert_eq!(pair.core.blindness().0, Some(Cause::Restart));
    let sighted = horizon.after(5 * SECOND).0 - EPOCH;
    pair.told();
    pair.wait(sighted - pair.t);
    let told = pair.told();
    assert!(matches!(told[..], [Change::Observer { what: ObserverChange::Sighted(Cause::Restart), .. }]), "{told:?}");
    assert_eq!(pair.counters().blind_ns[Cause::Restart as usize], SECOND + sighted - started);
    // The end of blindness and the whole span.
    pair.wait(2250 * MILLI - 1);
    assert_eq!(pair.verdict(&all[0]), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&all[0]), Verdict::Stalled);
    pair.wait(58 * SECOND - 1);
    assert_eq!(pair.verdict(&all[2]), Verdict::Unknown);
    pair.wait(1);
    assert_eq!(pair.verdict(&all[2]), Verdict::Stalled, "a hold: expected and margin");
    pair.wait(60 * SECOND);
    assert_eq!(pair.verdict(&all[1]), Verdict::Stalled);
}

#[test]
fn after_a_crash_who_is_heard_is_up_at_once() {
    let (mut pair, mut all) = everybody();
    pair.restart(3 * SECOND, true, crash(3 * SECOND));
    pair.beat(&mut all[0], Say::due(1000));
    assert_eq!(pair.verdict(&all[0]), Verdict::Up);
}

#[test]
fn a_first_start_refuses_what_was_sent_before_it_and_is_not_blind() {
    let mut pair = Pair::new();
    assert_eq!(pair.core.blindness(), (None, false));
    assert_eq!(pair.told(), []);
    assert_eq!(pair.core.barrier(), WallNs(EPOCH + 100 * SECOND));
}

#[test]
fn lost_state_is_a_barrier_ahead_of_all_that_can_have_been_accepted() {
    let (mut pair, mut all) = everybody();
    all[0].skew = 4900 * MILLI as i64;
    let bytes = all[0].beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
    let mut next = crate::world::core(*pair.core.settings(), varta_core::Limits::default());
    let now = pair.now();
    next.start(now, Start::Lost, 0);
    pair.core = next;
    assert_eq!(pair.deliver(&bytes), Outcome::Rejected(Reject::BeforeBarrier));
    assert_eq!(pair.core.blindness().0, Some(Cause::Restart));
}

#[test]
fn lost_state_with_a_known_horizon_is_not_opened_by_a_clock_set_back() {
    let (pair, _) = everybody();
    let mut next = crate::world::core(*pair.core.settings(), varta_core::Limits::default());
    let now = pair.now();
    let horizon = now.wall.after(3600 * SECOND);
    next.may_have_accepted(horizon);
    next.start(now, Start::Lost, 0);
    assert_eq!(next.barrier(), horizon);
}

#[test]
fn blindness_adds_up_over_restarts() {
    let (mut pair, _) = everybody();
    pair.restart(40 * SECOND, true, crash(40 * SECOND));
    assert!(!pair.core.blindness().1);
    pair.restart(21 * SECOND, true, |core, _| Start::Crash { horizon: core.barrier(), away: 21 * SECOND });
    assert!(pair.core.blindness().1);
    assert!(pair.told().iter().any(|c| matches!(c, Change::Observer { what: ObserverChange::BlindLimit, .. })));
    pair.turn();
    pair.wait(SECOND);
    pair.turn();
    assert!(!pair.core.blindness().1, "sees again");
}

#[test]
fn floors_and_barriers_outlive_a_restart() {
    let (mut pair, mut all) = everybody();
    let mut new = Sender::new("web-1", "new", 900).generation(2);
    pair.beat(&mut new, Say::due(60_000));
    pair.restart(HOUR, false, clean(HOUR));
    // Within the overlap, which goes on from when the higher one was first heard.
    pair.beat(&mut all[1], Say::due(1000));
    pair.wait(6 * 24 * HOUR);
    let mut old = all[1].successor(901);
    pair.beat(&mut old, Say::due(1000));
    pair.wait(24 * HOUR);
    assert_eq!(pair.send(&mut old, Say::due(1000)), Outcome::Rejected(Reject::RetiredGeneration));
}

#[test]
fn a_floor_stays_while_lower_generations_are_heard() {
    let (mut pair, mut all) = everybody();
    let mut new = Sender::new("web-1", "new", 900).generation(2);
    pair.beat(&mut new, Say::due(60_000));
    let raised = |change: &Change| matches!(change, Change::Agent { what: AgentChange::Generation(Generation(2)), .. });
    assert_eq!(pair.told().iter().filter(|change| raised(change)).count(), 1);
    let id = new.agent;
    for _ in 0..3 {
        pair.wait(SECOND);
        pair.beat(&mut all[1], Say::due(1000));
        let floor = |saved: &Saved| matches!(saved, Saved::Agent(agent) if agent.agent == id && agent.floor.0 == 2);
        assert!(pair.saved().iter().any(floor), "generation 1 was heard last");
        pair.wait(SECOND);
        pair.beat(&mut new, Say::due(60_000));
        assert!(pair.saved().iter().any(floor));
    }
    assert!(!pair.told().iter().any(raised), "told once");
}

#[test]
fn a_contest_outlives_a_restart_for_what_is_left_of_it() {
    for same_boot in [true, false] {
        let (mut pair, mut all) = everybody();
        let mut copy = all[0].clone();
        pair.beat(&mut all[0], Say::due(1000));
        assert_eq!(pair.send(&mut copy, Say::due(1000)), Outcome::Rejected(Reject::CloneSuspected));
        pair.restart(60 * SECOND, same_boot, clean(60 * SECOND));
        pair.run(&mut all[0], Say::due(1000), SECOND, 599);
        assert_eq!(pair.verdict(&all[0]), Verdict::Degraded);
        assert_once(&pair.why(&all[0]), "two live processes speak for this unit");
        pair.run(&mut all[0], Say::due(1000), SECOND, 3);
        assert_eq!(pair.verdict(&all[0]), Verdict::Up);
    }
}

#[test]
fn a_restarted_observer_pins_slots_by_what_it_hears_first() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 20);
    pair.restart(SECOND, true, clean(SECOND));
    let entry = varta_core::RosterEntry { name: "web-1".into(), recovery: true, ..Default::default() };
    let now = pair.now();
    pair.core.set_roster(now, Some(varta_core::Roster::new([(sender.agent, entry)])));
    let bytes = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
    let class = pair.core.view(pair.now(), pair.slot(&sender)).unwrap().class;
    assert_eq!(class, varta_core::Class::OperatorAttested);
}

#[test]
fn what_changed_is_handed_out_once_and_rebuilds_the_same_state() {
    let (mut pair, _) = everybody();
    let mut kept = Vec::new();
    while pair.core.take_dirty(3, |saved| kept.push(saved)) {}
    assert!(!pair.core.is_dirty());
    let mut copy = crate::world::core(*pair.core.settings(), varta_core::Limits::default());
    for saved in kept {
        copy.restore(saved, true);
    }
    let mut other = Vec::new();
    assert_eq!(copy.save_page(0, 100, |saved| other.push(saved)), None);
    let names = |records: &[varta_core::Saved]| {
        let name = |saved: &varta_core::Saved| match saved {
            varta_core::Saved::Slot(slot) => Some((slot.key.unit, slot.session, slot.announce.clone())),
            _ => None,
        };
        let mut names: Vec<_> = records.iter().filter_map(name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&other), names(&pair.saved()));
    let agents = |records: &[varta_core::Saved]| -> Vec<varta_core::Saved> {
        records.iter().filter(|saved| matches!(saved, varta_core::Saved::Agent(_))).cloned().collect()
    };
    assert_eq!(agents(&other), agents(&pair.saved()));
}
