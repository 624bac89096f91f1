//! Incidents: one for each common cause, told once when it opens and once when it is over.

use std::collections::BTreeMap;

use varta_relay::fleet::{
    Acknowledgement, Change, IncidentId, Kind, Limits, Matcher, SavedIncident, SavedUnit, Settings, UnitKey,
};
use varta_vlp::{
    key::Name,
    report::{Draft, FromObserver, Reasons, Status},
    subject::{Owner, Verdict},
};

use crate::rig::{Rig, Slot, allow, up};

fn stalled(slot: &Slot) -> Slot {
    slot.clone().verdict(Verdict::Stalled).age(2500)
}

fn matcher(agent: &str, kind: &str) -> Matcher {
    Matcher { agent: agent.to_owned(), unit: "*".to_owned(), kind: kind.to_owned(), labels: BTreeMap::new() }
}

#[test]
fn one_unit_is_one_incident() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots = [up(0, "web-1", "api"), up(1, "web-1", "db"), up(2, "web-2", "api")];
    let mut one = rig.observer("obs-1", &slots);
    rig.tell(&mut one, &[stalled(&slots[0])]);
    rig.pass(400);
    assert_eq!(rig.told(), (0, 0), "it waits for others of the same cause");
    rig.pass(200);
    assert_eq!((rig.told(), rig.open()), ((1, 0), vec!["web-1/api stalled".to_owned()]));
    let incident = rig.fleet.open_incidents()[0];
    assert_eq!((incident.kind, incident.count(), incident.subject.as_str()), (Kind::Unit, 1, "web-1/api"));
    assert_eq!(incident.evidence, ["web-1/api: obs-1: it is stalled"]);
    assert_eq!(rig.unit("web-1", "api").unwrap().incident().unwrap().id, incident.id);
    rig.tell(&mut one, &[slots[0].clone()]);
    rig.pass(400);
    assert_eq!(rig.told(), (1, 0), "it may relapse");
    rig.tell(&mut one, &[stalled(&slots[0])]);
    rig.pass(600);
    rig.tell(&mut one, &[slots[0].clone()]);
    rig.pass(600);
    assert_eq!((rig.told(), rig.open().len()), ((1, 1), 0));
    let closed = rig.fleet.closed_incidents().next().unwrap();
    assert!(closed.closed_ms.unwrap() > closed.opened_ms && closed.title == "web-1/api stalled");
}

#[test]
fn a_short_trouble_is_no_incident() {
    let mut rig = Rig::new(&["obs-1"]);
    let slot = up(0, "web-1", "api");
    let mut one = rig.observer("obs-1", std::slice::from_ref(&slot));
    for _ in 0..10 {
        rig.tell(&mut one, &[stalled(&slot)]);
        rig.pass(300);
        rig.tell(&mut one, std::slice::from_ref(&slot));
        rig.pass(300);
    }
    assert_eq!(rig.told(), (0, 0));
}

#[test]
fn a_host_that_dies_is_one_incident_however_its_units_are_missed() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots: Vec<_> = (0..6).map(|handle| up(handle, "web-7", &format!("unit-{handle}"))).collect();
    let mut one = rig.observer("obs-1", &slots);
    let other = rig.tell(&mut one, &[up(9, "web-8", "api")]);
    assert!(matches!(other, varta_relay::fleet::Reaction::Ack(_)));
    // All within a moment.
    for slot in &slots {
        rig.tell(&mut one, &[stalled(slot)]);
        rig.pass(50);
    }
    rig.pass(600);
    assert_eq!((rig.open(), rig.told()), (vec!["host web-7: 6 units stalled".to_owned()], (1, 0)));
    rig.tell(&mut one, &slots);
    rig.pass(600);
    assert_eq!((rig.open().len(), rig.told()), (0, (1, 1)));

    // One after another, as their deadlines are: the first unit's incident becomes the host's.
    rig.changes.clear();
    for slot in &slots {
        rig.tell(&mut one, &[stalled(slot)]);
        rig.pass(2000);
    }
    assert_eq!(rig.open(), ["host web-7: 6 units stalled"]);
    let (opened, closed) = rig.told();
    assert_eq!((opened, closed), (5, 4), "what was told of single units ends in the host's");
    let parts = rig.fleet.closed_incidents().filter(|one| one.evidence.iter().any(|line| line.starts_with("part of")));
    assert_eq!(parts.count(), 4);
}

