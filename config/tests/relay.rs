//! relay.toml, and what observer.toml says of relays: what an operator is told, and what a reload does.

use std::path::Path;

use varta_config::{ObserverConfig, RelayConfig};

/// Files without mistakes, to which a mistake is added.
const OBSERVER: &str = "[observer]\nkey_file = \"k\"\n[[listen]]\nsealed = \"0.0.0.0:9900\"\n";
const RELAY: &str = "[relay]\nkey_file = \"r.key\"\n";

const PIN: &str = "varta-relay:NODLE477GT6ODHLLQBHP6WR7K5D23JHKUIXR2SOADZJN3N4HLNF2G462W4";
const KEY: &str = "varta-observer:NODLE477GT6ODHLLQBHP6WR7K5D23JHKUIXR2SOADZJN3N4HLNFWEJXSIU";
const KEY_2: &str = "varta-observer:2RZV4ORGLYLO5YB7LFYYXG25AMAZYB6YW3CR7EG2HJTG53ATVM26XDUKYY";

#[test]
fn mistakes_about_relays() {
    let observer = |text: &str| -> Vec<String> {
        let error = ObserverConfig::parse(&format!("{OBSERVER}{text}"), Path::new("obs.toml")).unwrap_err();
        error.to_string().lines().map(str::to_owned).collect()
    };
    let one = observer(&format!("[relay]\naddress = \"relay.example:9920\"\npin = \"{KEY}\"\n"));
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(one[0].contains("relay[0].pin: found") && one[0].contains("a public key in quotes: varta-relay: and 58"));
    for address in ["relay", "relay:0", "relay:x", ":9920", "re lay:9920", "[::1:9920", "2001:db8::1:9920", "relay:+1"]
    {
        let told = observer(&format!("[relay]\naddress = \"{address}\"\npin = \"{PIN}\"\n"));
        assert!(told[0].contains("relay[0].address: found") && told[0].contains("a host and a port"), "{told:?}");
    }
    let missing = observer("[relay]\n");
    assert!(missing.iter().any(|line| line.contains("relay[0].pin: is missing")), "{missing:?}");
    let section = format!("[[relay]]\naddress = \"relay:9920\"\npin = \"{PIN}\"\n");
    let twice = observer(&section.repeat(2));
    assert!(twice[0].contains("relay[1].pin: is also that of relay[0]"), "{twice:?}");
    let keyless =
        ObserverConfig::parse(&format!("[[listen]]\nsocket = \"/run/v\"\n{section}"), Path::new("o")).unwrap_err();
    assert!(keyless.to_string().contains("observer.key_file: is missing, and a relay knows"), "{keyless}");
}

#[test]
fn mistakes_in_the_text_of_a_relay() {
    let told = |text: &str| {
        let error = RelayConfig::parse(&format!("{RELAY}{text}"), Path::new("relay.toml")).unwrap_err();
        error.to_string()
    };
    RelayConfig::parse(RELAY, Path::new("relay.toml")).unwrap();
    let one = format!("[[observer]]\nname = \"obs-1\"\nkey = \"{KEY}\"\n");
    RelayConfig::parse(&format!("{RELAY}{one}"), Path::new("relay.toml")).unwrap();
    for (text, expected) in [
        (format!("[[observer]]\nname = \"obs-1\"\nkey = \"{PIN}\"\n"), "relay.toml:5: observer[0].key: found"),
        ("[[observer]]\n".to_owned(), "relay.toml:3: observer[0].name: is missing"),
        (one.repeat(2), "observer[1].name: is also that of observer[0]; write each observer once"),
        ("[http]\nlisten = \"0.0.0.0:9930\"\n".to_owned(), "http.listen: 0.0.0.0:9930 can be reached from other hosts"),
        ("[[webhook]]\nurl = \"ftp://x\"\n".to_owned(), "webhook[0].url: found \"ftp://x\"; write an address"),
        ("[[webhook]]\nurl = \"http://a:b@c/\"\n".to_owned(), "webhook[0].url: found"),
        ("[[webhook]]\nkind = \"json\"\n".to_owned(), "webhook[0].url: is missing; write it, or url_file"),
        (
            "[[webhook]]\nurl = \"http://a/\"\nurl_file = \"u\"\n".to_owned(),
            "webhook[0].url_file: stands beside url; write one of the two",
        ),
        ("[[webhook]]\nurl = \"http://a/\"\n".repeat(2), "webhook[1].url: is also that of webhook[0]"),
        ("[[webhook]]\nurl_file = \"u\"\n".repeat(2), "webhook[1].url_file: is also that of webhook[0]"),
        ("[stall]\n".to_owned(), "stall: unknown section; there are relay, link, observer"),
        ("[fleet]\nlost_afer = \"1s\"\n".to_owned(), "fleet.lost_afer: unknown key; did you mean `lost_after`?"),
        (
            "[history]\nkeep = \"1m\"\n".to_owned(),
            "history.keep: found \"1m\"; write a duration in quotes, from \"1h\"",
        ),
    ] {
        assert!(told(&text).contains(expected), "{text}\n{}", told(&text));
    }
    let keyless = RelayConfig::default().validate().unwrap_err().to_string();
    assert!(keyless.contains("relay.key_file: is missing; `varta keys relay add` makes one"), "{keyless}");
}

#[test]
fn a_relay_takes_another_list_of_observers_at_once() {
    let with = |names: &[&str]| {
        // One key each: the last but the checksum's would be another's.
        let keys = [KEY, KEY_2];
        let sections =
            names.iter().zip(keys).map(|(name, key)| format!("[[observer]]\nname = \"{name}\"\nkey = \"{key}\"\n"));
        let text = format!("[relay]\nkey_file = \"r.key\"\n{}", sections.collect::<String>());
        RelayConfig::parse(&text, Path::new("relay.toml")).unwrap()
    };
    for (before, after) in [(&["a"][..], &["a", "b"][..]), (&["a", "b"], &["b"]), (&["a"], &[])] {
        let reload = with(before).reload(&with(after));
        assert_eq!(reload.config, with(after));
        assert_eq!((reload.restart.len(), reload.live.is_empty()), (0, false));
    }
}

#[test]
fn each_file_is_told_by_its_sections() {
    assert!(RelayConfig::is_likely(include_str!("../relay.toml")));
    assert!(!RelayConfig::is_likely(include_str!("../observer.toml")));
    let section = format!("[relay]\naddress = \"relay:9920\"\npin = \"{PIN}\"\n");
    assert!(!RelayConfig::is_likely(&format!("{OBSERVER}{section}")));
    assert!(RelayConfig::is_likely(&RelayConfig::default().render()));
    assert!(!RelayConfig::is_likely("[[[") && !RelayConfig::is_likely(""));
}

#[test]
fn a_webhook_whose_address_stands_in_a_file_is_written_and_read_again() {
    let text = format!("{RELAY}[[webhook]]\nurl_file = \"/hook.url\"\n");
    let config = RelayConfig::parse(&text, Path::new("/relay.toml")).unwrap();
    config.validate().unwrap();
    assert_eq!(RelayConfig::parse(&config.render(), Path::new("/relay.toml")).unwrap(), config);
}
