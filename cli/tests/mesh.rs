//! A whole mesh as a process: the verbs that ask it, and its relay's history over many a SIGKILL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dev;
mod waiting;

use std::{
    io::{BufRead as _, BufReader},
    process::{Output, Stdio},
    time::Duration,
};

use dev::{Mesh, varta};
use serde_json::Value;
use waiting::wait;

fn said(words: &[&str]) -> Output {
    varta(words).output().unwrap()
}

fn text(words: &[&str]) -> String {
    let done = said(words);
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn problem(words: &[&str]) -> String {
    let done = said(words);
    assert!(!done.status.success(), "{words:?} went well");
    String::from_utf8(done.stderr).unwrap()
}

#[test]
fn an_observer_and_a_relay_are_asked_alike() {
    let mesh = Mesh::start(&[]);
    for (url, kind) in [(&mesh.observer, "observer obs-dev"), (&mesh.relay, "relay relay-dev")] {
        wait("web-1 is known", || said(&["explain", "--url", url, "web-1/api"]).status.success().then_some(()));
        // One of the agents is not well now and then.
        let status = said(&["status", "--url", url]);
        assert!(String::from_utf8(status.stdout).unwrap().starts_with(kind));
        let all: Value = serde_json::from_slice(&said(&["status", "--json", "--url", url]).stdout).unwrap();
        assert!(all["verdicts"]["up"].as_u64().unwrap() > 0 && all["troubled"].is_array(), "{all}");
        let explained = text(&["explain", "--url", url, "web-1"]);
        assert!(explained.starts_with("web-1/api: up") && explained.contains("site=north"), "{explained}");
        let units: Value = serde_json::from_str(&text(&["explain", "--json", "--url", url, "web-1/api"])).unwrap();
        assert_eq!((&units[0]["agent"], &units[0]["unit"]), (&"web-1".into(), &"api".into()));
        assert!(problem(&["explain", "--url", url, "nobody"]).contains("nobody"));
        assert!(problem(&["explain", "--url", url, "nobody/api"]).contains("nobody"));

        let kept = text(&["events", "--json", "--url", url]);
        let ids: Vec<u64> =
            kept.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap()).collect();
        assert!(!ids.is_empty() && ids.is_sorted(), "{kept}");
        let rest = text(&["events", "--json", "--url", url, "--after", &ids[0].to_string()]);
        assert!(rest.lines().count() >= ids.len() - 1 && !rest.contains(&format!("\"id\":{},", ids[0])), "{rest}");
        let mut follower =
            varta(&["events", "-f", "--json", "--after", "0", "--url", url]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let found = lines.by_ref().map(Result::unwrap).any(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            event["agent"] == "web-1" || event["observer"] == "obs-dev"
        });
        follower.kill().unwrap();
        follower.wait().unwrap();
        assert!(found);
    }
    wait("both observers are heard", || {
        let explained = text(&["explain", "--url", &mesh.relay, "web-1/api"]);
        let views = ["  obs-dev (connected): up: ", "  obs-dev-2 (connected): up: "];
        views.iter().all(|view| explained.contains(view)).then_some(())
    });
}

#[test]
fn silences_come_and_go_and_what_is_not_there_is_said() {
    let mesh = Mesh::start(&[]);
    let url = &*mesh.relay;
    let made = text(&["silence", "--url", url, "cache-*/redis", "--for", "10m", "--by", "me", "--note", "a new disk"]);
    assert_eq!(made, "silence 1: cache-*/redis for 10m\n");
    assert_eq!(text(&["silence", "--url", url, "--list"]), "1 cache-*/redis * by me a new disk\n");
    assert_eq!(text(&["silence", "--url", url, "--end", "1"]), "silence 1 is over\n");
    assert_eq!(text(&["silence", "--url", url, "--list"]), "");
    assert!(problem(&["silence", "--url", url, "--end", "1"]).contains("there is no silence 1"));
    assert!(problem(&["silence", "--url", url, "--by", "me", "x", "--label", "site"]).contains("write KEY=VALUE"));
    assert!(problem(&["ack", "--url", url, "7", "--by", "me"]).contains("there is no open incident 7"));
    assert!(problem(&["ack", "--url", url, "7"]).contains("--by"));
    assert!(problem(&["ack", "--url", &mesh.observer, "7", "--by", "me"]).contains("nothing at this path"));
}

#[test]
fn who_does_not_answer_is_named() {
    for verb in [&["status"][..], &["events", "-f"], &["explain", "web-1"], &["ack", "1", "--by", "me"]] {
        let words = [verb, &["--url", "http://127.0.0.1:1"]].concat();
        assert!(problem(&words).contains("http://127.0.0.1:1/"), "{words:?}");
    }
    assert_eq!(said(&["status", "--url", "http://127.0.0.1:1"]).status.code(), Some(3));
}

/// What the relay knows of a unit that is well, once it knows it.
fn history(mesh: &Mesh) -> Vec<Value> {
    wait("the unit is up", || {
        let done = varta(&["explain", "--json", "--url", &mesh.relay, "web-1/api"]).output().unwrap();
        let unit: Value = serde_json::from_slice(&done.stdout).ok()?;
        let is_up = unit[0]["verdict"] == "up";
        is_up.then(|| unit[0]["history"]["segments"].as_array().unwrap().clone())
    })
}

fn check(segments: &[Value]) {
    for pair in segments.windows(2) {
        assert!(pair[0]["from_ms"].as_u64() < pair[1]["from_ms"].as_u64(), "{segments:?}");
        assert_eq!(pair[0]["to_ms"], pair[1]["from_ms"], "{segments:?}");
        assert_ne!(pair[0]["verdict"], pair[1]["verdict"], "{segments:?}");
    }
    assert_eq!(segments.last().unwrap()["to_ms"], Value::Null, "{segments:?}");
}

#[test]
fn whenever_it_is_killed_its_history_is_whole_and_says_when_nobody_looked() {
    let home = tempfile::tempdir().unwrap();
    let state = ["--state", home.path().to_str().unwrap()];
    let mut written = 0;
    for round in 0..8 {
        let mesh = Mesh::start(&state);
        let segments = history(&mesh);
        check(&segments);
        let unseen = segments.iter().filter(|segment| segment["verdict"] == "unseen").count();
        assert!(unseen >= written, "{unseen} gaps after {written} lives that were written: {segments:?}");
        // At any time of a life; after more than two turns of the writer what was known is on the disk.
        let lives_on = Duration::from_millis(round * 397 % 1000);
        std::thread::park_timeout(lives_on);
        if round % 4 == 3 {
            std::thread::park_timeout(Duration::from_millis(2500));
            written += 1;
        }
        drop(mesh);
    }
}