#[test]
fn hosts_are_told_by_label_and_sites_by_theirs() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots: Vec<_> = (0..6)
        .map(|n| up(n, &format!("web-{n}"), "api").label("host", &format!("host-{}", n / 2)).label("site", "fra"))
        .chain([up(9, "web-9", "api").label("site", "ams")])
        .collect();
    let mut one = rig.observer("obs-1", &slots);
    rig.tell(&mut one, &[stalled(&slots[0]), stalled(&slots[1])]);
    rig.pass(600);
    assert_eq!(rig.open(), ["host host-0: 2 units stalled"]);
    rig.tell(&mut one, &slots[2..6].iter().map(stalled).collect::<Vec<_>>());
    rig.pass(600);
    assert_eq!(rig.open(), ["site fra: 6 units stalled"], "the host's incident has become the site's");
    assert_eq!(rig.told(), (1, 0));
    rig.tell(&mut one, &slots[..4]);
    rig.pass(600);
    assert_eq!(rig.open(), ["site fra: 2 units stalled"]);
    rig.tell(&mut one, &slots[4..6]);
    rig.pass(600);
    assert_eq!(rig.told(), (1, 1));
    // A site with one unit is that unit.
    rig.tell(&mut one, &[stalled(&slots[6])]);
    rig.pass(600);
    assert_eq!(rig.open(), ["web-9/api stalled"]);
}

#[test]
fn a_site_of_one_host_is_that_host() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots: Vec<_> = (0..2).map(|n| up(n, "web-1", &format!("u{n}")).label("site", "fra")).collect();
    let mut one = rig.observer("obs-1", &slots);
    rig.tell(&mut one, &slots.iter().map(stalled).collect::<Vec<_>>());
    rig.pass(600);
    assert_eq!(rig.open(), ["host web-1: 2 units stalled"]);
}

#[test]
fn a_lost_observer_is_one_incident_and_moves_its_units_out_of_others() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    let slots: Vec<_> = (0..40).map(|n| up(n, &format!("web-{n}"), "api").label("site", "fra")).collect();
    let mut one = rig.observer("obs-1", &slots);
    rig.observer("obs-2", &[up(0, "db-1", "api")]);
    rig.tell(&mut one, &[stalled(&slots[0])]);
    rig.pass(600);
    assert_eq!(rig.open(), ["web-0/api stalled"]);
    rig.disconnect(&mut one);
    rig.pass(4000);
    assert_eq!(rig.open(), ["observer obs-1 lost: 40 units unknown"]);
    assert_eq!(rig.told(), (2, 1));
    rig.connect(&mut one);
    rig.pass(2000);
    assert_eq!(rig.open(), ["web-0/api stalled"], "what was bad before is bad still");
}

#[test]
fn agents_of_the_roster_that_are_missing_are_one_incident() {
    let mut rig = Rig::new(&["obs-1"]);
    let missing: Vec<_> = (0..50).map(|place| Slot::missing(place, &format!("new-{place}"))).collect();
    let mut one = rig.observer("obs-1", &missing);
    rig.pass(600);
    assert_eq!((rig.open(), rig.told()), (vec!["50 agents missing".to_owned()], (1, 0)));
    rig.gone(&mut one, 1 << 31);
    rig.tell(&mut one, &[up(0, "new-0", "api")]);
    rig.pass(600);
    assert_eq!((rig.open(), rig.told()), (vec!["49 agents missing".to_owned()], (1, 0)));
}

#[test]
fn a_blind_observer_is_told_with_its_own_words() {
    let mut rig = Rig::new(&["obs-1"]);
    let mut one = rig.observer("obs-1", &[]);
    let mut status = |rig: &mut Rig, critical| {
        let mut reasons = [0; 64];
        let rejects = Reasons::write([("auth_failure", 3)], &mut reasons).unwrap();
        let blind = if critical { "gap" } else { "" };
        let status =
            Status { verdicts: [1; 8], blind, critical, blind_ms: 5, datagrams: [6, 7, 8], stalls: 9, rejects };
        let mut room = vec![0; Draft::ROOM];
        let len = FromObserver::Status(status).write(&mut room).unwrap();
        rig.say(&mut one, &room[..len]);
    };
    status(&mut rig, true);
    rig.pass(2000);
    assert_eq!(rig.open(), ["observer obs-1 is blind"]);
    assert_eq!(rig.fleet.open_incidents()[0].evidence, ["it says: gap"]);
    let observer = rig.fleet.observers(rig.now).next().unwrap();
    assert_eq!((observer.datagrams, observer.stalls, observer.rejects[0].1), ([6, 7, 8], 9, 3));
    status(&mut rig, false);
    rig.pass(2000);
    assert_eq!((rig.open().len(), rig.told()), (0, (1, 1)));
}

