//! Observers that stop, crash, lose what they knew, and come back under other clocks.

use varta_core::{Limits, MILLI, SECOND, Settings, Verdict};
use varta_sim::{disk::End, process::Say};
use varta_vlp::{Reject, Status};

use crate::rig::Rig;

fn fleet(rig: &mut Rig) -> Vec<usize> {
    let host = rig.host();
    (0..8).map(|number| rig.agent(&format!("agent-{number}"), "api", host)).collect()
}

#[test]
fn late_marks_and_stepped_clocks_around_a_crash_a_clean_stop_and_a_crash_again() {
    for step in [-3600, -10, 10, 3600] {
        let mut rig = Rig::new();
        rig.world.observers[rig.observer].disk.latency = 900 * MILLI;
        let agents = fleet(&mut rig);
        rig.pass(20_000);
        for end in [End::Killed, End::Clean, End::Killed] {
            rig.world.restart_observer(rig.observer, end, 300 * MILLI).unwrap();
            rig.world.observers[rig.observer].clock.step(rig.world.t, step * SECOND as i64);
            rig.world.observers[rig.observer].has_erred(rig.world.t);
            rig.pass(400);
            // All that was ever sent comes again; that none of it is accepted twice is held at each.
            rig.replay_everything();
            rig.world.observers[rig.observer].clock.set_right(rig.world.t);
            rig.replay_everything();
            rig.pass(30_000);
            rig.replay_everything();
            for agent in &agents {
                assert_eq!(rig.verdict(*agent), Some(Verdict::Up), "{end:?}, a step of {step} s");
            }
        }
    }
}

#[test]
fn after_a_crash_what_came_in_its_last_moments_is_refused() {
    let mut rig = Rig::new();
    rig.world.observers[rig.observer].disk.latency = 900 * MILLI;
    fleet(&mut rig);
    rig.pass(20_000);
    rig.world.restart_observer(rig.observer, End::Killed, 50 * MILLI).unwrap();
    rig.pass(55);
    rig.replay_everything();
    assert!(rig.rejected(Reject::BeforeBarrier) > 100);
    assert_eq!(rig.observer().tally().accepted(), (0, 0));
}

#[test]
fn a_failover_to_another_host_inherits_no_offset() {
    for uptime in [10, 1_000_000] {
        let mut rig = Rig::new();
        let agents = fleet(&mut rig);
        rig.pass(30_000);
        rig.world.restart_observer(rig.observer, End::Clean, 2 * SECOND).unwrap();
        // The state directory is taken to a host that was booted at another time.
        rig.world.observers[rig.observer].clock.reboot(rig.world.t, uptime * SECOND, 99);
        rig.pass(3000);
        for agent in &agents {
            assert_eq!(rig.verdict(*agent), Some(Verdict::Up));
        }
        // And is killed before it has written anything of its own.
        rig.world.restart_observer(rig.observer, End::Killed, 100 * MILLI).unwrap();
        rig.pass(12_000);
        for agent in &agents {
            assert_eq!(rig.verdict(*agent), Some(Verdict::Up));
        }
        assert_eq!(rig.stalls(), 0);
        rig.kill(agents[0]);
        let took = rig.until_stalled(agents[0], 3000);
        assert!((1900..2300).contains(&took), "told after {took} ms");
    }
}

#[test]
fn a_state_that_is_lost_accepts_nothing_that_it_may_have_accepted() {
    for mark_left in [true, false] {
        let mut rig = Rig::new();
        let agents = fleet(&mut rig);
        rig.pass(20_000);
        rig.world.restart_observer(rig.observer, End::Lost { mark_left }, SECOND).unwrap();
        rig.pass(1100);
        rig.replay_everything();
        assert_eq!(rig.observer().tally().accepted(), (0, 0));
        rig.pass(7000);
        for agent in &agents {
            assert_eq!(rig.verdict(*agent), Some(Verdict::Up));
        }
        assert_eq!(rig.stalls(), 0);
    }
}

#[test]
fn slots_that_come_and_go_leave_nothing_that_can_be_said_again() {
    let limits = Limits { slots_per_agent: 2, ..Limits::default() };
    let settings = Settings { skew: SECOND, ..Settings::default() };
    let mut rig = Rig::with(settings, limits);
    // Ahead of the observer, so that what the evicted said is fresh for longer.
    let host = rig.host_ahead(900 * MILLI as i64);
    let mut living: Vec<usize> = (0..2).map(|number| rig.agent("web-1", &format!("unit-{number}"), host)).collect();
    for number in 2..10 {
        rig.pass(11_000);
        let gone = living.remove(0);
        rig.say(gone, Say::Final(Status::Ok));
        // Idle by now, and what it said last is still fresh.
        rig.pass(2100);
        living.push(rig.agent("web-1", &format!("unit-{number}"), host));
        rig.pass(10);
        assert_eq!(rig.verdict(gone), None, "it gave way");
        let before = rig.rejected(Reject::BeforeBarrier);
        rig.replay_everything();
        assert!(rig.rejected(Reject::BeforeBarrier) > before);
    }
    let (slots, agents) = rig.observer().core().unwrap().sizes();
    assert_eq!((slots, agents), (2, 1));
}
