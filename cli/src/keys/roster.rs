//! `varta keys roster`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use varta_keys::{Roster, Vault, replace_public_file};

#[derive(Args)]
pub(super) struct RosterArgs {
    /// The roster to write. An older roster there is replaced at once; any other file is left alone. `-` is standard
    /// output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(vault: &Path, args: &RosterArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let roster = Vault::open(vault)?.fleet()?.roster();
    let text = roster.render();
    if args.output == Path::new("-") {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    // A link to a roster stays one.
    let file = args.output.canonicalize().unwrap_or_else(|_| args.output.clone());
    let shown = args.output.display();
    if file.symlink_metadata().is_ok() {
        let there = Roster::load(&file).context("this file is there already and is not replaced")?;
        if there.version > roster.version {
            bail!(
                "{shown}: is version {}, newer than this vault's {}: is it another fleet's?",
                there.version,
                roster.version
            );
        }
        if there == roster {
            writeln!(out, "{shown}: already version {}, {} agents", roster.version, roster.agents.len())?;
            return Ok(());
        }
        if there.version == roster.version {
            bail!(
                "{shown}: is version {} too, with other contents, and observers would not see the change; \
                 raise `version` in fleet.toml if that was edited",
                there.version
            );
        }
    }
    replace_public_file(&file, &text).with_context(|| shown.to_string())?;
    writeln!(out, "{shown}: version {}, {} agents", roster.version, roster.agents.len())?;
    Ok(())
}
