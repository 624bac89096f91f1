//! What is fuzzed: one body for each target, which takes any bytes and panics where a property does not hold.
//!
//! `tests/fuzz` runs them under coverage, `tests/corpora.rs` replays what such runs have found; docs/fuzzing.md explains
//! both.

pub mod base_frame;
pub mod config;
pub mod datagram;
pub mod key_file;
pub mod metadata;
pub mod report;
pub mod roster;
pub mod state_file;
pub mod unsealed;

mod input;
mod text;
mod watch;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("base_frame", base_frame::body),
    ("config", config::body),
    ("datagram", datagram::body),
    ("key_file", key_file::body),
    ("metadata", metadata::body),
    ("report", report::body),
    ("roster", roster::body),
    ("state_file", state_file::body),
    ("unsealed", unsealed::body),
];
