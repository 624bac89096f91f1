//! Every rule against a real file; every mistake by line and key; no secret in any output.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use varta_vlp::key::{AgentSecret, AudienceSecret, Generation, TokenError};

use super::*;

const FILE: &str = "agent.key";

fn secret(byte: u8) -> AgentSecret {
    AgentSecret::from_bytes(std::array::from_fn(|at| byte ^ u8::try_from(at * 37 % 251).expect("below 251")))
}

fn sample() -> AgentKeyFile {
    AgentKeyFile {
        agent: "web-1".to_owned(),
        generation: Generation(3),
        audiences: vec![
            AgentAudience { name: "obs-1".to_owned(), address: "10.0.0.5:9900".to_owned(), secret: secret(1) },
            AgentAudience { name: "obs-2".to_owned(), address: "[2001:db8::5]:9900".to_owned(), secret: secret(2) },
        ],
    }
}

fn parse(text: &str) -> Result<AgentKeyFile, ContentError> {
    AgentKeyFile::parse(text, Path::new(FILE))
}

/// The mistake in the sample after `from` was replaced by `to`.
fn mistake(from: &str, to: &str) -> (usize, String, Fault) {
    let text = sample().render();
    assert!(text.contains(from), "the sample holds {from}");
    let error = parse(&text.replacen(from, to, 1)).expect_err("a mistake");
    assert_eq!(error.file, Path::new(FILE));
    (error.line, error.key, error.fault)
}

/// A directory and a good key file in it.
fn good_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(FILE);
    create_secret_file(&file, &sample().render()).expect("a new file");
    (directory, file)
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("our own file");
}

fn assert_same(left: &AgentKeyFile, right: &AgentKeyFile) {
    assert_eq!((&left.agent, left.generation), (&right.agent, right.generation));
    assert_eq!(left.audiences.len(), right.audiences.len());
    for (left, right) in left.audiences.iter().zip(&right.audiences) {
        assert_eq!((&left.name, &left.address), (&right.name, &right.address));
        assert_eq!(left.secret.expose(), right.secret.expose());
    }
}

#[test]
fn what_is_rendered_is_read_back() {
    let text = sample().render();
    assert!(text.starts_with("# Varta agent key. SECRET. For one agent; do not bake it into images.\nversion = 1\n"));
    assert_same(&parse(&text).expect("our own text"), &sample());
}

#[test]
fn a_file_is_created_closed_and_read_back() {
    let (_directory, file) = good_file();
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_same(&AgentKeyFile::load(&file).expect("a good file"), &sample());
    set_mode(&file, 0o400);
    assert_same(&AgentKeyFile::load(&file).expect("a credential's mode"), &sample());
}

#[test]
fn nothing_is_ever_overwritten() {
    let (directory, file) = good_file();
    let error = create_secret_file(&file, "other").expect_err("it is there");
    assert!(matches!(error, SecretFileError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("never overwritten"), "{error}");
    assert_same(&AgentKeyFile::load(&file).expect("untouched"), &sample());

    let (link, target) = (directory.path().join("link"), directory.path().join("target"));
    symlink(&target, &link).expect("a link that leads nowhere");
    let error = create_secret_file(&link, "other").expect_err("a link is there");
    assert!(matches!(error, SecretFileError::Exists { .. }), "{error}");
    assert!(!target.exists(), "the link was not followed");

    let nowhere = directory.path().join("missing/agent.key");
    let error = create_secret_file(&nowhere, "other").expect_err("no directory");
    assert!(matches!(error, SecretFileError::Create { .. }), "{error}");
}

#[test]
fn group_and_world_bits_are_refused_one_by_one() {
    let (_directory, file) = good_file();
    for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
        set_mode(&file, 0o600 | bit);
        match read_secret_file(&file) {
            Err(SecretFileError::Mode { found, file: named }) => {
                assert_eq!((found, named), (0o600 | bit, file.clone()))
            }
            other => panic!("mode {bit:o}: {other:?}"),
        }
    }
    set_mode(&file, 0o440);
    let error = read_secret_file(&file).expect_err("mode 0440 where everybody may mount nothing read-only");
    assert_eq!(
        error.to_string(),
        format!(
            "{0}: has mode 0440, which lets others at the secret; `chmod 600 {0}`, and if others could read it, issue \
             the key anew",
            file.display()
        )
    );
}

