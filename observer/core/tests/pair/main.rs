//! An observer's core and simulated senders, stepped together by one clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sender;
mod world;

mod batches;
mod blindness;
mod bounds;
mod conflicts;
mod goodbyes;
mod order;
mod rejects;
mod restart;
mod roster;
mod sessions;
mod traffic;
mod turnover;
mod unseen;
mod verdicts;
