//! The combined verdict, rule by rule.

use varta_relay::fleet::{Change, Limits, Pattern, Settings};
use varta_vlp::subject::{Owner, Verdict};

use crate::rig::{Rig, Slot, allow, up};

fn two() -> Rig {
    Rig::new(&["obs-1", "obs-2"])
}

#[test]
fn one_observer_is_taken_at_its_word() {
    for verdict in Verdict::ALL {
        let mut rig = two();
        let mut slot = up(3, "web-1", "api").verdict(verdict);
        slot.since_ms = Some(5000);
        rig.observer("obs-1", &[slot]);
        let unit = rig.unit("web-1", "api").unwrap();
        assert_eq!((unit.verdict(), unit.observers()), (verdict, vec![0]));
        assert_eq!(unit.since_ms(rig.now), rig.now.wall.0 / 1_000_000 - 5000);
        let why =
            if verdict == Verdict::Up { "last beat 100 ms ago, the deadline is 2000 ms after it" } else { "it is " };
        assert!(unit.why().starts_with("obs-1: ") && unit.why().contains(why), "{}", unit.why());
        assert_eq!((unit.name().agent.as_str(), unit.name().unit.as_str(), unit.name().pid), ("web-1", "api", 4003));
        assert_eq!(rig.fleet.counts().verdicts[verdict as usize], 1);
    }
}

#[test]
fn alive_if_anybody_hears_it_and_stalled_only_if_all_who_see_agree() {
    let mut rig = two();
    let mut one = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    let mut two = rig.observer("obs-2", &[up(9, "web-1", "api").age(400)]);
    assert_eq!(rig.unit("web-1", "api").unwrap().chosen().unwrap().observer, "obs-1", "the fresher one");
    rig.tell(&mut one, &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up));
    rig.tell(&mut two, &[up(9, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Stalled));
    rig.tell(&mut one, &[up(0, "web-1", "api").verdict(Verdict::Unknown)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Stalled), "who cannot see has no say");
    rig.tell(&mut two, &[up(9, "web-1", "api").verdict(Verdict::Unknown)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Unknown));
    rig.tell(&mut one, &[up(0, "web-1", "api").verdict(Verdict::Degraded)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Degraded));
}

#[test]
fn how_it_ended_stands_against_older_beats_and_falls_with_newer_ones() {
    for ending in [up(0, "web-1", "api").verdict(Verdict::Departed), up(0, "web-1", "api").ended()] {
        let verdict = ending.verdict;
        let mut rig = two();
        let mut one = rig.observer("obs-1", &[up(0, "web-1", "api")]);
        let mut two = rig.observer("obs-2", &[up(0, "web-1", "api")]);
        rig.tell(&mut one, &[ending.clone().age(50)]);
        assert_eq!(rig.verdict("web-1", "api"), Some(verdict), "obs-2 has only not heard of it yet");
        rig.tell(&mut two, &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
        assert_eq!(rig.verdict("web-1", "api"), Some(verdict), "silence is what is to be expected");
        rig.pass(5000);
        rig.tell(&mut two, &[up(0, "web-1", "api").age(10)]);
        assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "life after it");
        rig.tell(&mut two, &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
        assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Stalled), "that life is over, too, and said nothing");
    }
    let mut rig = two();
    rig.observer("obs-1", &[up(0, "web-1", "api").verdict(Verdict::Held)]);
    rig.observer("obs-2", &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Held), "a planned absence is no stall");
}

#[test]
fn missing_is_for_those_whom_nobody_knows() {
    let mut rig = two();
    let mut one = rig.observer("obs-1", &[Slot::missing(0, "web-1"), Slot::missing(1, "web-2")]);
    assert_eq!((rig.verdict("web-1", ""), rig.fleet.counts().agents), (Some(Verdict::Missing), 2));
    let mut two = rig.observer("obs-2", &[up(0, "web-1", "api"), Slot::missing(1, "web-2")]);
    assert_eq!(rig.verdict("web-1", ""), None, "it beats to obs-2 alone");
    assert_eq!((rig.verdict("web-1", "api"), rig.verdict("web-2", "")), (Some(Verdict::Up), Some(Verdict::Missing)));
    assert_eq!(rig.fleet.counts().verdicts.iter().sum::<u32>(), 2);
    rig.gone(&mut two, 0);
    rig.pass(0);
    assert_eq!((rig.verdict("web-1", ""), rig.verdict("web-1", "api")), (Some(Verdict::Missing), None));
    rig.tell(&mut two, &[up(0, "web-1", "api").verdict(Verdict::Departed)]);
    rig.pass(0);
    assert_eq!(rig.verdict("web-1", ""), None, "it was there, and said goodbye");
    rig.tell(&mut two, &[Slot::missing(0, "web-1")]);
    assert_eq!(rig.verdict("web-1", ""), Some(Verdict::Missing), "obs-2 misses it in spite of that");
    rig.gone(&mut one, 1 << 31);
    assert_eq!(rig.verdict("web-1", ""), Some(Verdict::Missing));
}

