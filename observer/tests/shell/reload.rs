//! A reload is all or nothing.

use std::time::Duration;

use varta_core::Reject;
use varta_vlp::sealed::Flags;
use varta_watch::ReloadError;

use crate::{
    clock::wait,
    rig::{Agent, Observed, Rig, write_key},
};

fn roster(version: u64, agents: &str) -> String {
    format!("version = {version}\n{agents}")
}

const WEB: &str = "[[agent]]\nname = \"web-1\"\ngeneration = 1\nlabels = { role = \"web\" }\n";

fn hears(observer: &Observed, agent: &mut Agent) {
    let beats =
        observer.slots().iter().find(|slot| slot["unit"] == "api").map_or(0, |slot| slot["beats"].as_u64().unwrap());
    let frame = agent.frame(Flags::default());
    agent.send(observer.sealed(), &frame);
    observer.wait_slot("web-1", "api", |slot| slot["beats"].as_u64().unwrap() > beats);
}

fn refuses(observer: &Observed, rig: &Rig, agent: &mut Agent, reject: Reject) {
    let listener = rig.config.listen[0].sealed.unwrap();
    let before = observer.rejected(listener, reject.reason());
    let frame = agent.frame(Flags::default());
    agent.send(observer.sealed(), &frame);
    wait(reject.reason(), || (observer.rejected(listener, reject.reason()) > before).then_some(()));
}

#[test]
fn a_roster_revokes_a_live_session_and_never_goes_back() {
    let mut rig = Rig::new();
    let file = rig.path("roster.toml");
    rig.config.observer.roster_file = Some(file.clone());
    std::fs::write(&file, roster(5, WEB)).unwrap();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let slot = observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");
    assert_eq!(slot["labels"]["role"], "web");

    std::fs::write(&file, roster(4, WEB)).unwrap();
    let error = observer.0.reload().unwrap_err();
    assert!(matches!(error, ReloadError::Roster(_)) && error.to_string().contains("version 5 was in force"), "{error}");
    std::fs::write(&file, "version = 6\n[[agent]]\nname = 7\n").unwrap();
    assert!(matches!(observer.0.reload().unwrap_err(), ReloadError::Roster(_)));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(observer.0.reload().unwrap_err(), ReloadError::Roster(_)));
    hears(&observer, &mut agent);

    std::fs::write(&file, roster(6, &format!("{WEB}revoked = [1]\n"))).unwrap();
    observer.0.reload().unwrap();
    let slot = observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "departed");
    assert!(slot["why"].as_str().unwrap().contains("revoked"), "{slot}");
    refuses(&observer, &rig, &mut agent, Reject::Revoked);
    observer.stop();

    // The version in force outlives the process.
    std::fs::write(&file, roster(5, WEB)).unwrap();
    let text = rig.refusal().to_string();
    assert!(text.contains("version 6 was in force"), "{text}");
}

#[test]
fn a_roster_of_thousands_is_in_force_in_whole_when_the_reload_is_over() {
    let mut rig = Rig::new();
    let file = rig.path("roster.toml");
    rig.config.observer.roster_file = Some(file.clone());
    let many = |count: u32, rest: &str| {
        let agents: String =
            (0..count).map(|number| format!("[[agent]]\nname = \"many-{number}\"\ngeneration = 1\n")).collect();
        format!("{agents}{rest}")
    };
    std::fs::write(&file, roster(1, &many(1, WEB))).unwrap();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");
    // More than are looked at in one turn.
    std::fs::write(&file, roster(2, &many(3000, &format!("{WEB}revoked = [1]\n")))).unwrap();
    observer.0.reload().unwrap();
    let counted = |verdict| observer.metric(&format!("varta_slots{{verdict=\"{verdict}\"}}"));
    assert_eq!(["missing", "departed"].map(counted), [3000.0, 1.0]);
    std::fs::write(&file, roster(3, &many(10, WEB))).unwrap();
    observer.0.reload().unwrap();
    assert_eq!(["missing", "departed"].map(counted), [10.0, 1.0], "only a beat brings it back");
    observer.stop();
}

