//! A local socket and plaintext UDP, spoken to by this very process.

use std::{
    io::IoSlice,
    net::UdpSocket,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::UnixDatagram,
        },
    },
    path::PathBuf,
};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::json;
use varta_config::Listen;
use varta_vlp::{
    Frame, Status, UnitId,
    sealed::{Body, Flags},
};
use varta_watch::RunError;

use crate::{
    clock::wait,
    rig::{Observed, Rig},
};

/// An observer of local processes.
struct Host {
    rig: Rig,
    path: PathBuf,
}

impl Host {
    fn new() -> Self {
        let mut rig = Rig::new();
        let path = rig.path("varta.sock");
        rig.config.listen = vec![Listen::socket(&path)];
        rig.config.observer.key_file = None;
        rig.config.observer.name = Some("host".to_owned());
        Self { rig, path }
    }

    fn connect(&self) -> UnixDatagram {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(&self.path).unwrap();
        socket
    }

    fn rejected(&self, observer: &Observed, reason: &str) -> f64 {
        let listener = self.path.display();
        observer.metric(&format!("varta_datagrams_rejected_total{{listener=\"{listener}\",reason=\"{reason}\"}}"))
    }

    fn refused(&self, observer: &Observed, reason: &str, count: f64) {
        wait(reason, || (self.rejected(observer, reason) == count).then_some(()));
    }
}

fn own() -> u32 {
    std::process::id()
}

fn frame(pid: u32, nonce: u64) -> [u8; 32] {
    Frame { status: Status::Ok, pid, timestamp: nonce, nonce, payload: 17 }.encode()
}

