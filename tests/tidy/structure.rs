//! Rules about crates: who may depend on whom.

use std::{collections::BTreeSet, process::Command};

use crate::{none, read, repository, walk};

fn dependencies(manifest: &str) -> BTreeSet<String> {
    let table: toml::Table = read(manifest).parse().unwrap();
    table
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|deps| deps.keys().cloned())
        .collect()
}

#[test]
fn the_core_depends_on_vlp_and_small_containers_only() {
    let allowed: BTreeSet<String> = ["varta-vlp", "hashbrown", "foldhash"].map(str::to_owned).into();
    assert_eq!(dependencies("observer/core/Cargo.toml"), allowed);
}

#[test]
fn vlp_has_no_input_or_output() {
    let allowed = ["chacha20", "chacha20poly1305", "ring", "hkdf", "sha2", "zeroize", "subtle", "data-encoding"];
    let found = dependencies("vlp/Cargo.toml");
    let offenders: Vec<_> = found.into_iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    none(&offenders, "vlp depends on cryptography only");
}

#[test]
fn dependencies_point_one_way() {
    let rules: [(&str, &[&str]); 9] = [
        ("vlp", &[]),
        ("client", &["varta-vlp"]),
        ("keys", &["varta-vlp", "varta-client"]),
        ("observer/core", &["varta-vlp"]),
        ("config", &["varta-vlp"]),
        ("daemon", &["varta-vlp", "varta-client", "varta-config"]),
        ("link", &["varta-vlp"]),
        (
            "observer",
            &["varta-vlp", "varta-core", "varta-config", "varta-keys", "varta-client", "varta-daemon", "varta-link"],
        ),
        ("relay", &["varta-vlp", "varta-config", "varta-keys", "varta-client", "varta-daemon", "varta-link"]),
    ];
    let mut offenders = Vec::new();
    for (folder, allowed) in rules {
        let ours = dependencies(&format!("{folder}/Cargo.toml")).into_iter().filter(|name| name.starts_with("varta"));
        offenders
            .extend(ours.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{folder} -> {name}")));
    }
    none(&offenders, "a dependency against the architecture");
}

/// What a program compiles that uses the client: names and versions, build dependencies too.
fn built_with(package: &str) -> BTreeSet<String> {
    let done = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal,build", "--prefix", "none", "-f", "{p}", "-p", package])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let crates = text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    crates.filter(|line| !line.is_empty()).collect()
}

#[test]
fn who_uses_the_client_compiles_little() {
    let built = built_with("varta-client");
    assert!(built.iter().any(|one| one.starts_with("varta-vlp ")), "{built:?}");
    assert!(built.len() <= 50, "{} crates: {built:?}", built.len());
    let heavy = ["tokio ", "rustls ", "quinn ", "mio ", "axum "];
    let offenders: Vec<_> =
        built.iter().filter(|one| heavy.iter().any(|name| one.starts_with(name))).cloned().collect();
    none(&offenders, "what no program is to compile for its heartbeat");
}

#[test]
fn the_client_stays_small() {
    let heavy = ["tokio", "rustls", "quinn", "axum", "mio"];
    let offenders: Vec<_> =
        dependencies("client/Cargo.toml").into_iter().filter(|name| heavy.contains(&name.as_str())).collect();
    none(&offenders, "too heavy for a library that others embed");
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    assert!(!members.is_empty());
    let mut offenders = Vec::new();
    for member in members {
        let manifest = format!("{}/Cargo.toml", member.as_str().unwrap());
        let table: toml::Table = read(&manifest).parse().unwrap();
        let taken = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if taken != Some(true) {
            offenders.push(manifest);
        }
    }
    none(&offenders, "write [lints] workspace = true");
}

#[test]
fn files_stay_small() {
    const MOST: u64 = 200 * 1024;
    let top = varta_tests::repository();
    let mut offenders = Vec::new();
    walk(&top, &mut |path| {
        let size = path.metadata().unwrap().len();
        if size > MOST {
            offenders.push(format!("{} ({size} bytes)", path.strip_prefix(&top).unwrap().display()));
        }
    });
    none(&offenders, "what a script can make again does not belong here");
}
