//! Two live processes in one slot, and listeners of two classes.

use varta_core::{Class, MILLI, Outcome, Reject, Roster, RosterEntry, SECOND, SlotChange, Verdict};

use crate::{
    sender::{Say, Sender},
    world::{Pair, assert_once},
};

const MINUTE: u64 = 60 * SECOND;

/// Two processes for one unit; the older one just proved that it lives on. Both are in their second session.
fn contested() -> (Pair, Sender, Sender) {
    let mut pair = Pair::new();
    let mut old = Sender::new("web-1", "api", 4242);
    pair.run(&mut old, Say::due(1000), SECOND, 20);
    let mut new = old.successor(5555);
    new.boot = 78;
    pair.run(&mut new, Say::due(1000), SECOND, 30);
    pair.told();
    assert_eq!(pair.send(&mut old, Say::due(1000)), Outcome::Rejected(Reject::SessionConflict));
    (pair, old, new)
}

#[test]
fn a_second_live_process_is_told_once_and_the_slot_at_best_degraded() {
    let (mut pair, mut old, mut new) = contested();
    assert_eq!(
        pair.told_of_slots(),
        [
            SlotChange::UnitConflict { known: (5555, 78), other: (4242, 77) },
            SlotChange::Verdict { from: Verdict::Up, to: Verdict::Degraded, deadline: None },
        ]
    );
    assert_once(
        &pair.why(&new),
        "contested for 11 min more: two live processes speak for this unit: pid 5555 (boot 000000000000004e) and pid 4242 \
         (boot 000000000000004d)",
    );
    for _ in 0..10 {
        pair.beat(&mut new, Say::due(1000));
        pair.wait(MILLI);
        assert_eq!(pair.send(&mut old, Say::due(1000)), Outcome::Rejected(Reject::SessionConflict));
        pair.wait(SECOND - MILLI);
    }
    assert_eq!(pair.told_of_slots(), []);
    assert_eq!(pair.verdict(&new), Verdict::Degraded);
    pair.run(&mut new, Say::due(1000), SECOND, 658);
    assert_eq!(pair.verdict(&new), Verdict::Degraded);
    pair.run(&mut new, Say::due(1000), SECOND, 4);
    assert_eq!(pair.verdict(&new), Verdict::Up, "11 min after the last sign of the other");
    assert!(!pair.why(&new).contains("contested"));
}

#[test]
fn a_contested_slot_departs_only_when_the_contest_is_over() {
    let (mut pair, _, mut new) = contested();
    pair.told();
    pair.beat(&mut new, Say::goodbye());
    assert_eq!(pair.verdict(&new), Verdict::Degraded);
    pair.wait(11 * MINUTE - MILLI);
    assert_eq!(pair.verdict(&new), Verdict::Degraded);
    pair.wait(MILLI);
    assert_eq!(pair.verdict(&new), Verdict::Departed);
    let told = pair.told_of_slots();
    assert_eq!(told, [SlotChange::Verdict { from: Verdict::Degraded, to: Verdict::Departed, deadline: None }]);
}

#[test]
fn a_departed_slot_that_is_contested_shows_degraded_meanwhile() {
    let mut pair = Pair::new();
    let mut old = Sender::new("web-1", "api", 4242);
    pair.run(&mut old, Say::due(1000), SECOND, 20);
    let mut new = old.successor(5555);
    pair.run(&mut new, Say::due(1000), SECOND, 1);
    pair.beat(&mut new, Say::goodbye());
    pair.wait(20 * SECOND);
    assert_eq!(pair.verdict(&new), Verdict::Departed);
    assert_eq!(pair.send(&mut old, Say::due(1000)), Outcome::Rejected(Reject::SessionConflict));
    assert_eq!(pair.verdict(&new), Verdict::Degraded);
    pair.wait(11 * MINUTE);
    assert_eq!(pair.verdict(&new), Verdict::Departed);
}

#[test]
fn a_contested_slot_is_stalled_past_its_deadline_all_the_same() {
    let (mut pair, _, new) = contested();
    pair.wait(3 * SECOND);
    assert_eq!(pair.verdict(&new), Verdict::Stalled);
    assert_once(&pair.why(&new), "contested for");
}

