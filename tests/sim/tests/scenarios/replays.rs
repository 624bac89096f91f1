//! What an attacker on the way can do with what he kept.

use varta_core::{Limits, MILLI, ObserverChange, SECOND, Settings, SlotChange, Verdict};
use varta_sim::{attacker::garbage, clock::HostClock, process::Say};
use varta_vlp::{Reject, Status};

use crate::rig::Rig;

#[test]
fn a_session_start_of_the_largest_number_locks_nobody_out() {
    let mut rig = Rig::new();
    let host = rig.host();
    let agent = rig.agent("web-1", "api", host);
    rig.pass(3000);
    // Forged: the start is under the seal.
    let mut bytes = rig.world.registry.frame(2).bytes.to_vec();
    bytes[20..28].copy_from_slice(&u64::MAX.to_le_bytes());
    rig.world.inject_bytes(bytes.into(), rig.observer, MILLI, 0);
    rig.pass(5);
    assert_eq!(rig.rejected(Reject::AuthFailure), 1);
    // Sealed by someone with the key.
    rig.seal_like(2, |sealed| sealed.header.session_start = u64::MAX);
    assert_eq!(rig.rejected(Reject::BadTimes), 1);
    rig.seal_like(2, |sealed| (sealed.header.session_start, sealed.body.sent_at) = (u64::MAX, u64::MAX));
    rig.seal_like(2, |sealed| sealed.body.sent_at = u64::MAX);
    assert_eq!(rig.rejected(Reject::FromFuture), 2);
    let before = rig.observer().tally().accepted().0;
    rig.pass(700_000);
    assert!(rig.observer().tally().accepted().0 > before + 2000);
    assert_eq!(rig.verdict(agent), Some(Verdict::Up));
    assert_eq!(rig.stalls(), 0);
}

#[test]
fn one_old_frame_of_half_the_fleet_each_second_hides_no_death_and_blinds_nobody() {
    let mut rig = Rig::new();
    let host = rig.host();
    let fleet: Vec<usize> = (0..20).map(|number| rig.agent(&format!("agent-{number}"), "api", host)).collect();
    rig.pass(2000);
    let old: Vec<usize> = (0..12).collect();
    rig.pass(60_000);
    rig.told();
    let die = fleet[3];
    for second in 0..60 {
        for number in &old {
            rig.world.inject(*number, rig.observer, second * MILLI);
        }
        if second == 30 {
            rig.kill(die);
        }
        rig.pass(1000);
        if second == 33 {
            assert_eq!(rig.verdict(die), Some(Verdict::Stalled));
        }
    }
    for agent in fleet.iter().filter(|agent| **agent != die) {
        assert_eq!(rig.verdict(*agent), Some(Verdict::Up));
    }
    assert_eq!(rig.rejected(Reject::Stale), 12 * 60);
    let own = rig.told_of_itself();
    assert!(!own.iter().any(|what| matches!(what, ObserverChange::ClockSuspect { .. })), "{own:?}");
}

#[test]
fn one_garbage_datagram_for_each_promise_does_not_keep_the_dead_alive() {
    let mut rig = Rig::new();
    let host = rig.host();
    let agent = rig.agent("web-1", "api", host);
    rig.pass(10_000);
    rig.kill(agent);
    let last = rig.world.registry.frame(rig.world.registry.len() - 1).t;
    let mut stalled = None;
    for tick in 0..400 {
        if tick % 100 == 0 {
            let bytes = garbage(&mut rig.world.rng);
            rig.world.inject_bytes(bytes, rig.observer, MILLI, 0);
        }
        rig.pass(10);
        if rig.verdict(agent) == Some(Verdict::Stalled) {
            stalled.get_or_insert(rig.world.t);
        }
    }
    let took = (stalled.unwrap() - last) / MILLI;
    assert!((2250..2270).contains(&took), "{took} ms: promise, one more, margin and the way");
}

