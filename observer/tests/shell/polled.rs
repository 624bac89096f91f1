//! An observer that is polled: no thread, one event at a time.

use std::{
    io::IoSlice,
    net::UdpSocket,
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use varta_config::{Listen, Recovery};
use varta_vlp::{Frame, sealed::Flags};
use varta_watch::{Class, DecodeError, Event, Observer, Owner, Reject, RunError, Status, Verdict};

use crate::{
    clock::wait,
    rig::{Agent, Rig, name},
};

/// An observer of local processes, and one of them.
struct World {
    observer: Observer,
    agent: UnixDatagram,
    path: PathBuf,
    directory: tempfile::TempDir,
}

impl World {
    fn new(threshold: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("varta.sock");
        let observer = Observer::bind(&path, threshold).unwrap();
        let agent = connect(&path);
        Self { observer, agent, path, directory }
    }

    fn send(&self, bytes: &[u8]) {
        self.agent.send(bytes).unwrap();
    }
}

fn connect(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(path).unwrap();
    socket
}

fn own() -> u32 {
    std::process::id()
}

fn frame(pid: u32, nonce: u64, status: Status) -> [u8; 32] {
    Frame { status, pid, timestamp: nonce, nonce, payload: 17 }.encode()
}

/// The next event that is not of the observer itself: one that is held up says that it could not see.
fn next(observer: &mut Observer) -> Event {
    wait("there is an event", || observer.poll().filter(|event| !matches!(event, Event::Changed(..))))
}

/// The first event that `wanted` makes something of.
fn find<T>(observer: &mut Observer, wanted: impl Fn(&Event) -> Option<T>) -> T {
    wait("the event comes", || observer.poll().as_ref().and_then(&wanted))
}

fn kinds(observer: &mut Observer, count: usize) -> Vec<&'static str> {
    (0..count).map(|_| next(observer).kind()).collect()
}

#[test]
fn whoever_never_waits_hears_what_came_meanwhile() {
    let mut world = World::new(Duration::from_secs(60));
    world.observer.set_read_timeout(Duration::ZERO);
    for nonce in 1..4 {
        assert!(world.observer.poll().is_none_or(|event| !matches!(event, Event::Beat { .. })));
        world.send(&frame(own(), nonce, Status::Ok));
        let heard = find(&mut world.observer, |event| match event {
            Event::Beat { nonce, .. } => Some(*nonce),
            _ => None,
        });
        assert_eq!(heard, nonce);
        while world.observer.poll().is_some() {}
    }
}

#[test]
fn a_beat_is_handed_out_with_all_that_is_known_of_it() {
    let World { mut observer, agent, path, directory: _directory } = World::new(Duration::from_secs(60));
    assert_eq!(observer.addresses().sockets, [path]);
    assert_eq!(std::fs::metadata(&observer.addresses().sockets[0]).unwrap().mode() & 0o777, 0o600);
    observer.set_read_timeout(Duration::ZERO);
    assert!(observer.poll().is_none(), "nothing came, and nothing was waited for");
    observer.set_read_timeout(Duration::from_millis(10));
    assert!(observer.poll().is_none());
    agent.send(&frame(own(), 1, Status::Degraded)).unwrap();
    let (event, subject) = wait("the beat comes", || observer.poll_with_subject());
    let Event::Beat { pid, status, payload, nonce, origin, pid_ns_inode, observer_ns } = event else {
        panic!("{event:?}")
    };
    assert_eq!((pid, status, payload, nonce), (own(), Status::Degraded, 17, 1));
    assert_eq!((origin, subject.unwrap().agent), (Class::KernelAttested, Owner::Local));
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(link.to_str().unwrap(), format!("pid:[{}]", pid_ns_inode.unwrap()));
    assert_ne!(observer_ns, 0);
    let event = observer.poll_pending();
    assert!(matches!(event, Some(Event::New { to: Verdict::Degraded, .. })), "{event:?}");
    assert!(observer.poll_pending().is_none());
}

#[test]
fn beats_back_to_back_are_both_seen() {
    let mut world = World::new(Duration::from_secs(60));
    world.send(&frame(own(), 1, Status::Ok));
    world.send(&frame(own(), 2, Status::Critical));
    let mut heard = || {
        find(&mut world.observer, |event| match event {
            Event::Beat { status, nonce, .. } => Some((*status, *nonce)),
            _ => None,
        })
    };
    assert_eq!([heard(), heard()], [(Status::Ok, 1), (Status::Critical, 2)]);
}

