//! `varta keys` as an operator sees it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};

/// A directory in which `varta keys` is run; it remembers everything that was said.
struct Desk {
    directory: tempfile::TempDir,
    said: String,
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), said: String::new() }
    }

    /// A vault with one observer, whose key file is `obs-1.observer.key`.
    fn with_observer() -> Self {
        let mut desk = Self::new();
        desk.good(&["init"]);
        desk.good(&["observer", "add", "obs-1", "--address", "10.0.0.5:9900", "-o", "."]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.arg("keys").args(args).current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    fn run(&mut self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(args).output().expect("the program is built");
        let (out, err) = texts(&output);
        self.said.push_str(&format!("{out}\n{err}\n"));
        (output.status.code(), out, err)
    }

    /// Runs what must succeed in silence on standard error; its standard output.
    fn good(&mut self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}: {out}");
        out
    }

    /// Runs what must fail with `code` and say nothing on standard output; its standard error.
    fn bad(&mut self, code: i32, args: &[&str]) -> String {
        let (found, out, err) = self.run(args);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{args:?}: {err}");
        err
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("our own file");
}

#[test]
fn a_fleet_from_nothing() {
    let mut desk = Desk::new();
    let out = desk.good(&["init"]);
    assert!(out.starts_with("vault: a new fleet. Back up root.key offline"), "{out}");
    let out = desk.good(&["observer", "add", "obs-1", "--address", "10.0.0.5:9900", "-o", "obs-1.key"]);
    let public = out.split('"').nth(3).expect("a public key").to_owned();
    let lines = format!(
        "for the relay's relay.toml, where there is one:\n[[observer]]\nname = \"obs-1\"\nkey = \"{public}\"\n"
    );
    assert_eq!(out, format!("obs-1: observer key in obs-1.key\n{lines}"));
    let out = desk.good(&["agent", "issue", "web-1", "--label", "site=ams", "-o", "web-1.key"]);
    assert_eq!(out, "web-1: issued, generation 1, for obs-1, in web-1.key\n");
    let out = desk.good(&["inspect", "web-1.key"]);
    assert_eq!(
        out,
        "agent key: web-1 (id 827914d22a554017), generation 1\naudience obs-1 (id 646bcdd5) at 10.0.0.5:9900\n"
    );
    let shown = format!("observer key: audience obs-1 (id 646bcdd5)\npublic key {public}\n");
    assert_eq!(desk.good(&["inspect", "obs-1.key"]), shown);
    assert_eq!(desk.good(&["inspect", "vault/root.key"]), "fleet root: good; its secret is not shown\n");
    assert_eq!(desk.good(&["roster", "-o", "roster.toml"]), "roster.toml: version 3, 1 agents\n");
    assert_eq!(
        desk.good(&["inspect", "roster.toml"]),
        "roster: version 3, 1 agents\nagent web-1 (id 827914d22a554017), generation 1, site=ams\n"
    );
    let list = desk.good(&["list"]);
    assert_eq!(list, desk.good(&["inspect", "vault/fleet.toml"]));
    assert!(
        list.contains("agent web-1 (id 827914d22a554017), generation 1, site=ams, for obs-1, first issued 20"),
        "{list}"
    );
    for (file, mode) in [("web-1.key", 0o600), ("obs-1.key", 0o600), ("vault/root.key", 0o600), ("roster.toml", 0o644)]
    {
        let found = fs::metadata(desk.path(file)).expect("written").permissions().mode() & 0o7777;
        assert_eq!(found & mode, found, "{file} is closed");
    }
}

#[test]
fn a_relay_says_what_observers_are_to_pin() {
    let mut desk = Desk::with_observer();
    let out = desk.good(&["relay", "add", "relay-1", "--address", "relay.example:9920", "-o", "."]);
    let pin = out.split('"').nth(3).expect("a pin").to_owned();
    assert!(pin.starts_with("varta-relay:"), "{out}");
    let lines =
        format!("for each observer's observer.toml:\n[relay]\naddress = \"relay.example:9920\"\npin = \"{pin}\"\n");
    assert_eq!(out, format!("relay-1: relay key in ./relay-1.relay.key\n{lines}"));
    let shown = desk.good(&["inspect", "relay-1.relay.key"]);
    assert_eq!(shown, format!("relay key: relay-1\npublic key {pin}\n"));
    assert!(desk.good(&["list"]).contains(&format!("relay relay-1 at relay.example:9920, key {pin}, added 20")));
    let json: serde_json::Value = serde_json::from_str(&desk.good(&["list", "--json"])).expect("JSON");
    assert_eq!(json["relays"][0]["key"], serde_json::json!(pin));
    let err = desk.bad(1, &["relay", "add", "relay-1", "--address", "relay.example:9920", "-o", "again.key"]);
    assert!(err.contains("relay-1: was added before"), "{err}");
}

#[test]
fn the_list_is_json_on_request() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "--label", "site=ams", "-o", "."]);
    let json: serde_json::Value = serde_json::from_str(&desk.good(&["list", "--json"])).expect("JSON");
    assert_eq!(json["version"], 3);
    assert_eq!(json["observers"][0]["name"], "obs-1");
    assert_eq!(json["observers"][0]["id"], "646bcdd5");
    assert_eq!(json["observers"][0]["address"], "10.0.0.5:9900");
    let agent = &json["agents"][0];
    assert_eq!((&agent["name"], &agent["id"]), (&"web-1".into(), &"827914d22a554017".into()));
    assert_eq!((&agent["generation"], &agent["labels"]["site"]), (&1.into(), &"ams".into()));
    assert_eq!(agent["audiences"], serde_json::json!(["obs-1"]));
}

