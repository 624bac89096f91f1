//! `observer.toml`: every text is answered, by line and key where it is refused, and what is taken can be written again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use varta_config::{ConfigError, KernelFilter, Listen, LogFormat, LogLevel, ObserverConfig, PerAgent, Recovery, Trust};

use super::{
    input::Input,
    text::{Pieces, assert_placed},
};

const FILE: &str = "/etc/varta/observer.toml";

const HEADERS: [&str; 13] = [
    "[observer]",
    "[[listen]]",
    "[stall]",
    "[acceptance]",
    "[limits]",
    "[http]",
    "[metrics]",
    "[export]",
    "[log]",
    "[listen]",
    "[[recovery]]",
    "[recovery_brake]",
    "[audit]",
];

const VALUES: [&str; 44] = [
    "1",
    "0",
    "-9",
    "2",
    "64",
    "1000000",
    "99999999999999999999",
    "0x10",
    "1_000",
    "\"2s\"",
    "\"250ms\"",
    "\"1h\"",
    "\"0s\"",
    "\"7d\"",
    "\"1ns\"",
    "\"9MiB\"",
    "\"4MiB\"",
    "true",
    "false",
    "\"\"",
    "\"[::]:0\"",
    "\"127.0.0.1:9900\"",
    "\"0.0.0.0:9901\"",
    "\"off\"",
    "1979-05-27",
    "nan",
    "1.5",
    "\"obs-1\"",
    "\"state\"",
    "\"/etc/varta/obs-1.key\"",
    "\"verified\"",
    "\"operator-attested\"",
    "\"all\"",
    "\"unhealthy\"",
    "\"none\"",
    "\"json\"",
    "\"text\"",
    "\"info\"",
    "[1, 2]",
    "{ a = 1 }",
    "{ agent = \"*\", labels = { role = \"web\" } }",
    "[\"/bin/true\", \"{pid}\"]",
    "[\"PATH\"]",
    "\"0600\"",
];

fn pieces(use_with: impl FnOnce(&Pieces<'_>)) {
    let known = ObserverConfig::keys();
    let mut keys: Vec<&str> = known.iter().filter_map(|key| key.rsplit_once('.')).map(|(_, name)| name).collect();
    keys.extend(["threshhold", "secret", "a.b", "\"\"", "VARTA-AGENT-SECRET-1AAAA"]);
    use_with(&Pieces { headers: &HEADERS, keys: &keys, values: &VALUES });
}

/// A configuration near the legal ones.
fn chosen(input: &mut Input<'_>) -> ObserverConfig {
    let mut config = ObserverConfig::default();
    let duration = |input: &mut Input<'_>| match input.byte() % 4 {
        0 => Duration::from_millis(u64::from(input.short())),
        1 => Duration::from_secs(u64::from(input.short())),
        2 => Duration::from_nanos(input.odd()),
        _ => Duration::from_secs(1),
    };
    let path = |input: &mut Input<'_>| {
        let name = String::from_utf8_lossy(input.bytes(5)).into_owned();
        input.flag().then(|| PathBuf::from(format!("/{name}")))
    };
    let listeners = 1 + u16::from(input.byte() % 3);
    config.listen = (0..listeners)
        .map(|number| match input.byte() % 4 {
            0 => Listen { mode: u32::from(input.short() & 0o777), ..Listen::socket(format!("/run/{number}")) },
            1 => Listen::plaintext((input.array::<4>(), 9900 + number).into()),
            _ => Listen {
                trust: input.pick(&[Trust::Verified, Trust::OperatorAttested]),
                receive_buffer: 65_536 + u32::from(input.short()),
                kernel_filter: [KernelFilter::Off, KernelFilter::Auto, KernelFilter::On][usize::from(number % 3)],
                ..Listen::sealed((input.array::<4>(), 9900 + number).into())
            },
        })
        .collect();
    config.observer.key_file = Some("/etc/varta/obs-1.key".into());
    config.observer.state_dir = path(input);
    config.observer.roster_file = path(input);
    config.observer.name = input.flag().then(|| input.pick(&["obs-1", "", "-", "a b", "x"]).to_owned());
    while !input.is_empty() {
        match input.byte() % 17 {
            0 => config.stall.threshold = duration(input),
            1 => config.stall.misses = input.word(),
            2 => config.stall.margin = duration(input),
            3 => config.stall.max_promise = duration(input),
            4 => config.stall.max_hold = duration(input),
            5 => config.stall.blind_limit = duration(input),
            6 => config.acceptance.skew = duration(input),
            7 => config.acceptance.generation_overlap = duration(input),
            8 => config.acceptance.return_within = duration(input),
            9 => config.limits.agents = u32::from(input.short()),
            10 => config.limits.slots_per_agent = u32::from(input.byte()),
            11 => config.http.listen = input.flag().then(|| (input.array::<4>(), input.short()).into()),
            12 => config.http.token_file = path(input),
            13 => config.metrics.per_agent = input.pick(&[PerAgent::All, PerAgent::Unhealthy, PerAgent::None]),
            14 => (config.export.file, config.export.beats) = (path(input), input.flag()),
            15 => {
                config.recovery_brake.stop_percent = u32::from(input.byte());
                let exec = vec!["/bin/true".to_owned(), input.pick(&["{pid}", "{agent}", "{x}", "a", ""]).to_owned()];
                let timeout = input.flag().then(|| duration(input));
                config.recovery = vec![Recovery { exec, timeout, ..Recovery::default() }];
            }
            _ => {
                config.log.format = input.pick(&[LogFormat::Text, LogFormat::Json]);
                config.log.level = input.pick(&[LogLevel::Error, LogLevel::Info, LogLevel::Trace]);
            }
        }
    }
    config
}

