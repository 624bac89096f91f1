//! `varta keys`: make, issue and inspect keys.

mod clock;
mod issue;
mod names;
mod roster;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use varta_keys::{Change, Vault, create_all, refuse_existing};
use varta_vlp::key::Peer;
use zeroize::Zeroizing;

/// Make, issue and inspect keys.
#[derive(Args)]
pub(crate) struct KeysArgs {
    /// The vault: the directory with the fleet's root and the record of what was issued.
    #[arg(long, global = true, value_name = "DIR", default_value = "vault")]
    vault: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a vault with a fresh root.
    Init,
    /// Observers of the fleet.
    #[command(subcommand)]
    Observer(ObserverVerb),
    /// Relays of the fleet.
    #[command(subcommand)]
    Relay(RelayVerb),
    /// Agents of the fleet.
    #[command(subcommand)]
    Agent(AgentVerb),
    /// Write the roster: the public list of agents, for observers.
    Roster(roster::RosterArgs),
    /// List what was issued.
    List {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tell what a file is and check it: a key file, a roster, a vault's root or record. Never shows a secret.
    Inspect {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum ObserverVerb {
    /// Add an observer and write its key file.
    Add(AddArgs),
}

#[derive(Subcommand)]
enum RelayVerb {
    /// Add a relay and write its key file.
    Add(AddRelayArgs),
}

#[derive(Subcommand)]
enum AgentVerb {
    /// Issue agents their key files. An agent that has one is issued the same generation again.
    Issue(issue::IssueArgs),
}

#[derive(Args)]
struct AddArgs {
    /// The observer's name, which is its audience's.
    name: String,
    /// Where agents reach it.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The key file to create, or a directory for NAME.observer.key.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The observer was added before: make its key file anew, with the same audience secret and a fresh identity, and
    /// set its address.
    #[arg(long)]
    again: bool,
}

#[derive(Args)]
struct AddRelayArgs {
    /// The relay's name.
    name: String,
    /// Where observers dial it.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The key file to create, or a directory for NAME.relay.key.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The relay was added before: make its key file anew, with a fresh identity, and set its address.
    #[arg(long)]
    again: bool,
}

pub(crate) fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    let vault = &args.vault;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.verb {
        Verb::Init => init(vault, &mut out)?,
        Verb::Observer(ObserverVerb::Add(args)) => add_observer(vault, &args, &mut out)?,
        Verb::Relay(RelayVerb::Add(args)) => add_relay(vault, &args, &mut out)?,
        Verb::Agent(AgentVerb::Issue(args)) => issue::run(vault, &args, &mut out)?,
        Verb::Roster(args) => roster::run(vault, &args, &mut out)?,
        Verb::List { json } => show::list(&Vault::open(vault)?.fleet()?, json, &mut out)?,
        Verb::Inspect { file } => show::inspected(&varta_keys::inspect(&file)?, &mut out)?,
    }
    out.flush().context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn init(vault: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    Vault::init(vault)?;
    writeln!(
        out,
        "{}: a new fleet. Back up root.key offline: whoever has it can make every key, and without it no more can be made.",
        vault.display()
    )?;
    Ok(())
}

fn add_observer(vault: &Path, args: &AddArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let vault = Vault::open(vault)?;
    let mut change = vault.change()?;
    let key = change.add_observer(&args.name, &args.address, args.again, clock::now()?)?;
    let file = place(&args.output, &format!("{}.observer.key", key.audience));
    write_key(change, &args.name, &file, key.render())?;
    writeln!(out, "{}: observer key in {}", key.audience, file.display())?;
    let public = key.identity.public().to_text(Peer::Observer);
    writeln!(out, "for the relay's relay.toml, where there is one:")?;
    writeln!(out, "[[observer]]\nname = \"{}\"\nkey = \"{public}\"", key.audience)?;
    Ok(())
}

fn add_relay(vault: &Path, args: &AddRelayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let vault = Vault::open(vault)?;
    let mut change = vault.change()?;
    let key = change.add_relay(&args.name, &args.address, args.again, clock::now()?)?;
    let file = place(&args.output, &format!("{}.relay.key", key.relay));
    write_key(change, &args.name, &file, key.render())?;
    writeln!(out, "{}: relay key in {}", key.relay, file.display())?;
    let public = key.identity.public().to_text(Peer::Relay);
    writeln!(out, "for each observer's observer.toml:")?;
    writeln!(out, "[relay]\naddress = \"{}\"\npin = \"{public}\"", args.address)?;
    Ok(())
}

/// The file that `output` names, or that of this name in the directory that it names.
fn place(output: &Path, name: &str) -> PathBuf {
    if output.is_dir() { output.join(name) } else { output.to_owned() }
}

/// Commits a change, and writes the one key that it has made.
fn write_key(change: Change<'_>, name: &str, file: &Path, text: Zeroizing<String>) -> anyhow::Result<()> {
    refuse_existing([file])?;
    change.commit()?;
    create_all([(file, text)]).with_context(|| {
        format!("the vault has recorded {name}, but its key file was not written; add it once more with --again")
    })
}
