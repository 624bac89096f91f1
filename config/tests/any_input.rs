//! Properties: what is rendered reads back, and no text makes the reader panic.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use varta_config::{
    Acceptance, Audit, Export, Http, Identity, Ingest, KernelFilter, Limits, Listen, Log, LogFormat, LogLevel, Match,
    Metrics, ObserverConfig, Peers, PerAgent, Recovery, RecoveryBrake, RelayConfig, RelayLink, Stall, Trust, Watchdog,
};

fn duration(low_ms: u64, high_ms: u64) -> impl Strategy<Value = Duration> {
    let nanos = low_ms * 1_000_000..=high_ms * 1_000_000;
    let coarse = (low_ms..=high_ms).prop_map(Duration::from_millis);
    prop_oneof![nanos.prop_map(Duration::from_nanos), coarse]
}

fn path() -> impl Strategy<Value = Option<PathBuf>> {
    prop::option::of("/[^\0]{1,20}".prop_map(PathBuf::from))
}

fn listen(port: u16) -> impl Strategy<Value = Listen> {
    let plaintext = (any::<std::net::IpAddr>(), 65_536..=1_u32 << 30)
        .prop_map(move |(ip, receive_buffer)| Listen { receive_buffer, ..Listen::plaintext((ip, port).into()) });
    let socket = (0..=0o777_u32, "[^\0]{0,20}")
        .prop_map(move |(mode, name)| Listen { mode, ..Listen::socket(format!("/{port}{name}")) });
    prop_oneof![2 => sealed(port), 1 => socket, 1 => plaintext]
}

fn sealed(port: u16) -> impl Strategy<Value = Listen> {
    (
        any::<std::net::IpAddr>(),
        prop::sample::select(vec![Trust::Verified, Trust::OperatorAttested]),
        65_536..=1_u32 << 30,
        prop::sample::select(vec![KernelFilter::Off, KernelFilter::Auto, KernelFilter::On]),
    )
        .prop_map(move |(ip, trust, receive_buffer, kernel_filter)| Listen {
            trust,
            receive_buffer,
            kernel_filter,
            ..Listen::sealed((ip, port).into())
        })
}

const DAY: u64 = 86_400_000;

prop_compose! {
    fn stall()(
        threshold in duration(10, DAY), misses in 1..=1000_u32, margin in duration(0, 60_000),
        max_promise in duration(1000, 30 * DAY), max_hold in duration(1000, 30 * DAY), blind_limit in duration(1000, DAY),
    ) -> Stall {
        Stall { threshold, misses, margin, max_promise, max_hold, blind_limit }
    }
}

prop_compose! {
    fn acceptance()(
        skew in duration(10, 60_000), generation_overlap in duration(0, 365 * DAY), return_within in duration(1000, 30 * DAY),
    ) -> Acceptance {
        Acceptance { skew, generation_overlap, return_within }
    }
}

fn name_or_any() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[A-Za-z0-9][A-Za-z0-9._:@+-]{0,20}")
}

prop_compose! {
    fn matching()(
        agent in name_or_any(), unit in name_or_any(),
        labels in prop::collection::btree_map("[^\\p{Cc}]{1,8}", "[^\\p{Cc}]{0,8}", 0..3),
    ) -> Match {
        Match { agent, unit, labels }
    }
}

prop_compose! {
    fn recovery()(
        matching in matching(), program in "/[^\0{}]{0,10}",
        arguments in prop::collection::vec(prop_oneof!["[^\0{}]{0,10}", Just("{pid}".to_owned())], 0..4),
        debounce in duration(0, DAY), timeout in prop::option::of(duration(10, 3_600_000)),
        env in prop::collection::vec("[A-Z_]{1,8}", 0..3), dry_run: bool,
    ) -> Recovery {
        // A pid is handed on for processes of the host only.
        let local = matching.agent.as_deref().is_none_or(|agent| agent == "local");
        let arguments = arguments.into_iter().filter(|argument| local || argument != "{pid}");
        let exec = std::iter::once(program).chain(arguments).collect();
        Recovery { matching, exec, debounce, timeout, env, dry_run }
    }
}

prop_compose! {
    fn brake()(per_minute in 0..=10_000_u32, stop_percent in 1..=100_u32, stop_from in 1..=10_000_000_u32) -> RecoveryBrake {
        RecoveryBrake { per_minute, stop_percent, stop_from }
    }
}

