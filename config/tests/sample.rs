//! The samples `observer.toml` and `relay.toml` against their schemas: the same keys, the same defaults.

use std::path::Path;

use varta_config::{Listen, Match, ObserverConfig, Peers, Recovery, RelayConfig, RelayLink, RelayObserver, Webhook};

/// A sample, and what its configuration can do.
struct Sample {
    text: &'static str,
    keys: fn() -> Vec<String>,
    /// What is wrong with a text; nothing where nothing is.
    mistakes: fn(&str) -> String,
    /// What a reload from one text to another takes live, and what waits for a restart.
    reload: fn(&str, &str) -> [Vec<String>; 2],
    /// How many keys have a range that an error names.
    ranges: usize,
}

const OBSERVER: Sample = Sample {
    text: include_str!("../observer.toml"),
    keys: ObserverConfig::keys,
    mistakes: |text| ObserverConfig::parse(text, Path::new("x")).err().map_or(String::new(), |error| error.to_string()),
    reload: |before, after| {
        let [before, after] =
            [before, after].map(|text| ObserverConfig::parse(text, Path::new("x")).expect("no mistake"));
        let reload = before.reload(&after);
        [reload.live, reload.restart]
    },
    ranges: 25,
};

const RELAY: Sample = Sample {
    text: include_str!("../relay.toml"),
    keys: RelayConfig::keys,
    mistakes: |text| RelayConfig::parse(text, Path::new("x")).err().map_or(String::new(), |error| error.to_string()),
    reload: |before, after| {
        let [before, after] = [before, after].map(|text| RelayConfig::parse(text, Path::new("x")).expect("no mistake"));
        let reload = before.reload(&after);
        [reload.live, reload.restart]
    },
    ranges: 10,
};

/// Public keys other than the samples'.
const OTHER_PIN: &str = "\"varta-relay:2RZV4ORGLYLO5YB7LFYYXG25AMAZYB6YW3CR7EG2HJTG53ATVM2X3NNELA\"";
const OTHER_KEY: &str = "\"varta-observer:2RZV4ORGLYLO5YB7LFYYXG25AMAZYB6YW3CR7EG2HJTG53ATVM26XDUKYY\"";

/// Whether the line heads a section that is commented out.
fn heads_an_optional_section(line: &str) -> bool {
    line.starts_with("# [") && line.ends_with(']') && !line.contains(" = ")
}

/// The sample's lines with the key that each sets, such as `stall.misses`, and whether it is commented out.
fn keys_of(sample: &Sample) -> Vec<(String, bool)> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in sample.text.lines() {
        if line.starts_with('[') || heads_an_optional_section(line) {
            section = uncommented(line).trim_matches(['[', ']']);
        } else if let Some((key, _)) = uncommented(line).split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push((format!("{section}.{key}"), line.starts_with('#')));
        }
    }
    keys
}

fn uncommented(line: &str) -> &str {
    line.strip_prefix("# ").unwrap_or(line)
}

/// The sample with every commented-out section and key set.
fn full(sample: &Sample) -> String {
    let schema: Vec<String> =
        (sample.keys)().iter().map(|key| key.split('.').nth(1).expect("section.key").to_owned()).collect();
    let line = |line| match uncommented(line).split_once(" = ") {
        Some((key, _)) if schema.iter().any(|known| known == key) => uncommented(line),
        _ if heads_an_optional_section(line) => uncommented(line),
        _ => line,
    };
    sample.text.lines().map(|text| line(text).to_owned() + "\n").collect()
}

#[test]
fn sample_has_every_key_in_the_order_of_the_schema() {
    for sample in [OBSERVER, RELAY] {
        let keys: Vec<String> = keys_of(&sample).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, (sample.keys)());
    }
}

#[test]
fn sample_stands_at_the_defaults() {
    let mut sample = ObserverConfig::parse(OBSERVER.text, Path::new("/etc/varta/observer.toml")).unwrap();
    assert_eq!(sample.observer.state_dir.take().as_deref(), Some(Path::new("/var/lib/varta")));
    assert_eq!(sample.observer.key_file.take().as_deref(), Some(Path::new("/etc/varta/observer.key")));
    let sealed = Listen::sealed("0.0.0.0:9900".parse().unwrap());
    assert_eq!(sample, ObserverConfig { listen: vec![sealed], ..ObserverConfig::default() });

    let mut sample = RelayConfig::parse(RELAY.text, Path::new("/etc/varta/relay.toml")).unwrap();
    assert_eq!(sample.relay.state_dir.take().as_deref(), Some(Path::new("/var/lib/varta-relay")));
    assert_eq!(sample.relay.key_file.take().as_deref(), Some(Path::new("/etc/varta/relay.key")));
    assert_eq!(sample, RelayConfig::default());
}

