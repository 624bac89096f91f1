//! Whom an observer knows, how far it trusts their origin, and what it says of them: SPEC, "Slots" and "Origin trust".

use core::net::IpAddr;

use crate::key::AgentId;

/// What an observer says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// On time, and says that it is well.
    Up,
    /// On time with a fault, or contested by a second live process.
    Degraded,
    /// On time and not working, or ended badly.
    Critical,
    /// Silent past its deadline.
    Stalled,
    /// Said goodbye.
    Departed,
    /// In a planned absence that is not over.
    Held,
    /// In the roster and never seen, or required and away for too long.
    Missing,
    /// The observer could not see.
    Unknown,
}

impl Verdict {
    /// Every verdict, in declared order.
    pub const ALL: [Self; 8] = [
        Self::Up,
        Self::Degraded,
        Self::Critical,
        Self::Stalled,
        Self::Departed,
        Self::Held,
        Self::Missing,
        Self::Unknown,
    ];

    /// Every verdict, in the order in which people are to look at them: what needs somebody first, and what is well last.
    pub const WORST_FIRST: [Self; Self::ALL.len()] = [
        Self::Stalled,
        Self::Critical,
        Self::Missing,
        Self::Unknown,
        Self::Degraded,
        Self::Held,
        Self::Departed,
        Self::Up,
    ];

    /// The verdict's published name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Stalled => "stalled",
            Self::Departed => "departed",
            Self::Held => "held",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

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
    /// Every class, lowest first.
    pub const ALL: [Self; 5] = [
        Self::NetworkUnverified,
        Self::SocketModeOnly,
        Self::NetworkVerified,
        Self::OperatorAttested,
        Self::KernelAttested,
    ];

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

    /// Reads what [`Display`](core::fmt::Display) writes of one that holds no key.
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

impl core::fmt::Display for Owner {
    /// An agent's id as 16 hex digits; `local`; `udp~` and the address.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Agent(agent) => core::fmt::Display::fmt(agent, f),
            Self::Local => f.write_str(LOCAL),
            Self::Plain(address) => write!(f, "{PLAIN}{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

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
        assert!(Class::ALL.is_sorted());
    }

    #[test]
    fn every_verdict_has_its_place_among_the_worst() {
        assert!(Verdict::ALL.iter().all(|verdict| Verdict::WORST_FIRST.contains(verdict)));
    }
}
