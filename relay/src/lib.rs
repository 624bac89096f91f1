//! The Varta relay: one picture of the fleet out of every observer's.

#![forbid(unsafe_code)]

pub mod fleet;