#[test]
fn live_keys_are_taken_and_a_mistake_changes_nothing() {
    let mut rig = Rig::new();
    let file = rig.path("observer.toml");
    rig.config.stall.threshold = Duration::from_secs(3600);
    let observer = rig.start_from(&file);
    let mut agent = Agent::new("web-1", "api", 1);
    agent.next_due_ms = 0;
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");

    rig.config.stall.threshold = Duration::from_millis(300);
    let good = rig.config.render();
    std::fs::write(&file, good.replace("margin", "margn")).unwrap();
    let error = observer.0.reload().unwrap_err();
    assert!(matches!(error, ReloadError::Config(_)) && error.to_string().contains("margn"), "{error}");
    hears(&observer, &mut agent);
    let why = observer.wait_slot("web-1", "api", |_| true)["why"].to_string();
    assert!(why.contains("threshold of 60 min"), "{why}");

    std::fs::write(&file, good).unwrap();
    observer.0.reload().unwrap();
    hears(&observer, &mut agent);
    let slot = observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "stalled");
    assert!(slot["why"].as_str().unwrap().contains("threshold of 300 ms"), "{slot}");
    observer.stop();
}

#[test]
fn another_key_file_takes_effect_and_a_bad_one_does_not() {
    let rig = Rig::new();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    observer.wait_slot("web-1", "api", |_| true);
    let file = rig.path("obs-1.observer.key");
    let kept = rig.path("kept");
    std::fs::rename(&file, &kept).unwrap();
    assert!(matches!(observer.0.reload().unwrap_err(), ReloadError::Key(_)));
    hears(&observer, &mut agent);
    write_key(&file, "obs-2");
    observer.0.reload().unwrap();
    refuses(&observer, &rig, &mut agent, Reject::UnknownAudience);
    std::fs::rename(&kept, &file).unwrap();
    observer.0.reload().unwrap();
    hears(&observer, &mut agent);
    observer.stop();
}

#[test]
fn the_event_file_is_opened_anew_or_elsewhere() {
    let mut rig = Rig::new();
    let file = rig.path("observer.toml");
    let (first, second) = (rig.path("a.tsv"), rig.path("b.tsv"));
    rig.config.export.file = Some(first.clone());
    rig.config.export.beats = true;
    let observer = rig.start_from(&file);
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let rows = |file: &std::path::Path| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter(|line| line.split('\t').nth(1) == Some("beat")).count()
    };
    wait("the beat is a row", || (rows(&first) == 1).then_some(()));
    let moved = rig.path("moved.tsv");
    std::fs::rename(&first, &moved).unwrap();
    observer.0.reload().unwrap();
    wait("the file is there again", || first.exists().then_some(()));
    hears(&observer, &mut agent);
    wait("the new file has the row", || (rows(&first) == 1).then_some(()));

    rig.config.export.file = Some(second.clone());
    std::fs::write(&file, rig.config.render()).unwrap();
    observer.0.reload().unwrap();
    hears(&observer, &mut agent);
    wait("the other file has the row", || (rows(&second) == 1).then_some(()));
    observer.stop();
    assert_eq!((rows(&moved), rows(&first), rows(&second)), (1, 1, 1));
}

#[test]
fn a_full_event_file_is_put_aside_once_that_is_wanted() {
    let mut rig = Rig::new();
    let (file, events) = (rig.path("observer.toml"), rig.path("events.tsv"));
    let full = "x".repeat(64 << 10) + "\n";
    std::fs::write(&events, &full).unwrap();
    (rig.config.export.file, rig.config.export.beats) = (Some(events.clone()), true);
    rig.config.export.rotate_at = None;
    let observer = rig.start_from(&file);
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let text = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    wait("the beat is a row", || text(&events).contains("\tbeat\t").then_some(()));
    assert!(text(&events).starts_with(&full));

    (rig.config.export.rotate_at, rig.config.export.keep) = (Some(64 << 10), 1);
    std::fs::write(&file, rig.config.render()).unwrap();
    observer.0.reload().unwrap();
    hears(&observer, &mut agent);
    let aside = rig.path("events.tsv.1");
    wait("another file is begun", || (aside.exists() && text(&events).contains("\tbeat\t")).then_some(()));
    observer.stop();
    assert!(text(&aside).starts_with(&full) && text(&events).len() < 64 << 10);
}
