//! The Varta relay: one picture of the fleet out of every observer's.
//!
//! Observers dial in and report ([`fleet`] takes their words and works out what follows); people and machines look over
//! HTTP. One thread does all of it, a bounded step at a time.

#![forbid(unsafe_code)]

pub mod fleet;
pub mod run;

mod desk;
mod http;
mod journal;
mod metrics;
mod session;
mod store;
mod webhook;

pub use run::{Addresses, RunError, RunOptions, Running, run, start};
