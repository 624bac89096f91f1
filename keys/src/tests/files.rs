//! Rosters and observer key files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::Mode;
use varta_client::keyfile::{ContentError, Fault, SecretFileError, UnixSeconds, create_secret_file};
use varta_vlp::key::{AgentSecret, AudienceSecret, Generation, IdentitySecret, Name, TokenError};

use super::set_mode;
use crate::*;

fn roster() -> Roster {
    let name = |text| Name::new(text).expect("a name");
    let mut full = RosterAgent::new(name("web-1"), Generation(7));
    full.labels =
        BTreeMap::from([("site".to_owned(), "ams \"1\" \\ é".to_owned()), ("rack.row".to_owned(), String::new())]);
    full.expires = Some(UnixSeconds(1_893_456_000));
    full.required = true;
    full.recovery = true;
    full.max_promise = Some(Duration::from_secs(7200));
    full.max_hold = Some(Duration::from_millis(90_500));
    full.generation_overlap = Some(Duration::from_secs(7 * 86_400));
    full.return_within = Some(Duration::from_secs(600));
    full.revoked = vec![Generation(2), Generation(5)];
    Roster { version: 12, agents: vec![RosterAgent::new(name("api"), Generation(1)), full] }
}

fn parse(text: &str) -> Result<Roster, ContentError> {
    Roster::parse(text, Path::new("roster.toml"))
}

/// The mistake in `[[agent]]` after its good lines.
fn mistake(line: &str) -> (usize, String, Fault) {
    let text = format!("version = 1\n[[agent]]\nname = \"web-1\"\ngeneration = 1\n{line}\n");
    let error = parse(&text).expect_err(line);
    (error.line, error.key, error.fault)
}

#[test]
fn a_roster_reads_back_as_it_was_rendered() {
    assert_eq!(parse(&roster().render()), Ok(roster()));
    let empty = Roster { version: 1, agents: Vec::new() };
    assert_eq!(parse(&empty.render()), Ok(empty));
}

#[test]
fn a_roster_reads_as_its_keys_say() {
    let text = "version = 3\n[[agent]]\nname = \"a\"\ngeneration = 2\nexpires = 2030-01-01T02:00:00+02:00\nrequired = true\n\
                max_hold = \"1h 30m\"\nrevoked = [5, 1]\nlabels = { site = \"ams\" }\n";
    let read = parse(text).expect("a roster");
    let agent = &read.agents[0];
    assert_eq!((read.version, agent.name.as_str(), agent.generation), (3, "a", Generation(2)));
    assert_eq!(agent.expires, Some(UnixSeconds(1_893_456_000)));
    assert_eq!((agent.required, agent.recovery), (true, false));
    assert_eq!((agent.max_hold, agent.max_promise), (Some(Duration::from_secs(5400)), None));
    assert_eq!(agent.revoked, [Generation(1), Generation(5)]);
    assert_eq!(agent.labels, BTreeMap::from([("site".to_owned(), "ams".to_owned())]));
}

