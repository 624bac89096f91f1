//! What one agent's key can fill, and what gives way to what.

use varta_core::{Limits, MILLI, Outcome, Reject, SECOND, Saved, Settings, SlotChange, Verdict};

use crate::{
    sender::{Say, Sender},
    world::{Pair, Seed, core},
};

fn pid(pid: u32) -> Sender {
    Sender::new("web-1", "", pid)
}

fn small(slots_per_agent: u16) -> Pair {
    Pair::with(Settings::default(), Limits { slots_per_agent, ..Limits::default() })
}

#[test]
fn an_agent_gets_64_slots_at_once_and_then_one_in_10_s() {
    let mut pair = Pair::new();
    pair.wait(SECOND - pair.t % SECOND);
    for number in 0..64 {
        pair.beat(&mut pid(100 + number), Say::goodbye());
    }
    assert_eq!(pair.send(&mut pid(200), Say::due(1000)), Outcome::Rejected(Reject::SlotQuota));
    pair.beat(&mut Sender::new("web-2", "", 200), Say::due(1000));
    pair.wait(10 * SECOND - MILLI);
    assert_eq!(pair.send(&mut pid(200), Say::due(1000)), Outcome::Rejected(Reject::SlotQuota));
    pair.wait(MILLI);
    pair.beat(&mut pid(200), Say::due(1000));
    assert_eq!(pair.send(&mut pid(201), Say::due(1000)), Outcome::Rejected(Reject::SlotQuota));
    assert_eq!(pair.core.sizes(), (65, 2));
    assert_eq!(pair.counters().evictions, 1);
}

#[test]
fn departed_slots_give_way_first_and_stalled_ones_last_and_living_ones_never() {
    let mut pair = small(4);
    let mut all: Vec<_> = (10..14).map(pid).collect();
    pair.beat(&mut all[0], Say::due(300));
    pair.beat(&mut all[1], Say::end(1));
    pair.beat(&mut all[2], Say::goodbye());
    pair.beat(&mut all[3], Say::due(3_600_000));
    assert_eq!(pair.send(&mut pid(20), Say::due(60_000)), Outcome::Rejected(Reject::SlotQuota), "the rate");
    pair.wait(10 * SECOND);
    pair.told();
    let mut evicted = Vec::new();
    for number in 20..23 {
        pair.beat(&mut pid(number), Say::due(3_600_000));
        evicted.extend(pair.told_of_slots().into_iter().filter_map(|change| match change {
            SlotChange::Evicted(verdict) => Some(verdict),
            SlotChange::New(_) => None,
            other => panic!("{other:?}"),
        }));
        pair.wait(10 * SECOND);
    }
    assert_eq!(evicted, [Verdict::Departed, Verdict::Critical, Verdict::Stalled]);
    assert_eq!(pair.send(&mut pid(30), Say::due(1000)), Outcome::Rejected(Reject::SlotQuota), "all promises hold");
    pair.assert_counted();
}

#[test]
fn nothing_that_an_evicted_slot_accepted_is_accepted_again() {
    let mut pair = small(1);
    let mut sender = pid(10);
    // Its clock is ahead and then set right: the largest send time is not the newest.
    sender.skew = 4900 * MILLI as i64;
    pair.run(&mut sender, Say::due(1000), SECOND, 3);
    let late = sender.beat(pair.t - MILLI, Say::due(300));
    let ahead = sender.beat(pair.t, Say::due(300));
    assert!(matches!(pair.deliver(&ahead), Outcome::Accepted(_)));
    let largest = pair.core.newest_sent();
    sender.skew = 0;
    pair.wait(MILLI);
    pair.beat(&mut sender, Say::goodbye());
    assert!(matches!(pair.deliver(&late), Outcome::AcceptedLate(_)));
    assert_eq!(pair.core.newest_sent_of(pair.slot(&sender)), Some(largest));
    pair.wait(10 * SECOND);
    pair.beat(&mut pid(11), Say::due(300));
    assert_eq!(pair.counters().evictions, 1);
    assert_eq!(pair.deliver(&ahead), Outcome::Rejected(Reject::BeforeBarrier), "it is still fresh");
}

