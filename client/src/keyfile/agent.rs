//! The agent key file.

use std::fmt;
use std::path::Path;

use varta_vlp::key::{AgentSecret, Generation};
use zeroize::Zeroizing;

use super::fields::{Section, Source};
use super::{ContentError, Fault, KeyFileError, push_quoted, read_secret_file};

/// Everything an agent needs to beat: its name, and a secret for each audience. SPEC, "Key files".
pub struct AgentKeyFile {
    /// The agent's name.
    pub agent: String,
    /// The generation of its secrets, from 1.
    pub generation: Generation,
    /// Where it beats to: 1 to 8, each audience once.
    pub audiences: Vec<AgentAudience>,
}

/// One audience of an agent.
pub struct AgentAudience {
    /// The audience's name.
    pub name: String,
    /// Its address, `host:port`; a name is resolved again while running.
    pub address: String,
    /// P(agent, generation, audience).
    pub secret: AgentSecret,
}

impl AgentKeyFile {
    /// An agent beats to at most this many audiences.
    pub const MAX_AUDIENCES: usize = 8;
    /// The version of the file's form that this program writes and reads.
    pub const VERSION: u64 = 1;
    const KEYS: &[&str] = &["version", "agent", "generation", "audience"];
    const AUDIENCE_KEYS: &[&str] = &["name", "address", "secret"];

    /// Reads and checks `file`, which must keep the rules for secret files.
    ///
    /// # Errors
    /// A rule that is broken, or a mistake in the contents.
    pub fn load(file: &Path) -> Result<Self, KeyFileError> {
        let text = read_secret_file(file)?;
        Ok(Self::parse(&text, file)?)
    }

    /// Reads the text of an agent key file that came from `file`, which is only named in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ContentError> {
        Source::new(file, text).read(Self::KEYS, |root| {
            root.version("version", Self::VERSION)?;
            let agent = root.name("agent")?.as_str().to_owned();
            let generation = Generation(root.integer("generation", 1..=u32::MAX)?);
            let sections = root.sections("audience", Self::AUDIENCE_KEYS, 1..=Self::MAX_AUDIENCES)?;
            let mut audiences: Vec<AgentAudience> = Vec::with_capacity(sections.len());
            for section in &sections {
                let audience = AgentAudience::read(section)?;
                let id = section.name("name")?.audience_id();
                for (index, earlier) in sections.iter().take(audiences.len()).enumerate() {
                    if earlier.name("name")?.audience_id() == id {
                        let first = format!("audience[{index}].name");
                        return Err(section.fault("name", Fault::Duplicate { first }));
                    }
                }
                audiences.push(audience);
            }
            Ok(Self { agent, generation, audiences })
        })
    }

    /// The text of the file. It holds secrets: write it with [`super::create_secret_file`] and nowhere else.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        // Room for all of it: a string that grew would leave a copy behind.
        let mut out = Zeroizing::new(String::with_capacity(512 + self.audiences.len() * 1024));
        out.push_str("# Varta agent key. SECRET. For one agent; do not bake it into images.\nversion = 1\nagent = ");
        push_quoted(&mut out, &self.agent);
        out.push_str("\ngeneration = ");
        out.push_str(&self.generation.to_string());
        out.push('\n');
        for audience in &self.audiences {
            out.push_str("\n[[audience]]\nname = ");
            push_quoted(&mut out, &audience.name);
            out.push_str("\naddress = ");
            push_quoted(&mut out, &audience.address);
            out.push_str("\nsecret = ");
            push_quoted(&mut out, audience.secret.to_text().as_str());
            out.push('\n');
        }
        out
    }
}

impl AgentAudience {
    fn read(section: &Section<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            name: section.name("name")?.as_str().to_owned(),
            address: section.address("address")?.to_owned(),
            secret: section.secret("secret", AgentSecret::from_text)?,
        })
    }
}

impl fmt::Debug for AgentKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentKeyFile")
            .field("agent", &self.agent)
            .field("generation", &self.generation)
            .field("audiences", &self.audiences)
            .finish()
    }
}

impl fmt::Debug for AgentAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAudience")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