#[test]
fn only_keys_without_a_value_are_commented_out() {
    let commented = |sample: &Sample| -> Vec<String> {
        keys_of(sample).into_iter().filter(|(_, off)| *off).map(|(key, _)| key).collect()
    };
    assert_eq!(
        commented(&RELAY),
        [
            "relay.name",
            "observer.name",
            "observer.key",
            "observer.agents",
            "observer.site",
            "webhook.url",
            "webhook.kind",
            "webhook.token_file",
            "webhook.template",
            "webhook.timeout",
            "webhook.retry_for",
            "webhook.url_file",
            "http.token_file"
        ]
    );
    assert_eq!(
        commented(&OBSERVER),
        [
            "observer.name",
            "observer.roster_file",
            "listen.socket",
            "listen.mode",
            "listen.plaintext",
            "listen.accept_plaintext",
            "recovery.match",
            "recovery.exec",
            "recovery.debounce",
            "recovery.timeout",
            "recovery.env",
            "recovery.dry_run",
            "audit.file",
            "relay.address",
            "relay.pin",
            "peers.key_file",
            "http.token_file",
            "export.file",
            "watchdog.device",
            "watchdog.heartbeat_file"
        ]
    );
}

#[test]
fn commented_out_keys_are_right_too() {
    for sample in [OBSERVER, RELAY] {
        let lines = full(&sample).lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
        assert_eq!(lines, (sample.keys)().len());
    }
    let relay = RelayConfig::parse(&full(&RELAY), Path::new("relay.toml")).unwrap();
    let observer = RelayObserver {
        name: Some("obs-1".to_owned()),
        key: relay.observer[0].key.clone(),
        site: Some("fra".to_owned()),
        ..RelayObserver::default()
    };
    assert_eq!(relay.observer, [observer]);
    let webhook = Webhook {
        url: Some("http://127.0.0.1:8080/hook".to_owned()),
        token_file: Some("/etc/varta/hook.token".into()),
        template: Some("/etc/varta/hook.json".into()),
        ..Webhook::default()
    };
    let secret = Webhook { url_file: Some("/etc/varta/hook.url".into()), ..Webhook::default() };
    assert_eq!(relay.webhook, [webhook, secret]);
    let full = full(&OBSERVER);
    let full = ObserverConfig::parse(&full, Path::new("observer.toml")).unwrap();
    assert_eq!(full.observer.name.as_deref(), Some("obs-1"));
    assert_eq!(full.observer.roster_file.as_deref(), Some(Path::new("/etc/varta/roster.toml")));
    assert_eq!(full.listen[1], Listen::socket("/run/varta/varta.sock"));
    assert_eq!(full.listen[2], Listen::plaintext("127.0.0.1:9901".parse().unwrap()));
    let rule = Recovery {
        matching: Match { agent: Some("local".to_owned()), ..Match::default() },
        exec: vec!["/usr/local/bin/restart-myapp".to_owned(), "{pid}".to_owned()],
        ..Recovery::default()
    };
    assert_eq!(full.recovery, [rule]);
    assert_eq!(full.peers, Peers { key_file: Some("/etc/varta/obs-1.agent.key".into()), ..Peers::default() });
    let pin = full.relay[0].pin.clone();
    assert_eq!(full.relay, [RelayLink { address: "relay.example:9920".to_owned(), pin }]);
    assert_eq!(full.audit.file.as_deref(), Some(Path::new("/var/log/varta/audit.log")));
    assert_eq!(full.http.token_file.as_deref(), Some(Path::new("/etc/varta/http.token")));
    assert_eq!(full.export.file.as_deref(), Some(Path::new("/var/log/varta/events.tsv")));
    assert_eq!(full.watchdog.device.as_deref(), Some(Path::new("/dev/watchdog")));
    assert_eq!(full.watchdog.heartbeat_file.as_deref(), Some(Path::new("/run/varta/heartbeat")));
}