prop_compose! {
    fn audit()(file in path(), rotate_at in 65_536..=1_u32 << 30) -> Audit {
        Audit { file, rotate_at }
    }
}

prop_compose! {
    fn watchdog()(
        limit in prop::option::of(duration(1000, 3_600_000)), device in path(), heartbeat_file in path(),
    ) -> Watchdog {
        Watchdog { limit, device, heartbeat_file }
    }
}

fn relays() -> impl Strategy<Value = Vec<RelayLink>> {
    let pins = [
        "varta-relay:NY2AXHH7WN5JRHFFITTLW6AKFR4JAHJ7WM3TQ5UFCGRQMF5PUAOVQZOJ5U",
        "varta-relay:JP2RELZUIVKMKO66F25YZUVX4PIWACWWGHBYLJOXZTRDY54FIWNNJBJ7LI",
        "varta-relay:3PA3JSIA77SI2V23LWS4MOAEAES7MXNQ7Y7CISKLO3VJQZCX3GDIXFVP3E",
    ];
    let hosts = prop_oneof!["[a-z0-9._-]{1,20}", Just("[2001:db8::1]".to_owned())];
    prop::collection::vec((hosts, 1..=u16::MAX), 0..=3).prop_map(move |addresses| {
        let link = |((host, port), pin): ((String, u16), &str)| RelayLink {
            address: format!("{host}:{port}"),
            pin: pin.to_owned(),
        };
        addresses.into_iter().zip(pins).map(link).collect()
    })
}

prop_compose! {
    fn config()(
        name in prop::option::of("[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}"),
        (state_dir, key_file, roster_file) in (path(), "/[^\0]{1,20}".prop_map(PathBuf::from), path()),
        listen in (1..=16_u16).prop_flat_map(|count| (1..=count).map(listen).collect::<Vec<_>>()),
        (gather, stall, acceptance) in (duration(0, 5), stall(), acceptance()),
        (relay, peers_file, every) in (relays(), path(), duration(50, 60_000)),
        (recovery, recovery_brake, audit) in (prop::collection::vec(recovery(), 0..3), brake(), audit()),
        (agents, slots_per_agent, processes) in (1..=10_000_000_u32, 1..=65_535_u32, 1..=1_048_576_u32),
        (port, http_on, token_file) in (any::<u16>(), any::<bool>(), path()),
        per_agent in prop::sample::select(vec![PerAgent::All, PerAgent::Unhealthy, PerAgent::None]),
        (file, beats) in (path(), any::<bool>()),
        (rotate_at, keep, watchdog) in (prop::option::of(65_536..=1_u32 << 30), 1..=100_u32, watchdog()),
        format in prop::sample::select(vec![LogFormat::Text, LogFormat::Json]),
        level in prop::sample::select(vec![LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]),
    ) -> ObserverConfig {
        let ip = if token_file.is_some() { [10, 0, 0, 1] } else { [127, 0, 0, 1] };
        ObserverConfig {
            observer: Identity { name, state_dir, key_file: Some(key_file), roster_file },
            listen,
            ingest: Ingest { gather },
            stall,
            acceptance,
            recovery,
            recovery_brake,
            audit,
            relay,
            peers: Peers { key_file: peers_file, every },
            limits: Limits { agents, slots_per_agent, processes },
            http: Http { listen: http_on.then_some((ip, port).into()), token_file },
            metrics: Metrics { per_agent },
            export: Export { beats: beats && file.is_some(), file, rotate_at, keep },
            watchdog,
            log: Log { format, level },
        }
    }
}