#[test]
fn a_slot_chosen_to_give_way_stays_when_its_successor_is_refused() {
    let mut pair = small(1);
    pair.beat(&mut pid(10), Say::goodbye());
    pair.wait(20 * SECOND);
    pair.core.set_horizon(varta_core::WallNs(0));
    let waiting = pair.send(&mut pid(11), Say::due(1000));
    assert!(matches!(waiting, Outcome::Waiting(_)));
    assert!(pair.core.find(pid(10).agent, pid(10).unit, 10).is_some());
    let counters = pair.counters();
    assert_eq!(counters.listeners[0].received, 1, "a datagram that waits is not yet counted");
    let now = pair.now();
    let waiting = pair.core.resume(now);
    assert!(matches!(waiting, Some(Outcome::Waiting(_))), "the horizon is as low as before");
    pair.core.set_horizon(varta_core::WallNs(u64::MAX));
    assert!(matches!(pair.core.resume(now), Some(Outcome::Accepted(_))));
    assert_eq!(pair.core.resume(now), None);
    assert_eq!(pair.counters().listeners[0].received, 2);
    pair.assert_conserved();
    assert!(pair.core.find(pid(10).agent, pid(10).unit, 10).is_none());
}

#[test]
fn a_frame_that_waits_is_judged_by_what_is_in_force_when_it_resumes() {
    let mut pair = Pair::new();
    let mut sender = pid(10);
    pair.beat(&mut sender, Say::due(1000));
    pair.core.set_horizon(varta_core::WallNs(0));
    pair.wait(MILLI);
    assert!(matches!(pair.send(&mut sender, Say::due(1000)), Outcome::Waiting(_)));
    let now = pair.now();
    let revoked = varta_core::RosterEntry { revoked: vec![varta_vlp::Generation(1)], ..Default::default() };
    pair.core.set_roster(now, Some(varta_core::Roster::new([(sender.agent, revoked)])));
    pair.core.set_horizon(varta_core::WallNs(u64::MAX));
    assert_eq!(pair.core.resume(now), Some(Outcome::Rejected(Reject::Revoked)));
    pair.assert_conserved();
}

#[test]
fn a_batch_stops_at_a_frame_that_waits_and_goes_on_behind_it() {
    let mut pair = Pair::new();
    let mut senders: Vec<_> = (0..5).map(|n| Sender::new(&format!("web-{n}"), "", 50)).collect();
    let mut bytes: Vec<_> = senders.iter_mut().map(|sender| sender.beat(pair.t, Say::due(1000))).collect();
    // The same agent again, in the same batch in which it is first heard.
    pair.wait(MILLI);
    bytes.push(senders[0].beat(pair.t, Say::due(1000)));
    let mut batch: Vec<_> =
        bytes.iter_mut().map(|bytes| varta_core::Datagram { bytes, origin: crate::world::origin(false) }).collect();
    pair.core.set_horizon(varta_core::WallNs(0));
    let now = pair.now();
    let mut outcomes = Vec::new();
    pair.core.handle_batch(now, &mut batch, &mut outcomes);
    assert!(matches!(outcomes[..], [Outcome::Waiting(_)]));
    pair.core.set_horizon(varta_core::WallNs(u64::MAX));
    assert!(matches!(pair.core.resume(now), Some(Outcome::Accepted(_))));
    pair.core.handle_batch(now, &mut batch[1..], &mut outcomes);
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Accepted(_))));
    assert_eq!(pair.core.sizes(), (5, 5));
    pair.assert_conserved();
}

