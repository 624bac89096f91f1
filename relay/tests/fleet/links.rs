//! Links: numbers, snapshots, resuming, lives, and being lost.

use varta_relay::fleet::{Change, ObserverChange, ObserverState, Reaction, Refusal};
use varta_vlp::{
    key::Name,
    report::{FromObserver, Hello},
    subject::Verdict,
};

use crate::rig::{Rig, Told, allow, up};

fn connected(rig: &Rig) -> ObserverState {
    rig.fleet.observers(rig.now).next().unwrap().state
}

#[test]
fn a_hello_must_be_that_of_its_key() {
    let mut rig = Rig::new(&["obs-1"]);
    let hello = |name, boot| Hello { observer: Name::new(name).unwrap(), boot, acked: 0, version: "" };
    let mut connect = |name: &str, hello: &Hello<'_>| rig.fleet.connect(rig.now, name, String::new(), hello).err();
    assert_eq!(connect("obs-1", &hello("obs-2", 1)), Some(Refusal::Name));
    assert_eq!(connect("obs-2", &hello("obs-2", 1)), Some(Refusal::Unknown));
    assert_eq!(connect("obs-1", &hello("obs-1", 0)), Some(Refusal::Boot));
    assert_eq!(connect("obs-1", &hello("obs-1", 1)), None);
}

#[test]
fn a_missing_number_asks_for_a_snapshot_and_a_known_one_changes_nothing() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut told = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    let held = told.seq;
    told.seq -= 1;
    assert_eq!(rig.tell(&mut told, &[up(0, "web-1", "api").verdict(Verdict::Stalled)]), Reaction::Ack(held));
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "it was told before");
    told.seq += 1;
    assert_eq!(rig.tell(&mut told, &[up(0, "web-1", "api").verdict(Verdict::Stalled)]), Reaction::Resync);
    assert_eq!(rig.tell(&mut told, &[up(0, "web-1", "api").verdict(Verdict::Stalled)]), Reaction::Nothing);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "until the snapshot nothing is taken in");
    rig.snapshot(&mut told, &[up(0, "web-1", "api").verdict(Verdict::Stalled)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Stalled));
    assert_eq!(rig.fleet.observers(rig.now).next().unwrap().resyncs, 1);
}

#[test]
fn a_snapshot_replaces_what_was_without_a_flicker() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots: Vec<_> = (0..300).map(|handle| up(handle, &format!("web-{handle}"), "api")).collect();
    let mut told = rig.observer("obs-1", &slots);
    rig.changes.clear();
    rig.begin(&mut told);
    for slots in slots[100..].chunks(100) {
        rig.tell(&mut told, slots);
    }
    assert_eq!(rig.fleet.counts().verdicts[Verdict::Up as usize], 300, "the old picture stays until it is complete");
    rig.end(&mut told);
    rig.pass(0);
    assert_eq!(rig.fleet.counts().verdicts[Verdict::Up as usize], 200);
    assert_eq!((rig.verdict("web-99", "api"), rig.verdict("web-100", "api")), (None, Some(Verdict::Up)));
    assert_eq!(rig.changes.len(), 100, "{:?}", rig.changes);
}

#[test]
fn a_link_resumes_where_it_was() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut told = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    let held = told.acked;
    rig.disconnect(&mut told);
    rig.pass(1000);
    assert_eq!(rig.connect(&mut told), held);
    rig.tell(&mut told, &[up(0, "web-1", "api").verdict(Verdict::Degraded)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Degraded));
    rig.pass(10_000);
    assert_eq!(connected(&rig), ObserverState::Connected);
    let losses =
        rig.changes.iter().filter(|change| matches!(change, Change::Observer { what: ObserverChange::Lost, .. }));
    assert_eq!((losses.count(), rig.told()), (0, (0, 0)), "it was away for less than its word holds");
}

