//! The agent's side of Varta: a handle that beats and never blocks.
//!
//! [`Varta::sealed`] connects with an agent key file; [`Varta::builder`] says more: a unit, a promise, labels. A beat
//! costs one clock reading, eight random bytes, one sealing and one send for each observer, and no allocation.
//!
//! [`Varta::local`] connects to an observer on this host by the path of its socket, without a key: the kernel vouches
//! for the process. [`Varta::local_builder`] adds a promise. A beat costs one clock reading and one send.
//!
//! [`Varta::connect_udp`] sends the same over plaintext UDP, to observers that accept what nothing vouches for.
//!
//! [`Ticker`] beats from a thread for programs without a loop of their own, as long as they make progress.
//!
//! The folder `examples` has a pre-fork server, a pool of threads, a job of cron and a program on tokio.
//!
//! * [`session`] and [`salt`]: when a session begins, how frames are stamped and salted. Pure, for simulators and the
//!   curious.
//! * [`keyfile`]: agent key files, and the rules for every file that holds a secret.

#![deny(unsafe_code)]

pub mod keyfile;
pub mod salt;
pub mod session;

mod announce;
mod boot;
mod client;
mod clock;
mod fork;
mod outcome;
mod process;
mod sources;
mod ticker;
mod transport;

pub use client::{Beat, BeatTransport, Varta};
pub use outcome::{BeatError, BeatFault, BeatOutcome, DropReason};
pub use sources::{OsSources, Sources};
pub use ticker::{Progress, Ticker};
pub use transport::sealed::{ConnectError, SealedBuilder, SealedTransport, UnitError};
pub use transport::udp::UdpTransport;
pub use transport::uds::{UdsBuilder, UdsConnectError, UdsTransport};
pub use varta_vlp::Status;