#[test]
fn churning_units_and_sessions_fills_nothing_beyond_its_limits() {
    let mut pair =
        Pair::with(Settings::default(), Limits { agents: 3, slots_per_agent: 8, changes: 50, ..Limits::default() });
    let mut seed = Seed(11);
    let mut senders: Vec<Sender> = Vec::new();
    for round in 0..6000_u32 {
        let unit = format!("unit-{}", seed.below(500));
        let agent = format!("web-{}", seed.below(5));
        if senders.len() < 40 || seed.below(4) == 0 {
            let fresh = Sender::new(&agent, &unit, 2 + round);
            let place = seed.below(40) as usize;
            if place < senders.len() { senders[place] = fresh } else { senders.push(fresh) }
        }
        let place = seed.below(senders.len() as u64) as usize;
        let say = match seed.below(6) {
            0 => Say::goodbye(),
            1 => Say::end(1),
            _ => Say::due(300),
        };
        pair.send(&mut senders[place], say);
        if seed.below(5) == 0 {
            let (now, bytes) = (pair.t, senders[place].beat(pair.t, Say::due(300)));
            senders[place].renew(now);
            pair.deliver(&bytes);
        }
        pair.wait(seed.below(2 * SECOND));
        let (slots, agents) = pair.core.sizes();
        assert!(slots <= 24 && agents <= 3, "{slots} slots of {agents} agents");
    }
    assert!(pair.counters().evictions > 100);
    pair.assert_conserved();
    pair.assert_counted();
    // Never drained: bounded by the slots and agents there are, and by the limit on changes.
    let mut dirty = 0;
    while pair.core.take_dirty(usize::MAX, |_| dirty += 1) {}
    assert!(dirty <= 50 + 24 + 3, "{dirty}");
}

#[test]
fn changes_that_nobody_reads_are_counted_and_dropped() {
    let mut core = crate::world::core(Settings::default(), Limits { changes: 3, ..Limits::default() });
    let mut pair = Pair::new();
    core.start(pair.now(), varta_core::Start::First, 0);
    pair.wait(MILLI);
    let now = pair.now();
    for number in 0..10 {
        let mut bytes = Sender::new(&format!("web-{number}"), "", 50).beat(pair.t, Say::due(1000));
        let outcome = core.handle_datagram(now, crate::world::origin(false), &mut bytes);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    assert_eq!(core.counters().changes_lost, 7);
}

#[test]
fn an_agent_without_slots_is_forgotten_after_seven_days_and_its_barrier_is_the_fleets() {
    let mut pair = Pair::new();
    let mut sender = pid(10);
    pair.beat(&mut sender, Say::due(1000));
    let largest = pair.core.newest_sent();
    let now = pair.now();
    pair.core.set_roster(now, Some(varta_core::Roster::new([])));
    pair.wait(20 * SECOND);
    assert_eq!(pair.core.sizes(), (0, 1));
    pair.wait(7 * 86_400 * SECOND - 60 * SECOND);
    assert_eq!(pair.core.sizes(), (0, 1));
    assert!(pair.core.barrier() < largest);
    pair.wait(60 * SECOND);
    assert_eq!(pair.core.sizes(), (0, 0));
    assert_eq!(pair.core.barrier(), largest);
}

#[test]
fn what_comes_back_from_disk_beyond_all_bounds_is_as_if_it_had_been_evicted() {
    let mut pair = Pair::new();
    let mut sender = pid(100);
    pair.beat(&mut sender, Say::due(1000));
    let saved = pair.saved();
    let slot = |saved: &Saved| if let Saved::Slot(slot) = saved { Some(slot.clone()) } else { None };
    let slot = saved.iter().find_map(slot).unwrap();
    let mut next = core(Settings::default(), Limits::default());
    let most = u32::from(u16::MAX);
    for number in 0..=most {
        let mut slot = slot.clone();
        (slot.key.pid, slot.sent_at) = (1000 + number, slot.sent_at.after(u64::from(number)));
        next.restore(Saved::Slot(slot), true);
    }
    assert_eq!(next.sizes(), (most as usize, 1));
    let mut barriers = Vec::new();
    next.save_page(0, 1, |saved| match saved {
        Saved::Agent(agent) => barriers.push(agent.barrier),
        other => panic!("{other:?}"),
    });
    assert_eq!(barriers, [slot.sent_at.after(u64::from(most))], "nothing that the last one sent is accepted again");
}
