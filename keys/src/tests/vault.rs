//! The vault: what it makes, what it refuses, and that nothing is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use varta_client::keyfile::{AgentKeyFile, KeyFileError, NameError, SecretFileError, UnixSeconds};
use varta_vlp::key::{AudienceKey, Generation, Name, RootSecret};
use zeroize::Zeroizing;

use super::{mode_of, set_mode};
use crate::vault::parse_root;
use crate::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A vault in a directory of its own.
fn vault() -> (tempfile::TempDir, Vault) {
    let directory = tempfile::tempdir().expect("a directory");
    let vault = Vault::init(&directory.path().join("vault")).expect("a new vault");
    (directory, vault)
}

/// A vault with the observers `obs-1` and `obs-2`.
fn vault_with_observers() -> (tempfile::TempDir, Vault) {
    let (directory, vault) = vault();
    let mut change = vault.change().expect("free");
    change.add_observer("obs-1", "10.0.0.5:9900", false, NOW).expect("new");
    change.add_observer("obs-2", "obs.example:9900", false, NOW).expect("new");
    change.commit().expect("written");
    (directory, vault)
}

fn agents(names: &[&str]) -> Request {
    Request { agents: names.iter().map(|name| (*name).to_owned()).collect(), ..Request::default() }
}

fn issue(vault: &Vault, request: &Request) -> Result<Vec<Issued>, VaultError> {
    let mut change = vault.change()?;
    let issued = change.issue(request, NOW)?;
    change.commit()?;
    Ok(issued)
}

fn audiences(issued: &Issued) -> Vec<&str> {
    issued.key.audiences.iter().map(|audience| audience.name.as_str()).collect()
}

fn root_of(directory: &Path) -> RootSecret {
    let file = directory.join("vault/root.key");
    parse_root(&fs::read_to_string(&file).expect("ours"), &file).expect("a root")
}

#[test]
fn a_new_vault_is_closed_and_empty() {
    let (directory, vault) = vault();
    let path = directory.path().join("vault");
    assert_eq!((mode_of(&path), mode_of(&path.join("root.key"))), (0o700, 0o600));
    let fleet = vault.fleet().expect("empty");
    assert_eq!((fleet.version, fleet.observers.len(), fleet.agents.len()), (1, 0, 0));
    let (other, _) = (tempfile::tempdir().expect("a directory"), ());
    Vault::init(&other.path().join("vault")).expect("another");
    assert_ne!(root_of(directory.path()).expose(), root_of(other.path()).expose(), "every root is fresh");
}

#[test]
fn a_root_is_never_replaced() {
    let (directory, _vault) = vault();
    let path = directory.path().join("vault");
    let before = fs::read(path.join("root.key")).expect("ours");
    let error = Vault::init(&path).expect_err("there is one");
    assert!(matches!(error, VaultError::AlreadyThere { .. }), "{error}");
    assert_eq!(fs::read(path.join("root.key")).expect("ours"), before);
}

#[test]
fn a_lost_root_is_not_made_anew_for_a_fleet() {
    let (directory, vault) = vault_with_observers();
    let root = directory.path().join("vault/root.key");
    fs::remove_file(&root).expect("ours");
    let error = Vault::init(&directory.path().join("vault")).expect_err("it had observers");
    assert!(matches!(error, VaultError::RootLost { .. }), "{error}");
    assert!(!root.exists());
    assert_eq!(vault.fleet().expect("untouched").observers.len(), 2);
    let error = Vault::open(&directory.path().join("vault")).expect_err("no root");
    assert!(matches!(error, VaultError::NoVault { .. }), "{error}");
}

#[test]
fn an_init_that_was_cut_short_can_be_done_again() {
    let (directory, _) = vault();
    fs::remove_file(directory.path().join("vault/root.key")).expect("ours");
    Vault::init(&directory.path().join("vault")).expect("nothing was issued yet");
}

