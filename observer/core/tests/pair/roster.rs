//! The roster in force: revoked, removed, required, and what it grants.

use varta_core::{
    AgentChange, Change, Labels, MILLI, Outcome, Reject, Roster, RosterEntry, SECOND, SlotChange, Verdict,
};
use varta_vlp::Generation;

use crate::{
    sender::{Say, Sender},
    world::{Pair, assert_once},
};

const MINUTE: u64 = 60 * SECOND;

fn api() -> Sender {
    Sender::new("web-1", "api", 4242)
}

fn set(pair: &mut Pair, entries: &[RosterEntry]) {
    let agent = |name: &str| Sender::new(name, "", 2).agent;
    let roster = Roster::new(entries.iter().map(|entry| (agent(&entry.name), entry.clone())));
    let now = pair.now();
    pair.core.set_roster(now, Some(roster));
}

fn entry(name: &str) -> RosterEntry {
    RosterEntry { name: name.into(), ..RosterEntry::default() }
}

fn required(name: &str) -> RosterEntry {
    RosterEntry { required: true, ..entry(name) }
}

fn of_agents(told: &[Change]) -> Vec<AgentChange> {
    let what = |change: &Change| match change {
        Change::Agent { what, .. } => Some(*what),
        _ => None,
    };
    told.iter().filter_map(what).collect()
}

#[test]
fn a_revoked_agents_live_slots_depart_at_once_and_keep_their_windows() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let last = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver(&last), Outcome::Accepted(_)));
    pair.told();
    set(&mut pair, &[RosterEntry { revoked: vec![Generation(1)], ..entry("web-1") }]);
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    assert_once(&pair.why(&sender), "revoked, or no longer in the roster");
    let told = pair.told_of_slots();
    assert_eq!(
        told,
        [SlotChange::Revoked, SlotChange::Verdict { from: Verdict::Up, to: Verdict::Departed, deadline: None }]
    );
    assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::Revoked));
    // Taken back by the operator: what was accepted is not accepted again.
    set(&mut pair, &[entry("web-1")]);
    assert_eq!(pair.deliver(&last), Outcome::Rejected(Reject::Replayed));
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(pair.verdict(&sender), Verdict::Up);
}

#[test]
fn a_revoked_slot_gives_way_when_idle_and_what_it_accepted_stays_refused() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    sender.skew = 4900 * MILLI as i64;
    let last = sender.beat(pair.t, Say::due(1000));
    assert!(matches!(pair.deliver(&last), Outcome::Accepted(_)));
    set(&mut pair, &[RosterEntry { revoked: vec![Generation(1)], ..entry("web-1") }]);
    pair.told();
    pair.wait(7 * SECOND);
    assert_eq!(pair.core.sizes(), (0, 1));
    assert_eq!(pair.told_of_slots(), [SlotChange::Evicted(Verdict::Departed)]);
    set(&mut pair, &[entry("web-1")]);
    assert_eq!(pair.deliver(&last), Outcome::Rejected(Reject::BeforeBarrier));
    pair.assert_counted();
}

#[test]
fn a_removed_agent_departs_and_a_new_generation_takes_the_slot_up() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(1000));
    set(&mut pair, &[entry("web-2")]);
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::UnknownAgent));
    set(&mut pair, &[RosterEntry { revoked: vec![Generation(1)], ..entry("web-1") }]);
    let mut next = sender.successor(5555).generation(2);
    pair.wait(SECOND);
    pair.told();
    pair.beat(&mut next, Say::due(1000));
    assert_eq!(pair.verdict(&next), Verdict::Up);
    assert!(of_agents(&pair.told()).contains(&AgentChange::Generation(Generation(2))));
}

#[test]
fn a_revoked_slot_departs_even_if_it_is_contested() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let mut copy = sender.clone();
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(pair.send(&mut copy, Say::due(1000)), Outcome::Rejected(Reject::CloneSuspected));
    set(&mut pair, &[RosterEntry { revoked: vec![Generation(1)], ..entry("web-1") }]);
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
}

#[test]
fn revocation_holds_over_a_restart() {
    let mut pair = Pair::new();
    let mut sender = api();
    pair.beat(&mut sender, Say::due(60_000));
    let saved = pair.saved();
    let mut next = crate::world::core(*pair.core.settings(), varta_core::Limits::default());
    let agent = sender.agent;
    let now = pair.now();
    next.set_roster(now, Some(Roster::new([(agent, RosterEntry { revoked: vec![Generation(1)], ..entry("web-1") })])));
    for record in saved {
        next.restore(record, true);
    }
    let barrier = pair.core.barrier();
    next.start(now, varta_core::Start::Clean { stopped: now.mono, away: 0, barrier }, 0);
    next.set_horizon(varta_core::WallNs(u64::MAX));
    pair.core = next;
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    pair.assert_counted();
    pair.wait(20 * SECOND);
    pair.assert_counted();
    assert_eq!(pair.core.sizes().0, 0);
}