#[test]
fn who_disagrees_for_long_is_shown() {
    let mut rig = two();
    let mut one = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    let mut two = rig.observer("obs-2", &[up(0, "web-1", "api")]);
    rig.tell(&mut two, &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
    rig.pass(3900);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "for two deadlines nobody believes it");
    rig.touch(&mut one, 0, 50);
    rig.pass(200);
    let unit = rig.unit("web-1", "api").unwrap();
    assert_eq!((unit.verdict(), unit.is_disputed(), rig.fleet.counts().disputed), (Verdict::Degraded, true, 1));
    assert_eq!(unit.why(), "obs-1 hears it, and obs-2 has not for longer than two deadlines");
    rig.pass(600);
    assert_eq!(rig.open(), ["web-1/api disputed"]);
    rig.tell(&mut two, &[up(0, "web-1", "api")]);
    let unit = rig.unit("web-1", "api").unwrap();
    assert_eq!((unit.verdict(), unit.is_disputed(), rig.fleet.counts().disputed), (Verdict::Up, false, 0));
    rig.pass(600);
    assert_eq!(rig.open(), [""; 0]);
}

#[test]
fn who_has_not_heard_it_for_an_hour_disputes_nothing() {
    let mut rig = two();
    rig.observer("obs-1", &[up(0, "web-1", "api")]);
    rig.observer("obs-2", &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(3_600_001)]);
    rig.pass(60_000);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up));

    let mut rig = two();
    let mut one = rig.observer("obs-1", &[up(0, "web-1", "api")]);
    rig.observer("obs-2", &[up(0, "web-1", "api").verdict(Verdict::Stalled).age(2500)]);
    rig.pass(10_000);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Degraded));
    rig.pass(3_600_000);
    rig.touch(&mut one, 0, 50);
    rig.pass(0);
    assert_eq!(rig.verdict("web-1", "api"), Some(Verdict::Up), "an hour later it is an old story");
}

#[test]
fn one_hosts_processes_are_no_other_hosts() {
    let mut rig = two();
    let local = |handle, verdict| Slot { owner: Some(Owner::Local), ..up(handle, "", "").verdict(verdict) };
    rig.observer("obs-1", &[local(0, Verdict::Up)]);
    rig.observer("obs-2", &[local(0, Verdict::Stalled)]);
    let counts = rig.fleet.counts();
    assert_eq!((counts.verdicts[Verdict::Up as usize], counts.verdicts[Verdict::Stalled as usize]), (1, 1));
}

#[test]
fn an_observer_reports_whom_it_may_and_nobody_else() {
    let mut allowed = allow("obs-1");
    allowed.agents = vec![Pattern::new("web-*"), Pattern::new("db-1")];
    let mut rig = Rig::with(vec![allowed, allow("obs-2")], Limits::default(), Settings::default());
    let nameless = Slot { owner: Some(Owner::Agent(varta_vlp::AgentId(5))), ..up(3, "", "") };
    let local = Slot { owner: Some(Owner::Local), ..up(4, "", "") };
    let slots = [up(0, "web-1", "api"), up(1, "db-1", "api"), up(2, "db-2", "api"), nameless, local];
    let mut one = rig.observer("obs-1", &slots);
    assert_eq!(rig.fleet.counts().verdicts.iter().sum::<u32>(), 2);
    assert_eq!(rig.verdict("db-2", "api"), None);
    let foreign = rig.fleet.observers(rig.now).next().unwrap().foreign;
    let told = rig.changes.iter().filter(|change| {
        matches!(change, Change::Observer { what: varta_relay::fleet::ObserverChange::Foreign(agent), .. } if agent == "db-2")
    });
    assert_eq!((foreign, told.count()), (3, 1), "told once");
    rig.observer("obs-2", &[up(0, "db-2", "api")]);
    assert_eq!(rig.verdict("db-2", "api"), Some(Verdict::Up));
    rig.tell(&mut one, &[up(2, "db-2", "api").verdict(Verdict::Stalled)]);
    assert_eq!(rig.unit("db-2", "api").unwrap().observers(), [1]);
    // What may not be said in the place of what may is gone all the same.
    rig.tell(&mut one, &[up(0, "db-2", "api")]);
    assert_eq!(rig.verdict("web-1", "api"), None);
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let limits = Limits { units: 2, slots: 10, ..Limits::default() };
    let mut rig = Rig::with(vec![allow("obs-1")], limits, Settings::default());
    let slots: Vec<_> = (0..5).map(|handle| up(handle, &format!("web-{handle}"), "api")).collect();
    let mut one = rig.observer("obs-1", &slots);
    assert_eq!((rig.fleet.counts().verdicts.iter().sum::<u32>(), rig.fleet.counts().full), (2, 3));
    assert_eq!(rig.changes.iter().filter(|change| **change == Change::Full).count(), 1);
    rig.gone(&mut one, 0);
    rig.tell(&mut one, &[up(4, "web-4", "api")]);
    assert_eq!(rig.verdict("web-4", "api"), Some(Verdict::Up), "there is room again");
    let reaction = rig.tell(&mut one, &[up(10, "web-9", "api")]);
    assert!(matches!(reaction, varta_relay::fleet::Reaction::Close(_)), "{reaction:?}");
}
