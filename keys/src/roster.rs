//! The roster: the public list of the agents there are. SPEC, "Roster".

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use varta_client::keyfile::{ContentError, Fault, Section, UnixSeconds, push_quoted};
use varta_vlp::key::{Generation, Name};

use crate::grants::{push_duration, push_labels, read_duration, read_labels};
use crate::names::Names;
use crate::pieces::read_agents;
use crate::public_file::{LoadError, read_public_file};

/// Which agents there are, and what each may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Rises with every change; an observer never goes back to a lower one.
    pub version: u64,
    /// The agents, each name and each id once.
    pub agents: Vec<RosterAgent>,
}

/// One agent of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterAgent {
    /// The agent's name.
    pub name: String,
    /// The newest generation issued to it.
    pub generation: Generation,
    /// Labels that decide; they win over announced ones.
    pub labels: BTreeMap<String, String>,
    /// From when on it is refused.
    pub expires: Option<UnixSeconds>,
    /// Whether it is missing when none of its units was heard for `return_within`.
    pub required: bool,
    /// Whether recovery may act on it over an attested listener.
    pub recovery: bool,
    /// Its own ceiling for promises.
    pub max_promise: Option<Duration>,
    /// Its own ceiling for planned absences.
    pub max_hold: Option<Duration>,
    /// For how long lower generations are accepted.
    pub generation_overlap: Option<Duration>,
    /// How long it may be away.
    pub return_within: Option<Duration>,
    /// Generations refused for good, ascending.
    pub revoked: Vec<Generation>,
}

impl RosterAgent {
    pub(crate) const KEYS: &[&str] = &[
        "name",
        "generation",
        "labels",
        "expires",
        "required",
        "recovery",
        "max_promise",
        "max_hold",
        "generation_overlap",
        "return_within",
        "revoked",
    ];

    /// An agent without anything granted.
    #[must_use]
    pub fn new(name: Name<'_>, generation: Generation) -> Self {
        Self {
            name: name.as_str().to_owned(),
            generation,
            labels: BTreeMap::new(),
            expires: None,
            required: false,
            recovery: false,
            max_promise: None,
            max_hold: None,
            generation_overlap: None,
            return_within: None,
            revoked: Vec::new(),
        }
    }

    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ContentError> {
        let mut revoked = section.integers("revoked", 1..=u32::MAX)?;
        revoked.sort_unstable();
        Ok(Self {
            name: section.name("name")?.as_str().to_owned(),
            generation: Generation(section.integer("generation", 1..=u32::MAX)?),
            labels: read_labels(section)?,
            expires: section.opt_time("expires")?,
            required: section.flag("required")?,
            recovery: section.flag("recovery")?,
            max_promise: read_duration(section, "max_promise")?,
            max_hold: read_duration(section, "max_hold")?,
            generation_overlap: read_duration(section, "generation_overlap")?,
            return_within: read_duration(section, "return_within")?,
            revoked: revoked.into_iter().map(Generation).collect(),
        })
    }

    /// Appends the lines of this agent; keys at their default are left out.
    pub(crate) fn push(&self, out: &mut String) {
        out.push_str("name = ");
        push_quoted(out, &self.name);
        out.push_str(&format!("\ngeneration = {}\n", self.generation));
        push_labels(out, &self.labels);
        if let Some(expires) = self.expires {
            out.push_str(&format!("expires = {expires}\n"));
        }
        for (key, flag) in [("required", self.required), ("recovery", self.recovery)] {
            if flag {
                out.push_str(&format!("{key} = true\n"));
            }
        }
        push_duration(out, "max_promise", self.max_promise);
        push_duration(out, "max_hold", self.max_hold);
        push_duration(out, "generation_overlap", self.generation_overlap);
        push_duration(out, "return_within", self.return_within);
        if !self.revoked.is_empty() {
            let list: Vec<_> = self.revoked.iter().map(ToString::to_string).collect();
            out.push_str(&format!("revoked = [{}]\n", list.join(", ")));
        }
    }
}

impl Roster {
    /// A roster names at most this many agents.
    pub const MAX_AGENTS: usize = 4_000_000;
    const KEYS: &[&str] = &["version", "agent"];

    /// Reads and checks `file`: a regular file that group and others cannot write, of at most
    /// [`crate::MAX_PUBLIC_FILE_BYTES`]. A symbolic link is followed.
    ///
    /// # Errors
    /// The file cannot be read or breaks a rule, or a mistake in its contents.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let text = read_public_file(file)?;
        Ok(Self::parse(&text, file)?)
    }

    /// Reads the text of a roster that came from `file`, which is only named in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ContentError> {
        let mut names = Names::new(|name| name.agent_id());
        let head =
            |root: &Section<'_>| Ok(Self { version: root.integer("version", 1..=u64::MAX)?, agents: Vec::new() });
        let agent = |roster: &mut Self, section: &Section<'_>| {
            claim(&mut names, section)?;
            roster.agents.push(RosterAgent::read(section)?);
            Ok(())
        };
        read_agents(text, file, Self::KEYS, RosterAgent::KEYS, Self::MAX_AGENTS, head, agent)
    }

    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(256 + self.agents.len() * 64);
        out.push_str("# Varta roster: the agents there are. Public; only its owner may write it.\n");
        out.push_str(&format!("version = {}\n", self.version));
        for agent in &self.agents {
            out.push_str("\n[[agent]]\n");
            agent.push(&mut out);
        }
        out
    }
}

/// Takes a section's `name`, which must be new and of a new id.
pub(crate) fn claim<I: Eq + std::hash::Hash>(names: &mut Names<I>, section: &Section<'_>) -> Result<(), ContentError> {
    match names.claim(section.name("name")?) {
        Ok(true) => Ok(()),
        Ok(false) => Err(section.fault("name", Fault::Duplicate { first: "a name before it".to_owned() })),
        Err(collision) => Err(section.fault("name", Fault::Value(collision.to_string()))),
    }
}