#[test]
fn a_vault_that_others_can_get_at_is_refused() {
    let (directory, vault) = vault();
    let path = directory.path().join("vault");
    for mode in [0o710, 0o701, 0o750, 0o755] {
        set_mode(&path, mode);
        let error = Vault::open(&path).expect_err("open to others");
        assert!(matches!(error, VaultError::Mode { found, .. } if found == mode), "{error}");
    }
    set_mode(&path, 0o700);
    set_mode(&path.join("root.key"), 0o640);
    let error = vault.change().expect_err("the root is open to the group");
    assert!(
        matches!(error, VaultError::Root(KeyFileError::File(SecretFileError::Mode { found: 0o640, .. }))),
        "{error}"
    );
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let error = Vault::open(&file).expect_err("a file");
    assert!(matches!(error, VaultError::NotADirectory { .. }), "{error}");
    let error = Vault::open(&directory.path().join("missing")).expect_err("not there");
    assert!(error.to_string().contains("varta keys init --vault"), "{error}");
}

#[test]
fn two_changes_at_once_are_refused_and_readers_are_not() {
    let (_directory, vault) = vault_with_observers();
    let mut first = vault.change().expect("free");
    first.issue(&agents(&["web-1"]), NOW).expect("new");
    let error = vault.change().expect_err("taken");
    assert!(matches!(error, VaultError::Busy { .. }), "{error}");
    assert!(vault.fleet().expect("readable").agents.is_empty(), "not yet committed");
    first.commit().expect("written");
    vault.change().expect("free again");
    assert!(vault.fleet().expect("readable").agents.contains_key("web-1"));
}

#[test]
fn a_change_that_is_dropped_did_nothing() {
    let (directory, vault) = vault_with_observers();
    let file = directory.path().join("vault/fleet.toml");
    let before = fs::read(&file).expect("ours");
    let mut change = vault.change().expect("free");
    change.issue(&agents(&["web-1"]), NOW).expect("new");
    drop(change);
    assert_eq!(fs::read(&file).expect("ours"), before);
    vault.change().expect("free").commit().expect("nothing to write");
    assert_eq!(fs::read(&file).expect("ours"), before, "no change, no new version");
}

#[test]
fn keys_are_derived_as_the_protocol_says() {
    let (directory, vault) = vault_with_observers();
    let issued = issue(&vault, &agents(&["web-1"])).expect("new");
    let root = root_of(directory.path());
    let [one] = issued.as_slice() else {
        panic!("one agent");
    };
    assert_eq!((one.key.agent.as_str(), one.key.generation, one.again), ("web-1", Generation(1), false));
    let addresses: Vec<_> = one.key.audiences.iter().map(|audience| audience.address.as_str()).collect();
    assert_eq!((audiences(one), addresses), (vec!["obs-1", "obs-2"], vec!["10.0.0.5:9900", "obs.example:9900"]));
    for audience in &one.key.audiences {
        let key = AudienceKey::new(&root.audience(Name::new(&audience.name).expect("a name")));
        let secret = key.agent(Name::new("web-1").expect("a name").agent_id(), Generation(1));
        assert_eq!(audience.secret.expose(), secret.expose());
    }
    let mut change = vault.change().expect("free");
    let observer = change.add_observer("obs-1", "10.0.0.9:9900", true, NOW).expect("again");
    assert_eq!(observer.secret.expose(), root.audience(Name::new("obs-1").expect("a name")).expose());
    let other = change.add_observer("obs-1", "10.0.0.9:9900", true, NOW).expect("again");
    assert_ne!(observer.identity.expose(), other.identity.expose(), "every identity is fresh");
}

#[test]
fn what_was_issued_is_issued_again_in_its_generation() {
    let (_directory, vault) = vault_with_observers();
    let mut request = agents(&["web-1"]);
    request.labels = BTreeMap::from([("site".to_owned(), "ams".to_owned())]);
    let first = issue(&vault, &request).expect("new");
    request.labels = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
    let again = issue(&vault, &request).expect("known");
    assert_eq!((again[0].again, again[0].key.generation), (true, Generation(1)));
    assert_eq!(again[0].key.render(), first[0].key.render());
    let fleet = vault.fleet().expect("ours");
    let labels = &fleet.agents["web-1"].entry.labels;
    let both = BTreeMap::from([("role".to_owned(), "web".to_owned()), ("site".to_owned(), "ams".to_owned())]);
    assert_eq!(labels, &both, "labels are added to");
    let version = fleet.version;
    issue(&vault, &agents(&["web-1"])).expect("known");
    assert_eq!(vault.fleet().expect("ours").version, version, "nothing new, no new version");
}