fn body(nonce: u64, next_due_ms: u32, flags: Flags) -> [u8; 64] {
    let frame = Frame { status: Status::Ok, pid: own(), timestamp: nonce, nonce, payload: 17 };
    Body { frame, sent_at: 0, next_due_ms, lag_us: 0, unit: UnitId::NONE, flags, boot: 0 }.encode()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_local_process_is_heard_without_a_key_and_missed() {
    let mut host = Host::new();
    host.rig.config.stall.threshold = std::time::Duration::from_millis(300);
    let observer = host.rig.start();
    let agent = host.connect();
    agent.send(&frame(own(), 1)).unwrap();
    let slot = observer.wait_slot("local", "", |_| true);
    assert_eq!(
        (&slot["pid"], &slot["payload"], &slot["origin"]),
        (&json!(own()), &json!(17), &json!("KernelAttested"))
    );
    let path = format!("/api/v1/slots/local/pid:{}", own());
    assert_eq!(observer.get(&path).0, 200);
    let slot = observer.wait_slot("local", "", |slot| slot["verdict"] == "stalled");
    assert!(slot["why"].as_str().unwrap().contains("the threshold of 300 ms"), "{slot}");
    let series = format!("varta_status{{agent=\"local\",unit=\"\",pid=\"{}\"}}", own());
    assert_eq!(observer.metric(&series), 3.0);
    agent.send(&body(2, 60_000, Flags::default())).unwrap();
    observer.wait_slot("local", "", |slot| slot["verdict"] == "up");
    agent.send(&body(3, 0, Flags::FINAL)).unwrap();
    observer.wait_slot("local", "", |slot| slot["verdict"] == "departed");
    observer.stop();
    assert!(!host.path.exists(), "the socket's file goes with the observer");
}

#[test]
fn what_is_no_frame_of_the_sender_is_refused_and_counted() {
    let host = Host::new();
    let observer = host.rig.start();
    let agent = host.connect();
    agent.send(&frame(own() + 1, 1)).unwrap();
    host.refused(&observer, "pid_mismatch", 1.0);
    for bytes in [&[][..], &[b'V'; 31], &[b'V'; 33], &[b'V'; 63], &[b'V'; 65], &[b'V'; 5_000]] {
        agent.send(bytes).unwrap();
    }
    host.refused(&observer, "bad_length", 6.0);
    agent.send(&[b'V'; 32]).unwrap();
    host.refused(&observer, "frame_bad_magic", 1.0);
    agent.send(&frame(own(), 2)).unwrap();
    agent.send(&frame(own(), 2)).unwrap();
    host.refused(&observer, "out_of_order", 1.0);
    assert_eq!(observer.slots().len(), 1);
    observer.stop();
}

#[test]
fn descriptors_that_are_passed_are_never_held() {
    const SPAM: usize = 500;
    let host = Host::new();
    let observer = host.rig.start();
    let agent = host.connect();
    agent.send(&frame(own(), 1)).unwrap();
    observer.wait_slot("local", "", |_| true);
    let before = open_descriptors();
    let bytes = frame(own(), 2);
    let passed = [agent.as_raw_fd(); 16];
    for _ in 0..SPAM {
        let rights = [ControlMessage::ScmRights(&passed)];
        sendmsg::<UnixAddr>(agent.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::empty(), None).unwrap();
    }
    host.refused(&observer, "ctrl_truncated", SPAM as f64);
    wait("no descriptor was kept", || (open_descriptors() <= before + 1).then_some(()));
    agent.send(&frame(own(), 3)).unwrap();
    observer.wait_slot("local", "", |slot| slot["beats"] == 2);
    observer.stop();
}

#[test]
fn what_a_bad_process_does_is_told_once_and_counted_each_time() {
    const TIMES: u64 = 50;
    let mut host = Host::new();
    let file = host.rig.path("events.tsv");
    host.rig.config.export.file = Some(file.clone());
    let observer = host.rig.start();
    let agent = host.connect();
    let passed = [agent.as_raw_fd()];
    for nonce in 1..=TIMES {
        agent.send(&frame(own() + 1, nonce)).unwrap();
        let rights = [ControlMessage::ScmRights(&passed)];
        let bytes = frame(own(), nonce);
        sendmsg::<UnixAddr>(agent.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::empty(), None).unwrap();
    }
    host.refused(&observer, "pid_mismatch", TIMES as f64);
    host.refused(&observer, "ctrl_truncated", TIMES as f64);
    observer.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<_> = text.lines().map(|row| row.split_once('\t').unwrap().1).collect();
    let expected = [(own() + 1, "auth_failure"), (own(), "ctrl_truncated")];
    assert_eq!(rows, expected.map(|(pid, kind)| format!("{kind}\t{pid}\t-\t-\t-")));
}

#[test]
fn bad_datagrams_do_not_delay_the_next_good_one_and_two_listeners_lose_nothing() {
    const COUNT: u64 = 2_000;
    let mut host = Host::new();
    let other = host.rig.path("other.sock");
    host.rig.config.listen.push(Listen::socket(&other));
    let observer = host.rig.start();
    let senders = [host.path.clone(), other.clone()].map(|path| {
        std::thread::spawn(move || {
            let agent = UnixDatagram::unbound().unwrap();
            agent.connect(path).unwrap();
            for nonce in 1..=COUNT {
                if nonce % 10 == 0 {
                    agent.send(b"garbage").unwrap();
                }
                agent.send(&frame(own(), nonce)).unwrap();
            }
        })
    });
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let received = |path: &PathBuf| {
        observer.metric(&format!("varta_datagrams_received_total{{listener=\"{}\"}}", path.display())) as u64
    };
    for path in [&host.path, &other] {
        wait("every datagram is accounted for", || (received(path) == COUNT + COUNT / 10).then_some(()));
    }
    observer.stop();
}

#[test]
fn the_socket_has_the_mode_that_is_asked_for() {
    for mode in [0o600, 0o660, 0o666] {
        let mut host = Host::new();
        host.rig.config.listen[0].mode = mode;
        let observer = host.rig.start();
        let found = std::fs::metadata(&host.path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, mode);
        observer.stop();
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
    let host = Host::new();
    // Its owner is gone, and left it behind.
    drop(UnixDatagram::bind(&host.path).unwrap());
    let observer = host.rig.start();
    let mut second = Rig::new();
    second.config.listen = host.rig.config.listen.clone();
    second.config.observer.key_file = None;
    let text = second.refusal().to_string();
    assert!(text.contains(&host.path.display().to_string()) && text.contains("another observer listens"), "{text}");
    host.connect().send(&frame(own(), 1)).unwrap();
    observer.wait_slot("local", "", |_| true);
    observer.stop();

    std::fs::write(&host.path, "precious").unwrap();
    let error = host.rig.refusal();
    assert!(matches!(error, RunError::Failed(_)) && error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&host.path).unwrap(), "precious");
    std::fs::remove_file(&host.path).unwrap();

    let mut lost = Host::new();
    lost.rig.config.listen = vec![Listen::socket(lost.rig.path("no/such/varta.sock"))];
    let text = lost.rig.refusal().to_string();
    assert!(text.contains("no/such/varta.sock") && text.contains("make the directory"), "{text}");
}

#[test]
fn a_live_process_is_taken_up_again_after_a_restart() {
    let host = Host::new();
    let observer = host.rig.start();
    host.connect().send(&body(5, 60_000, Flags::default())).unwrap();
    observer.wait_slot("local", "", |slot| slot["verdict"] == "up");
    observer.stop();
    let observer = host.rig.start();
    observer.wait_slot("local", "", |slot| slot["verdict"] == "unknown");
    let agent = host.connect();
    agent.send(&frame(own(), 5)).unwrap();
    host.refused(&observer, "out_of_order", 1.0);
    agent.send(&frame(own(), 6)).unwrap();
    let slot = observer.wait_slot("local", "", |slot| slot["verdict"] == "up");
    assert_eq!(slot["beats"], 2);
    observer.stop();
}

#[test]
fn plaintext_is_heard_where_that_is_accepted_and_trusted_by_nobody() {
    let mut host = Host::new();
    host.rig.config.listen.push(Listen::plaintext(([127, 0, 0, 1], 0).into()));
    let observer = host.rig.start();
    let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.send_to(&frame(4242, 1), observer.0.plaintext_addrs()[0]).unwrap();
    let slot = observer.wait_slot("udp~127.0.0.1", "", |_| true);
    assert_eq!((&slot["pid"], &slot["origin"]), (&json!(4242), &json!("NetworkUnverified")));
    assert_eq!(observer.get("/api/v1/slots/udp~127.0.0.1/pid:4242").0, 200);
    observer.stop();
}