fn check(text: &str) -> Option<ObserverConfig> {
    match ObserverConfig::parse(text, Path::new(FILE)) {
        Ok(config) => {
            config.validate().expect("what was read is valid");
            let rendered = config.render();
            let back = ObserverConfig::parse(&rendered, Path::new(FILE));
            assert_eq!(back.map_err(|error| error.to_string()).as_ref(), Ok(&config), "rendered as\n{rendered}");
            Some(config)
        }
        Err(error) => {
            check_error(&error, text);
            None
        }
    }
}

fn check_error(error: &ConfigError, text: &str) {
    let ConfigError::Invalid(problems) = error else { panic!("{error}") };
    assert!((1..=20).contains(&problems.list.len()), "{} problems", problems.list.len());
    assert!(problems.more == 0 || problems.list.len() == 20);
    assert!(problems.list.is_sorted_by_key(|problem| problem.line), "in the order of the file");
    let told = error.to_string();
    let mut lines = told.lines();
    for problem in &problems.list {
        let line = lines.next().expect("a line for each problem");
        assert!(!line.contains(char::is_control), "a control character in {line:?}");
        assert!(!problem.message.is_empty());
        match problem.line {
            Some(_) => assert_placed(line, FILE, text),
            None => assert!(line.starts_with(FILE), "{line}"),
        }
        assert!(line.contains(&problem.key), "{line} lacks {}", problem.key);
    }
    assert_eq!(lines.next().is_some(), problems.more > 0);
    assert!(lines.next().is_none(), "a problem has one line: {told}");
}

fn check_reload(old: &ObserverConfig, new: &ObserverConfig) {
    let first = old.reload(new);
    first.config.validate().expect("what a reload leaves in force is valid");
    let second = first.config.reload(new);
    assert!(second.live.is_empty(), "taken once, taken for good: {:?}", second.live);
    assert_eq!(second.restart, first.restart);
    assert_eq!(first.restart.is_empty(), first.config == *new);
}

fn check_bytes(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        check(text);
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let error = ObserverConfig::load(file.path()).expect_err("this is not UTF-8").to_string();
    assert!(error.starts_with(&format!("{}:", file.path().display())), "{error}");
}

/// Judges a file of these bytes, one of pieces, one rendered and edited, or two configurations.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => check_bytes(input.rest()),
        1 => pieces(|pieces| drop(check(&pieces.text(&mut input)))),
        2 => pieces(|pieces| {
            let length = input.below(48);
            let config = chosen(&mut Input::new(input.bytes(length)));
            let text = config.render();
            let read = check(&text);
            // A path that holds a line break and the like is legal, and so is every value that is.
            assert_eq!(read.is_some(), config.validate().is_ok(), "rendered, then read:\n{text}");
            assert!(read.is_none_or(|read| read == config), "another was read:\n{text}");
            check(&pieces.edit(&text, &mut input));
        }),
        _ => {
            let length = input.below(48);
            let old = chosen(&mut Input::new(input.bytes(length)));
            let new = chosen(&mut input);
            if old.validate().is_ok() && new.validate().is_ok() {
                check_reload(&old, &new);
            }
        }
    }
}