#[test]
fn a_symbolic_link_is_refused() {
    let (directory, file) = good_file();
    let link = directory.path().join("link");
    symlink(&file, &link).expect("a link");
    let error = read_secret_file(&link).expect_err("a link");
    assert!(matches!(&error, SecretFileError::Symlink { file } if *file == link), "{error}");
    assert!(error.to_string().contains("--key-fd"), "{error}");

    let knot = directory.path().join("knot");
    symlink(&knot, &knot).expect("a link to itself");
    let error = read_secret_file(&knot.join(FILE)).expect_err("a directory that leads to itself");
    assert!(matches!(error, SecretFileError::Unreadable { .. }), "{error}");
}

#[test]
fn a_hard_link_is_refused() {
    let (directory, file) = good_file();
    fs::hard_link(&file, directory.path().join("other")).expect("a hard link");
    let error = read_secret_file(&file).expect_err("two names");
    assert!(matches!(error, SecretFileError::Links { found: 2, .. }), "{error}");
}

#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::from_bits_truncate(0o600)).expect("a pipe");
    let error = read_secret_file(&pipe).expect_err("a pipe");
    assert!(matches!(error, SecretFileError::NotRegular { found: "a named pipe", .. }), "{error}");
}

#[test]
fn directories_devices_and_sockets_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    for (path, what) in
        [(directory.path(), "a directory"), (Path::new("/dev/null"), "a device"), (&socket, "a socket or a device")]
    {
        let error = read_secret_file(path).expect_err(what);
        assert!(matches!(error, SecretFileError::NotRegular { found, .. } if found == what), "{error}");
    }
}

#[test]
fn the_size_limit_is_exact() {
    let directory = tempfile::tempdir().expect("a directory");
    let limit = usize::try_from(MAX_SECRET_FILE_BYTES).expect("small");
    let (fits, over) = (directory.path().join("fits"), directory.path().join("over"));
    create_secret_file(&fits, &"x".repeat(limit)).expect("a file");
    create_secret_file(&over, &"x".repeat(limit + 1)).expect("a file");
    assert_eq!(read_secret_file(&fits).expect("just fits").len(), limit);
    let error = read_secret_file(&over).expect_err("one byte too many");
    assert!(matches!(error, SecretFileError::TooLarge { .. }), "{error}");
}

#[test]
fn missing_files_and_wrong_bytes_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let error = read_secret_file(&missing).expect_err("not there");
    assert!(matches!(error, SecretFileError::Unreadable { .. }), "{error}");
    assert!(error.to_string().ends_with("check the path"), "{error}");

    let binary = directory.path().join("binary");
    fs::write(&binary, [0xFF, 0xFE]).expect("a file");
    set_mode(&binary, 0o600);
    let error = read_secret_file(&binary).expect_err("not text");
    assert!(matches!(error, SecretFileError::NotUtf8 { .. }), "{error}");
}

#[test]
#[ignore = "needs root: gives a file to another user"]
fn another_users_file_is_refused() {
    let (_directory, file) = good_file();
    std::os::unix::fs::chown(&file, Some(65_533), None).expect("root may");
    let error = read_secret_file(&file).expect_err("another user's");
    assert!(matches!(error, SecretFileError::Owner { found: 65_533, user: 0, .. }), "{error}");
}

