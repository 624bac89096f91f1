//! What an operator is told, word for word.

use std::path::Path;

use varta_config::{At, ConfigError, Listen, MAX_FILE_BYTES, ObserverConfig};

/// A file without mistakes, to which a mistake is added.
const GOOD: &str = "[observer]\nkey_file = \"k\"\n[[listen]]\nsealed = \"0.0.0.0:9900\"\n";

fn told(text: &str) -> String {
    ObserverConfig::parse(text, Path::new("obs.toml")).expect_err("a mistake in the text").to_string()
}

#[test]
fn mistakes_in_the_text() {
    let table = [
        // Misspelt and misplaced keys and sections.
        ("[stall]\nthresold = \"2s\"", "obs.toml:6: stall.thresold: unknown key; did you mean `threshold`?"),
        ("[stall]\nmax-hold = \"2s\"", "obs.toml:6: stall.max-hold: unknown key; did you mean `max_hold`?"),
        (
            "[stall]\nSkew = 1\nskew = 1",
            "obs.toml:6: stall.Skew: unknown key; [stall] knows threshold, misses, margin, max_promise, max_hold, blind_limit\n\
          obs.toml:7: stall.skew: unknown key here; it belongs in [acceptance]",
        ),
        (
            "endpoint = \"/run/v\"",
            "obs.toml:5: listen[0].endpoint: unknown key; [[listen]] knows sealed, trust, receive_buffer, kernel_filter, socket, \
          mode, plaintext, accept_plaintext",
        ),
        ("[stal]\nmisses = 1", "obs.toml:5: stal: unknown section; did you mean `stall`?"),
        (
            "[uplink]\nexec = []",
            "obs.toml:5: uplink: unknown section; there are observer, listen, ingest, stall, acceptance, recovery, recovery_brake, \
          audit, relay, peers, limits, http, metrics, export, watchdog, log",
        ),
        (
            "[stall]\nVARTA-ROOT-SECRET-1XYZ = 1",
            "obs.toml:6: stall.(a secret, which belongs in a key file): unknown key; [stall] knows threshold, misses, margin, \
          max_promise, max_hold, blind_limit",
        ),
        (
            "[log]\n\"le\\u001bvel\\u202e\" = 1",
            "obs.toml:6: log.le\\u{1b}vel\\u{202e}: unknown key; [log] knows format, level",
        ),
        // Wrong types.
        ("[stall]\nmisses = \"two\"", "obs.toml:6: stall.misses: found \"two\"; write a whole number from 1 to 1000"),
        (
            "[stall]\nthreshold = 2",
            "obs.toml:6: stall.threshold: found 2; write a duration in quotes, from \"10ms\" to \"1d\"",
        ),
        (
            "[stall]\nmargin = [1]",
            "obs.toml:6: stall.margin: found an array; write a duration in quotes, from \"0s\" to \"1m\"",
        ),
        (
            "[limits]\nagents = { a = 1 }",
            "obs.toml:6: limits.agents: found a table; write a whole number from 1 to 10000000",
        ),
        ("[limits]\nagents = 1e6", "obs.toml:6: limits.agents: found 1e6; write a whole number from 1 to 10000000"),
        (
            "[export]\nrotate_at = \"9KiB\"\nkeep = 0",
            "obs.toml:6: export.rotate_at: found \"9KiB\"; write a size in quotes, from \"64KiB\" to \"1GiB\", or \"\" for never\n\
          obs.toml:7: export.keep: found 0; write a whole number from 1 to 100",
        ),
        ("[export]\nbeats = \"yes\"", "obs.toml:6: export.beats: found \"yes\"; write true or false"),
        (
            "[export]\nfile = 7",
            "obs.toml:6: export.file: found 7; write the path of a file or directory in quotes, or leave the key out",
        ),
        (
            "[metrics]\nper_agent = \"some\"",
            "obs.toml:6: metrics.per_agent: found \"some\"; write \"all\" or \"unhealthy\" or \"none\"",
        ),
        (
            "[http]\nlisten = \"localhost:80\"",
            "obs.toml:6: http.listen: found \"localhost:80\"; write an IP address and a port in quotes, such as \"127.0.0.1:9910\", or \"\" for none",
        ),
        ("[[stall]]\nmisses = 1", "obs.toml:5: stall: found an array; write the section once, as [stall]"),
        (
            "[[listen]]\nsocket = \"/s\"\nmode = 600",
            "obs.toml:7: listen[1].mode: found 600; write an octal file mode in quotes, from \"0000\" to \"0777\"",
        ),
        (
            "[[listen]]\nplaintext = \"\"",
            "obs.toml:6: listen[1].plaintext: found \"\"; write an IP address and a port in quotes, such as \"0.0.0.0:9900\" or \
          \"[::]:9900\"",
        ),
        // Out of range.
        (
            "[[listen]]\nsocket = \"/s\"\nmode = \"1777\"",
            "obs.toml:7: listen[1].mode: found \"1777\"; write an octal file mode in quotes, from \"0000\" to \"0777\"",
        ),
        (
            "[limits]\nprocesses = 1048577",
            "obs.toml:6: limits.processes: found 1048577; write a whole number from 1 to 1048576",
        ),
        ("[stall]\nmisses = 0", "obs.toml:6: stall.misses: found 0; write a whole number from 1 to 1000"),
        (
            "[stall]\nmisses = 4294967297",
            "obs.toml:6: stall.misses: found 4294967297; write a whole number from 1 to 1000",
        ),
        (
            "[limits]\nslots_per_agent = 65536",
            "obs.toml:6: limits.slots_per_agent: found 65536; write a whole number from 1 to 65535",
        ),
        ("[stall]\nmisses = -1", "obs.toml:6: stall.misses: found -1; write a whole number from 1 to 1000"),
        (
            "[acceptance]\nskew = \"2m\"",
            "obs.toml:6: acceptance.skew: found \"2m\"; write a duration in quotes, from \"10ms\" to \"1m\"",
        ),
        (
            "receive_buffer = \"1KiB\"",
            "obs.toml:5: listen[0].receive_buffer: found \"1KiB\"; write a size in quotes, from \"64KiB\" to \"1GiB\", or that many bytes",
        ),
        (
            "[export]\nfile = \"\"",
            "obs.toml:6: export.file: found \"\"; write the path of a file or directory in quotes, or leave the key out",
        ),
        // Bad forms.
        (
            "[stall]\nthreshold = \"3 parsecs\"",
            "obs.toml:6: stall.threshold: found \"3 parsecs\"; write a duration in quotes, from \"10ms\" to \"1d\"",
        ),
        (
            "receive_buffer = \"8MB\"",
            "obs.toml:5: listen[0].receive_buffer: found \"8MB\"; write a size in quotes, from \"64KiB\" to \"1GiB\", or that many bytes",
        ),
        (
            "[export]\nfile = \"/VARTA-AGENT-SECRET-1XYZ\"",
            "obs.toml:6: export.file: found (a secret, which belongs in a key file); write the path of a file or directory in quotes, \
          or leave the key out",
        ),
        // Syntax.
        ("[stall]\nmisses = 1\nmisses = 2", "obs.toml:7: not TOML: duplicate key, in `misses = 2`"),
        ("[observer]\nname = \"a\"", "obs.toml:5: not TOML: duplicate key, in `[observer]`"),
        ("[stall", "obs.toml:5: not TOML: unclosed table, expected `]`, in `[stall`"),
        (
            "[stall]\nthreshold = 2s",
            "obs.toml:6: not TOML: string values must be quoted, expected literal string, in `threshold = 2s`",
        ),
        (
            "[export]\nfile = VARTA-AGENT-SECRET-1XYZ",
            "obs.toml:6: not TOML: string values must be quoted, expected literal string, in `(a secret, which belongs in a key file)`",
        ),
        // Values that do not go together.
        (
            "[[listen]]\nsealed = \"0.0.0.0:9900\"",
            "obs.toml:6: listen[1].sealed: 0.0.0.0:9900 is also the address of listen[0]; write each once",
        ),
        (
            "[[listen]]\nplaintext = \"0.0.0.0:9900\"\naccept_plaintext = true",
            "obs.toml:6: listen[1].plaintext: 0.0.0.0:9900 is also the address of listen[0]; write each once",
        ),
        (
            "[[listen]]\nsocket = \"/s\"\n[[listen]]\nsocket = \"/s\"",
            "obs.toml:8: listen[2].socket: /s is also the path of listen[1]; write each once",
        ),
        (
            "[[listen]]\nplaintext = \"127.0.0.1:9901\"",
            "obs.toml:6: listen[1].plaintext: anybody who can send to it can forge plaintext beats; add accept_plaintext = true if \
          that is acceptable, or write sealed",
        ),
        ("mode = \"0600\"", "obs.toml:5: listen[0].mode: goes with socket only, and this is sealed; leave it out"),
        (
            "accept_plaintext = false",
            "obs.toml:5: listen[0].accept_plaintext: goes with plaintext only, and this is sealed; leave it out",
        ),
        (
            "[[listen]]\nsocket = \"/s\"\nreceive_buffer = \"8MiB\"\nkernel_filter = \"auto\"",
            "obs.toml:7: listen[1].receive_buffer: goes with sealed or plaintext only, and this is socket; leave it out\n\
          obs.toml:8: listen[1].kernel_filter: goes with sealed only, and this is socket; leave it out",
        ),
        (
            "[http]\nlisten = \"10.0.0.1:80\"",
            "obs.toml:6: http.listen: 10.0.0.1:80 can be reached from other hosts; add token_file, or listen on 127.0.0.1",
        ),
        (
            "[export]\nbeats = true",
            "obs.toml:6: export.beats: is true, but there is no file to write to; add export.file",
        ),
    ];
    ObserverConfig::parse(GOOD, Path::new("obs.toml")).unwrap();
    for (mistake, message) in table {
        assert_eq!(told(&format!("{GOOD}{mistake}\n")), message, "{mistake}");
    }
}