#[test]
fn many_agents_from_a_file() {
    let mut desk = Desk::with_observer();
    fs::write(desk.path("names"), "# the web servers\nweb-1\n\n  web-2  # the second\nweb-3\n").expect("a file");
    fs::create_dir(desk.path("out")).expect("a directory");
    let out = desk.good(&["agent", "issue", "api", "--from", "names", "-o", "out"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    for name in ["api", "web-1", "web-2", "web-3"] {
        let shown = desk.good(&["inspect", &format!("out/{name}.agent.key")]);
        assert!(shown.starts_with(&format!("agent key: {name} (id ")), "{shown}");
    }
    fs::write(desk.path("many"), (0..30).map(|number| format!("n-{number}\n")).collect::<String>()).expect("a file");
    let out = desk.good(&["agent", "issue", "--from", "many", "-o", "out/"]);
    assert!(out.ends_with("and 10 more; of all 30, 0 were issued again\n"), "{out}");
}

#[test]
fn mistakes_in_a_file_of_names_are_told_by_line() {
    let mut desk = Desk::with_observer();
    let token = fs::read_to_string(desk.path("obs-1.observer.key")).expect("ours");
    let token = token.lines().find_map(|line| line.strip_prefix("secret = \"")).expect("a secret").to_owned();
    let version = desk.good(&["list"]);
    for (text, wanted) in [
        ("web-1\nweb 2\n", "names:2: a name is 1 to 64"),
        ("web-1\n\nweb-2\nweb-1\n", "names:4: web-1 is also on line 1"),
        ("api\nx\n", "names:1: api is also on the command line"),
        ("# nobody\n\n", "names: names no agent"),
        (&token[..60], "names:1: a secret stands where a name belongs"),
    ] {
        fs::write(desk.path("names"), text).expect("a file");
        let err = desk.bad(1, &["agent", "issue", "api", "--from", "names", "-o", "."]);
        assert!(err.contains(wanted), "{err}");
    }
    let err = desk.bad(1, &["agent", "issue", "--from", "missing", "-o", "."]);
    assert!(err.contains("missing: No such file"), "{err}");
    assert_eq!(desk.good(&["list"]), version, "nothing was recorded");
    assert!(!desk.path("api.agent.key").exists());
}

#[test]
fn no_file_is_overwritten_and_nothing_is_lost() {
    let mut desk = Desk::with_observer();
    fs::write(desk.path("web-2.agent.key"), "mine").expect("a file");
    let before = desk.good(&["list"]);
    let err = desk.bad(1, &["agent", "issue", "web-1", "web-2", "-o", "."]);
    assert!(err.contains("./web-2.agent.key already exists, and a key file is never overwritten"), "{err}");
    assert!(!desk.path("web-1.agent.key").exists(), "refused before the first write");
    assert_eq!(fs::read(desk.path("web-2.agent.key")).expect("there"), b"mine");
    assert_eq!(desk.good(&["list"]), before, "nothing was recorded");
    let err = desk.bad(1, &["observer", "add", "obs-2", "--address", "h:1", "-o", "obs-1.observer.key"]);
    assert!(err.contains("never overwritten"), "{err}");
    assert_eq!(desk.good(&["list"]), before, "nothing was recorded");
    let err = desk.bad(1, &["init"]);
    assert!(err.contains("the root of a fleet is never replaced"), "{err}");
}

#[test]
fn issuing_again_gives_the_same_key_and_says_so() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "-o", "first"]);
    let out = desk.good(&["agent", "issue", "web-1", "-o", "second"]);
    assert_eq!(out, "web-1: issued again, generation 1, for obs-1, in second\n");
    let read = |name: &str| fs::read(desk.path(name)).expect("written");
    assert_eq!(read("first"), read("second"));
    let err = desk.bad(1, &["observer", "add", "obs-1", "--address", "h:1", "-o", "other"]);
    assert!(err.contains("with --again its key file is made anew"), "{err}");
    desk.good(&["observer", "add", "obs-1", "--address", "h:1", "-o", "other", "--again"]);
    let field = |name: &str, key: &str| {
        let text = fs::read_to_string(desk.path(name)).expect("written");
        text.lines().find(|line| line.starts_with(key)).expect(key).to_owned()
    };
    assert_eq!(field("other", "secret"), field("obs-1.observer.key", "secret"));
    assert_ne!(field("other", "identity"), field("obs-1.observer.key", "identity"));
}

