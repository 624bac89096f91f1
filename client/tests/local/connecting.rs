//! What keeps a handle from being made.

use std::{
    os::unix::{ffi::OsStrExt as _, net::UnixListener},
    path::PathBuf,
};

use varta_client::{BeatOutcome, Status, UdsConnectError, Varta};

use crate::{ear::Ear, same_pid::SamePid};

fn refusal(path: impl Into<PathBuf>) -> (UdsConnectError, String) {
    let path = path.into();
    let error = Varta::local(&path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    (error, text)
}

#[test]
fn errors_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (error, text) = refusal(folder.path().join("nothing"));
    assert!(matches!(error, UdsConnectError::Missing { .. }));
    assert!(text.contains("start the observer"), "{text}");

    let place = Ear::new();
    let path = place.path().to_owned();
    let _place = place.end();
    let (error, text) = refusal(path);
    assert!(matches!(error, UdsConnectError::Refused { .. }));
    assert!(text.contains("start it again"), "{text}");

    let stream = folder.path().join("stream");
    let _listener = UnixListener::bind(&stream).unwrap();
    let (error, text) = refusal(&stream);
    assert!(matches!(error, UdsConnectError::NoWay { .. }));
    assert!(text.contains("cannot connect to"), "{text}");

    let error = Varta::local_builder().connect().unwrap_err();
    assert!(matches!(error, UdsConnectError::NoPath));
    assert!(error.to_string().contains("name the path"), "{error}");
}

#[test]
fn a_path_has_a_longest_length() {
    let folder = tempfile::tempdir().unwrap();
    let room = UdsConnectError::PATH_MAX_LEN - folder.path().as_os_str().len() - 1;
    let longest = folder.path().join("p".repeat(room));
    assert_eq!(longest.as_os_str().as_bytes().len(), 107);
    let ear = Ear::at(&longest);
    assert_eq!(Varta::local(&longest).unwrap().beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(ear.next_frame().nonce, 1);
    let (error, text) = refusal(folder.path().join("p".repeat(room + 1)));
    assert!(matches!(error, UdsConnectError::PathTooLong { length: 108, .. }));
    assert!(text.contains("108 bytes") && text.contains("107 at most"), "{text}");
}

#[test]
fn pid_1_is_told_at_once() {
    let ear = Ear::new();
    let error = Varta::local_builder().socket(ear.path()).connect_with(SamePid(1)).unwrap_err();
    assert!(matches!(error, UdsConnectError::PidOne));
    assert!(error.to_string().contains("with a key and a unit"), "{error}");
}

#[test]
fn the_published_way_connects_too_and_its_errors_say_the_same() {
    let ear = Ear::new();
    let mut varta: Varta = Varta::connect(ear.path()).unwrap();
    assert_eq!(varta.beat(Status::Ok, 5), BeatOutcome::Sent);
    assert_eq!((ear.next_frame().nonce, varta.clock_regressions(), varta.fork_recoveries()), (1, 0, 0));
    let error = Varta::connect("/nowhere/varta.sock").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(
        error.to_string().contains("/nowhere/varta.sock") && error.to_string().contains("start the observer"),
        "{error}"
    );
    assert_eq!(Varta::connect("").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}