#[test]
fn mistakes_in_the_whole() {
    let nowhere = "listen: nowhere to receive beats; add a [[listen]] section with sealed = \"0.0.0.0:9900\"";
    let one_place = "write exactly one of sealed, socket and plaintext in each [[listen]]";
    let key_missing =
        "observer.key_file: is missing, and a sealed listener needs it; `varta keys observer add` makes one";
    let brackets = "write [[listen]], with two brackets, once for each one";
    let table = [
        (String::new(), format!("obs.toml: {nowhere}")),
        ("\nlisten = []".to_owned(), format!("obs.toml:2: {nowhere}")),
        (
            "[[listen]]\ntrust = \"verified\"".to_owned(),
            format!("obs.toml:1: listen[0]: found nowhere to listen; {one_place}"),
        ),
        (
            "[[listen]]\nsealed = \"[::1]:0\"\nplaintext = \"[::1]:0\"\nsocket = \"/s\"".to_owned(),
            format!("obs.toml:1: listen[0]: found sealed and socket and plaintext; {one_place}"),
        ),
        ("[[listen]]\nsealed = \"[::1]:0\"".to_owned(), format!("obs.toml: {key_missing}")),
        ("[[listen]]\nsealed = \"[::1]:0\"\n[observer]\n".to_owned(), format!("obs.toml:3: {key_missing}")),
        ("[listen]\nsealed = \"[::1]:0\"".to_owned(), format!("obs.toml:1: listen: found a table; {brackets}")),
        ("listen = [3]".to_owned(), format!("obs.toml:1: listen: found 3; {brackets}")),
        ("stall = 3".to_owned(), "obs.toml:1: stall: found 3; write the section once, as [stall]".to_owned()),
        (
            "threshold = 3".to_owned(),
            "obs.toml:1: threshold: stands before any section; it belongs in [stall]".to_owned(),
        ),
        ("sealed = 3".to_owned(), "obs.toml:1: sealed: stands before any section; it belongs in [[listen]]".to_owned()),
        (
            GOOD.to_owned() + &"[[listen]]\nsealed = \"[::1]:0\"\n".repeat(16),
            "obs.toml:3: listen: found 17; write at most 16 [[listen]] sections".to_owned(),
        ),
    ];
    for (text, message) in table {
        assert_eq!(told(&text), message, "{text}");
    }
}

