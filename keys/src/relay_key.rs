//! The relay key file. SPEC, "Key files".

use std::fmt;
use std::path::Path;

use varta_client::keyfile::{ContentError, KeyFileError, Source, push_quoted, read_secret_file};
use varta_vlp::key::IdentitySecret;
use zeroize::Zeroizing;

/// Everything a relay holds.
pub struct RelayKeyFile {
    /// The relay's name.
    pub relay: String,
    /// By what observers know this relay.
    pub identity: IdentitySecret,
}

impl RelayKeyFile {
    /// The version of the file's form that this program writes and reads.
    pub const VERSION: u64 = 1;
    const KEYS: &[&str] = &["version", "relay", "identity"];

    /// Reads and checks `file`, which must keep the rules for secret files.
    ///
    /// # Errors
    /// A rule that is broken, or a mistake in the contents.
    pub fn load(file: &Path) -> Result<Self, KeyFileError> {
        let text = read_secret_file(file)?;
        Ok(Self::parse(&text, file)?)
    }

    /// Reads the text of a relay key file that came from `file`, which is only named in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ContentError> {
        Source::new(file, text).read(Self::KEYS, |root| {
            root.version("version", Self::VERSION)?;
            Ok(Self {
                relay: root.name("relay")?.as_str().to_owned(),
                identity: root.secret("identity", IdentitySecret::from_text)?,
            })
        })
    }

    /// The text of the file. It holds a secret: write it with [`varta_client::keyfile::create_secret_file`] and nowhere else.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        // Room for all of it: a string that grew would leave a copy behind.
        let mut out = Zeroizing::new(String::with_capacity(512));
        out.push_str("# Varta relay key. SECRET.\nversion = 1\nrelay = ");
        push_quoted(&mut out, &self.relay);
        out.push_str("\nidentity = ");
        push_quoted(&mut out, self.identity.to_text().as_str());
        out.push('\n');
        out
    }
}

impl fmt::Debug for RelayKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayKeyFile").field("relay", &self.relay).finish_non_exhaustive()
    }
}
