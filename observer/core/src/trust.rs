//! Where a datagram came from: SPEC, "Slots" and "Origin trust".

use std::net::{IpAddr, SocketAddr};

pub use varta_vlp::subject::{Class, Owner};

/// A sealed datagram's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which listener read it: an index into those the core was made with.
    pub listener: usize,
    /// Whether the operator declared that listener eligible for recovery.
    pub attested: bool,
    /// The sender's address. An attribute, never an identity.
    pub from: SocketAddr,
}

/// Who sent an unsealed base frame, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A process of this host.
    Local {
        /// Its pid, as the kernel says it.
        pid: u32,
        /// What tells it from others that had this pid, such as its start time; 0 where that is not known.
        process: u64,
        /// Whether its PID namespace was read, and is the observer's own.
        ours: bool,
    },
    /// Anybody who can send from this address, or say so.
    Plain(IpAddr),
}