#[test]
fn a_path_of_a_socket_must_fit_its_address() {
    let text = |name: &str| format!("[[listen]]\nsocket = \"{name}\"\n");
    let fits = "s".repeat(102);
    let config = ObserverConfig::parse(&text(&fits), Path::new("/etc/obs.toml")).unwrap();
    assert_eq!(config.listen[0].at(), Some(At::Socket(Path::new(&format!("/etc/{fits}")))));
    assert_eq!(config.listen[0].at().unwrap().to_string(), format!("/etc/{fits}"));
    let error = ObserverConfig::parse(&text(&(fits + "s")), Path::new("/etc/obs.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/etc/obs.toml:2: listen[0].socket: the path of a socket has at most 107 bytes, this one 108; write a shorter one"
    );
}

#[test]
fn listeners_built_in_code_are_of_one_kind() {
    let told = |listen: Listen| {
        let mut config = ObserverConfig { listen: vec![listen], ..ObserverConfig::default() };
        config.observer.key_file = Some("k".into());
        config.validate().map_err(|error| error.to_string())
    };
    let address = "127.0.0.1:0".parse().unwrap();
    for good in [Listen::sealed(address), Listen::socket("/s"), Listen::plaintext(address)] {
        assert_eq!(told(good), Ok(()));
    }
    let table = [
        (
            Listen::default(),
            "listen[0]: found nowhere to listen; write exactly one of sealed, socket and plaintext in each [[listen]]",
        ),
        (
            Listen { mode: 0o660, ..Listen::sealed(address) },
            "listen[0].mode: goes with socket only, and this is sealed; leave it out",
        ),
        (
            Listen { receive_buffer: 1 << 20, ..Listen::socket("/s") },
            "listen[0].receive_buffer: goes with sealed or plaintext only, and this is socket; leave it out",
        ),
        (
            Listen { mode: 0o1777, ..Listen::socket("/s") },
            "listen[0].mode: found \"1777\"; write an octal file mode in quotes, from \"0000\" to \"0777\"",
        ),
    ];
    for (listen, message) in table {
        assert_eq!(told(listen), Err(message.to_owned()));
    }
}

/// A rule without mistakes, to which a mistake is added.
const RULE: &str = "[[recovery]]\nmatch = { agent = \"web-1\" }\nexec = [\"/bin/true\", \"{unit}\"]\n";

#[test]
fn mistakes_in_a_recovery_rule() {
    let exec = "write the program and its arguments in quotes and brackets, 1 to 64 in all, such as [\"/usr/bin/logger\", \"{pid}\"]";
    let fields = "agent, unit, labels in braces, such as { agent = \"*\" }";
    let labels = "labels of the roster in braces, at most 64, such as { site = \"zrh\", role = \"web\" }";
    let name = "write a name in quotes, or \"*\" for any";
    let table = [
        ("[[recovery]]", format!("5: recovery[0].match: is missing; write {fields}\nobs.toml:5: recovery[0].exec: is missing; {exec}")),
        ("exec = []", format!("7: recovery[0].exec: found an array; {exec}")),
        ("exec = [\"/bin/true\", 7]", format!("7: recovery[0].exec: found an array; {exec}")),
        ("exec = [\"/bin/true\", \"VARTA-AGENT-SECRET-1XYZ\"]", format!("7: recovery[0].exec: found an array; {exec}")),
        ("exec = \"/bin/true {pid}\"", format!("7: recovery[0].exec: found \"/bin/true {{pid}}\"; {exec}")),
        (
            "exec = [\"restart\"]",
            "7: recovery[0].exec: no shell and no PATH looks for the program `restart`; write its absolute path".to_owned(),
        ),
        (
            "exec = [\"/bin/true\", \"{foo}\"]",
            "7: recovery[0].exec: in `{foo}`: unknown placeholder {foo}; there are {pid}, {agent} and {unit}".to_owned(),
        ),
        (
            "exec = [\"/bin/true\", \"--pid={pid}\"]",
            "7: recovery[0].exec: in `--pid={pid}`: {pid} stands inside a longer argument; there is no shell, and only a whole \
          argument is replaced: write \"{pid}\" as one of its own"
                .to_owned(),
        ),
        (
            "exec = [\"/bin/true\", \"{pid}\"]",
            "7: recovery[0].exec: the pid of `web-1` is one of another host and means nothing here; hand on {agent} and \
             {unit}"
                .to_owned(),
        ),
        ("match = \"*\"", format!("6: recovery[0].match: found \"*\"; write {fields}")),
        ("match = { agnt = \"*\" }", "6: recovery[0].match.agnt: unknown key; did you mean `agent`?".to_owned()),
        ("match = { unit = \"a b\" }", format!("6: recovery[0].match.unit: found \"a b\"; {name}")),
        ("match = { labels = { agent = \"x\" } }", format!("6: recovery[0].match.labels: found a table; write {labels}")),
        ("match = { labels = { role = 1 } }", format!("6: recovery[0].match.labels: found a table; write {labels}")),
        (
            "debounce = \"2d\"",
            "8: recovery[0].debounce: found \"2d\"; write a duration in quotes, from \"0s\" to \"1d\"".to_owned(),
        ),
        (
            "timeout = \"1ms\"",
            "8: recovery[0].timeout: found \"1ms\"; write a duration in quotes, from \"10ms\" to \"1h\", or \"\" for no limit"
                .to_owned(),
        ),
        ("env = [\"A=1\"]", "8: recovery[0].env: `A=1` is no name of a variable; write the name alone".to_owned()),
        (
            "[recovery_brake]\nstop_percent = 0",
            "9: recovery_brake.stop_percent: found 0; write a whole number from 1 to 100".to_owned(),
        ),
    ];
    for (mistake, message) in table {
        let key = mistake.split(' ').next().unwrap();
        // A key that the rule has already is put in its place.
        let rule: String = match mistake {
            "[[recovery]]" => String::new(),
            _ => RULE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect(),
        };
        let rule = if key == "match" { rule.replace("]]\n", &format!("]]\n{mistake}\n")) } else { rule + mistake };
        assert_eq!(told(&format!("{GOOD}{rule}\n")), format!("obs.toml:{message}"), "{mistake}");
    }
    let many = RULE.repeat(65);
    assert_eq!(
        told(&format!("{GOOD}{many}")),
        "obs.toml:5: recovery: found 65; write at most 64 [[recovery]] sections"
    );
    ObserverConfig::parse(&format!("{GOOD}{}", RULE.repeat(64)), Path::new("obs.toml")).unwrap();
}

#[test]
fn braces_that_are_no_placeholder_are_left_alone() {
    let rule = RULE.replace("{unit}", "{\\\"pid\\\":1} {} {PID} {");
    ObserverConfig::parse(&format!("{GOOD}{rule}timeout = \"\"\n"), Path::new("obs.toml")).unwrap();
}

#[test]
fn all_mistakes_are_told_at_once_by_line() {
    let text = "[log]\nlevel = 3\n[stall]\nmisses = 0\nmargn = 1\n[[listen]]\nsealed = 1\n[lock]\n";
    assert_eq!(
        told(text).lines().map(|line| line.split(": ").next().unwrap()).collect::<Vec<_>>(),
        ["obs.toml:2", "obs.toml:4", "obs.toml:5", "obs.toml:7", "obs.toml:8"]
    );
    let many: String = (0..25).map(|number| format!("x{number:02} = 1\n")).collect();
    assert_eq!(told(&many).lines().count(), 21);
    assert!(told(&many).ends_with("\nand 5 more"));
}

#[test]
fn long_text_is_cut() {
    let message = told(&format!("{GOOD}[log]\nlevel = \"{}\"", "é".repeat(1000)));
    assert!(message.contains(&format!("found \"{}..; write", "é".repeat(59))), "{message}");
}

#[test]
fn built_in_code_is_checked_as_strictly() {
    let mut config = ObserverConfig::default();
    config.observer.name = Some("-a".to_owned());
    config.stall.misses = 1001;
    config.listen = vec![Listen { receive_buffer: 1, ..Listen::sealed("0.0.0.0:9900".parse().unwrap()) }];
    config.export.file = Some("a\0b".into());
    config.http.listen = Some("[::]:9910".parse().unwrap());
    let told = config.validate().unwrap_err().to_string();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "observer.name: found \"-a\"; write a name in quotes: 1 to 64 letters, digits and ._:@+-, beginning with a letter or digit",
            "listen[0].receive_buffer: found \"1B\"; write a size in quotes, from \"64KiB\" to \"1GiB\", or that many bytes",
            "stall.misses: found 1001; write a whole number from 1 to 1000",
            "export.file: found \"a\\u0000b\"; write the path of a file or directory in quotes, or leave the key out",
            "observer.key_file: is missing, and a sealed listener needs it; `varta keys observer add` makes one",
            "http.listen: [::]:9910 can be reached from other hosts; add token_file, or listen on 127.0.0.1",
        ]
    );
    let mut config =
        ObserverConfig { listen: vec![Listen::sealed("[::]:0".parse().unwrap())], ..ObserverConfig::default() };
    config.observer.key_file = Some("k".into());
    config.validate().unwrap();
    for loopback in ["127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        config.http.listen = Some(loopback.parse().unwrap());
        config.validate().unwrap();
    }
    config.http.listen = None;
    config.validate().unwrap();
}