/// Text made of the pieces a file is made of, put together wrongly.
fn almost_toml() -> impl Strategy<Value = String> {
    let keys = ObserverConfig::keys().into_iter().chain(RelayConfig::keys()).flat_map(|key| {
        let (section, name) = key.split_once('.').expect("section.key");
        [key.clone(), section.to_owned(), name.to_owned()]
    });
    let signs = [
        "[", "]", "[[", "]]", "{", "}", ".", "=", "\n", ",", " ", "\"", "'", "\"\"\"", "#", "\\", "-", "\r\n",
        "\u{feff}",
    ];
    let values = [
        "1",
        "-9",
        "99999999999999999999",
        "0x",
        "\"2s\"",
        "\"9MiB\"",
        "true",
        "\"\"",
        "\"[::]:0\"",
        "\"0600\"",
        "[\"/bin/true\", \"{pid}\"]",
        "{ agent = \"*\", labels = { a = \"b\" } }",
        "1979-05-27",
        "nan",
    ];
    let pieces: Vec<String> = keys.chain(signs.map(str::to_owned)).chain(values.map(str::to_owned)).collect();
    let piece = prop_oneof![8 => prop::sample::select(pieces), 1 => any::<String>()];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A few keys of relay.toml, each with a value that fits some key.
fn relay_toml() -> impl Strategy<Value = String> {
    let keys: Vec<_> = RelayConfig::keys().into_iter().filter(|key| !key.starts_with("relay.key_file")).collect();
    let values = [
        "1",
        "50",
        "\"2s\"",
        "\"500ms\"",
        "\"2h\"",
        "\"64MiB\"",
        "\"8GiB\"",
        "\"json\"",
        "\"alertmanager\"",
        "\"all\"",
        "\"none\"",
        "\"debug\"",
        "\"x-1\"",
        "\"/p\"",
        "\"http://127.0.0.1:1/h\"",
        "\"https://h.example\"",
        "\"127.0.0.1:99\"",
        "[\"web-*\", \"*\"]",
        "[]",
    ];
    let pair = (prop::sample::select(keys), prop::sample::select(values.to_vec()));
    prop::collection::btree_map(pair.prop_map(|(key, value)| (key, value)), Just(()), 0..4).prop_map(|pairs| {
        let mut sections =
            std::collections::BTreeMap::from([("relay".to_owned(), "key_file = \"r.key\"\n".to_owned())]);
        for (key, value) in pairs.into_keys() {
            let (section, name) = key.split_once('.').expect("section.key");
            sections.entry(section.to_owned()).or_default().push_str(&format!("{name} = {value}\n"));
        }
        sections
            .into_iter()
            .map(|(section, keys)| match &*section {
                "observer" | "webhook" => format!("[[{section}]]\n{keys}"),
                _ => format!("[{section}]\n{keys}"),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn rendered_reads_back(config in config()) {
        config.validate().unwrap();
        let text = config.render();
        let back = ObserverConfig::parse(&text, Path::new("/etc/varta/observer.toml"));
        prop_assert_eq!(back.map_err(|error| error.to_string()), Ok(config), "{}", text);
    }

    #[test]
    fn reload_of_anything_is_valid_and_then_quiet(old in config(), new in config()) {
        let first = old.reload(&new);
        first.config.validate().unwrap();
        let second = first.config.reload(&new);
        prop_assert_eq!(second.live, Vec::<String>::new());
        prop_assert_eq!(&second.restart, &first.restart);
        prop_assert_eq!(first.restart.is_empty(), first.config == new);
    }

    #[test]
    fn any_text_is_answered(text in prop_oneof![almost_toml(), any::<String>()]) {
        match ObserverConfig::parse(&text, Path::new("f")) {
            Ok(config) => config.validate().unwrap(),
            Err(error) => prop_assert!(error.to_string().lines().all(|line| line.starts_with("f:") || line.starts_with("and "))),
        }
    }

    #[test]
    fn any_text_of_a_relay_is_answered(text in prop_oneof![3 => relay_toml(), 1 => almost_toml(), 1 => any::<String>()]) {
        match RelayConfig::parse(&text, Path::new("/f")) {
            Ok(config) => {
                config.validate().unwrap();
                let back = RelayConfig::parse(&config.render(), Path::new("/f"));
                prop_assert_eq!(back.map_err(|error| error.to_string()), Ok(config), "{}", text);
            }
            Err(error) => prop_assert!(error.to_string().lines().all(|line| line.starts_with("/f:") || line.starts_with("and "))),
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, &bytes).unwrap();
        if let Err(error) = ObserverConfig::load(&file) {
            prop_assert!(error.to_string().starts_with(&file.display().to_string()));
        }
    }
}

#[test]
fn depth_and_length_do_no_harm() {
    let piled = |piece: &str| piece.repeat((1 << 18) / piece.len());
    for piece in [
        "a.",
        "[",
        "{a=",
        "[[a.",
        "a=[",
        "\"\n",
        "[[listen]]\n",
        "[[recovery]]\n",
        "recovery.match={match={",
        "a={",
        "stall.misses=1\n",
        "=",
    ] {
        assert!(ObserverConfig::parse(&piled(piece), Path::new("f")).is_err(), "{piece}");
        assert!(ObserverConfig::parse(&format!("stall.margin={}", piled(piece)), Path::new("f")).is_err(), "{piece}");
    }
}
