//! Named scenarios: each an attack or a misfortune that once broke a rule somewhere, or nearly did. Every invariant of the
//! simulator holds throughout; besides, each says what must come of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clocks;
mod copies;
mod endings;
mod observers;
mod replays;
mod rig;
