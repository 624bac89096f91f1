//! Goodbyes and bad ends, in every order.

use varta_core::{MILLI, SECOND, Verdict};
use varta_sim::process::Say;
use varta_vlp::{Reject, Status};

use crate::rig::Rig;

fn started() -> (Rig, usize) {
    let mut rig = Rig::new();
    let host = rig.host();
    let process = rig.quiet("web-1", "api", host);
    rig.world.processes[process].promise_ms = 1000;
    rig.beat(process);
    rig.beat(process);
    (rig, process)
}

#[test]
fn a_terminal_beat_after_the_goodbye_changes_nothing() {
    let (mut rig, process) = started();
    let goodbye = rig.say(process, Say::Final(Status::Ok));
    assert_eq!(rig.verdict(process), Some(Verdict::Departed));
    // Of the same session, as a panic hook would that runs after the goodbye.
    let last = *goodbye.last().unwrap();
    rig.seal_like(last, |sealed| {
        sealed.header.counter += 1;
        sealed.body.sent_at += 1_000_000;
        sealed.body.flags = varta_vlp::sealed::Flags(0);
        sealed.body.frame.status = Status::Critical;
        sealed.body.frame.nonce = varta_vlp::Frame::TERMINAL;
    });
    assert_eq!(rig.rejected(Reject::AfterFinal), 1);
    assert_eq!(rig.verdict(process), Some(Verdict::Departed));
    rig.pass(60_000);
    assert_eq!(rig.stalls(), 0);
}

#[test]
fn a_goodbye_after_a_terminal_beat_does_not_take_it_back() {
    let (mut rig, process) = started();
    rig.say(process, Say::Terminal(3));
    assert_eq!(rig.verdict(process), Some(Verdict::Critical));
    rig.say(process, Say::Final(Status::Ok));
    assert_eq!(rig.verdict(process), Some(Verdict::Critical));
    rig.pass(60_000);
    assert_eq!(rig.stalls(), 0, "an end is not told twice");
    // A newer session is life.
    rig.beat(process);
    assert_eq!(rig.verdict(process), Some(Verdict::Up));
}

#[test]
fn a_terminal_beat_that_is_overtaken_by_the_goodbye_counts_for_nothing() {
    let (mut rig, process) = started();
    rig.world.attacker.takes_from.push(process);
    rig.world.say(process, Say::Terminal(3)).unwrap();
    rig.world.attacker.takes_from.clear();
    rig.say(process, Say::Final(Status::Ok));
    assert_eq!(rig.verdict(process), Some(Verdict::Departed));
    for number in std::mem::take(&mut rig.world.attacker.held) {
        rig.world.inject(number, rig.observer, 0);
    }
    rig.pass(5);
    assert_eq!(rig.observer().tally().accepted().1, 5, "two more goodbyes and three terminal beats came late");
    assert_eq!(rig.verdict(process), Some(Verdict::Departed));
}

#[test]
fn each_of_the_three_copies_is_enough() {
    for kept in 0..3 {
        for say in [Say::Final(Status::Ok), Say::Terminal(0)] {
            let (mut rig, process) = started();
            rig.world.attacker.takes_from.push(process);
            rig.world.say(process, say).unwrap();
            let held = std::mem::take(&mut rig.world.attacker.held);
            rig.world.inject(held[kept], rig.observer, 0);
            rig.pass(5);
            let well = matches!(say, Say::Final(_));
            assert_eq!(rig.verdict(process), Some(if well { Verdict::Departed } else { Verdict::Critical }));
        }
    }
}

#[test]
fn a_goodbye_that_waits_for_an_observer_that_stands_still_is_no_stall() {
    for ns in [300 * MILLI, 3 * SECOND, 20 * SECOND] {
        for say in [Say::Final(Status::Ok), Say::Terminal(9)] {
            let (mut rig, process) = started();
            rig.told();
            rig.world.stall_observer(rig.observer, ns, false);
            rig.say(process, say);
            rig.pass(ns / MILLI + 100);
            let well = matches!(say, Say::Final(_));
            assert_eq!(rig.verdict(process), Some(if well { Verdict::Departed } else { Verdict::Critical }));
            rig.pass(60_000);
            assert_eq!(rig.stalls(), 0);
        }
    }
}
