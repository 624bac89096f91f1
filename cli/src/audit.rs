//! `varta audit`: does the log of recovery's decisions hold?

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use varta_keys::ObserverKeyFile;
use varta_watch::audit::{AuditKey, Fault, Link, Verified, VerifyError, verify_files};

/// Spawns without an end that are named.
const NAMED: usize = 10;

/// Check the log of recovery's decisions.
#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Follow the chain from the oldest file (FILE.8 to FILE.1, as many as there are) to FILE, and name the first line that
    /// breaks it.
    ///
    /// Exits 0 if the chain holds, 1 if it is broken or lacks the link of --against, 2 if it could not be checked.
    Verify(VerifyArgs),
}

#[derive(Args)]
struct VerifyArgs {
    /// The newest file of the log.
    file: PathBuf,
    /// The key file of the observer that wrote it. Without one the chain is taken for unkeyed.
    #[arg(long, value_name = "OBSERVER_KEY_FILE")]
    key: Option<PathBuf>,
    /// A link that was handed out: the log must still hold it.
    #[arg(long, value_name = "SEQ:HEX")]
    against: Option<Link>,
}

pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let Verb::Verify(args) = &args.verb;
    let key = match args.key.as_deref().map(ObserverKeyFile::load).transpose() {
        Ok(key) => key.map_or_else(AuditKey::unkeyed, |key| AuditKey::of(&key.identity)),
        Err(error) => return Ok(unchecked(error.into())),
    };
    match verify_files(&args.file, &key, args.against) {
        Ok(verified) => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let told = tell(&args.file, key.is_keyed(), &verified, &mut out);
            told.and_then(|()| out.flush()).context("standard output")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ VerifyError::Io { .. }) => Ok(unchecked(error.into())),
        Err(VerifyError::Broken { file, broken }) if broken.fault == (Fault::Key { keyed: true }) => {
            let error = anyhow::anyhow!("{}: {}; name it with --key", file.display(), broken.fault);
            Ok(unchecked(error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says why nothing can be said of the log.
fn unchecked(error: anyhow::Error) -> ExitCode {
    crate::complain(&error);
    ExitCode::from(crate::USAGE)
}

/// `1 spawn`, `2 spawns`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn tell(file: &Path, keyed: bool, verified: &Verified, out: &mut impl Write) -> io::Result<()> {
    let Verified { before, last, lines, files, recovered, running, torn } = verified;
    let file = file.display();
    let keyed = if keyed { "keyed" } else { "unkeyed: anyone could have made it" };
    writeln!(
        out,
        "{file}: the chain holds, {keyed}; {} in {}, numbers {} to {}",
        counted(*lines, "line"),
        counted(*files as u64, "file"),
        before.seq + 1,
        last.seq
    )?;
    if !running.is_empty() {
        let named: Vec<_> = running.iter().take(NAMED).map(u64::to_string).collect();
        let more = if running.len() > NAMED { ", .." } else { "" };
        let spawns = counted(running.len() as u64, "spawn");
        writeln!(out, "{file}: {spawns} without an end: {}{more}", named.join(", "))?;
    }
    if *recovered > 0 {
        writeln!(out, "{file}: {} set aside after a crash", counted(*recovered, "torn line"))?;
    }
    if let Some(torn) = torn {
        writeln!(
            out,
            "{file}:{}: torn after {} bytes, as a crash leaves a line, or being written now; it is no part of the chain",
            torn.line, torn.bytes
        )?;
    }
    writeln!(out, "{file}: newest link {last}")
}
