//! The audience keys of an observer key file, made ready for the core.

use std::path::Path;

use varta_client::keyfile::KeyFileError;
use varta_core::{Audience, SECOND, WallNs};
use varta_keys::ObserverKeyFile;
use varta_link::Identity;
use varta_vlp::key::{AudienceKey, AudienceSecret, Name};

use crate::audit::AuditKey;

/// What an observer key file says.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// The audience's name.
    pub(crate) audience: String,
    /// Its key, then those of retiring audiences, each until its time.
    pub(crate) audiences: Vec<Audience>,
    /// What the audit log is chained by.
    pub(crate) audit: AuditKey,
    /// By what relays know this observer.
    pub(crate) identity: Option<Identity>,
}

impl Keyring {
    /// Reads `file`. `/proc/self/fd/N` is the descriptor N of this process, handed over by whoever started it.
    ///
    /// # Errors
    /// A rule for secret files that is broken, or a mistake in the contents; the text names the file and the remedy.
    pub(crate) fn load(file: &Path) -> Result<Self, KeyFileError> {
        let handed = file.to_str().and_then(|path| path.strip_prefix("/proc/self/fd/")?.parse().ok());
        let keys = match handed {
            Some(fd) => {
                let text = varta_client::keyfile::read_secret_fd(fd)?;
                ObserverKeyFile::parse(&text, file)?
            }
            None => ObserverKeyFile::load(file)?,
        };
        Ok(Self::new(&keys))
    }

    /// No audience at all: every sealed frame is refused.
    pub(crate) fn empty() -> Self {
        Self { audience: String::new(), audiences: Vec::new(), audit: AuditKey::unkeyed(), identity: None }
    }

    fn new(keys: &ObserverKeyFile) -> Self {
        let own = audience(&keys.audience, &keys.secret, None);
        let retiring = keys.retiring.iter().map(|retiring| {
            let until = WallNs(retiring.until.0.saturating_mul(SECOND));
            audience(&retiring.name, &retiring.secret, Some(until))
        });
        Self {
            audience: keys.audience.clone(),
            audiences: std::iter::once(own).chain(retiring).collect(),
            audit: AuditKey::of(&keys.identity),
            identity: Some(Identity::new(&keys.identity)),
        }
    }
}

#[expect(clippy::expect_used, reason = "reading the key file checked its names")]
fn audience(name: &str, secret: &AudienceSecret, until: Option<WallNs>) -> Audience {
    let id = Name::new(name).expect("a key file holds names of good form").audience_id();
    Audience { id, key: AudienceKey::new(secret), until }
}

#[cfg(test)]
mod tests {
    use varta_client::keyfile::UnixSeconds;
    use varta_keys::RetiringAudience;
    use varta_vlp::key::IdentitySecret;

    use super::*;

    #[test]
    fn retiring_audiences_come_after_the_own_one_and_end() {
        let secret = |byte| AudienceSecret::from_bytes([byte; 32]);
        let keys = ObserverKeyFile {
            audience: "obs-1".to_owned(),
            secret: secret(1),
            identity: IdentitySecret::from_bytes([9; 32]),
            retiring: vec![RetiringAudience { name: "old".to_owned(), secret: secret(2), until: UnixSeconds(1_000) }],
        };
        let ring = Keyring::new(&keys);
        let ends: Vec<_> = ring.audiences.iter().map(|audience| (audience.id, audience.until)).collect();
        let id = |name| Name::new(name).unwrap().audience_id();
        assert_eq!(ends, [(id("obs-1"), None), (id("old"), Some(WallNs(1_000 * SECOND)))]);
    }
}
