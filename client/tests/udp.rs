//! A handle for plaintext UDP against a socket that reads what it sends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork and an allocator that counts are unsafe")]

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use varta_client::{BeatOutcome, DropReason, Status, UdpTransport, Varta};
use varta_vlp::Frame;

#[path = "sealed/child.rs"]
mod child;
#[path = "sealed/counting.rs"]
mod counting;
#[expect(dead_code, reason = "of the sealed one's file only the host is wanted")]
#[path = "sealed/receiver.rs"]
mod receiver;

use child::{assert_held, in_child};
use counting::CALLS;
use receiver::{Host, SECOND};

/// A forked child holds the sockets of all tests for as long as it lives: where one is to be closed, there is none.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const SENT: BeatOutcome = BeatOutcome::Sent;
const NO_OBSERVER: BeatOutcome = BeatOutcome::Dropped(DropReason::NoObserver);

fn ear(address: impl Into<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind(address.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn any() -> UdpSocket {
    ear(([127, 0, 0, 1], 0))
}

fn next(ear: &UdpSocket) -> Frame {
    let mut bytes = [0; 64];
    let len = ear.recv(&mut bytes).unwrap();
    Frame::decode(bytes[..len].try_into().expect("32 bytes")).unwrap()
}

/// Beats until it is told this, or too often.
fn told(varta: &mut Varta<UdpTransport>, wanted: BeatOutcome) -> bool {
    (0..100).any(|_| {
        std::thread::park_timeout(Duration::from_millis(10));
        varta.beat(Status::Ok, 0) == wanted
    })
}

#[test]
fn beats_are_bare_base_frames_by_either_family() {
    for ear in [any(), ear(([0, 0, 0, 0, 0, 0, 0, 1], 0))] {
        let host = Host::new();
        let address = ear.local_addr().unwrap();
        let mut varta = Varta::connect_udp_with(address, host.clone()).unwrap();
        assert_eq!(varta.address(), address);
        let pid = std::process::id();
        for (status, timestamp, nonce, payload) in
            [(Status::Ok, 0, 1, 7), (Status::Degraded, SECOND, 2, 0), (Status::Critical, 2 * SECOND, 3, u32::MAX)]
        {
            assert_eq!(varta.beat(status, payload), SENT);
            assert_eq!(next(&ear), Frame { status, pid, timestamp, nonce, payload });
            host.pass(SECOND);
        }
        assert_eq!(varta.terminal(9), SENT);
        assert_eq!(next(&ear).nonce, Frame::TERMINAL);
        assert!(matches!(varta.beat(Status::Stall, 0), BeatOutcome::Failed(_)));
        assert_eq!(varta.beat(Status::Ok, 0), SENT);
        assert_eq!(next(&ear).nonce, 4, "neither an end nor what is refused takes a nonce");
        assert_eq!(varta.clock_regressions(), 0);
    }
}

#[test]
fn an_observer_that_is_away_is_told_of_and_found_again() {
    let _turn = turn();
    let there = any();
    let address = there.local_addr().unwrap();
    let mut varta = Varta::connect_udp(address).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    assert_eq!(next(&there).nonce, 1);
    drop(there);
    assert!(told(&mut varta, NO_OBSERVER), "the kernel tells of the refusal with a later beat");
    let there = ear(address);
    assert!(told(&mut varta, SENT));
    let first = next(&there).nonce;
    assert!(first > 1, "nonces go on: {first}");
    varta.reconnect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 5), SENT);
    let last = std::iter::repeat_with(|| next(&there)).take(200).find(|frame| frame.payload == 5).unwrap();
    assert!(last.nonce > first, "a new socket is no restart");
}

#[test]
fn after_so_many_misses_the_socket_is_another() {
    let _turn = turn();
    let there = any();
    let address = there.local_addr().unwrap();
    let mut varta = Varta::connect_udp(address).unwrap();
    varta.set_reconnect_after(2);
    assert_eq!(varta.beat(Status::Ok, 0), SENT);
    let (_, before) = there.recv_from(&mut [0; 64]).unwrap();
    drop(there);
    assert!(told(&mut varta, NO_OBSERVER) && told(&mut varta, NO_OBSERVER));
    let there = ear(address);
    assert!((0..200).any(|_| {
        let _ = varta.beat(Status::Ok, 0);
        there.recv_from(&mut [0; 64]).unwrap().1.port() != before.port()
    }));
}

#[test]
fn no_way_is_an_error() {
    let error = Varta::connect_udp(([255, 255, 255, 255], 9).into()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn a_child_is_a_process_of_its_own() {
    let _turn = turn();
    let there = any();
    let mut varta = Varta::connect_udp(there.local_addr().unwrap()).unwrap();
    assert_eq!(varta.beat(Status::Ok, 1), SENT);
    let (_, parents) = there.recv_from(&mut [0; 64]).unwrap();
    let child = in_child(|| varta.beat(Status::Ok, 2) == SENT && varta.fork_recoveries() == 1);
    assert_held(child);
    let mut bytes = [0; 64];
    let (len, childs) = there.recv_from(&mut bytes).unwrap();
    let frame = Frame::decode(bytes[..len].try_into().unwrap()).unwrap();
    assert_eq!((frame.nonce, frame.payload, i32::try_from(frame.pid).unwrap()), (1, 2, child.as_raw()));
    assert_ne!(parents, childs, "by a socket of its own");
    assert_eq!(varta.beat(Status::Ok, 3), SENT);
    assert_eq!((next(&there).nonce, varta.fork_recoveries()), (2, 0));
}

#[test]
fn beats_allocate_nothing_whether_the_observer_is_there_or_not() {
    let _turn = turn();
    CALLS.set(0);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.get(), 2, "the allocator does count");
    let there = any();
    let mut varta = Varta::connect_udp(there.local_addr().unwrap()).unwrap();
    varta.set_reconnect_after(3);
    let mut bytes = [0; 64];
    let mut worst = SENT;
    CALLS.set(0);
    for beat in 0..10_000 {
        worst = worst.worst(varta.beat(Status::Ok, beat));
        there.recv(&mut bytes).unwrap();
    }
    assert_eq!((CALLS.get(), worst), (0, SENT));
    drop(there);
    CALLS.set(0);
    let dropped = (0..1000).filter(|_| varta.beat(Status::Ok, 0) != SENT).count();
    varta.reconnect().unwrap();
    assert_eq!(CALLS.get(), 0);
    assert!(dropped > 100, "{dropped}");
}