/// The range that an error names for a key is the one that the sample's comment above the key names.
#[test]
fn sample_tells_the_ranges() {
    for sample in [OBSERVER, RELAY] {
        let mut ranges = 0;
        let mut comment = String::new();
        let full = full(&sample);
        for (number, line) in full.lines().enumerate() {
            let setting = line.split_once(" = ").filter(|_| !line.starts_with('#'));
            let Some((key, _)) = setting else {
                comment = if line.starts_with('#') { comment + line.trim_start_matches('#') } else { String::new() };
                continue;
            };
            // A date is the wrong type for every key.
            let wrong: String = (full.lines().enumerate())
                .map(
                    |(other, text)| {
                        if other == number { format!("{key} = 1979-05-27\n") } else { format!("{text}\n") }
                    },
                )
                .collect();
            let message = (sample.mistakes)(&wrong);
            if let Some((_, range)) = message.split_once(" from ") {
                let range = range.replace('"', "");
                let range = range.split(", or").next().unwrap();
                assert!(comment.contains(range), "the comment above {key} does not say {range}");
                ranges += 1;
            }
        }
        assert_eq!(ranges, sample.ranges);
    }
}

/// A key marked (restart) in the sample waits for a restart, and no other does.
#[test]
fn sample_tells_what_waits_for_a_restart() {
    for sample in [OBSERVER, RELAY] {
        let [live, restart] = (sample.reload)(&full(&sample), &other_values(&full(&sample)));
        let marked = marked(&sample);
        let split = |wanted| -> Vec<String> {
            marked.iter().filter(|(_, restart)| *restart == wanted).map(|(key, _)| key.clone()).collect()
        };
        assert_eq!(names(&restart), split(true));
        assert_eq!(names(&live), split(false));
    }
}

fn names(changes: &[String]) -> Vec<String> {
    let name = |change: &String| change.split(':').next().unwrap_or_default().replace(['[', '0', '1', '2', ']'], "");
    changes.iter().map(name).collect()
}

/// The sample's keys, and whether each is marked (restart).
fn marked(sample: &Sample) -> Vec<(String, bool)> {
    let mut marked = Vec::new();
    let (mut restart, mut section) = (false, "");
    for line in sample.text.lines() {
        let key = uncommented(line).split_once(" = ").map(|(key, _)| key);
        if line.starts_with('[') || heads_an_optional_section(line) {
            section = uncommented(line).trim_matches(['[', ']']);
        } else if key == Some("accept_plaintext") {
            // It has one legal value beside plaintext.
        } else if let Some(key) = key.filter(|key| (sample.keys)().contains(&format!("{section}.{key}"))) {
            marked.push((format!("{section}.{key}"), restart));
            restart = false;
        } else if line.contains("(restart)") && !section.is_empty() {
            restart = true;
        }
    }
    marked
}

/// The same keys, each with another valid value.
fn other_values(full: &str) -> String {
    full.lines()
        .map(|line| {
            let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
                return format!("{line}\n");
            };
            let other = match (key, value) {
                ("trust", _) => "\"operator-attested\"".to_owned(),
                ("kernel_filter", _) => "\"on\"".to_owned(),
                ("per_agent", _) => "\"none\"".to_owned(),
                ("format", _) => "\"json\"".to_owned(),
                ("level", _) => "\"debug\"".to_owned(),
                ("receive_buffer", _) => "\"1MiB\"".to_owned(),
                ("match", _) => "{ unit = \"other\" }".to_owned(),
                ("env", _) => "[\"PATH\"]".to_owned(),
                ("rotate_at", _) => "\"1MiB\"".to_owned(),
                ("dry_run", _) => "true".to_owned(),
                ("mode", _) => "\"0660\"".to_owned(),
                ("accept_plaintext", _) => "true".to_owned(),
                ("pin", _) => OTHER_PIN.to_owned(),
                ("key", _) => OTHER_KEY.to_owned(),
                ("agents", "[\"*\"]") => "[\"web-*\"]".to_owned(),
                ("max_bytes", _) => "\"32MiB\"".to_owned(),
                ("keep", keep) if keep.starts_with('"') => "\"7d\"".to_owned(),
                ("url", _) => "\"http://127.0.0.1:8080/other\"".to_owned(),
                ("kind", _) => "\"alertmanager\"".to_owned(),
                ("beats", _) => "true".to_owned(),
                (_, address) if address.contains(":99") => address.replace(":99", ":88"),
                (_, path) if path.contains('/') => path.replace('/', "/other/"),
                ("name", _) => "\"other\"".to_owned(),
                ("gather", _) => "\"3ms\"".to_owned(),
                (_, duration) if duration.starts_with('"') => "\"7s\"".to_owned(),
                (_, number) => number.replace(['1', '2', '3', '4', '5', '6'], "9").replace("9000000", "9000"),
            };
            format!("{key} = {other}\n")
        })
        .collect()
}
