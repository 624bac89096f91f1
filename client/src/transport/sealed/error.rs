//! Why a sealed handle cannot be made, or its unit not named.

use std::io;

use varta_vlp::{key::BadName, sealed::MetadataError};

use super::MAX_AUDIENCES;
use crate::{
    keyfile::{BadAddress, KeyFileError},
    outcome::BeatError,
};

/// Why a sealed handle cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No key was given.
    #[error("no agent key given: name a key file")]
    NoKey,
    /// The key file cannot be read, or is wrong.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A name is of bad form.
    #[error("{what} name {name:?}: {source}")]
    BadName {
        /// Agent, audience or unit.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        source: BadName,
    },
    /// Generation 0, which no key has.
    #[error("the key of agent {agent:?} has generation 0; generations begin at 1")]
    Generation {
        /// The agent.
        agent: String,
    },
    /// More audiences than a handle serves, or none.
    #[error("the key has {count} audiences; it must have 1 to {MAX_AUDIENCES}")]
    AudienceCount {
        /// How many.
        count: usize,
    },
    /// An audience was asked for that the key does not have.
    #[error("the key has no audience {name:?}; it has {known}")]
    NoSuchAudience {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// One address was given for several audiences.
    #[error("one address was given, but the key has {count} audiences; choose one of {known}")]
    OneAddress {
        /// How many are chosen.
        count: usize,
        /// Which.
        known: String,
    },
    /// An address is not `host:port`.
    #[error("address {address:?} of audience {audience:?}: {source}")]
    BadAddress {
        /// Whose address.
        audience: String,
        /// The address.
        address: String,
        /// What is wrong with it.
        source: BadAddress,
    },
    /// A label is of bad form.
    #[error("label {key:?}: {source}")]
    BadLabel {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: MetadataError,
    },
    /// A label has the key of something that is announced anyway.
    #[error("label {key:?} is reserved; it is set by other means")]
    ReservedLabel {
        /// Its key.
        key: String,
    },
    /// All that is announced is too much together.
    #[error("agent, host, version and labels together: {0}")]
    Announcement(MetadataError),
    /// Pid 1 of a PID namespace is known by its unit or not at all.
    #[error("this process is pid 1 of its namespace, which names nothing outside: name its unit")]
    UnitRequired,
    /// Another handle of this process beats for the same place.
    #[error("another handle of this process beats for agent {agent:?}, unit {unit:?} and audience {audience:?}")]
    AlreadyOpen {
        /// The agent.
        agent: String,
        /// The unit, empty where there is none.
        unit: String,
        /// The audience.
        audience: String,
    },
    /// The process holds more handles open than it can tell apart.
    #[error("too many handles are open in this process; drop some")]
    TooManyHandles,
    /// The operating system has no randomness, without which nothing is sealed.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[source] io::Error),
    /// A clock cannot be read.
    #[error("cannot read the clock: {0}")]
    Clock(#[source] io::Error),
    /// There is no memory that is wiped on fork, without which a forked child could not be told from its parent.
    #[error("no memory that is wiped on fork (needs Linux 4.14): {0}")]
    ForkDetection(#[source] io::Error),
    /// The thread that resolves names again cannot be started.
    #[error("cannot start the thread that resolves names: {0}")]
    Resolver(#[source] io::Error),
    /// None of the audiences can be connected to; this is the first one's reason.
    #[error("cannot connect to audience {audience:?} at {address}: {source}")]
    NoWay {
        /// The first audience.
        audience: String,
        /// Its address.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

/// Why a unit cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The name is of bad form.
    #[error("unit name {name:?}: {source}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: BadName,
    },
    /// The handle has another unit. Open another handle for another unit.
    #[error("this handle beats for another unit already; open another handle for {name:?}")]
    AlreadyNamed {
        /// The name that was refused.
        name: String,
    },
    /// Another handle of this process beats for this agent, audience and unit.
    #[error("another handle of this process beats for unit {name:?} and audience {audience:?}")]
    Taken {
        /// The unit.
        name: String,
        /// The audience.
        audience: String,
    },
    /// The process holds more handles open than it can tell apart.
    #[error("too many handles are open in this process; drop some")]
    TooManyHandles,
    /// A clock cannot be read.
    #[error("cannot read the clock: {0}")]
    Clock(BeatError),
}