#[test]
#[ignore = "needs root: mounts a file system, in a mount namespace of its own"]
fn a_credential_that_a_manager_placed_is_read() {
    use nix::mount::{MsFlags, mount};
    let nothing: Option<&str> = None;
    let directory = tempfile::tempdir().expect("a directory");
    let credentials = directory.path().to_owned();
    // The namespace belongs to this thread alone and goes with it.
    let told = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
        mount(nothing, &credentials, Some("tmpfs"), MsFlags::empty(), nothing).expect("a mount");
        let file = credentials.join("agent");
        create_secret_file(&file, &sample().render()).expect("a file");
        set_mode(&file, 0o440);
        let writable = read_secret_file(&file).map(|_| ());
        mount(nothing, &credentials, nothing, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, nothing).expect("read-only");
        let placed = AgentKeyFile::load(&file);
        (writable, placed)
    });
    let (writable, placed) = told.join().expect("no panic");
    assert!(matches!(writable, Err(SecretFileError::Mode { found: 0o440, .. })), "{writable:?}");
    assert_same(&placed.expect("a credential"), &sample());
}

#[test]
fn a_descriptor_is_read_by_the_same_rules() {
    use std::os::fd::AsRawFd as _;
    let number = |file: &fs::File| u32::try_from(file.as_raw_fd()).expect("never negative");
    let (directory, file) = good_file();
    let link = directory.path().join("link");
    symlink(&file, &link).expect("a link");
    let opened = fs::File::open(&link).expect("whoever starts us may follow links");
    let read = read_secret_fd(number(&opened)).expect("a good file");
    assert_eq!(*read, *sample().render());
    fs::remove_file(&file).expect("ours");
    assert_eq!(*read_secret_fd(number(&opened)).expect("a file without a name"), *read);

    let open = directory.path().join("open");
    fs::write(&open, "text").expect("a file");
    set_mode(&open, 0o644);
    let opened = fs::File::open(&open).expect("ours");
    let error = read_secret_fd(number(&opened)).expect_err("open to all");
    assert!(matches!(error, SecretFileError::Mode { found: 0o644, .. }), "{error}");

    let error = read_secret_fd(987_654).expect_err("never opened");
    assert!(error.to_string().starts_with("/proc/self/fd/987654: cannot be read"), "{error}");
}

#[test]
fn a_pipe_is_read_to_its_end() {
    use std::os::fd::AsRawFd as _;
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let mut writer = fs::File::from(writer);
    let number = u32::try_from(reader.as_raw_fd()).expect("never negative");
    let read = std::thread::spawn(move || read_secret_fd(number).map(|text| text.len()));
    let text = sample().render();
    for piece in text.as_bytes().chunks(7) {
        writer.write_all(piece).expect("it is read");
    }
    drop(writer);
    assert_eq!(read.join().expect("no panic").expect("a good key"), text.len());
}

#[test]
fn mistakes_in_keys_are_told_by_line() {
    let known = |fault| matches!(fault, Fault::UnknownKey { .. });
    let (line, key, fault) = mistake("agent = ", "agnet = ");
    assert_eq!((line, key.as_str(), known(fault)), (3, "agnet", true));
    let (line, key, fault) = mistake("address = \"[", "adress = \"[");
    assert_eq!((line, key.as_str(), known(fault)), (13, "audience[1].adress", true));
    let (line, key, fault) = mistake("generation = 3\n", "");
    assert_eq!((line, key.as_str(), fault), (1, "generation", Fault::MissingKey));
    let (line, key, fault) = mistake("name = \"obs-2\"\n", "");
    assert_eq!((line, key.as_str(), fault), (11, "audience[1].name", Fault::MissingKey));
    let (line, key, fault) = mistake("version = 1", "version = 2");
    assert_eq!((line, key.as_str(), fault), (2, "version", Fault::Version { wanted: 1, found: 2 }));
    let (line, key, fault) = mistake("[[audience]]", "[audience]");
    assert_eq!((line, key.as_str()), (11, ""));
    assert!(matches!(fault, Fault::Syntax(_)), "{fault}");
    let (line, _, fault) = mistake("\"obs-2\"", "\"obs-1\"");
    let first = "audience[0].name".to_owned();
    assert_eq!((line, fault), (12, Fault::Duplicate { first }));
}