#[test]
fn a_newer_link_takes_the_place_of_the_older() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut old = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    let mut new = Told { link: None, ..old.clone() };
    rig.connect(&mut new);
    let reaction = rig.tell(&mut old, &[up(0, "web-1", "api").verdict(Verdict::Stalled)]);
    assert!(matches!(reaction, Reaction::Close(why) if why.contains("newer link")), "{reaction:?}");
    rig.disconnect(&mut old);
    rig.pass(10_000);
    assert_eq!((connected(&rig), rig.verdict("web-1", "api")), (ObserverState::Connected, Some(Verdict::Up)));
    rig.tell(&mut new, &[up(0, "web-1", "api").verdict(Verdict::Degraded)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Degraded));
}

#[test]
fn another_life_says_everything_anew_under_other_handles() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut told = rig.observer("obs-1", &[up(0, "web-1", "api"), up(1, "web-2", "api"), up(2, "web-3", "api")]);
    rig.disconnect(&mut told);
    rig.changes.clear();
    for boot in 2..5 {
        let mut next = Told::new("obs-1", boot);
        assert_eq!(rig.connect(&mut next), 0);
        rig.begin(&mut next);
        // What was 0 is 2 now, and 1 is somebody else's.
        rig.tell(&mut next, &[up(2, "web-1", "api"), up(1, "web-3", "api")]);
        assert_eq!(rig.fleet.counts().verdicts.iter().sum::<u32>(), if boot == 2 { 3 } else { 2 });
        rig.end(&mut next);
        rig.pass(0);
        assert_eq!((rig.verdict("web-1", "api"), rig.verdict("web-2", "api")), (Some(Verdict::Up), None));
        assert_eq!(rig.fleet.observers(rig.now).next().unwrap().units, 2);
    }
    let gone = rig.changes.iter().filter(|change| matches!(change, Change::Unit { .. })).count();
    assert_eq!(gone, 1, "only web-2 has changed: {:?}", rig.changes);
}

#[test]
fn lives_that_never_finish_a_snapshot_leave_nothing_behind() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut told = rig.observer("obs-1", &[up(0, "web-1", "api"), up(1, "web-2", "api")]);
    rig.disconnect(&mut told);
    for boot in 2..10 {
        let mut next = Told::new("obs-1", boot);
        rig.connect(&mut next);
        rig.begin(&mut next);
        rig.tell(&mut next, &[up(7, "web-1", "api")]);
        rig.disconnect(&mut next);
    }
    let mut last = Told::new("obs-1", 99);
    rig.connect(&mut last);
    rig.snapshot(&mut last, &[up(3, "web-9", "api")]);
    let observer = rig.fleet.observers(rig.now).next().unwrap();
    assert_eq!((observer.units, rig.fleet.counts().verdicts.iter().sum::<u32>()), (1, 1));
    assert_eq!(rig.verdict("web-9", "api"), Some(Verdict::Up));
}

#[test]
fn a_life_that_comes_before_an_earlier_one_was_dropped_drops_nothing_at_once() {
    let mut rig = Rig::new(&["obs-1"]);
    let units = |rig: &Rig| rig.fleet.observers(rig.now).next().unwrap().units;
    let slots =
        |boot: u64| -> Vec<_> { (0..30).map(|handle| up(handle, &format!("web-{boot}-{handle}"), "api")).collect() };
    rig.observer("obs-1", &slots(1));
    for boot in 2..9 {
        let before = units(&rig);
        let mut next = Told::new("obs-1", boot);
        rig.connect(&mut next);
        assert_eq!(units(&rig), before, "dropping is done when time is had for it");
        rig.begin(&mut next);
        rig.tell(&mut next, &slots(boot)[..20]);
        if boot % 2 == 0 {
            // Complete, and nothing of what follows from that is done yet.
            rig.end(&mut next);
        }
        assert!(units(&rig) <= 90, "three lives at most");
    }
    let mut last = Told::new("obs-1", 99);
    rig.connect(&mut last);
    rig.snapshot(&mut last, &slots(99)[..1]);
    assert_eq!((units(&rig), rig.fleet.counts().verdicts.iter().sum::<u32>()), (1, 1));
    assert_eq!(rig.verdict("web-99-0", "api"), Some(Verdict::Up));
}

