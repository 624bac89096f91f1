//! Processes started for a figure: none outlives it.

use std::{
    process::{Child, Command},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::clock;

/// How long a process may take for a clean stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A process that ends with this value at the latest.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).with_context(|| format!("cannot start {program}"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let asked = i32::try_from(self.0.id()).is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        let child = &mut self.0;
        let ended = asked.then(|| clock::wait_for(STOP_LIMIT, || Ok(child.try_wait()?)));
        if !matches!(ended, Some(Ok(Some(_)))) {
            // It is gone already, or it will be now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