#[test]
fn mistakes_in_values_are_told_by_line() {
    let (line, key, fault) = mistake("\"web-1\"", "\"-web\"");
    assert_eq!((line, key.as_str()), (3, "agent"));
    assert!(matches!(fault, Fault::Value(_)), "{fault}");
    let (line, key, fault) = mistake("generation = 3", "generation = \"3\"");
    let types = Fault::WrongType { wanted: "an integer", found: "a string" };
    assert_eq!((line, key.as_str(), fault), (4, "generation", types));
    for bad in ["0", "-1", "4294967296"] {
        let (line, key, fault) = mistake("generation = 3", &format!("generation = {bad}"));
        let range = "write an integer from 1 to 4294967295".to_owned();
        assert_eq!((line, key.as_str(), fault), (4, "generation", Fault::Value(range)));
    }
    for bad in [
        "10.0.0.5",
        "10.0.0.5:",
        "10.0.0.5:0",
        "10.0.0.5:65536",
        "10.0.0.5:+1",
        ":9900",
        "::1:9900",
        "a b:1",
        "[::1:9900",
        "-x:1",
    ] {
        let (line, key, fault) = mistake("10.0.0.5:9900", bad);
        assert_eq!((line, key.as_str()), (8, "audience[0].address"), "{bad}");
        assert_eq!(fault, Fault::Value(BadAddress.to_string()), "{bad}");
    }
    for good in ["localhost:1", "obs.example:65535", "10.0.0.5:09900", "[::1]:9900", "obs_1:9900"] {
        assert!(parse_address(good).is_ok(), "{good}");
    }
    assert_eq!(parse_address("[::1]:9900"), Ok(("::1", 9900)));
}

#[test]
fn there_is_an_audience_and_not_too_many() {
    let mut key = sample();
    key.audiences.clear();
    let error = parse(&key.render()).expect_err("nobody to beat to");
    assert_eq!((error.key.as_str(), error.fault), ("audience", Fault::MissingKey));
    let audience = |number: u8| AgentAudience {
        name: format!("obs-{number}"),
        address: "localhost:9900".to_owned(),
        secret: secret(number),
    };
    key.audiences = (1..=8).map(audience).collect();
    assert_same(&parse(&key.render()).expect("eight"), &key);
    key.audiences.push(audience(9));
    let error = parse(&key.render()).expect_err("nine");
    let fault = Fault::Count { least: 1, max: 8, found: 9 };
    assert_eq!((error.line, error.key.as_str(), error.fault), (6, "audience", fault));
}

#[test]
fn mistakes_in_secrets_are_told_by_kind() {
    let text = secret(1).to_text();
    let (head, last) = text.as_str().split_at(text.as_str().len() - 1);
    let other = if last == "A" { "B" } else { "A" };
    let wrong = |to: &str| {
        let (line, key, fault) = mistake(text.as_str(), to);
        assert_eq!((line, key.as_str()), (9, "audience[0].secret"));
        match fault {
            Fault::Secret(error) => error,
            other => panic!("{other}"),
        }
    };
    assert_eq!(wrong(&format!("{head}{other}")), TokenError::BadChecksum);
    assert_eq!(wrong(head), TokenError::BadLength { found: 57 });
    assert!(matches!(wrong(&format!("{head}1")), TokenError::BadCharacter { .. }));
    assert!(matches!(wrong("hunter2"), TokenError::NotASecret { .. }));
    let audience = AudienceSecret::from_bytes(*secret(1).expose()).to_text();
    assert!(matches!(wrong(audience.as_str()), TokenError::WrongKind { found: "VARTA-AUDIENCE-SECRET-1", .. }));
}

/// No part of a secret's text, and none of its bytes in hex, may be in `output`.
fn assert_tells_no_secret(output: &str) {
    for audience in sample().audiences {
        let text = audience.secret.to_text();
        let digits = text.as_str().strip_prefix(AgentSecret::PREFIX).expect("typed");
        for window in digits.as_bytes().windows(8) {
            let part = std::str::from_utf8(window).expect("ASCII");
            assert!(!output.to_uppercase().contains(part), "{output}");
        }
        let hex: String = audience.secret.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!output.to_lowercase().contains(&hex[..16]), "{output}");
    }
}

