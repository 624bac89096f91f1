//! A beat never blocks: a neighbour that answers no address question leaves datagrams queued in the kernel until the
//! socket has no room.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{net::SocketAddr, process::Command};

use nix::sched::{CloneFlags, unshare};
use varta_client::{BeatOutcome, DropReason, Status, Varta};

#[expect(dead_code, reason = "nothing arrives in this test")]
#[path = "sealed/receiver.rs"]
mod receiver;

use receiver::{Receiver, key};

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
#[ignore = "needs root: makes a network namespace of its own"]
fn a_full_queue_drops_and_does_not_block() {
    // This thread alone moves to a network of its own, and so does what it starts.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for step in [
        "link add near type veth peer name far",
        "addr add 10.11.12.1/24 dev near",
        "link set near up",
        "link set far up",
        "link set lo up",
    ] {
        ip(step);
    }
    // More may wait for the neighbour than the socket may have under way.
    std::fs::write("/proc/sys/net/ipv4/neigh/near/unres_qlen_bytes", "16777216").unwrap();
    let ear = Receiver::new("obs-1");
    let there: SocketAddr = "10.11.12.2:9900".parse().unwrap();
    let mut varta = Varta::builder().key(key("queue", &[&ear])).address(there.to_string()).connect().unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    let full = (0..20_000).find(|_| varta.beat(Status::Ok, 0) == BeatOutcome::Dropped(DropReason::KernelQueueFull));
    assert!(full.is_some(), "the queue filled up and the beats went on returning");
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Dropped(DropReason::KernelQueueFull));
}
