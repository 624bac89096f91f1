//! The observer's shell: everything around [`varta_core`] that touches the world.
//!
//! One thread with a poller owns the sockets and the core; the main thread runs HTTP and signals and asks the first
//! through a [`command::Handle`]. Data moves socket -> core -> published state -> metric, file, screen; never back.
//!
//! [`Observer::start`] runs all of that within another program. [`Observer::bind`] and [`Observer::from_config`] make one
//! without threads, whose [`Event`]s the program polls.

#![forbid(unsafe_code)]

pub mod audit;
pub mod command;
pub mod export;
pub mod forward;
pub mod journal;
pub mod recovery;
pub mod row;
pub mod run;
pub mod sample;
pub mod state;

mod gate;
mod ingest;
mod keyring;
mod listen;
mod peers;
mod poll;
mod reload;
mod roster;
mod tap;
mod watchdog;

pub use listen::udp::ListenError;
pub use poll::Observer;
pub use reload::ReloadError;
pub use roster::RosterError;
pub use run::{Addresses, RunError, RunOptions, Running, StopHandle, run};
pub use tap::Event;
pub use varta_core::{Change, Class, Class as BeatOrigin, Exit, Owner, Reject, SlotChange, Subject, Verdict};
pub use varta_daemon::{aside, logging};
use varta_daemon::{clock, notify};
pub use varta_vlp::{DecodeError, Status};
pub use watchdog::WatchdogError;