#[test]
fn whatever_is_broken_no_secret_is_told() {
    let text = sample().render();
    assert_tells_no_secret(&format!("{:?} {:#?}", sample(), sample().audiences[0]));
    let mut refused = 0;
    for at in 0..text.len() {
        let (before, after) = text.split_at(at);
        let rest = after.get(1..).unwrap_or_default();
        let broken = [
            format!("{before}{rest}"),
            format!("{before}\"{after}"),
            format!("{before}\n{after}"),
            format!("{before}={after}"),
            format!("{before}#{after}"),
            format!("{before}\\{after}"),
            format!("{before}[{after}"),
            before.to_owned(),
        ];
        for text in broken {
            if let Err(error) = parse(&text) {
                refused += 1;
                assert_tells_no_secret(&format!("{error} {error:?} {error:#?}"));
            }
        }
    }
    assert!(refused > text.len(), "most of these are mistakes");
    let token = secret(1).to_text();
    for (from, to) in [
        ("\"web-1\"", format!("\"{}\"", token.as_str())),
        ("\"web-1\"", format!("\"{}\"", &token.as_str()[..64])),
        ("\"10.0.0.5:9900\"", format!("\"{}\"", token.as_str())),
        ("generation = 3", format!("{} = 3", token.as_str())),
        ("generation = 3", format!("generation = {}", token.as_str())),
        ("generation = 3", format!("generation = 3\n{} = 1", &token.as_str()[30..50])),
        ("generation = 3", format!("generation = 3\n\"{}\" = 1", &token.as_str()[30..].to_lowercase())),
    ] {
        let error = parse(&text.replacen(from, &to, 1)).expect_err("a secret in a wrong place");
        assert_tells_no_secret(&format!("{error} {error:?}"));
    }
}

#[test]
fn civil_dates_and_seconds_agree() {
    for (text, date, time, seconds) in [
        ("1970-01-01T00:00:00Z", (1970, 1, 1), (0, 0, 0), 0),
        ("1972-02-29T23:59:59Z", (1972, 2, 29), (23, 59, 59), 68_255_999),
        ("2000-02-29T12:00:00Z", (2000, 2, 29), (12, 0, 0), 951_825_600),
        ("2000-03-01T00:00:00Z", (2000, 3, 1), (0, 0, 0), 951_868_800),
        ("2026-12-31T23:59:59Z", (2026, 12, 31), (23, 59, 59), 1_798_761_599),
        ("2100-03-01T00:00:00Z", (2100, 3, 1), (0, 0, 0), 4_107_542_400),
        ("9999-12-31T23:59:59Z", (9999, 12, 31), (23, 59, 59), 253_402_300_799),
    ] {
        assert_eq!(UnixSeconds::from_civil(date, time, 0), Some(UnixSeconds(seconds)), "{text}");
        assert_eq!(UnixSeconds(seconds).to_string(), text);
    }
    let noon = UnixSeconds::from_civil((2026, 6, 1), (12, 0, 0), 0).expect("after 1970");
    assert_eq!(UnixSeconds::from_civil((2026, 6, 1), (14, 0, 0), 120), Some(noon));
    assert_eq!(UnixSeconds::from_civil((2026, 6, 1), (7, 0, 0), -300), Some(noon));
    assert_eq!(UnixSeconds::from_civil((1969, 12, 31), (23, 59, 59), 0), None);
    assert_eq!(UnixSeconds::from_civil((1970, 1, 1), (0, 30, 0), 60), None);
    let mut day = UnixSeconds(0);
    for _ in 0..200_000 {
        let text = day.to_string();
        let number = |range: std::ops::Range<usize>| text[range].parse::<u16>().expect("digits");
        let small = |range| u8::try_from(number(range)).expect("two digits");
        let date = (number(0..4), small(5..7), small(8..10));
        assert_eq!(UnixSeconds::from_civil(date, (0, 0, 0), 0), Some(day), "{text}");
        day.0 += 86_400;
    }
}
