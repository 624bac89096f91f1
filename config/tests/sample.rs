//! The sample `observer.toml` against the schema: the same keys, the same defaults.

use std::path::Path;

use varta_config::{Listen, Match, ObserverConfig, Recovery};

const SAMPLE: &str = include_str!("../observer.toml");

/// Whether the line heads a section that may stand several times, commented out or not.
fn heads_one_of_several(line: &str) -> bool {
    line.starts_with("# [[") && line.ends_with("]]")
}

/// The sample's lines with the key that each sets, such as `stall.misses`, and whether it is commented out.
fn keys_of_sample() -> Vec<(String, bool)> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in SAMPLE.lines() {
        if line.starts_with('[') || heads_one_of_several(line) {
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
fn full_sample() -> String {
    let schema: Vec<String> =
        ObserverConfig::keys().iter().map(|key| key.split('.').nth(1).expect("section.key").to_owned()).collect();
    let line = |line| match uncommented(line).split_once(" = ") {
        Some((key, _)) if schema.iter().any(|known| known == key) => uncommented(line),
        _ if heads_one_of_several(line) => uncommented(line),
        _ => line,
    };
    SAMPLE.lines().map(|text| line(text).to_owned() + "\n").collect()
}

#[test]
fn sample_has_every_key_in_the_order_of_the_schema() {
    let keys: Vec<String> = keys_of_sample().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ObserverConfig::keys());
}

#[test]
fn sample_stands_at_the_defaults() {
    let mut sample = ObserverConfig::parse(SAMPLE, Path::new("/etc/varta/observer.toml")).unwrap();
    assert_eq!(sample.observer.state_dir.take().as_deref(), Some(Path::new("/var/lib/varta")));
    assert_eq!(sample.observer.key_file.take().as_deref(), Some(Path::new("/etc/varta/observer.key")));
    let sealed = Listen::sealed("0.0.0.0:9900".parse().unwrap());
    assert_eq!(sample, ObserverConfig { listen: vec![sealed], ..ObserverConfig::default() });
}

#[test]
fn only_keys_without_a_value_are_commented_out() {
    let commented: Vec<String> = keys_of_sample().into_iter().filter(|(_, off)| *off).map(|(key, _)| key).collect();
    assert_eq!(
        commented,
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
            "http.token_file",
            "export.file",
            "watchdog.device",
            "watchdog.heartbeat_file"
        ]
    );
}

#[test]
fn commented_out_keys_are_right_too() {
    let full = full_sample();
    assert_eq!(
        full.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
        ObserverConfig::keys().len()
    );
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
    assert_eq!(full.audit.file.as_deref(), Some(Path::new("/var/log/varta/audit.log")));
    assert_eq!(full.http.token_file.as_deref(), Some(Path::new("/etc/varta/http.token")));
    assert_eq!(full.export.file.as_deref(), Some(Path::new("/var/log/varta/events.tsv")));
    assert_eq!(full.watchdog.device.as_deref(), Some(Path::new("/dev/watchdog")));
    assert_eq!(full.watchdog.heartbeat_file.as_deref(), Some(Path::new("/run/varta/heartbeat")));
}

/// The range that an error names for a key is the one that the sample's comment above the key names.
#[test]
fn sample_tells_the_ranges() {
    let mut ranges = 0;
    let mut comment = String::new();
    let full = full_sample();
    for (number, line) in full.lines().enumerate() {
        let setting = line.split_once(" = ").filter(|_| !line.starts_with('#'));
        let Some((key, _)) = setting else {
            comment = if line.starts_with('#') { comment + line.trim_start_matches('#') } else { String::new() };
            continue;
        };
        // A date is the wrong type for every key.
        let wrong: String = (full.lines().enumerate())
            .map(|(other, text)| if other == number { format!("{key} = 1979-05-27\n") } else { format!("{text}\n") })
            .collect();
        let message = ObserverConfig::parse(&wrong, Path::new("x")).unwrap_err().to_string();
        if let Some((_, range)) = message.split_once(" from ") {
            let range = range.replace('"', "");
            let range = range.split(", or").next().unwrap();
            assert!(comment.contains(range), "the comment above {key} does not say {range}");
            ranges += 1;
        }
    }
    assert_eq!(ranges, 24);
}

/// A key marked (restart) in the sample waits for a restart, and no other does.
#[test]
fn sample_tells_what_waits_for_a_restart() {
    let before = ObserverConfig::parse(&full_sample(), Path::new("x")).unwrap();
    let other = other_values(&full_sample());
    let after = ObserverConfig::parse(&other, Path::new("x")).unwrap();
    let reload = before.reload(&after);
    let mut marked = Vec::new();
    let (mut restart, mut section) = (false, "");
    for line in SAMPLE.lines() {
        let key = uncommented(line).split_once(" = ").map(|(key, _)| key);
        if line.starts_with('[') || heads_one_of_several(line) {
            section = uncommented(line).trim_matches(['[', ']']);
        } else if key == Some("accept_plaintext") {
            // It has one legal value beside plaintext.
        } else if let Some(key) = key.filter(|key| ObserverConfig::keys().contains(&format!("{section}.{key}"))) {
            marked.push((format!("{section}.{key}"), restart));
            restart = false;
        } else if line.contains("(restart)") && !section.is_empty() {
            restart = true;
        }
    }
    let names = |changes: &[String]| -> Vec<String> {
        let name = |change: &String| change.split(':').next().unwrap().replace(['[', '0', '1', '2', ']'], "");
        changes.iter().map(name).collect()
    };
    let split = |wanted| -> Vec<String> {
        marked.iter().filter(|(_, restart)| *restart == wanted).map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(names(&reload.restart), split(true));
    assert_eq!(names(&reload.live), split(false));
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
