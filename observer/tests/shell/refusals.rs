//! An observer that must not start says why, and what to do.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
};

use varta_watch::RunError;

use crate::rig::Rig;

fn is_configuration(error: &RunError) -> bool {
    matches!(error, RunError::Configuration(_))
}

#[test]
fn a_taken_port_is_named_with_the_way_to_its_holder() {
    let mut rig = Rig::new();
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    rig.config.listen[0].sealed = Some(address);
    let error = rig.refusal();
    let text = error.to_string();
    assert!(!is_configuration(&error));
    assert!(text.contains(&format!("cannot receive beats on {address}")), "{text}");
    assert!(text.contains(&format!("ss -ulpn 'sport = :{}'", address.port())), "{text}");

    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    rig.config.listen[0].sealed = Some("127.0.0.1:0".parse().unwrap());
    rig.config.http.listen = Some(address);
    let text = rig.refusal().to_string();
    assert!(text.contains(&format!("cannot serve HTTP on {address}")) && text.contains("ss -ltnp"), "{text}");
}

#[test]
fn an_address_of_no_interface_is_said_to_be_one() {
    let mut rig = Rig::new();
    rig.config.listen[0].sealed = Some("192.0.2.77:0".parse().unwrap());
    let text = rig.refusal().to_string();
    assert!(text.contains("192.0.2.77:0") && text.contains("no interface of this host has this address"), "{text}");
}

#[test]
fn a_key_file_open_to_others_is_refused_by_name() {
    let rig = Rig::new();
    let file = rig.path("obs-1.observer.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = rig.refusal();
    let text = error.to_string();
    assert!(is_configuration(&error));
    assert!(text.contains(&file.display().to_string()) && text.contains("0644"), "{text}");
}

#[test]
fn a_configured_roster_that_is_not_there_is_a_refusal() {
    let mut rig = Rig::new();
    let file = rig.path("roster.toml");
    rig.config.observer.roster_file = Some(file.clone());
    let error = rig.refusal();
    assert!(is_configuration(&error));
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[test]
fn a_bad_configuration_built_in_code_is_refused_like_a_file() {
    let mut rig = Rig::new();
    rig.config.stall.misses = 0;
    let error = rig.refusal();
    assert!(is_configuration(&error));
    assert!(error.to_string().contains("stall.misses"), "{error}");
}

#[test]
fn a_short_token_is_refused_with_the_way_to_a_good_one() {
    let mut rig = Rig::new();
    let file = rig.path("token");
    varta_client::keyfile::create_secret_file(&file, "hunter2\n").unwrap();
    rig.config.http.token_file = Some(file.clone());
    let error = rig.refusal();
    assert!(is_configuration(&error));
    let text = error.to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("openssl rand"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_state_directory_that_is_none_is_refused_by_name() {
    let mut rig = Rig::new();
    let place = rig.path("file");
    std::fs::write(&place, "not a directory").unwrap();
    rig.config.observer.state_dir = Some(place.clone());
    let error = rig.refusal();
    assert!(error.to_string().contains(&place.display().to_string()), "{error}");
}

#[test]
fn two_observers_do_not_share_a_state_directory() {
    let rig = Rig::new();
    let observer = rig.start();
    let text = rig.refusal().to_string();
    assert!(text.contains(&rig.path("state").display().to_string()), "{text}");
    observer.stop();
    rig.start().stop();
}

#[test]
fn an_event_file_that_cannot_be_opened_is_named() {
    let mut rig = Rig::new();
    let place = rig.path("nowhere/events.tsv");
    rig.config.export.file = Some(place.clone());
    assert!(rig.refusal().to_string().contains(&place.display().to_string()));
}
