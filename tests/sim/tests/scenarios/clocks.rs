//! Clocks that are wrong, set, slewed, stopped, on either side.

use varta_core::{MILLI, SECOND, Verdict};
use varta_vlp::{Reject, sealed::Flags};

use crate::rig::Rig;

const HOUR: i64 = 3600 * SECOND as i64;

#[test]
fn a_stepped_session_that_is_lost_whole_leaves_no_wrong_offset_behind() {
    for step in [-240, -100, 100, 240] {
        let mut rig = Rig::new();
        let host = rig.host();
        let agent = rig.agent("web-1", "api", host);
        rig.pass(30_000);
        // A step too small to end the session; the next one begins on another timeline, and nobody hears it.
        rig.world.attacker.takes_from.push(agent);
        rig.world.hosts[host].clock.step(rig.world.t, step * MILLI as i64);
        rig.world.processes[agent].reconnect();
        rig.pass(300);
        rig.world.processes[agent].reconnect();
        rig.world.attacker.takes_from.clear();
        let from = rig.world.registry.len();
        rig.pass(3000);
        let frame = rig.world.registry.frame(from + 1);
        assert!(!frame.body.flags.has(Flags::STEPPED), "the session that is heard has not stepped");
        assert_eq!(rig.verdict(agent), Some(Verdict::Up));
        rig.kill(agent);
        let last = rig.world.registry.frame(rig.world.registry.len() - 1).t;
        rig.until_stalled(agent, 5000);
        let took = (rig.world.t - last) / MILLI;
        // At worst by the step, which is within the margin.
        assert!((2250 - 245..2250 + 250).contains(&took), "a step of {step} ms: told after {took} ms");
    }
}

#[test]
fn clocks_that_run_away_from_each_other_accuse_nobody_and_hide_no_death() {
    for (sender, observer) in [(400, -200), (-400, 200), (800, 0), (-800, 0)] {
        let mut rig = Rig::new();
        let host = rig.host();
        rig.world.hosts[host].clock.set_rates(0, sender, 0);
        rig.world.observers[rig.observer].clock.set_rates(0, observer, 0);
        let agent = rig.agent("web-1", "api", host);
        rig.pass(1_500_000);
        assert_eq!(rig.verdict(agent), Some(Verdict::Up));
        assert_eq!(rig.stalls(), 0, "{sender} ppm against {observer} ppm");
        rig.kill(agent);
        let took = rig.until_stalled(agent, 3000);
        assert!((1900..2500).contains(&took), "told after {took} ms");
    }
}

#[test]
fn a_clock_that_is_slewed_right_begins_sessions_and_costs_no_beat() {
    let mut rig = Rig::new();
    let host = rig.host_ahead(2 * SECOND as i64);
    rig.world.hosts[host].clock.set_rates(0, 0, -500);
    let agent = rig.agent("web-1", "api", host);
    rig.pass(2_000_000);
    assert_eq!(rig.stalls(), 0);
    assert_eq!(rig.verdict(agent), Some(Verdict::Up));
    let sessions = (0..rig.world.registry.len()).map(|number| rig.world.registry.frame(number).header.session_start);
    let sessions: std::collections::BTreeSet<u64> = sessions.collect();
    assert!(sessions.len() > 3, "{} sessions", sessions.len());
    assert_eq!(rig.observer().tally().accepted().0, rig.world.registry.len() as u64);
}

#[test]
fn a_paused_machine_is_stalled_while_it_stands_still_and_back_when_its_clock_is_right() {
    let mut rig = Rig::new();
    let host = rig.host();
    let agent = rig.agent("web-1", "api", host);
    rig.pass(20_000);
    rig.world.pause_host(host, 30 * SECOND, true);
    rig.pass(10_000);
    assert_eq!(rig.verdict(agent), Some(Verdict::Stalled));
    rig.pass(25_000);
    assert_eq!(rig.verdict(agent), Some(Verdict::Stalled), "it beats, half a minute behind");
    assert!(rig.rejected(Reject::Stale) > 10);
    rig.world.hosts[host].clock.set_right(rig.world.t);
    rig.pass(500);
    assert_eq!(rig.verdict(agent), Some(Verdict::Up));
    // Suspended with its clocks running: nothing is wrong with them afterwards.
    rig.world.pause_host(host, 30 * SECOND, false);
    rig.pass(30_500);
    assert_eq!(rig.verdict(agent), Some(Verdict::Up));
}

#[test]
fn an_observer_that_is_paused_with_its_clocks_accuses_nobody() {
    for ns in [300 * MILLI, 3 * SECOND] {
        let mut rig = Rig::new();
        let host = rig.host();
        let agent = rig.agent("web-1", "api", host);
        rig.pass(20_000);
        rig.world.stall_observer(rig.observer, ns, true);
        rig.pass(ns / MILLI + 10_000);
        assert_eq!(rig.stalls(), 0);
        assert_eq!(rig.verdict(agent), Some(Verdict::Up));
    }
}

#[test]
fn a_sender_two_hours_ahead_is_refused_until_its_clock_is_set() {
    let mut rig = Rig::new();
    let host = rig.host_ahead(2 * HOUR);
    let agent = rig.agent("web-1", "api", host);
    rig.pass(60_000);
    assert_eq!(rig.verdict(agent), None, "nothing of it was ever accepted");
    assert!(rig.rejected(Reject::FromFuture) > 200);
    rig.world.hosts[host].clock.set_right(rig.world.t);
    rig.pass(300);
    assert_eq!(rig.verdict(agent), Some(Verdict::Up), "two hours back are a new session at once");
    rig.pass(700_000);
    assert_eq!(rig.stalls(), 0);
}

#[test]
fn a_unit_that_restarts_on_a_slower_clock_is_heard_once_that_has_caught_up() {
    let mut rig = Rig::new();
    let (fast, slow) = (rig.host_ahead(4 * SECOND as i64), rig.host_ahead(-4 * SECOND as i64));
    let old = rig.agent("web-1", "api", fast);
    // Its second session has just begun.
    rig.pass(16_000);
    rig.kill(old);
    let new = rig.agent("web-1", "api", slow);
    rig.pass(3000);
    assert_ne!(rig.verdict(new), Some(Verdict::Up));
    // Its first session of 15 s ends, and the next one is newer than any of the old process.
    rig.pass(16_000);
    assert!(matches!(rig.verdict(new), Some(Verdict::Up | Verdict::Degraded)), "{:?}", rig.verdict(new));
}