#[test]
fn a_lost_observers_units_are_unknown_unless_another_sees_them() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    let mut one = rig.observer("obs-1", &[up(0, "web-1", "api"), up(1, "web-2", "api")]);
    rig.observer("obs-2", &[up(5, "web-2", "api")]);
    rig.disconnect(&mut one);
    rig.pass(1900);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "its word holds for a while");
    rig.pass(200);
    assert_eq!((rig.verdict("web-1", "api"), rig.verdict("web-2", "api")), (Some(Verdict::Unknown), Some(Verdict::Up)));
    assert!(rig.unit("web-1", "api").unwrap().why().starts_with("observer obs-1 was lost"), "told why");
    rig.pass(2000);
    assert_eq!(rig.open(), ["observer obs-1 lost: 1 unit unknown"]);
    assert_eq!(rig.told(), (1, 0));
    rig.connect(&mut one);
    rig.pass(2000);
    assert_eq!((rig.verdict("web-1", "api"), rig.open()), (Some(Verdict::Up), Vec::new()));
    assert_eq!(rig.told(), (1, 1));
}

#[test]
fn a_silent_link_is_lost_at_once() {
    let mut rig = Rig::new(&["obs-1"]);
    let told = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    rig.fleet.disconnect(rig.now, told.link.unwrap(), true);
    rig.pass(0);
    assert_eq!((connected(&rig), rig.verdict("web-1", "api")), (ObserverState::Lost, Some(Verdict::Unknown)));
}

#[test]
fn who_is_taken_off_the_list_takes_its_words_along() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    let mut one = rig.observer("obs-1", &[up(0, "web-1", "api"), up(1, "web-2", "api")]);
    rig.observer("obs-2", &[up(0, "web-2", "api")]);
    rig.fleet.set_allowed(rig.now, &[allow("obs-2")]);
    let reaction = rig.tell(&mut one, &[up(0, "web-1", "api")]);
    assert!(matches!(reaction, Reaction::Close(_)));
    rig.pass(10_000);
    assert_eq!((rig.verdict("web-1", "api"), rig.verdict("web-2", "api")), (None, Some(Verdict::Up)));
    assert_eq!((rig.open().len(), rig.fleet.observers(rig.now).count()), (0, 1));
    rig.fleet.set_allowed(rig.now, &[allow("obs-1"), allow("obs-2")]);
    let mut one = Told::new("obs-1", 2);
    rig.connect(&mut one);
    rig.snapshot(&mut one, &[up(0, "web-1", "api")]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up));
}

#[test]
fn an_observer_that_never_comes_is_told_after_a_while() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    rig.observer("obs-1", &[]);
    rig.pass(29_000);
    assert_eq!(rig.open(), [""; 0]);
    rig.pass(3000);
    assert_eq!(rig.open(), ["observer obs-2 lost"]);
    rig.observer("obs-2", &[]);
    rig.pass(1000);
    assert_eq!(rig.open(), [""; 0]);
}

#[test]
fn losing_a_large_observer_is_done_in_bounded_steps() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots: Vec<_> = (0..35_000).map(|handle| up(handle, &format!("web-{handle}"), "api")).collect();
    let mut one = rig.observer("obs-1", &slots);
    rig.disconnect(&mut one);
    rig.now.mono = rig.now.mono.after(2_000_000_000);
    let mut steps = 0;
    while rig.fleet.poll_timeout() <= rig.now.mono {
        let before = rig.fleet.counts().verdicts[Verdict::Unknown as usize];
        rig.fleet.handle_timeout(rig.now);
        assert!(rig.fleet.counts().verdicts[Verdict::Unknown as usize] - before <= 10_000);
        while rig.fleet.poll_change().is_some() {}
        steps += 1;
    }
    assert_eq!((rig.fleet.counts().verdicts[Verdict::Unknown as usize], steps >= 4), (35_000, true));
    rig.pass(2000);
    assert_eq!(rig.open(), ["observer obs-1 lost: 35000 units unknown"]);
    assert_eq!(rig.told(), (1, 0));
}

#[test]
fn a_second_hello_is_not_taken() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut told = rig.observer("obs-1", &[]);
    let mut room = [0; 64];
    let hello = Hello { observer: Name::new("obs-1").unwrap(), boot: 5, acked: 0, version: "" };
    let len = FromObserver::Hello(hello).write(&mut room).unwrap();
    assert!(matches!(rig.say(&mut told, &room[..len]), Reaction::Close(_)));
}
