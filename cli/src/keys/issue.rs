//! `varta keys agent issue`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use varta_keys::{Issued, Request, Vault, create_all, refuse_existing};

use super::clock;
use super::names::Names;

#[derive(Args)]
pub(super) struct IssueArgs {
    /// The agents.
    #[arg(value_name = "NAME", required_unless_present = "from")]
    agents: Vec<String>,
    /// Read names from FILE, one a line; blank lines and `#` comments are skipped. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The observers they may beat to, repeatable; without it all of them, or those chosen for the agent before.
    #[arg(long = "audience", value_name = "OBSERVER")]
    audiences: Vec<String>,
    /// A label for the roster, repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The key file to create, or a directory for NAME.agent.key each; `-` hands one key to a program through a pipe.
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Where keys go.
enum Target {
    Pipe,
    File(PathBuf),
    Directory(PathBuf),
}

impl Target {
    fn new(output: &Path, agents: usize) -> anyhow::Result<Self> {
        if output == Path::new("-") {
            if agents != 1 {
                bail!("{agents} agents cannot go to one pipe; name a directory with -o");
            }
            if io::stdout().is_terminal() {
                bail!("a key is not shown on a terminal; name a file with -o, or pipe it to a program");
            }
            return Ok(Self::Pipe);
        }
        if output.is_dir() {
            return Ok(Self::Directory(output.to_owned()));
        }
        let meant_as_directory = output.as_os_str().as_encoded_bytes().ends_with(b"/");
        if meant_as_directory || agents != 1 {
            bail!(
                "{0}: is no directory, and {agents} keys are to go there; `mkdir -m 700 {0}` first",
                output.display()
            );
        }
        Ok(Self::File(output.to_owned()))
    }

    fn file_for(&self, agent: &str) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.join(format!("{agent}.agent.key")),
            Self::File(file) => file.clone(),
            Self::Pipe => PathBuf::from("-"),
        }
    }
}

pub(super) fn run(vault: &Path, args: &IssueArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let vault = Vault::open(vault)?;
    let request = request(args)?;
    let target = Target::new(&args.output, request.agents.len())?;
    let mut change = vault.change()?;
    let issued = change.issue(&request, clock::now()?)?;
    let files: Vec<_> = issued.iter().map(|issued| target.file_for(&issued.key.agent)).collect();
    if let Target::Pipe = target {
        change.commit()?;
        for issued in &issued {
            out.write_all(issued.key.render().as_bytes())?;
        }
        return tell(&issued, &files, &mut io::stderr().lock());
    }
    refuse_existing(files.iter().map(PathBuf::as_path))?;
    change.commit()?;
    let texts = issued.iter().map(|issued| issued.key.render());
    create_all(files.iter().map(PathBuf::as_path).zip(texts))
        .context("the vault has recorded the agents, but no key file was written; issue them once more")?;
    tell(&issued, &files, out)
}

fn request(args: &IssueArgs) -> anyhow::Result<Request> {
    let mut names = Names::default();
    names.add_arguments(&args.agents)?;
    if let Some(from) = &args.from {
        names.add_file(from)?;
    }
    let mut labels = BTreeMap::new();
    for (key, value) in &args.labels {
        if labels.insert(key.clone(), value.clone()).is_some() {
            bail!("--label {key} is given twice; give each key once");
        }
    }
    Ok(Request { agents: names.list, audiences: args.audiences.clone(), labels })
}

/// A line for each agent, or for the first of many.
fn tell(issued: &[Issued], files: &[PathBuf], out: &mut impl Write) -> anyhow::Result<()> {
    const MAX_TOLD: usize = 20;
    for (issued, file) in issued.iter().zip(files).take(MAX_TOLD) {
        let audiences: Vec<_> = issued.key.audiences.iter().map(|audience| audience.name.as_str()).collect();
        let again = if issued.again { " again" } else { "" };
        writeln!(
            out,
            "{}: issued{again}, generation {}, for {}, in {}",
            issued.key.agent,
            issued.key.generation,
            audiences.join(", "),
            file.display()
        )?;
    }
    if let Some(more) = issued.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        let again = issued.iter().filter(|issued| issued.again).count();
        writeln!(out, "and {more} more; of all {}, {again} were issued again", issued.len())?;
    }
    Ok(())
}