#[test]
fn the_file_itself() {
    let dir = tempfile::tempdir().unwrap();
    let name = |file: &str| dir.path().join(file);
    let told = |file: &str| ObserverConfig::load(&name(file)).unwrap_err().to_string();
    let shown = dir.path().display();

    assert_eq!(
        told("absent.toml"),
        format!("{shown}/absent.toml: cannot be read: No such file or directory (os error 2)")
    );
    assert_eq!(told(""), format!("{shown}/: is a directory; name the configuration file in it"));

    std::fs::write(name("latin1.toml"), b"[observer]\n# caf\xe9\n").unwrap();
    assert_eq!(told("latin1.toml"), format!("{shown}/latin1.toml:2: is not UTF-8 text; save the file as UTF-8"));

    let padded = |size: u64| format!("{GOOD}{}", "#".repeat(size as usize - GOOD.len()));
    std::fs::write(name("large.toml"), padded(MAX_FILE_BYTES)).unwrap();
    ObserverConfig::load(&name("large.toml")).unwrap();
    std::fs::write(name("large.toml"), padded(MAX_FILE_BYTES + 1)).unwrap();
    assert_eq!(
        told("large.toml"),
        format!("{shown}/large.toml: is larger than 1024 KiB, so it is no configuration file")
    );

    std::fs::write(name("wrong.toml"), format!("{GOOD}[log]\nlevl = 1\n")).unwrap();
    assert_eq!(told("wrong.toml"), format!("{shown}/wrong.toml:6: log.levl: unknown key; did you mean `level`?"));
    assert!(
        matches!(ObserverConfig::load(&name("wrong.toml")), Err(ConfigError::Invalid(problems)) if problems.list.len() == 1)
    );
}

#[test]
fn relative_paths_start_at_the_directory_of_the_file() {
    let text = "[observer]\nkey_file = \"keys/k\"\nroster_file = \"/r\"\n[[listen]]\nsealed = \"[::]:9900\"\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("obs.toml"), text).unwrap();
    let config = ObserverConfig::load(&dir.path().join("obs.toml")).unwrap();
    assert_eq!(config.observer.key_file, Some(dir.path().join("keys/k")));
    assert_eq!(config.observer.roster_file.as_deref(), Some(Path::new("/r")));
    let bare = ObserverConfig::parse(text, Path::new("obs.toml")).unwrap();
    assert_eq!(bare.observer.key_file.as_deref(), Some(Path::new("keys/k")));
}