#[test]
fn mistakes_in_a_roster_are_told_by_line_and_key() {
    let is_value = |(line, key, fault): (usize, String, Fault), wanted: &str| {
        assert_eq!((line, key.as_str()), (5, wanted));
        assert!(matches!(fault, Fault::Value(_)), "{fault}");
    };
    is_value(mistake("expires = 2030-01-01T02:00:00"), "agent[0].expires");
    is_value(mistake("expires = 1969-12-31T23:59:59Z"), "agent[0].expires");
    is_value(mistake("max_promise = \"soon\""), "agent[0].max_promise");
    is_value(mistake("max_promise = \"0s\""), "agent[0].max_promise");
    is_value(mistake("return_within = \"20years\""), "agent[0].return_within");
    is_value(mistake("labels = { host = \"x\" }"), "agent[0].labels");
    is_value(mistake("labels = { a = \"tab\\t\" }"), "agent[0].labels");
    is_value(mistake("revoked = [0]"), "agent[0].revoked");
    let (line, key, fault) = mistake("revoked = [3, 3]");
    assert_eq!((line, key.as_str()), (5, "agent[0].revoked"));
    assert!(matches!(fault, Fault::Duplicate { .. }), "{fault}");
    let (line, key, fault) = mistake("expires = \"2030-01-01T02:00:00Z\"");
    assert_eq!((line, key.as_str()), (5, "agent[0].expires"));
    assert!(matches!(fault, Fault::WrongType { found: "a string", .. }), "{fault}");
    let (line, key, fault) = mistake("requird = true");
    assert_eq!((line, key.as_str()), (5, "agent[0].requird"));
    assert!(matches!(fault, Fault::UnknownKey { .. }), "{fault}");
    let (line, key, fault) = mistake("[[agent]]\nname = \"web-1\"\ngeneration = 1");
    assert_eq!((line, key.as_str()), (6, "agent[1].name"));
    assert!(matches!(fault, Fault::Duplicate { .. }), "{fault}");
    let error = parse("[[agent]]\nname = \"a\"\ngeneration = 1\n").expect_err("no version");
    assert_eq!((error.line, error.key.as_str(), error.fault), (1, "version", Fault::MissingKey));
}

#[test]
fn a_roster_file_that_others_can_write_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("roster.toml");
    fs::write(&file, roster().render()).expect("a file");
    set_mode(&file, 0o644);
    assert_eq!(Roster::load(&file).expect("public is fine"), roster());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    assert_eq!(Roster::load(&link).expect("a link is fine"), roster());
    for bit in [0o020, 0o002] {
        set_mode(&file, 0o644 | bit);
        let error = Roster::load(&file).expect_err("others can write it");
        let LoadError::File(PublicFileError::Mode { found, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(*found, 0o644 | bit);
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
}

#[test]
fn only_a_regular_text_file_of_bounded_length_is_a_roster() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::from_bits_truncate(0o600)).expect("a pipe");
    for path in [&pipe, directory.path(), Path::new("/dev/null")] {
        let error = Roster::load(path).expect_err("no regular file");
        assert!(matches!(error, LoadError::File(PublicFileError::NotRegular { .. })), "{error}");
    }
    let file = directory.path().join("big");
    let big = fs::File::create(&file).expect("a file");
    big.set_len(MAX_PUBLIC_FILE_BYTES + 1).expect("a hole");
    set_mode(&file, 0o644);
    let error = Roster::load(&file).expect_err("one byte too many");
    assert!(matches!(error, LoadError::File(PublicFileError::TooLarge { .. })), "{error}");
    fs::write(&file, b"version = 1\n# \xFF\n").expect("a file");
    let error = Roster::load(&file).expect_err("not text");
    assert!(matches!(error, LoadError::File(PublicFileError::NotUtf8 { line: 2, .. })), "{error}");
    let error = Roster::load(&directory.path().join("missing")).expect_err("not there");
    assert!(matches!(error, LoadError::File(PublicFileError::Unreadable { .. })), "{error}");
}

fn observer() -> ObserverKeyFile {
    ObserverKeyFile {
        audience: "obs-2".to_owned(),
        secret: AudienceSecret::from_bytes([7; 32]),
        identity: IdentitySecret::from_bytes([8; 32]),
        retiring: vec![RetiringAudience {
            name: "obs-1".to_owned(),
            secret: AudienceSecret::from_bytes([9; 32]),
            until: UnixSeconds(1_893_456_000),
        }],
    }
}

fn observer_mistake(from: &str, to: &str) -> (usize, String, Fault) {
    let text = observer().render();
    assert!(text.contains(from), "the sample holds {from}");
    let broken = text.replacen(from, to, 1);
    let error = ObserverKeyFile::parse(&broken, Path::new("obs.key")).expect_err("a mistake");
    (error.line, error.key, error.fault)
}