#[test]
fn silences_and_acknowledgements() {
    let mut rig = Rig::new(&["obs-1"]);
    let slots = [up(0, "web-1", "api").label("role", "web"), up(1, "db-1", "api")];
    let mut one = rig.observer("obs-1", &slots);
    let told = ("ada".to_owned(), "an upgrade".to_owned());
    let silence = rig.fleet.silence(rig.now, matcher("web-*", "*"), told, 60_000).unwrap();
    rig.tell(&mut one, &slots.each_ref().map(stalled));
    rig.pass(600);
    let silenced = |rig: &Rig| -> Vec<_> {
        rig.fleet.open_incidents().iter().map(|one| (one.subject.clone(), one.silenced)).collect()
    };
    assert_eq!(silenced(&rig), [("db-1/api".to_owned(), None), ("web-1/api".to_owned(), Some(silence))]);
    rig.pass(61_000);
    assert_eq!(silenced(&rig)[1].1, None, "it ends by itself");
    assert_eq!(rig.fleet.silences().count(), 0);

    let mut by_label = matcher("*", "unit");
    by_label.labels.insert("role".to_owned(), "web".to_owned());
    let told = ("ada".to_owned(), String::new());
    let silence = rig.fleet.silence(rig.now, by_label, told.clone(), 60_000).unwrap();
    assert_eq!(silenced(&rig)[1].1, Some(silence));
    assert!(rig.fleet.unsilence(rig.now, silence) && !rig.fleet.unsilence(rig.now, silence));
    assert_eq!(silenced(&rig)[1].1, None);
    rig.fleet.silence(rig.now, matcher("*", "host"), told.clone(), 60_000).unwrap();
    assert_eq!(silenced(&rig)[1].1, None, "of another kind");

    let id = rig.fleet.open_incidents()[0].id;
    let by = Acknowledgement { by: "ada".to_owned(), note: String::new(), at_ms: 1 };
    assert!(rig.fleet.acknowledge(rig.now, id, Some(by.clone())));
    assert_eq!(rig.fleet.incident(id).unwrap().acked, Some(by));
    assert!(rig.fleet.acknowledge(rig.now, id, None) && rig.fleet.incident(id).unwrap().acked.is_none());
    assert!(!rig.fleet.acknowledge(rig.now, IncidentId(99), None));
    let limits = Limits { silences: 1, ..Limits::default() };
    let mut rig = Rig::with(vec![allow("obs-1")], limits, Settings::default());
    assert!(rig.fleet.silence(rig.now, matcher("*", "*"), told.clone(), 1000).is_some());
    assert!(rig.fleet.silence(rig.now, matcher("*", "*"), told, 1000).is_none());
}

fn saved(agent: &str, unit: &str, observers: &[&str]) -> SavedUnit {
    let key = UnitKey {
        owner: Owner::Agent(Name::new(agent).unwrap().agent_id()),
        unit: Name::new(unit).unwrap().unit_id(),
        pid: 0,
        observer: UnitKey::SHARED,
    };
    SavedUnit {
        key,
        agent: agent.to_owned(),
        unit: unit.to_owned(),
        pid: 7,
        observers: observers.iter().map(|name| (*name).to_owned()).collect(),
        labels: Vec::new(),
    }
}

#[test]
fn after_a_restart_everything_known_is_unknown_and_goes_on_where_it_was() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    for unit in [saved("web-1", "api", &["obs-1"]), saved("web-2", "api", &["obs-1"]), saved("db-1", "api", &["obs-2"])]
    {
        rig.fleet.restore_unit(rig.now, &unit);
    }
    rig.fleet.restore_unit(rig.now, &saved("old", "api", &["obs-9"]));
    for (id, subject, closed_ms) in [(4, "web-1/api", None), (3, "web-2/api", None), (2, "web-1/api", Some(5))] {
        let incident = SavedIncident { closed_ms, ..open_before(id, Kind::Unit, subject) };
        rig.fleet.restore_incident(rig.now, incident);
    }
    rig.pass(0);
    assert_eq!(rig.fleet.counts().verdicts[Verdict::Unknown as usize], 3, "nothing is known of whom nobody may report");
    let why = rig.unit("web-1", "api").unwrap().why();
    assert_eq!(why, "observer obs-1 has not come back since the relay's start");
    assert_eq!(rig.unit("web-1", "api").unwrap().name().pid, 7);
    rig.pass(2000);
    assert_eq!(rig.told(), (0, 0), "a restart of the relay pages nobody");
    rig.changes.clear();
    rig.observer("obs-1", &[Slot { since_ms: Some(600_000), ..stalled(&up(0, "web-1", "api")) }]);
    let since = |rig: &Rig| rig.unit("web-1", "api").unwrap().since_ms(rig.now);
    let ten_minutes_ago = rig.now.wall.0 / 1_000_000 - 600_000;
    assert!(since(&rig).abs_diff(ten_minutes_ago) <= 1, "{} and {ten_minutes_ago}", since(&rig));
    let told = rig.changes.iter().find_map(|change| match change {
        Change::Unit { to: Some(Verdict::Stalled), since_ms, .. } => Some(*since_ms),
        _ => None,
    });
    assert!(told.unwrap() > ten_minutes_ago + 500_000, "history knows it as unknown until the relay's start");
    rig.pass(1000);
    assert_eq!((rig.verdict("web-1", "api"), rig.verdict("web-2", "api")), (Some(Verdict::Stalled), None));
    assert_eq!(rig.told(), (0, 0), "what was told before the restart is not told again");
    assert_eq!(rig.fleet.open_incidents()[0].id, IncidentId(4));
    rig.pass(60_000);
    let closed = rig.changes.iter().filter(|change| **change == Change::Closed(IncidentId(3)));
    assert_eq!(closed.count(), 1, "what is not bad any more is over");
    assert_eq!(rig.open(), ["observer obs-2 lost: 1 unit unknown", "web-1/api stalled"]);
    assert!(rig.fleet.open_incidents()[0].id > IncidentId(4));
}