#[test]
fn an_end_and_a_critical_status_stay_critical_in_a_contest() {
    let (mut pair, _, mut new) = contested();
    pair.beat(&mut new, Say::due(1000).status(varta_vlp::Status::Critical));
    assert_eq!(pair.verdict(&new), Verdict::Critical);
    pair.beat(&mut new, Say::end(1));
    assert_eq!(pair.verdict(&new), Verdict::Critical);
    pair.wait(12 * MINUTE);
    assert_eq!(pair.verdict(&new), Verdict::Critical);
}

#[test]
fn two_copies_of_one_process_are_suspected() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let mut copy = sender.clone();
    pair.beat(&mut sender, Say::due(1000));
    pair.told();
    assert_eq!(pair.send(&mut copy, Say::due(1000)), Outcome::Rejected(Reject::CloneSuspected));
    assert_eq!(
        pair.told_of_slots(),
        [SlotChange::CloneSuspected, SlotChange::Verdict { from: Verdict::Up, to: Verdict::Degraded, deadline: None },]
    );
    assert_once(&pair.why(&sender), "two live processes speak for this unit");
}

fn granted() -> Pair {
    let mut pair = Pair::new();
    let entry = RosterEntry { name: "web-1".into(), recovery: true, ..RosterEntry::default() };
    let roster = Roster::new([(Sender::new("web-1", "", 2).agent, entry)]);
    let now = pair.now();
    pair.core.set_roster(now, Some(roster));
    pair
}

fn class(pair: &Pair, sender: &Sender) -> Class {
    pair.core.view(pair.now(), pair.slot(sender)).unwrap().class
}

#[test]
fn a_lower_class_is_refused_and_told_once() {
    let mut pair = granted();
    let mut sender = Sender::new("web-1", "api", 4242);
    let first = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver_on(true, &first), Outcome::Accepted(_)));
    assert_eq!(class(&pair, &sender), Class::OperatorAttested);
    pair.told();
    for _ in 0..3 {
        pair.wait(MILLI);
        assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::OriginConflict));
    }
    let conflict = SlotChange::OriginConflict { observed: Class::NetworkVerified, pinned: Class::OperatorAttested };
    assert_eq!(pair.told_of_slots(), [conflict]);
    assert_eq!(pair.counters().origin_conflicts, 3);
    // A new session on the lower one is refused as well, until the slot is idle: then it is pinned anew.
    sender.renew(pair.t);
    assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::OriginConflict));
    pair.wait(6 * SECOND + MILLI);
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(class(&pair, &sender), Class::NetworkVerified);
}

#[test]
fn a_slot_takes_a_higher_class_with_its_next_session() {
    let mut pair = granted();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.beat(&mut sender, Say::due(1000));
    for expected in [Class::NetworkVerified, Class::NetworkVerified] {
        pair.wait(MILLI);
        let bytes = sender.beat(pair.t, Say::due(1000));
        assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
        assert_eq!(class(&pair, &sender), expected);
    }
    pair.wait(MILLI);
    sender.renew(pair.t);
    let bytes = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
    assert_eq!(class(&pair, &sender), Class::OperatorAttested);
}

#[test]
fn an_idle_slot_is_pinned_anew_within_its_session() {
    let mut pair = granted();
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 16);
    pair.wait(7 * SECOND);
    let bytes = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
    assert_eq!(class(&pair, &sender), Class::OperatorAttested);
}

#[test]
fn a_session_begun_on_a_plain_listener_is_not_raised_by_a_later_grant() {
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", "api", 4242);
    let bytes = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
    pair.wait(MILLI);
    sender.renew(pair.t);
    pair.beat(&mut sender, Say::due(1000));
    let entry = RosterEntry { name: "web-1".into(), recovery: true, ..RosterEntry::default() };
    let now = pair.now();
    pair.core.set_roster(now, Some(Roster::new([(sender.agent, entry)])));
    assert_eq!(class(&pair, &sender), Class::NetworkVerified);
}
