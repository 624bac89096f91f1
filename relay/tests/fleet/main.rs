//! The fleet under a simulated clock: what observers say goes in as the messages they would send, what follows comes out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod combined;
mod incidents;
mod links;
mod rig;
mod simulated;
mod verdicts;
