//! The recovery command of the published `varta-watch`, as a rule.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use varta_client::keyfile::read_secret_file;
use varta_config::{Match, Recovery};

/// What an argument that stands for the stalled process is.
const PID: &str = "{pid}";

#[derive(Args, Debug)]
pub(super) struct RecoveryArgs {
    /// Run this command for each process of this host that stalls: a program and arguments, split at blanks, without a shell.
    /// The stalled pid is its last argument, unless one is {pid} as a whole. Takes the place of the file's rules.
    #[arg(long, value_name = "CMD", conflicts_with = "recovery_exec_file")]
    recovery_exec: Option<String>,
    /// Read that command from this file, which only its owner may read and write.
    #[arg(long, value_name = "PATH")]
    recovery_exec_file: Option<PathBuf>,
    /// After a run for a process, begin no other for it for so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    recovery_debounce_ms: u64,
    /// Kill a run that takes more milliseconds than this; without it, it may take as long as it likes.
    #[arg(long, value_name = "MS")]
    recovery_timeout_ms: Option<u64>,
}

impl RecoveryArgs {
    /// The rule, where a command was given. `path` is where programs are looked for.
    pub(super) fn rule(&self, path: Option<&str>) -> anyhow::Result<Option<Recovery>> {
        let exec = match (&self.recovery_exec, &self.recovery_exec_file) {
            (Some(command), _) => exec(command, path).context("--recovery-exec")?,
            (None, Some(file)) => {
                let command = read_secret_file(file).context("--recovery-exec-file")?;
                exec(&command, path).with_context(|| format!("--recovery-exec-file: {}", file.display()))?
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Recovery {
            matching: Match { agent: Some("local".to_owned()), ..Match::default() },
            exec,
            debounce: Duration::from_millis(self.recovery_debounce_ms),
            timeout: self.recovery_timeout_ms.map(Duration::from_millis),
            ..Recovery::default()
        }))
    }
}

/// The program by its absolute path, its arguments, and the pid.
fn exec(command: &str, path: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut exec: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let Some(program) = exec.first_mut() else { bail!("the command is empty; write a program and its arguments") };
    *program = absolute(program, path)?;
    if !exec.iter().any(|argument| argument == PID) {
        exec.push(PID.to_owned());
    }
    Ok(exec)
}

/// A name alone is looked for as a shell would; a path is as seen from here.
fn absolute(program: &str, path: Option<&str>) -> anyhow::Result<String> {
    let found = if program.contains('/') {
        std::path::absolute(program)?
    } else {
        let folders = path.unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
        let mut candidates = folders.map(|folder| Path::new(folder).join(program));
        let Some(found) = candidates.find(|candidate| is_program(candidate)) else {
            bail!("there is no program `{}` in PATH; write its absolute path", program.escape_debug());
        };
        found
    };
    found.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
