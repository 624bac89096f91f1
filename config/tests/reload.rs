//! What a changed file changes in a running observer.

use std::path::Path;

use varta_config::{LogLevel, ObserverConfig};

fn parse(extra: &str) -> ObserverConfig {
    let text = format!("[observer]\nkey_file = \"/k\"\n[[listen]]\nsealed = \"0.0.0.0:9900\"\n{extra}");
    ObserverConfig::parse(&text, Path::new("obs.toml")).expect("no mistake")
}

#[test]
fn nothing_changed() {
    let reload = parse("").reload(&parse("[stall]\nthreshold = \"2000ms\"\n"));
    assert_eq!((reload.live.len(), reload.restart.len()), (0, 0));
    assert_eq!(reload.config, parse(""));
}

#[test]
fn live_changes_are_taken_and_others_told() {
    let old = parse("");
    let new = parse(
        "trust = \"operator-attested\"\n[stall]\nthreshold = \"3s\"\n[limits]\nagents = 5\n[http]\nlisten = \"\"\n\
         [export]\nfile = \"/e\"\nbeats = true\n[log]\nlevel = \"debug\"\n",
    );
    let reload = old.reload(&new);
    assert_eq!(
        reload.live,
        [
            "stall.threshold: \"2s\" -> \"3s\"",
            "export.file: not set -> \"/e\"",
            "export.beats: false -> true",
            "log.level: \"info\" -> \"debug\"",
        ]
    );
    assert_eq!(
        reload.restart,
        [
            "listen[0].trust: \"verified\" -> \"operator-attested\"",
            "limits.agents: 1000000 -> 5",
            "http.listen: \"127.0.0.1:9910\" -> \"\"",
        ]
    );
    let mut expected = old;
    expected.stall = new.stall;
    expected.export = new.export;
    expected.log.level = LogLevel::Debug;
    assert_eq!(reload.config, expected);
}

#[test]
fn listeners_come_and_go_with_a_restart() {
    let (one, two) = (parse(""), parse("[[listen]]\nsealed = \"[::]:9901\"\n"));
    let more = one.reload(&two);
    assert_eq!(more.restart, ["listen: 1 section -> 2 sections"]);
    assert_eq!((more.live.len(), more.config), (0, one.clone()));
    let fewer = two.reload(&one);
    assert_eq!(fewer.restart, ["listen: 2 sections -> 1 section"]);
    assert_eq!(fewer.config, two);
}

#[test]
fn another_kind_of_listener_waits_for_a_restart() {
    let socket = "[observer]\nkey_file = \"/k\"\n[[listen]]\nsocket = \"/s\"\n";
    let socket = ObserverConfig::parse(socket, Path::new("obs.toml")).unwrap();
    let reload = parse("").reload(&socket);
    assert_eq!(
        reload.restart,
        ["listen[0].sealed: \"0.0.0.0:9900\" -> not set", "listen[0].socket: not set -> \"/s\""]
    );
    assert_eq!(reload.config, parse(""));
}