#[test]
fn silence_is_told_once_with_what_was_last_heard() {
    const THRESHOLD: Duration = Duration::from_millis(100);
    let mut world = World::new(THRESHOLD);
    for nonce in [1, 2] {
        world.send(&frame(own(), nonce, Status::Ok));
    }
    let (pid, nonce, last_ns, observer_ns) = find(&mut world.observer, |event| match event {
        Event::Stall { pid, last_nonce, last_ns, observer_ns, .. } => Some((*pid, *last_nonce, *last_ns, *observer_ns)),
        _ => None,
    });
    assert_eq!((pid, nonce), (own(), 2));
    assert!(observer_ns - last_ns >= u64::try_from(THRESHOLD.as_nanos()).unwrap(), "{last_ns} {observer_ns}");
    world.send(&frame(own(), 3, Status::Ok));
    let to = find(&mut world.observer, |event| match event {
        Event::Verdict { from: Verdict::Stalled, to, .. } => Some(*to),
        Event::Stall { .. } => panic!("told twice"),
        _ => None,
    });
    assert_eq!(to, Verdict::Up);
}

#[test]
fn what_is_no_beat_of_its_sender_is_told_and_delays_nobody() {
    let mut world = World::new(Duration::from_secs(60));
    world.send(&[b'V'; 32]);
    world.send(&frame(own() + 1, 1, Status::Ok));
    let event = next(&mut world.observer);
    assert!(matches!(event, Event::Decode(DecodeError::BadMagic, _)), "{event:?}");
    let event = next(&mut world.observer);
    assert!(matches!(event, Event::AuthFailure { claimed_pid, .. } if claimed_pid == own() + 1), "{event:?}");
    for bytes in [&[][..], &[b'V'; 31], &[b'V'; 33], &[b'V'; 65], &[b'V'; 5_000]] {
        world.send(bytes);
        let event = next(&mut world.observer);
        assert!(matches!(event, Event::Refused(Reject::BadLength, _)), "{event:?}");
    }
    let (bytes, passed) = (frame(own(), 5, Status::Ok), [world.agent.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&passed)];
    sendmsg::<UnixAddr>(passed[0], &[IoSlice::new(&bytes)], &rights, MsgFlags::empty(), None).unwrap();
    world.send(&bytes);
    world.send(&bytes);
    assert_eq!(kinds(&mut world.observer, 4), ["ctrl_truncated", "beat", "refused", "new"]);
}

#[test]
fn the_socket_goes_with_the_observer_and_belongs_to_one() {
    let World { observer, path, directory: _directory, .. } = World::new(Duration::from_secs(60));
    let error = Observer::bind(&path, Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, RunError::Failed(_)) && error.to_string().contains("another observer listens"), "{error}");
    assert!(path.exists());
    drop(observer);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_what_is_wrong_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("varta.sock");
    drop(UnixDatagram::bind(&path).unwrap());
    drop(Observer::bind(&path, Duration::from_secs(1)).unwrap());
    let error = Observer::bind(&path, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, RunError::Configuration(_)) && error.to_string().contains("stall.threshold"), "{error}");
    let mut rig = Rig::new();
    rig.config.recovery = vec![Recovery { exec: vec!["/bin/true".to_owned()], ..Recovery::default() }];
    rig.config.audit.file = Some(rig.path("audit.log"));
    let error = Observer::from_config(&rig.config).unwrap_err();
    assert!(error.to_string().contains("an observer that is polled runs nothing"), "{error}");
}

#[test]
fn sealed_plain_and_local_beats_come_from_one_observer_and_its_state_is_kept() {
    let mut rig = Rig::new();
    let path = rig.path("varta.sock");
    rig.config.listen.extend([Listen::socket(&path), Listen::plaintext(([127, 0, 0, 1], 0).into())]);
    let mut observer = Observer::from_config(&rig.config).unwrap();
    let addresses = observer.addresses().clone();
    assert_eq!(addresses.http, None);
    let mut agent = Agent::new("web-1", "api", 1);
    let sealed = agent.frame(Flags::default());
    agent.send(addresses.sealed[0], &sealed);
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    plain.send_to(&frame(77, 1, Status::Ok), addresses.plaintext[0]).unwrap();
    connect(&path).send(&frame(own(), 5, Status::Ok)).unwrap();
    let mut heard = || {
        wait("a beat comes", || match observer.poll_with_subject()? {
            (Event::Beat { pid, origin, .. }, Some(subject)) => Some((pid, origin, subject.agent)),
            _ => None,
        })
    };
    let mut beats = [heard(), heard(), heard()];
    beats.sort_by_key(|(pid, ..)| *pid != 77);
    beats[1..].sort_by_key(|(_, origin, _)| *origin);
    let web = Owner::Agent(name("web-1").agent_id());
    assert_eq!(
        beats,
        [
            (77, Class::NetworkUnverified, Owner::Plain([127, 0, 0, 1].into())),
            (4242, Class::NetworkVerified, web),
            (own(), Class::KernelAttested, Owner::Local),
        ]
    );
    drop(observer);
    let mut observer = Observer::from_config(&rig.config).unwrap();
    connect(&path).send(&frame(own(), 5, Status::Ok)).unwrap();
    let reject = find(&mut observer, |event| match event {
        Event::Refused(reject, _) => Some(*reject),
        _ => None,
    });
    assert_eq!(reject, Reject::OutOfOrder);
}
