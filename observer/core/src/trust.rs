//! Where a datagram came from, whom it speaks for, and how far that can be trusted: SPEC, "Slots" and "Origin trust".

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use varta_vlp::AgentId;

/// How far an origin can be trusted, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Plaintext from a network: anybody may have sent it.
    NetworkUnverified,
    /// A local socket whose kernel does not say who sends; who may is what the socket's mode says.
    SocketModeOnly,
    /// Sealed, all steps of acceptance passed.
    NetworkVerified,
    /// Sealed, and both the listener and the roster say that recovery may act on it.
    OperatorAttested,
    /// A local socket; the kernel says with each datagram which process sent it.
    KernelAttested,
}

impl Class {
    /// The class's published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkUnverified => "NetworkUnverified",
            Self::SocketModeOnly => "SocketModeOnly",
            Self::NetworkVerified => "NetworkVerified",
            Self::OperatorAttested => "OperatorAttested",
            Self::KernelAttested => "KernelAttested",
        }
    }
}

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

/// Whose a slot is. The kinds never mix: a pid from a network is never a local one, nor one host's another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// An agent that holds a key.
    Agent(AgentId),
    /// Processes of this host.
    Local,
    /// Whoever sends plaintext from this address; v4-mapped addresses are v4 ones.
    Plain(IpAddr),
}

impl Owner {
    /// The agent, of one that holds a key.
    #[must_use]
    pub const fn agent(self) -> Option<AgentId> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Local | Self::Plain(_) => None,
        }
    }

    /// Reads what [`Display`](fmt::Display) writes of one that holds no key.
    #[must_use]
    pub fn of_unsealed(name: &str) -> Option<Self> {
        match name.strip_prefix(PLAIN) {
            Some(address) => address.parse().ok().map(Self::Plain),
            None => (name == LOCAL).then_some(Self::Local),
        }
    }
}

impl From<AgentId> for Owner {
    fn from(agent: AgentId) -> Self {
        Self::Agent(agent)
    }
}

/// The name of [`Owner::Local`]. No key is issued for it.
const LOCAL: &str = "local";
/// What stands before an address; no agent's name holds a tilde.
const PLAIN: &str = "udp~";

impl fmt::Display for Owner {
    /// An agent's id as 16 hex digits; `local`; `udp~` and the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => agent.fmt(f),
            Self::Local => f.write_str(LOCAL),
            Self::Plain(address) => write!(f, "{PLAIN}{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_without_a_key_are_read_as_they_are_written() {
        for owner in [Owner::Local, Owner::Plain([10, 0, 0, 5].into()), Owner::Plain("2001:db8::1".parse().unwrap())] {
            assert_eq!(Owner::of_unsealed(&owner.to_string()), Some(owner));
        }
        for name in ["Local", "udp~", "udp~host", "10.0.0.5", "00000000000000ab"] {
            assert_eq!(Owner::of_unsealed(name), None, "{name}");
        }
    }

    #[test]
    fn classes_are_ordered_by_trust() {
        let ordered = [
            Class::NetworkUnverified,
            Class::SocketModeOnly,
            Class::NetworkVerified,
            Class::OperatorAttested,
            Class::KernelAttested,
        ];
        assert!(ordered.is_sorted());
    }
}
