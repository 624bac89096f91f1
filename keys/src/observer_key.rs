//! The observer key file. SPEC, "Key files".

use std::fmt;
use std::path::Path;

use varta_client::keyfile::{
    ContentError, Fault, KeyFileError, Section, Source, UnixSeconds, push_quoted, read_secret_file,
};
use varta_vlp::key::{AudienceSecret, IdentitySecret};
use zeroize::Zeroizing;

use crate::names::Names;

/// Everything an observer holds.
pub struct ObserverKeyFile {
    /// The audience this observer is, or belongs to.
    pub audience: String,
    /// K(audience).
    pub secret: AudienceSecret,
    /// By what a relay knows this observer.
    pub identity: IdentitySecret,
    /// Audiences accepted beside it for a while, at most 8.
    pub retiring: Vec<RetiringAudience>,
}

/// An audience that is accepted while its agents are issued keys for another.
pub struct RetiringAudience {
    /// The audience's name.
    pub name: String,
    /// K(name).
    pub secret: AudienceSecret,
    /// From when on it is refused.
    pub until: UnixSeconds,
}

impl ObserverKeyFile {
    /// Retiring audiences at most.
    pub const MAX_RETIRING: usize = 8;
    /// The version of the file's form that this program writes and reads.
    pub const VERSION: u64 = 1;
    const KEYS: &[&str] = &["version", "audience", "secret", "identity", "retiring"];
    const RETIRING_KEYS: &[&str] = &["name", "secret", "until"];

    /// Reads and checks `file`, which must keep the rules for secret files.
    ///
    /// # Errors
    /// A rule that is broken, or a mistake in the contents.
    pub fn load(file: &Path) -> Result<Self, KeyFileError> {
        let text = read_secret_file(file)?;
        Ok(Self::parse(&text, file)?)
    }

    /// Reads the text of an observer key file that came from `file`, which is only named in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ContentError> {
        Source::new(file, text).read(Self::KEYS, |root| {
            root.version("version", Self::VERSION)?;
            let audience = root.name("audience")?;
            let mut names = Names::new(|name| name.audience_id());
            let known = names.claim(audience);
            debug_assert_eq!(known, Ok(true), "nothing was claimed before");
            let sections = root.sections("retiring", Self::RETIRING_KEYS, 0..=Self::MAX_RETIRING)?;
            let mut retiring = Vec::with_capacity(sections.len());
            for section in &sections {
                // One id is one place in the observer's keyring, whatever the names are.
                if names.claim(section.name("name")?) != Ok(true) {
                    let first = "the audience itself, or one before it".to_owned();
                    return Err(section.fault("name", Fault::Duplicate { first }));
                }
                retiring.push(RetiringAudience::read(section)?);
            }
            Ok(Self {
                audience: audience.as_str().to_owned(),
                secret: root.secret("secret", AudienceSecret::from_text)?,
                identity: root.secret("identity", IdentitySecret::from_text)?,
                retiring,
            })
        })
    }

    /// The text of the file. It holds secrets: write it with [`varta_client::keyfile::create_secret_file`] and nowhere else.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        // Room for all of it: a string that grew would leave a copy behind.
        let mut out = Zeroizing::new(String::with_capacity(1024 + self.retiring.len() * 512));
        out.push_str("# Varta observer key. SECRET.\nversion = 1\naudience = ");
        push_quoted(&mut out, &self.audience);
        out.push_str("\nsecret = ");
        push_quoted(&mut out, self.secret.to_text().as_str());
        out.push_str("\nidentity = ");
        push_quoted(&mut out, self.identity.to_text().as_str());
        out.push('\n');
        for retiring in &self.retiring {
            out.push_str("\n[[retiring]]\nname = ");
            push_quoted(&mut out, &retiring.name);
            out.push_str("\nsecret = ");
            push_quoted(&mut out, retiring.secret.to_text().as_str());
            out.push_str(&format!("\nuntil = {}\n", retiring.until));
        }
        out
    }
}

impl RetiringAudience {
    fn read(section: &Section<'_>) -> Result<Self, ContentError> {
        let until = section.opt_time("until")?;
        Ok(Self {
            name: section.name("name")?.as_str().to_owned(),
            secret: section.secret("secret", AudienceSecret::from_text)?,
            until: until.ok_or_else(|| section.fault("until", Fault::MissingKey))?,
        })
    }
}

impl fmt::Debug for ObserverKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserverKeyFile")
            .field("audience", &self.audience)
            .field("retiring", &self.retiring)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RetiringAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetiringAudience").field("name", &self.name).field("until", &self.until).finish_non_exhaustive()
    }
}