fn open_before(id: u64, kind: Kind, subject: &str) -> SavedIncident {
    SavedIncident {
        id: IncidentId(id),
        kind,
        subject: subject.to_owned(),
        title: format!("{subject} was bad"),
        opened_ms: 1,
        closed_ms: None,
        most: 1,
        evidence: Vec::new(),
        acked: None,
    }
}

#[test]
fn of_what_was_over_before_a_restart_no_more_is_known_than_else() {
    let mut rig = Rig::new(&["obs-1"]);
    for id in 1..=3 * Limits::default().incidents_kept as u64 {
        let saved = SavedIncident { closed_ms: Some(id), ..open_before(id, Kind::Unit, "web-1/api") };
        rig.fleet.restore_incident(rig.now, saved);
    }
    let known: Vec<_> = rig.fleet.closed_incidents().map(|incident| incident.id.0).collect();
    assert_eq!((known.len(), known[0]), (Limits::default().incidents_kept, 3000));
}

#[test]
fn what_ended_while_the_relay_was_away_is_over_soon_after_all_have_said_everything() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    for (id, kind, subject) in
        [(1, Kind::Unit, "web-1/api"), (2, Kind::Disputed, "web-1/api"), (3, Kind::ObserverLost, "obs-1")]
    {
        rig.fleet.restore_incident(rig.now, open_before(id, kind, subject));
    }
    let over = |rig: &Rig| -> Vec<u64> {
        let closed = rig.changes.iter().filter_map(|change| match change {
            Change::Closed(id) => Some(id.0),
            _ => None,
        });
        let mut closed: Vec<_> = closed.collect();
        closed.sort_unstable();
        closed
    };
    rig.observer("obs-1", &[up(0, "web-1", "api")]);
    rig.pass(5000);
    assert_eq!(over(&rig).len(), 0, "obs-2 may know better");
    rig.observer("obs-2", &[up(0, "web-1", "api")]);
    rig.pass(1000);
    assert_eq!(over(&rig).len(), 0, "what is bad settles first");
    rig.pass(2000);
    assert_eq!(over(&rig), [1, 3]);
    rig.pass(30_000);
    assert_eq!(over(&rig), [1, 2, 3], "a dispute takes longer to be seen");
}

#[test]
fn an_observer_that_its_peers_miss_is_lost_before_its_link_is() {
    let mut rig = Rig::new(&["obs-1", "obs-2"]);
    let mut one = rig.observer("obs-1", &[up(0, "obs-2", "observer")]);
    let mut two = rig.observer("obs-2", &[up(0, "obs-1", "observer")]);
    // The relay hears obs-2 all the time: it is they who do not hear each other.
    rig.tell(&mut one, &[stalled(&up(0, "obs-2", "observer"))]);
    rig.tell(&mut two, &[stalled(&up(0, "obs-1", "observer"))]);
    rig.pass(600);
    assert_eq!((rig.open(), rig.told()), (vec!["obs-1 and obs-2 do not hear each other".to_owned()], (1, 0)));
    rig.tell(&mut one, &[up(0, "obs-2", "observer")]);
    rig.tell(&mut two, &[up(0, "obs-1", "observer")]);
    rig.pass(600);
    assert_eq!((rig.open().len(), rig.told()), (0, (1, 1)));

    // It is gone: its peer says so first, and the link later.
    rig.changes.clear();
    rig.pass(1000);
    rig.tell(&mut one, &[stalled(&up(0, "obs-2", "observer"))]);
    rig.pass(600);
    assert_eq!((rig.open(), rig.told()), (vec!["observer obs-2 lost".to_owned()], (1, 0)));
    rig.fleet.disconnect(rig.now, two.link.take().unwrap(), true);
    rig.pass(5000);
    assert_eq!((rig.open().len(), rig.told()), (1, (1, 0)), "still one");
    rig.connect(&mut two);
    rig.tell(&mut one, &[up(0, "obs-2", "observer")]);
    rig.pass(2000);
    assert_eq!((rig.open().len(), rig.told()), (0, (1, 1)));
}
