//! Varta's key provisioning: the vault and what it issues, observer key files, rosters, inspection.
//!
//! * [`Vault`]: the operator's directory with the fleet root and the record of everything ever issued.
//! * [`ObserverKeyFile`] and [`RelayKeyFile`]: what an observer and a relay hold; agents hold a [`varta_client::keyfile::AgentKeyFile`].
//! * [`Roster`]: the public list of agents that an observer may be given.
//! * [`inspect`]: what any file of this family is, without its secrets.
//!
//! Time and names come in as arguments; randomness comes from the operating system alone.

#![forbid(unsafe_code)]

mod fleet;
mod grants;
mod inspect;
mod names;
mod observer_key;
mod output;
mod pieces;
mod public_file;
mod relay_key;
mod roster;
#[cfg(test)]
mod tests;
mod vault;

pub use fleet::{Fleet, FleetAgent, FleetObserver, FleetRelay};
pub use grants::{LabelError, check_label};
pub use inspect::{InspectError, Inspected, inspect};
pub use names::Collision;
pub use observer_key::{ObserverKeyFile, RetiringAudience};
pub use output::{OutputError, create_all, refuse_existing};
pub use public_file::{LoadError, MAX_PUBLIC_FILE_BYTES, PublicFileError, replace_public_file};
pub use relay_key::RelayKeyFile;
pub use roster::{Roster, RosterAgent};
pub use vault::{Change, Issued, Request, Vault, VaultError};
