//! The last word of a process that panics. All in one test: hooks are the whole process's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork and an allocator that counts are unsafe")]

use std::{
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    panic::{catch_unwind, panic_any, set_hook},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use varta_client::{BeatOutcome, Status, Varta};
use varta_vlp::Frame;

#[expect(dead_code, reason = "a panic allocates what it likes after its hook")]
#[path = "sealed/child.rs"]
mod child;
#[path = "sealed/counting.rs"]
mod counting;

use child::{assert_held, in_child_allocating};
use counting::CALLS;

/// How often the hook of before was called, and what was allocated until then.
static CALLED: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

fn panics() {
    CALLS.set(0);
    assert!(catch_unwind(|| panic_any(())).is_err());
}

fn frame(bytes: &[u8]) -> Frame {
    Frame::decode(bytes.try_into().expect("32 bytes")).unwrap()
}

#[test]
fn a_panic_is_told_by_whoever_panics_and_a_beat_takes_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("varta.sock");
    let bind = || {
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    };
    let (ear, udp) = (bind(), UdpSocket::bind("127.0.0.1:0").unwrap());
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    set_hook(Box::new(|what| {
        if !what.payload().is::<()>() {
            eprintln!("{what}");
            return;
        }
        ALLOCATED.fetch_max(CALLS.get(), Ordering::SeqCst);
        CALLED.fetch_add(1, Ordering::SeqCst);
    }));
    let mut varta = Varta::local(&path).unwrap();
    let other = Varta::connect_udp(udp.local_addr().unwrap()).unwrap();
    assert_eq!(varta.beat(Status::Ok, 3), BeatOutcome::Sent);
    varta.tell_panics().unwrap();
    other.tell_panics().unwrap();
    let mut bytes = [0; 64];
    let len = ear.recv(&mut bytes).unwrap();
    assert_eq!(frame(&bytes[..len]).nonce, 1, "to be told of panics says nothing");

    let told_by = |ear: &UnixDatagram, pid: u32| {
        let mut bytes = [0; 64];
        for len in [ear.recv(&mut bytes).unwrap(), udp.recv(&mut bytes).unwrap()] {
            let told = frame(&bytes[..len]);
            assert_eq!((told.status, told.nonce, told.payload), (Status::Critical, Frame::TERMINAL, 0));
            assert_eq!(told.pid, pid);
        }
    };
    panics();
    told_by(&ear, std::process::id());
    assert_eq!(
        (CALLED.load(Ordering::SeqCst), ALLOCATED.load(Ordering::SeqCst)),
        (1, 0),
        "after both, and nothing allocated"
    );
    std::thread::spawn(panics).join().unwrap();
    told_by(&ear, std::process::id());
    assert_eq!(varta.beat(Status::Ok, 4), BeatOutcome::Sent);
    let len = ear.recv(&mut bytes).unwrap();
    assert_eq!((frame(&bytes[..len]).nonce, frame(&bytes[..len]).payload), (2, 4));

    // A child that has not beaten yet.
    let child = in_child_allocating(|| {
        panics();
        Some(ALLOCATED.load(Ordering::SeqCst) == 0)
    });
    assert_held(child);
    told_by(&ear, u32::try_from(child.as_raw()).unwrap());

    // Another observer listens at the path by now; and then none.
    drop(ear);
    std::fs::remove_file(&path).unwrap();
    let ear = bind();
    panics();
    told_by(&ear, std::process::id());
    drop(ear);
    panics();
    assert_eq!(
        (CALLED.load(Ordering::SeqCst), ALLOCATED.load(Ordering::SeqCst)),
        (4, 0),
        "those of the child are its own"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(varta.tell_panics().is_err());
}
