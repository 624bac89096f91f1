//! Twins, children and copies: whoever speaks for one slot.

use varta_core::{MILLI, SECOND, SlotChange, Verdict};
use varta_vlp::UnitId;

use crate::rig::{Rig, unit};

#[test]
fn twins_under_one_unit_are_contested_and_told_with_both_their_names() {
    let mut rig = Rig::new();
    let (here, there) = (rig.host(), rig.host());
    let first = rig.agent("web-1", "api", here);
    rig.pass(20_000);
    let second = rig.agent("web-1", "api", there);
    rig.pass(20_000);
    assert_eq!(rig.verdict(first), Some(Verdict::Degraded));
    let (old, new) = (rig.world.processes[first].who.pid, rig.world.processes[second].who.pid);
    let conflict = rig.told().into_iter().find_map(|what| match what {
        SlotChange::UnitConflict { known, other } => Some((known.0, other.0)),
        _ => None,
    });
    assert_eq!(conflict, Some((new, old)));
    // One of them goes: not before eleven minutes is all well again.
    rig.kill(first);
    rig.pass(600_000);
    assert_eq!(rig.verdict(second), Some(Verdict::Degraded));
    rig.pass(70_000);
    assert_eq!(rig.verdict(second), Some(Verdict::Up));
    assert_eq!(rig.stalls(), 0);
    rig.kill(second);
    rig.until_stalled(second, 3000);
}

#[test]
fn forked_children_are_slots_of_their_own_until_they_name_themselves() {
    let mut rig = Rig::new();
    let host = rig.host();
    let parent = rig.agent("web-1", "api", host);
    rig.pass(5000);
    let mut children = Vec::new();
    for generation in 0..3 {
        let from = children.last().copied().unwrap_or(parent);
        for number in 0..4 {
            let child = rig.world.processes[from].forked(1000 + generation * 10 + number);
            let child = rig.world.take_in(child);
            rig.world.set_going(child, SECOND / 4, 1000, MILLI);
            children.push(child);
        }
        rig.pass(1000);
    }
    for child in &children {
        assert_eq!(rig.world.processes[*child].unit, UnitId::NONE);
        assert_eq!(rig.verdict(*child), Some(Verdict::Up));
    }
    assert_eq!(rig.observer().core().unwrap().sizes(), (13, 1));
    rig.world.processes[children[0]].name_unit("worker-1");
    rig.world.named(children[0]);
    rig.pass(1000);
    assert_eq!(rig.world.processes[children[0]].unit, unit("worker-1"));
    assert_eq!(rig.verdict(children[0]), Some(Verdict::Up));
    let conflict = |what: &SlotChange| matches!(what, SlotChange::UnitConflict { .. } | SlotChange::CloneSuspected);
    assert!(!rig.told().iter().any(conflict));
}

#[test]
fn a_copied_machine_is_found_out_and_no_nonce_is_used_twice() {
    let mut rig = Rig::new();
    let host = rig.host();
    let process = rig.agent("web-1", "api", host);
    rig.pass(20_000);
    let clock = rig.world.hosts[host].clock.clone();
    let mut copy = rig.world.processes[process].copied();
    copy.who.host = rig.world.add_host(clock);
    let copy = rig.world.take_in(copy);
    rig.world.set_going(copy, SECOND / 4, 1000, MILLI);
    rig.pass(5000);
    assert_eq!(rig.verdict(process), Some(Verdict::Degraded));
    assert!(rig.told().contains(&SlotChange::CloneSuspected));
    // Both live on for a whole session and more; that each nonce is new is held at every beat.
    rig.pass(700_000);
    assert_eq!(rig.verdict(process), Some(Verdict::Degraded));
    assert_eq!(rig.stalls(), 0);
}

#[test]
fn children_of_a_copied_machine_with_equal_pids_are_contested() {
    let mut rig = Rig::new();
    let host = rig.host();
    let process = rig.agent("web-1", "api", host);
    rig.pass(20_000);
    for _ in 0..2 {
        let child = rig.world.processes[process].forked(4242);
        let child = rig.world.take_in(child);
        rig.world.set_going(child, SECOND / 4, 1000, MILLI);
        rig.pass(12_000);
    }
    rig.pass(20_000);
    let child = rig.world.processes.len() - 1;
    assert_eq!(rig.verdict(child), Some(Verdict::Degraded));
    assert_eq!(rig.verdict(process), Some(Verdict::Up));
}
