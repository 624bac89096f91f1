//! The roster file as the core needs it, and the rule that its version never goes back.

use std::path::Path;

use varta_client::keyfile::UnixSeconds;
use varta_core::{Labels, RosterEntry, SECOND, WallNs};
use varta_keys::RosterAgent;
use varta_vlp::{AgentId, key::Name, time::nanos};

/// Why a roster is not put in force. Its text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// It cannot be read, or its contents are wrong.
    #[error(transparent)]
    Load(#[from] varta_keys::LoadError),
    /// A newer one was in force.
    #[error(
        "{}: is version {found}, and version {known} was in force here: going back would undo revocations; put the newest \
         one in its place (`varta keys roster`)",
        file.display()
    )]
    Older {
        /// The file.
        file: std::path::PathBuf,
        /// Its version.
        found: u64,
        /// The version that was in force.
        known: u64,
    },
}

/// A roster read from its file.
#[derive(Debug)]
pub(crate) struct LoadedRoster {
    /// Its version.
    pub(crate) version: u64,
    /// What the core asks.
    pub(crate) roster: varta_core::Roster,
}

/// Reads the roster in `file`.
///
/// # Errors
/// [`RosterError::Load`].
pub(crate) fn load(file: &Path) -> Result<LoadedRoster, RosterError> {
    let varta_keys::Roster { version, agents } = varta_keys::Roster::load(file)?;
    Ok(LoadedRoster { version, roster: varta_core::Roster::new(agents.into_iter().map(entry)) })
}

impl LoadedRoster {
    /// Refuses a roster, read from `file`, that is older than version `known`.
    ///
    /// # Errors
    /// [`RosterError::Older`].
    pub(crate) fn no_older_than(self, known: Option<u64>, file: &Path) -> Result<Self, RosterError> {
        match known {
            Some(known) if self.version < known => {
                Err(RosterError::Older { file: file.to_owned(), found: self.version, known })
            }
            _ => Ok(self),
        }
    }
}

#[expect(clippy::expect_used, reason = "reading the roster checked its names")]
fn entry(agent: RosterAgent) -> (AgentId, RosterEntry) {
    let id = Name::new(&agent.name).expect("a roster holds names of good form").agent_id();
    let labels: Labels = agent.labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let entry = RosterEntry {
        name: agent.name.into(),
        labels: labels.into(),
        revoked: agent.revoked,
        expires: agent.expires.map(|UnixSeconds(seconds)| WallNs(seconds.saturating_mul(SECOND))),
        required: agent.required,
        recovery: agent.recovery,
        max_promise: agent.max_promise.map(nanos),
        max_hold: agent.max_hold.map(nanos),
        generation_overlap: agent.generation_overlap.map(nanos),
        return_within: agent.return_within.map(nanos),
    };
    (id, entry)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use varta_vlp::Generation;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        file
    }

    #[test]
    fn every_key_of_an_entry_reaches_the_core() {
        let text = r#"version = 7
[[agent]]
name = "web-1"
generation = 3
labels = { site = "ams" }
expires = 2030-01-01T00:00:00Z
required = true
recovery = true
max_promise = "2h"
max_hold = "3h"
generation_overlap = "1d"
return_within = "5m"
revoked = [1, 2]
"#;
        let loaded = load(file(text).path()).unwrap();
        assert_eq!(loaded.version, 7);
        let entry = loaded.roster.get(Name::new("web-1").unwrap().agent_id()).unwrap();
        let expected = RosterEntry {
            name: "web-1".into(),
            labels: Labels::from([("site".into(), "ams".into())]).into(),
            revoked: vec![Generation(1), Generation(2)],
            expires: Some(WallNs(1_893_456_000 * SECOND)),
            required: true,
            recovery: true,
            max_promise: Some(7_200 * SECOND),
            max_hold: Some(10_800 * SECOND),
            generation_overlap: Some(86_400 * SECOND),
            return_within: Some(300 * SECOND),
        };
        assert_eq!(*entry, expected);
    }

    #[test]
    fn an_older_roster_is_refused_with_both_versions() {
        let file = file("version = 3\n");
        let judged = |known| load(file.path()).unwrap().no_older_than(known, file.path());
        assert!(judged(None).is_ok() && judged(Some(3)).is_ok());
        let text = judged(Some(4)).unwrap_err().to_string();
        assert!(text.contains("is version 3") && text.contains("version 4 was in force"), "{text}");
        assert!(text.starts_with(&file.path().display().to_string()), "{text}");
    }
}