#[test]
fn one_key_goes_to_a_pipe_and_many_do_not() {
    let mut desk = Desk::with_observer();
    let output = desk.command(&["agent", "issue", "web-1", "-o", "-"]).output().expect("built");
    let (out, err) = texts(&output);
    assert_eq!(err, "web-1: issued, generation 1, for obs-1, in -\n");
    desk.good(&["agent", "issue", "web-1", "-o", "file"]);
    assert_eq!(out, fs::read_to_string(desk.path("file")).expect("written"));
    let err = desk.bad(1, &["agent", "issue", "web-1", "web-2", "-o", "-"]);
    assert!(err.contains("name a directory"), "{err}");
    let err = desk.bad(1, &["agent", "issue", "web-1", "web-2", "-o", "nowhere"]);
    assert!(err.contains("`mkdir -m 700 nowhere` first"), "{err}");
}

#[test]
fn an_older_roster_is_replaced_and_nothing_else() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "-o", "."]);
    desk.good(&["roster", "-o", "roster.toml"]);
    assert_eq!(desk.good(&["roster", "-o", "roster.toml"]), "roster.toml: already version 3, 1 agents\n");
    desk.good(&["agent", "issue", "web-2", "-o", "."]);
    assert_eq!(desk.good(&["roster", "-o", "roster.toml"]), "roster.toml: version 4, 2 agents\n");
    let good = fs::read_to_string(desk.path("roster.toml")).expect("written");
    assert_eq!(desk.good(&["roster", "-o", "-"]), good);
    fs::write(desk.path("roster.toml"), good.replace("version = 4", "version = 9")).expect("ours");
    let err = desk.bad(1, &["roster", "-o", "roster.toml"]);
    assert!(err.contains("is version 9, newer than this vault's 4"), "{err}");
    fs::write(desk.path("roster.toml"), good.replace("web-2", "web-3")).expect("ours");
    let err = desk.bad(1, &["roster", "-o", "roster.toml"]);
    assert!(err.contains("is version 4 too, with other contents"), "{err}");
    fs::write(desk.path("notes"), "not = \"a roster\"\n").expect("a file");
    let err = desk.bad(1, &["roster", "-o", "notes"]);
    assert!(err.contains("is there already and is not replaced"), "{err}");
    assert_eq!(fs::read(desk.path("notes")).expect("there"), b"not = \"a roster\"\n");
    let left = fs::read_dir(desk.directory.path()).expect("ours").filter_map(Result::ok);
    assert!(
        left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')),
        "nothing half-written"
    );
}

#[test]
fn a_vault_elsewhere_is_named_and_a_bad_one_is_told() {
    let mut desk = Desk::new();
    let err = desk.bad(1, &["list"]);
    assert!(err.contains("vault: no vault is here; make one with `varta keys init --vault vault`"), "{err}");
    desk.good(&["init", "--vault", "elsewhere"]);
    desk.good(&["--vault", "elsewhere", "list"]);
    let err = desk.bad(1, &["agent", "issue", "web-1", "-o", "k", "--vault", "elsewhere"]);
    assert!(err.contains("varta keys observer add NAME --address HOST:PORT -o FILE"), "{err}");
    set_mode(&desk.path("elsewhere"), 0o755);
    let err = desk.bad(1, &["list", "--vault", "elsewhere"]);
    assert!(err.contains("`chmod 700 elsewhere`"), "{err}");
    for args in
        [vec!["agent", "issue", "-o", "k"], vec!["observer", "add", "o", "-o", "k"], vec!["roster"], vec!["bogus"]]
    {
        let err = desk.bad(2, &args);
        assert!(err.contains("Usage"), "{err}");
    }
}