#[test]
fn an_observer_key_reads_back_as_it_was_rendered() {
    let text = observer().render();
    assert!(text.contains("until = 2030-01-01T00:00:00Z\n"), "without quotes, in UTC");
    let read = ObserverKeyFile::parse(&text, Path::new("obs.key")).expect("our own text");
    assert_eq!(read.audience, "obs-2");
    assert_eq!(read.secret.expose(), &[7; 32]);
    assert_eq!(read.identity.expose(), &[8; 32]);
    let [retiring] = read.retiring.as_slice() else {
        panic!("one is retiring");
    };
    assert_eq!((retiring.name.as_str(), retiring.until), ("obs-1", UnixSeconds(1_893_456_000)));
    assert_eq!(retiring.secret.expose(), &[9; 32]);
}

#[test]
fn mistakes_in_an_observer_key_are_told_by_line_and_key() {
    let (line, key, fault) = observer_mistake("obs-1", "obs-2");
    assert_eq!((line, key.as_str()), (8, "retiring[0].name"));
    assert!(matches!(fault, Fault::Duplicate { .. }), "{fault}");
    let (line, key, fault) = observer_mistake("until = 2030-01-01T00:00:00Z\n", "");
    assert_eq!((line, key.as_str(), fault), (7, "retiring[0].until", Fault::MissingKey));
    let (line, key, fault) = observer_mistake("2030-01-01T00:00:00Z", "2030-01-01");
    assert_eq!((line, key.as_str()), (10, "retiring[0].until"));
    assert!(matches!(fault, Fault::Value(_)), "{fault}");
    let agent = AgentSecret::from_bytes([7; 32]).to_text();
    let (line, key, fault) = observer_mistake(observer().secret.to_text().as_str(), agent.as_str());
    assert_eq!((line, key.as_str()), (4, "secret"));
    assert!(matches!(fault, Fault::Secret(TokenError::WrongKind { .. })), "{fault}");
    let (line, key, fault) = observer_mistake("identity = ", "identitty = ");
    assert_eq!((line, key.as_str()), (5, "identitty"));
    assert!(matches!(fault, Fault::UnknownKey { .. }), "{fault}");
    let (line, _, fault) = observer_mistake("version = 1", "version = 9");
    assert_eq!((line, fault), (2, Fault::Version { wanted: 1, found: 9 }));
}

#[test]
fn an_observer_key_keeps_the_rules_for_secret_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("obs.key");
    create_secret_file(&file, &observer().render()).expect("a new file");
    assert_eq!(ObserverKeyFile::load(&file).expect("a good file").audience, "obs-2");
    set_mode(&file, 0o640);
    for error in [
        ObserverKeyFile::load(&file).expect_err("open to the group"),
        match inspect(&file).expect_err("open to the group") {
            InspectError::Key(error) => error,
            other => panic!("{other}"),
        },
    ] {
        let mode =
            varta_client::keyfile::KeyFileError::File(SecretFileError::Mode { file: file.clone(), found: 0o640 });
        assert_eq!(error.to_string(), mode.to_string());
    }
}

#[test]
fn nothing_shows_a_secret() {
    let shown = format!("{:?} {:#?}", observer(), observer().retiring);
    for secret in [observer().secret.to_text(), observer().identity.to_text(), observer().retiring[0].secret.to_text()]
    {
        let text = secret.as_str();
        for at in 24..text.len() - 8 {
            assert!(!shown.contains(&text[at..at + 8]), "{shown}");
        }
    }
    assert!(!shown.contains("[7") && !shown.contains("0707") && !shown.contains("BwcH"), "{shown}");
}

#[test]
fn a_large_roster_loads() {
    let agents = (0..10_000).map(|number| {
        let name = format!("agent-{number:06}.site-{}", number % 17);
        let mut agent = RosterAgent::new(Name::new(&name).expect("a name"), Generation(1));
        agent.labels.insert("site".to_owned(), format!("site-{}", number % 17));
        agent.labels.insert("role".to_owned(), "web".to_owned());
        agent.required = number % 2 == 0;
        agent
    });
    let roster = Roster { version: 9, agents: agents.collect() };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("roster.toml");
    replace_public_file(&file, &roster.render()).expect("a file");
    assert_eq!(Roster::load(&file).expect("a roster"), roster);
}
