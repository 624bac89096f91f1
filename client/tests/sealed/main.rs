//! A sealed handle against an ear that opens what it sends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod beats;
mod connecting;
mod outcomes;
mod receiver;
mod sessions;
