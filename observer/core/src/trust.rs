//! Where a datagram came from, and how far that can be trusted: SPEC, "Origin trust".

use std::net::SocketAddr;

/// How far an origin can be trusted, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Sealed, all steps of acceptance passed.
    NetworkVerified,
    /// Sealed, and both the listener and the roster say that recovery may act on it.
    OperatorAttested,
}

impl Class {
    /// The class's published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkVerified => "NetworkVerified",
            Self::OperatorAttested => "OperatorAttested",
        }
    }
}

/// A datagram's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which listener read it: an index into those the core was made with.
    pub listener: usize,
    /// Whether the operator declared that listener eligible for recovery.
    pub attested: bool,
    /// The sender's address. An attribute, never an identity.
    pub from: SocketAddr,
}
