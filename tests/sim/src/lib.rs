//! Agents, a hostile network and observers in one simulated time: the real sealing, sessions and core against a slow,
//! obvious model, with invariants after every step. A seed is a run, byte for byte.
//!
//! * [`random::run`] makes a world of a seed and lets it pass.
//! * [`world::World`] is what scenarios are written with.

pub mod attacker;
pub mod clock;
pub mod disk;
pub mod model;
pub mod names;
pub mod network;
pub mod observer;
pub mod process;
pub mod random;
pub mod registry;
pub mod rng;
pub mod rules;
pub mod trace;
pub mod world;