#[test]
fn who_was_never_seen_is_missing_and_counted() {
    let mut pair = Pair::new();
    set(&mut pair, &[entry("web-1"), entry("web-2"), entry("web-3")]);
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 3);
    pair.assert_counted();
    pair.beat(&mut api(), Say::due(1000));
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 2);
    pair.assert_counted();
    assert_eq!(of_agents(&pair.told()), [], "only the required ones are told");
}

#[test]
fn a_required_agent_is_missing_when_it_never_came() {
    let mut pair = Pair::new();
    set(&mut pair, &[required("web-1"), entry("web-2")]);
    pair.wait(10 * MINUTE - 1);
    assert_eq!(of_agents(&pair.told()), []);
    // A reload does not begin the time anew, nor does it tell again.
    set(&mut pair, &[required("web-1")]);
    pair.wait(1);
    assert_eq!(of_agents(&pair.told()), [AgentChange::Missing]);
    set(&mut pair, &[required("web-1")]);
    pair.wait(30 * MINUTE);
    assert_eq!(of_agents(&pair.told()), []);
    let mut sender = api();
    pair.beat(&mut sender, Say::due(1000));
    assert_eq!(of_agents(&pair.told()), [AgentChange::Returned]);
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 0);
    pair.wait(11 * MINUTE);
    assert_eq!(of_agents(&pair.told()), [AgentChange::Missing], "and again when it is away again");
    pair.assert_counted();
}

#[test]
fn a_required_agent_that_departed_is_missing_after_its_own_time() {
    let mut pair = Pair::new();
    set(&mut pair, &[RosterEntry { return_within: Some(MINUTE), ..required("web-1") }]);
    let mut sender = api();
    let mut other = Sender::new("web-1", "db", 77);
    pair.beat(&mut sender, Say::due(1000));
    pair.wait(SECOND);
    pair.beat(&mut sender, Say::goodbye());
    pair.wait(30 * SECOND);
    pair.beat(&mut other, Say::due(1000));
    pair.wait(59 * SECOND);
    assert_eq!(of_agents(&pair.told()), [], "one of its units was heard");
    pair.wait(2 * SECOND);
    assert_eq!(of_agents(&pair.told()), [AgentChange::Missing]);
    assert_eq!(pair.verdict(&sender), Verdict::Departed);
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 1);
    pair.assert_counted();
    pair.beat(&mut other, Say::due(1000));
    assert_eq!(of_agents(&pair.told()), [AgentChange::Returned]);
    pair.assert_counted();
}

#[test]
fn a_sleep_of_the_observer_makes_nobody_missing() {
    let mut pair = Pair::new();
    set(&mut pair, &[required("web-1")]);
    let mut sender = api();
    pair.beat(&mut sender, Say::due(1000));
    pair.wait(MINUTE);
    pair.told();
    let from = pair.mono();
    pair.sleep(60 * MINUTE);
    let now = pair.now();
    pair.core.handle_gap(from, now);
    pair.wait(9 * MINUTE - 1);
    assert_eq!(of_agents(&pair.told()), []);
    pair.wait(1);
    assert_eq!(of_agents(&pair.told()), [AgentChange::Missing], "ten minutes of sight without it");
}

#[test]
fn the_roster_grants_longer_promises_and_its_labels_win() {
    let mut pair = Pair::new();
    let labels = Labels::from([("role".into(), "db".into())]).into();
    set(&mut pair, &[RosterEntry { max_promise: Some(7200 * SECOND), labels, ..entry("web-1") }]);
    let mut sender = api();
    let bytes = sender.announce(pair.t, Say::due(7_200_000), &[("role", "web"), ("site", "a"), ("unit", "api")]);
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
    assert_eq!(pair.told_of_slots(), [SlotChange::New(Verdict::Up)], "nothing was clamped");
    let view = pair.core.view(pair.now(), pair.slot(&sender)).unwrap();
    assert_eq!(view.labels().collect::<Vec<_>>(), [("role", "db"), ("site", "a")]);
    assert_eq!((view.agent_name, view.unit_name), (Some("web-1"), Some("api")));
}

#[test]
fn expiry_holds_for_live_sessions() {
    let mut pair = Pair::new();
    let at = pair.now().wall.after(10 * SECOND);
    set(&mut pair, &[RosterEntry { expires: Some(at), ..entry("web-1") }]);
    let mut sender = api();
    pair.run(&mut sender, Say::due(1000), SECOND, 10);
    assert_eq!(pair.send(&mut sender, Say::due(1000)), Outcome::Rejected(Reject::Expired));
}
