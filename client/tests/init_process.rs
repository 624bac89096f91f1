//! Pid 1 of a namespace. Alone in its binary: a process has one pid, and here it is said to be 1.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use varta_client::{BeatOutcome, ConnectError, Status, Varta};
use varta_vlp::sealed::INIT_PID;

#[expect(dead_code, reason = "this test has the machine's own clock")]
#[path = "sealed/receiver.rs"]
mod receiver;
mod same_pid;

use receiver::{Receiver, key};
use same_pid::SamePid;

#[test]
fn pid_1_must_name_its_unit_and_says_a_pid_that_nobody_has() {
    let ear = Receiver::new("obs-1");
    let builder = || Varta::builder().key(key("init", &[&ear]));
    let error = builder().connect_with(SamePid(1)).unwrap_err();
    assert!(matches!(error, ConnectError::UnitRequired));
    let mut varta = builder().unit("main").connect_with(SamePid(1)).unwrap();
    assert_eq!(varta.beat(Status::Ok, 0), BeatOutcome::Sent);
    assert_eq!(ear.next().body.frame.pid, INIT_PID);
    assert_eq!(varta.fork_recoveries(), 0);
}
