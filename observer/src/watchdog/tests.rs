use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
};

use varta_core::WallNs;

use super::*;

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

const fn at(mono: u64) -> Now {
    Now { mono: MonoNs(mono), wall: WallNs(1_700_000_000_000_000_000 + mono) }
}

fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() {
        if what() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("waited in vain");
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[test]
fn none_never_wakes_and_each_is_fed_no_more_often_than_it_must_be() {
    let none = Watchdog::open(&varta_config::Watchdog::default(), None).unwrap();
    assert_eq!(none.next(), MonoNs::NEVER);

    let mut service = Watchdog::open(&varta_config::Watchdog::default(), Some(Duration::from_nanos(100))).unwrap();
    service.turn(at(1_000));
    assert_eq!(service.next(), MonoNs(1_050));
    service.turn(at(1_049));
    assert_eq!(service.next(), MonoNs(1_050));

    let config = varta_config::Watchdog { limit: Some(Duration::from_secs(8)), ..Default::default() };
    let mut own = Watchdog::open(&config, None).unwrap();
    own.turn(at(SECOND));
    assert_eq!(own.next(), MonoNs(3 * SECOND));
}

#[test]
fn turns_are_told_once_a_second_and_only_a_clean_stop_disarms() {
    let folder = tempfile::tempdir().unwrap();
    let [file, device] = ["heartbeat", "device"].map(|name| folder.path().join(name));
    let config =
        varta_config::Watchdog { device: Some(device.clone()), heartbeat_file: Some(file.clone()), limit: None };
    for (is_clean, left) in [(true, "\0\0\0V"), (false, "\0\0")] {
        fs::write(&device, "").unwrap();
        let mut watchdog = Watchdog::open(&config, None).unwrap();
        watchdog.turn(at(5));
        wait_for(|| text(&file) == "1 1700000000000000005\n" && text(&device) == "\0");
        watchdog.turn(at(SECOND));
        assert_eq!(watchdog.next(), MonoNs(SECOND + 5));
        watchdog.turn(at(SECOND + 5));
        wait_for(|| text(&file) == "3 1700000001000000005\n" && text(&device) == "\0\0");
        if is_clean {
            watchdog.stopping(at(SECOND + 6));
            wait_for(|| text(&device) == "\0\0\0");
            watchdog.disarm();
        } else {
            drop(watchdog);
        }
        assert_eq!(text(&device), left);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
    }
}

#[test]
fn a_start_that_fails_leaves_no_device_armed_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (device, nowhere) = (folder.path().join("device"), folder.path().join("no").join("where"));
    fs::write(&device, "").unwrap();
    let open = |device: &Path, heartbeat: Option<&Path>| {
        let heartbeat_file = heartbeat.map(Path::to_owned);
        let config = varta_config::Watchdog { device: Some(device.to_owned()), heartbeat_file, limit: None };
        Watchdog::open(&config, None)
    };
    let error = open(&device, Some(&nowhere)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write the heartbeat file {}: No such", nowhere.display())), "{error}");
    let error = open(&nowhere, None).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot open the watchdog device {}: No such", nowhere.display())), "{error}");
    assert_eq!(text(&device), "");
    drop(open(&device, None).unwrap());
    assert_eq!(text(&device), "V");
}

/// What holds its thread up until it is let go.
struct Stuck(Receiver<()>, Sender<u64>);

impl fed::Feed for Stuck {
    fn name(&self) -> String {
        "it".to_owned()
    }

    fn pulse(&mut self, pulse: Pulse) -> io::Result<()> {
        let _ = self.1.send(pulse.turns);
        let _ = self.0.recv();
        Err(io::ErrorKind::Other.into())
    }

    fn end(self, _: bool) {}
}

#[test]
fn what_is_held_up_holds_nobody_up_and_is_fed_again() {
    let (let_go, held) = channel();
    let (says, told) = channel();
    let fed = Fed::spawn("stuck", Stuck(held, says)).unwrap();
    let pulse = |turns| fed.pulse(Pulse { turns, wall: WallNs(0) });
    pulse(1);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
    (2..1_000).for_each(pulse);
    let_go.send(()).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(2), "one waits");
    let_go.send(()).unwrap();
    wait_for(|| {
        pulse(1_000);
        told.try_recv() == Ok(1_000)
    });
    drop(let_go);
}

#[test]
fn a_loop_that_does_not_turn_is_noticed() {
    let (tells, told) = channel();
    let own = Own::watch(Duration::from_millis(80), move |limit| tells.send(limit).unwrap()).unwrap();
    own.turned(1);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Duration::from_millis(80)));
    drop(own);

    let (tells, told) = channel();
    let own = Own::watch(Duration::from_secs(3600), move |limit| tells.send(limit).unwrap()).unwrap();
    drop(own);
    assert!(told.recv_timeout(PATIENCE).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected));
}
