//! What an observer knows after a stop, and after a crash.

use std::{fs, path::Path};

use varta_core::Reject;
use varta_vlp::sealed::Flags;

use crate::{
    clock::wait,
    rig::{Agent, Observed, Rig},
};

fn refused(observer: &Observed, rig: &Rig, agent: &Agent, frame: &[u8], reject: Reject) {
    let listener = rig.config.listen[0].sealed.unwrap();
    agent.send(observer.sealed(), frame);
    wait(reject.reason(), || (observer.rejected(listener, reject.reason()) > 0.0).then_some(()));
}

#[test]
fn a_clean_stop_loses_nothing() {
    let rig = Rig::new();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(agent.frame(Flags::default()));
        agent.send(observer.sealed(), &frames[frames.len() - 1]);
    }
    observer.wait_slot("web-1", "api", |slot| slot["beats"] == 4);
    let mut gone = Agent::new("web-1", "batch", 1);
    for frame in [gone.announce(), gone.frame(Flags::FINAL)] {
        gone.send(observer.sealed(), &frame);
    }
    observer.wait_slot("web-1", "batch", |slot| slot["verdict"] == "departed");
    observer.stop();

    let observer = rig.start();
    let slot = observer.wait_slot("web-1", "api", |_| true);
    assert_eq!((slot["verdict"].as_str(), slot["beats"].as_u64()), (Some("unknown"), Some(4)));
    assert_eq!(slot["labels"]["site"], "ams");
    assert_eq!(observer.wait_slot("web-1", "batch", |_| true)["verdict"], "departed");
    for frame in &frames {
        agent.send(observer.sealed(), frame);
    }
    let listener = rig.config.listen[0].sealed.unwrap();
    wait("all are replays", || (observer.rejected(listener, "replayed") == 3.0).then_some(()));
    let next = agent.frame(Flags::default());
    agent.send(observer.sealed(), &next);
    let slot = observer.wait_slot("web-1", "api", |slot| slot["verdict"] == "up");
    assert_eq!(slot["restarts"], 0);
    observer.stop();
}

/// Whether a file in `dir` says `word`.
fn holds(dir: &Path, word: &str) -> bool {
    let says = |file: Vec<u8>| file.windows(word.len()).any(|part| part == word.as_bytes());
    fs::read_dir(dir).unwrap().any(|entry| fs::read(entry.unwrap().path()).is_ok_and(says))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn after_a_crash_what_was_sent_before_is_refused_and_nobody_is_accused() {
    let mut rig = Rig::new();
    let observer = rig.start();
    let mut agent = Agent::new("web-1", "api", 1);
    let announce = agent.announce();
    agent.send(observer.sealed(), &announce);
    observer.wait_slot("web-1", "api", |_| true);
    let old = agent.frame(Flags::default());
    agent.send(observer.sealed(), &old);
    observer.wait_slot("web-1", "api", |slot| slot["beats"] == 2);
    let state = rig.path("state");
    wait("the slot is on disk", || holds(&state, "web-1").then_some(()));
    // The disk as a crash would leave it at this instant.
    let crashed = rig.path("crashed");
    copy(&state, &crashed);
    observer.stop();

    rig.config.observer.state_dir = Some(crashed);
    let observer = rig.start();
    assert_eq!(observer.wait_slot("web-1", "api", |_| true)["verdict"], "unknown");
    refused(&observer, &rig, &agent, &old, Reject::BeforeBarrier);
    assert_eq!(observer.metric("varta_slots{verdict=\"stalled\"}"), 0.0);
    wait("a frame from behind the barrier is heard", || {
        let next = agent.frame(Flags::default());
        agent.send(observer.sealed(), &next);
        let slot = observer.slots().into_iter().find(|slot| slot["unit"] == "api")?;
        (slot["verdict"] == "up").then_some(())
    });
    observer.stop();
}

#[test]
fn without_a_state_directory_everything_from_before_the_start_is_refused() {
    let mut rig = Rig::new();
    rig.config.observer.state_dir = None;
    let mut agent = Agent::new("web-1", "api", 1);
    let old = agent.announce();
    let observer = rig.start();
    refused(&observer, &rig, &agent, &old, Reject::BeforeBarrier);
    wait("a frame from behind the barrier is heard", || {
        let next = agent.announce();
        agent.send(observer.sealed(), &next);
        observer.slots().first().map(drop)
    });
    observer.stop();
}