#[test]
fn a_datagram_that_reaches_another_shard_is_refused_there_and_known_at_home() {
    let mut rig = Rig::with(Settings::default(), Limits { shard: (0, 2), ..Limits::default() });
    let limits = Limits { shard: (1, 2), ..Limits::default() };
    let clock = HostClock::new(5000 * SECOND, 0, 2);
    let other = rig.world.add_observer(rig.audience, Settings::default(), limits, clock).unwrap();
    let host = rig.host();
    let fleet: Vec<usize> = (0..6).map(|number| rig.agent(&format!("agent-{number}"), "api", host)).collect();
    rig.pass(3000);
    let sealed = rig.world.registry.len();
    for number in 0..sealed {
        rig.world.inject(number, rig.observer, MILLI);
        rig.world.inject(number, other, MILLI);
    }
    rig.pass(3000);
    let observers = [rig.observer, other];
    let wrong: u64 =
        observers.iter().map(|number| rig.world.observers[*number].tally().rejected(Reject::WrongShard)).sum();
    assert_eq!(wrong, sealed as u64, "each at one of the two");
    let slots: usize = observers.iter().map(|number| rig.world.observers[*number].core().unwrap().sizes().0).sum();
    assert_eq!(slots, fleet.len(), "each agent at one of the two");
}

#[test]
fn what_was_withheld_for_long_brings_nobody_back() {
    let mut rig = Rig::new();
    let host = rig.host();
    let agent = rig.agent("web-1", "api", host);
    rig.pass(20_000);
    rig.world.attacker.takes_from.push(agent);
    rig.pass(5000);
    assert_eq!(rig.verdict(agent), Some(Verdict::Stalled));
    rig.kill(agent);
    rig.told();
    // One by one, as late as each may come.
    for number in std::mem::take(&mut rig.world.attacker.held) {
        rig.world.inject(number, rig.observer, MILLI);
        rig.pass(200);
    }
    assert_eq!(rig.verdict(agent), Some(Verdict::Stalled));
    assert_eq!(rig.told(), [], "nothing was told");
    assert!(rig.rejected(Reject::Delayed) + rig.rejected(Reject::Stale) > 10);
}

#[test]
fn a_promise_and_a_hold_of_the_largest_number_are_held_to_their_ceilings() {
    let settings = Settings { max_promise: 20 * SECOND, max_hold: 30 * SECOND, ..Settings::default() };
    for (hold, span) in [(false, 40_250), (true, 30_250)] {
        let mut rig = Rig::with(settings, Limits::default());
        let host = rig.host();
        let agent = rig.quiet("web-1", "api", host);
        rig.world.processes[agent].promise_ms = if hold { 1000 } else { u32::MAX };
        rig.beat(agent);
        if hold {
            rig.say(agent, Say::Hold(u32::MAX));
            assert_eq!(rig.verdict(agent), Some(Verdict::Held));
        }
        let clamped = |what: &SlotChange| matches!(what, SlotChange::PromiseClamped { asked: u32::MAX, .. });
        assert_eq!(rig.told().iter().filter(|what| clamped(what)).count(), 1);
        let took = rig.until_stalled(agent, 60_000);
        assert!(took.abs_diff(span) < 20, "{took} ms, {span} expected");
    }
}

#[test]
fn a_flood_of_noise_sheds_strangers_and_nobody_who_is_known() {
    let mut rig = Rig::new();
    let host = rig.host();
    let agent = rig.agent("web-1", "api", host);
    rig.pass(5000);
    for _ in 0..20_000 {
        let bytes = garbage(&mut rig.world.rng);
        let delay = rig.world.rng.below(10 * SECOND);
        rig.world.inject_bytes(bytes, rig.observer, delay, 1);
    }
    rig.pass(10_000);
    rig.say(agent, Say::Life(Status::Ok));
    assert_eq!(rig.verdict(agent), Some(Verdict::Up));
    assert_eq!(rig.stalls(), 0);
}