#[test]
fn chosen_audiences_stay_chosen_and_others_follow_the_fleet() {
    let (_directory, vault) = vault_with_observers();
    let mut chosen = agents(&["web-1"]);
    chosen.audiences = vec!["obs-2".to_owned(), "obs-2".to_owned()];
    assert_eq!(audiences(&issue(&vault, &chosen).expect("new")[0]), ["obs-2"]);
    issue(&vault, &agents(&["web-2"])).expect("new");
    let mut change = vault.change().expect("free");
    change.add_observer("obs-3", "localhost:9900", false, NOW).expect("new");
    change.commit().expect("written");
    let issued = issue(&vault, &agents(&["web-1", "web-2"])).expect("known");
    assert_eq!(audiences(&issued[0]), ["obs-2"]);
    assert_eq!(audiences(&issued[1]), ["obs-1", "obs-2", "obs-3"]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let (_directory, empty) = vault();
    let error = issue(&empty, &agents(&["web-1"])).expect_err("nobody to beat to");
    assert!(matches!(error, VaultError::NoObserver), "{error}");

    let (_directory, vault) = vault_with_observers();
    let error = issue(&vault, &agents(&["web-1", "web-1"])).expect_err("twice");
    assert!(matches!(error, VaultError::NamedTwice { .. }), "{error}");
    let error = issue(&vault, &agents(&["../web"])).expect_err("no name");
    assert!(matches!(error, VaultError::Name { error: NameError::Form(_), .. }), "{error}");
    let token = RootSecret::from_bytes([3; 32]).to_text();
    let error = issue(&vault, &agents(&[&token.as_str()[..60]])).expect_err("a secret");
    assert!(matches!(error, VaultError::Name { error: NameError::Secret, .. }), "{error}");
    assert!(!error.to_string().contains("VARTA"), "{error}");
    let mut request = agents(&["web-1"]);
    request.audiences = vec!["obs-9".to_owned()];
    let error = issue(&vault, &request).expect_err("no such observer");
    assert_eq!(error.to_string(), "no observer is called obs-9; there are: obs-1, obs-2");
    let mut request = agents(&["web-1"]);
    request.labels = BTreeMap::from([("agent".to_owned(), "x".to_owned())]);
    let error = issue(&vault, &request).expect_err("reserved");
    assert!(matches!(error, VaultError::Label(LabelError::Reserved)), "{error}");

    let mut change = vault.change().expect("free");
    let error = change.add_observer("obs-1", "10.0.0.5:9900", false, NOW).expect_err("there");
    assert!(error.to_string().contains("--again"), "{error}");
    let error = change.add_observer("obs-3", "10.0.0.5", false, NOW).expect_err("no port");
    assert!(matches!(error, VaultError::Address(_)), "{error}");
    for number in 3..10 {
        change.add_observer(&format!("obs-{number}"), "localhost:9900", false, NOW).expect("new");
    }
    let error = change.issue(&agents(&["web-1"]), NOW).expect_err("nine audiences");
    assert!(matches!(error, VaultError::TooManyAudiences { max: 8, found: 9 }), "{error}");
    drop(change);
    assert!(vault.fleet().expect("ours").agents.is_empty(), "nothing was recorded");
}

#[test]
fn a_retired_name_is_never_given_again_and_not_in_the_roster() {
    let (directory, vault) = vault_with_observers();
    issue(&vault, &agents(&["web-1", "web-2"])).expect("new");
    let file = directory.path().join("vault/fleet.toml");
    let text = fs::read_to_string(&file).expect("ours");
    let (head, web_1) = text.split_once("name = \"web-1\"").expect("it is there");
    let text = format!("{head}name = \"web-1\"\nretired = true{web_1}").replacen("9900\"", "9900\"\nretired = true", 1);
    fs::write(&file, text).expect("ours");
    let error = issue(&vault, &agents(&["web-1"])).expect_err("retired");
    assert!(matches!(error, VaultError::Retired { .. }), "{error}");
    let roster = vault.fleet().expect("ours").roster();
    let names: Vec<_> = roster.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["web-2"]);
    let issued = issue(&vault, &agents(&["web-2"])).expect("not retired");
    assert_eq!(audiences(&issued[0]), ["obs-2"], "the retired observer is left out");
    let mut change = vault.change().expect("free");
    let error = change.add_observer("obs-1", "localhost:1", true, NOW).expect_err("retired");
    assert!(matches!(error, VaultError::Retired { .. }), "{error}");
}

