//! A handle for a local socket against an ear that reads what it sends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

mod beats;
mod connecting;
#[path = "../sealed/counting.rs"]
mod counting;
mod ear;
mod no_alloc;
mod outcomes;
#[expect(dead_code, reason = "these tests have a local ear, and of the sealed one's file only the host")]
#[path = "../sealed/receiver.rs"]
mod receiver;
#[path = "../same_pid/mod.rs"]
mod same_pid;