#[test]
fn key_files_that_break_a_rule_are_told() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "-o", "web-1.key"]);
    let file = desk.path("web-1.key");
    set_mode(&file, 0o644);
    let err = desk.bad(1, &["inspect", "web-1.key"]);
    assert!(err.contains("web-1.key: has mode 0644") && err.contains("`chmod 600 web-1.key`"), "{err}");
    set_mode(&file, 0o600);
    std::os::unix::fs::symlink(&file, desk.path("link")).expect("a link");
    let err = desk.bad(1, &["inspect", "link"]);
    assert!(err.contains("link: is a symbolic link"), "{err}");
    let good = fs::read_to_string(&file).expect("ours");
    for (from, to, wanted) in [
        ("agent = ", "agnet = ", "web-1.key:3: agnet: unknown key; the keys here are version, agent"),
        ("generation = 1", "", "web-1.key:1: generation: is missing"),
        ("version = 1", "version = 2", "web-1.key:2: version: version 2 is not known"),
        (
            "VARTA-AGENT-",
            "VARTA-ROOT-",
            "web-1.key:9: audience[0].secret: a VARTA-ROOT-SECRET-1.. where a VARTA-AGENT-",
        ),
    ] {
        fs::write(&file, good.replacen(from, to, 1)).expect("ours");
        let err = desk.bad(1, &["inspect", "web-1.key"]);
        assert!(err.contains(wanted), "{err}");
    }
}

#[test]
#[ignore = "needs root: acts as another user"]
fn a_key_that_cannot_be_read_is_told() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "-o", "web-1.key"]);
    set_mode(desk.directory.path(), 0o755);
    // The other user may not be able to reach the program where it was built. Another process copies it: were it open for
    // writing here, a test that starts a program meanwhile would hand that on, and it could not be run.
    let program = desk.path("varta");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_varta")).arg(&program).status().expect("cp");
    assert!(copied.success());
    let output = Command::new(&program)
        .args(["keys", "inspect", "web-1.key"])
        .current_dir(desk.directory.path())
        .uid(65_533)
        .gid(65_533)
        .output()
        .expect("root may");
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("web-1.key: cannot be read: Permission denied"), "{err}");
}

/// Every secret in the files of `directory`, as text, hex and base64, whole and in parts.
fn secret_forms(directory: &Path) -> Vec<String> {
    let mut forms = Vec::new();
    for entry in fs::read_dir(directory).expect("ours").chain(fs::read_dir(directory.join("vault")).expect("ours")) {
        let path = entry.expect("ours").path();
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        for token in text.split('"').filter(|part| part.starts_with("VARTA-")) {
            let digits = &token[token.len() - 58..];
            let raw = BASE32_NOPAD.decode(digits.as_bytes()).expect("a secret");
            let secret = &raw[..32];
            forms.extend([digits[..12].to_owned(), digits[40..52].to_owned()]);
            forms.extend([HEXLOWER.encode(&secret[..8]), HEXLOWER.encode(&secret[24..])]);
            forms.extend([BASE64.encode(&secret[..9]), BASE64.encode(&secret[21..30])]);
            let bytes: Vec<_> = secret[..4].iter().map(ToString::to_string).collect();
            forms.push(bytes.join(", "));
        }
    }
    forms
}

#[test]
fn no_secret_is_ever_said() {
    let mut desk = Desk::with_observer();
    desk.good(&["agent", "issue", "web-1", "web-2", "-o", "."]);
    desk.good(&["roster", "-o", "roster.toml"]);
    let forms = secret_forms(desk.directory.path());
    assert_eq!(forms.len(), 5 * 7, "a root, two of the observer, one of each agent");
    for file in ["vault/root.key", "vault/fleet.toml", "obs-1.observer.key", "web-1.agent.key", "roster.toml"] {
        desk.good(&["inspect", file]);
    }
    for verb in [vec!["list"], vec!["list", "--json"], vec!["roster", "-o", "-"]] {
        desk.good(&verb);
    }
    for name in ["vault/root.key", "obs-1.observer.key", "web-1.agent.key"] {
        let file = desk.path(name);
        let good = fs::read_to_string(&file).expect("ours");
        for at in (0..good.len()).step_by(5) {
            let broken = format!("{}\"\n{}", &good[..at], &good[at..]);
            fs::write(&file, broken).expect("ours");
            desk.run(&["inspect", name]);
            if name.starts_with("vault") {
                desk.run(&["agent", "issue", "web-3", "-o", "web-3.key"]);
                drop(fs::remove_file(desk.path("web-3.key")));
            }
        }
        fs::write(&file, good.replace("version = 1", "")).expect("ours");
        desk.bad(1, &["inspect", name]);
        fs::write(&file, &good).expect("ours");
    }
    assert!(desk.said.len() > 10_000, "much was said");
    for form in forms {
        assert!(!desk.said.contains(&form), "said a secret");
    }
}