#[test]
fn a_name_with_the_id_of_another_is_refused() {
    // The search is for two names whose 32-bit audience ids agree.
    let mut seen = BTreeMap::new();
    let (first, second) = (0..)
        .find_map(|number: u32| {
            let name = format!("obs-{number}");
            let id = Name::new(&name).expect("a name").audience_id();
            seen.insert(id, name.clone()).map(|earlier| (earlier, name))
        })
        .expect("a collision");
    let (_directory, vault) = vault();
    let mut change = vault.change().expect("free");
    change.add_observer(&first, "localhost:1", false, NOW).expect("new");
    change.commit().expect("written");
    let mut change = vault.change().expect("free");
    let error = change.add_observer(&second, "localhost:1", false, NOW).expect_err("the same id");
    assert!(matches!(&error, VaultError::Collision(pair) if pair.other == first), "{error}");
}

#[test]
fn the_record_is_plain_ordered_and_strict() {
    let (directory, vault) = vault_with_observers();
    issue(&vault, &agents(&["web-2", "api", "web-1"])).expect("new");
    let file = directory.path().join("vault/fleet.toml");
    let text = fs::read_to_string(&file).expect("ours");
    let names: Vec<_> = text.lines().filter(|line| line.starts_with("name")).collect();
    let wanted = ["obs-1", "obs-2", "api", "web-1", "web-2"].map(|name| format!("name = \"{name}\""));
    assert_eq!(names, wanted);
    assert!(!varta_client::keyfile::holds_secret(&text));
    let fleet = vault.fleet().expect("ours");
    assert_eq!(fleet.render(), text);
    for (from, to, key) in [
        ("format = 1", "format = 2", "format"),
        ("created = ", "creatd = ", "observer[0].creatd"),
        ("audiences = [\"obs-1\"", "audiences = [\"obs-9\"", "agent[0].audiences"),
        ("[\"obs-1\", \"obs-2\"]", "[\"obs-1\", \"obs-1\"]", "agent[0].audiences"),
        ("name = \"web-1\"", "name = \"web-2\"", "agent[2].name"),
    ] {
        let error = Fleet::parse(&text.replacen(from, to, 1), &file).expect_err(to);
        assert_eq!(error.key, key, "{error}");
    }
}

#[test]
fn outputs_are_all_written_or_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let files: Vec<PathBuf> = (0..15).map(|number| directory.path().join(format!("{number}.key"))).collect();
    let paths = || files.iter().map(PathBuf::as_path);
    refuse_existing(paths()).expect("none is there");
    for file in &files[..12] {
        fs::write(file, "mine").expect("a file");
    }
    let error = refuse_existing(paths()).expect_err("12 are there");
    assert!(matches!(&error, OutputError::Existing { existing, more: 2 } if existing.len() == 10), "{error}");
    assert!(error.to_string().contains("9.key and 2 more already exist"), "{error}");

    let text = || Zeroizing::new("secret".to_owned());
    let error = create_all(paths().rev().map(|path| (path, text()))).expect_err("the fourth is there");
    assert!(matches!(error, OutputError::Write { removed: 3, .. }), "{error}");
    let left = fs::read_dir(directory.path()).expect("ours").count();
    assert_eq!(left, 12, "what was written is gone again");
    assert!(files[..12].iter().all(|file| fs::read(file).expect("ours") == b"mine"));
    create_all(files[12..].iter().map(|path| (path.as_path(), text()))).expect("none of these is there");
    assert!(files[12..].iter().all(|file| mode_of(file) == 0o600));
}

