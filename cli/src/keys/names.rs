//! Agents' names from the command line and from files, each with its place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use varta_client::keyfile::check_name;

/// A longer list of names is refused.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Collects names; each must be good and stand once.
#[derive(Default)]
pub(super) struct Names {
    /// The names in the order they came.
    pub(super) list: Vec<String>,
    places: BTreeMap<String, Place>,
}

#[derive(Clone, Copy)]
enum Place {
    Argument,
    Line(usize),
}

impl Names {
    pub(super) fn add_arguments(&mut self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            if let Err(error) = check_name(name) {
                bail!("agent name on the command line: {error}");
            }
            if self.places.insert(name.clone(), Place::Argument).is_some() {
                bail!("{name}: named twice; name each agent once");
            }
            self.list.push(name.clone());
        }
        Ok(())
    }

    /// Adds one name a line from `file`; `-` is standard input.
    pub(super) fn add_file(&mut self, file: &Path) -> anyhow::Result<()> {
        let (text, file) = if file == Path::new("-") {
            (read(&mut io::stdin().lock()).context("standard input")?, PathBuf::from("standard input"))
        } else {
            let read = File::open(file).map_err(Into::into).and_then(|mut opened| read(&mut opened));
            (read.with_context(|| file.display().to_string())?, file.to_owned())
        };
        let before = self.list.len();
        self.add_text(&text, &file)?;
        if self.list.len() == before {
            bail!("{}: names no agent; write one name a line", file.display());
        }
        Ok(())
    }

    /// Lines that are blank or begin with `#` are skipped; what follows white space and `#` is a comment.
    fn add_text(&mut self, text: &str, file: &Path) -> anyhow::Result<()> {
        for (line, name) in (1..).zip(text.lines()) {
            let name = match name.find('#') {
                Some(at) => name.get(..at).unwrap_or_default(),
                None => name,
            };
            let name = name.trim();
            if name.is_empty() {
                continue;
            }
            if let Err(error) = check_name(name) {
                bail!("{}:{line}: {error}", file.display());
            }
            match self.places.insert(name.to_owned(), Place::Line(line)) {
                None => self.list.push(name.to_owned()),
                Some(Place::Argument) => bail!("{}:{line}: {name} is also on the command line", file.display()),
                Some(Place::Line(first)) => bail!("{}:{line}: {name} is also on line {first}", file.display()),
            }
        }
        Ok(())
    }
}

fn read(input: &mut impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    input.take(MAX_LIST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_LIST_BYTES {
        bail!("longer than {} MiB, so it is no list of names", MAX_LIST_BYTES >> 20);
    }
    Ok(text)
}