#[test]
fn every_file_of_the_family_is_known_by_its_keys() {
    let (directory, vault) = vault_with_observers();
    let issued = issue(&vault, &agents(&["web-1"])).expect("new");
    let path = |name: &str| directory.path().join(name);
    create_all([(path("a").as_path(), issued[0].key.render())]).expect("new");
    let observer = vault.change().expect("free").add_observer("obs-1", "localhost:1", true, NOW).expect("again");
    create_all([(path("o").as_path(), observer.render())]).expect("new");
    let relay = vault.change().expect("free").add_relay("relay-1", "localhost:1", false, NOW).expect("new");
    create_all([(path("relay").as_path(), relay.render())]).expect("new");
    replace_public_file(&path("r"), &vault.fleet().expect("ours").roster().render()).expect("new");
    let kind = |file: &Path| match inspect(file) {
        Ok(Inspected::AgentKey(AgentKeyFile { agent, .. })) => format!("agent {agent}"),
        Ok(Inspected::ObserverKey(key)) => format!("observer {}", key.audience),
        Ok(Inspected::RelayKey(key)) => format!("relay {}", key.relay),
        Ok(Inspected::Root) => "root".to_owned(),
        Ok(Inspected::Roster(roster)) => format!("roster of {}", roster.agents.len()),
        Ok(Inspected::Fleet(fleet)) => format!("fleet of {}", fleet.agents.len()),
        Err(error) => format!("error {error}"),
    };
    assert_eq!(kind(&path("a")), "agent web-1");
    assert_eq!(kind(&path("o")), "observer obs-1");
    assert_eq!(kind(&path("relay")), "relay relay-1");
    assert_eq!(kind(&path("r")), "roster of 1");
    assert_eq!(kind(&path("vault/root.key")), "root");
    assert_eq!(kind(&path("vault/fleet.toml")), "fleet of 1");
    set_mode(&path("a"), 0o644);
    assert!(kind(&path("a")).contains("chmod 600"), "{}", kind(&path("a")));
    set_mode(&path("r"), 0o666);
    assert!(kind(&path("r")).contains("chmod go-w"), "{}", kind(&path("r")));
    fs::write(path("n"), "key = \"value\"\n").expect("a file");
    assert!(kind(&path("n")).contains("unknown key"), "{}", kind(&path("n")));
}

#[test]
fn relays_and_observers_are_recorded_with_their_public_keys() {
    let (_directory, vault) = vault_with_observers();
    let mut change = vault.change().expect("free");
    let relay = change.add_relay("relay-1", "relay.example:9920", false, NOW).expect("new");
    let error = change.add_relay("relay-1", "elsewhere:1", false, NOW).expect_err("it is there");
    assert!(error.to_string().contains("was added before, with address relay.example:9920; with --again"), "{error}");
    assert!(change.add_relay("relay 1", "relay.example:9920", false, NOW).is_err());
    assert!(change.add_relay("relay-2", "relay.example", false, NOW).is_err());
    let observer = change.add_observer("obs-1", "10.0.0.9:9900", true, NOW).expect("again");
    change.commit().expect("ours");
    let fleet = vault.fleet().expect("ours");
    assert_eq!(fleet.relays["relay-1"].key, relay.identity.public());
    assert_eq!(fleet.observers["obs-1"].key, Some(observer.identity.public()));
    let text = fleet.render();
    assert_eq!(Fleet::parse(&text, Path::new("fleet.toml")).expect("our own text"), fleet);
    let twice =
        text.replacen("[[agent]]", "", 1) + text.split("\n\n").find(|part| part.starts_with("[[relay]]")).expect("one");
    let error = Fleet::parse(&twice, Path::new("fleet.toml")).expect_err("a relay twice").to_string();
    assert!(error.contains("relay[1].name"), "{error}");
    let other = text.replacen("varta-relay:", "varta-observer:", 1);
    assert!(Fleet::parse(&other, Path::new("fleet.toml")).is_err(), "another kind of key");
    let mut change = vault.change().expect("free");
    let again = change.add_relay("relay-1", "relay.example:9921", true, NOW).expect("again");
    assert_ne!(again.identity.public(), relay.identity.public());
    let read = RelayKeyFile::parse(&again.render(), Path::new("relay.key")).expect("our own text");
    assert_eq!((read.relay.as_str(), read.identity.expose()), ("relay-1", again.identity.expose()));
    assert!(!format!("{read:?}").contains("IDENTITY"), "no secret is shown");
}
