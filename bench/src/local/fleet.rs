//! Agents as processes of their own, as many as are asked for.

use std::{
    io::{BufRead as _, BufReader, PipeReader, PipeWriter},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::agent::{Plan, Said};
use crate::clock;

/// How long a process takes to be there, on two slow cores, and some time besides.
const EACH: Duration = Duration::from_millis(4);
const BESIDE: Duration = Duration::from_secs(2);

/// Agents that end with this value at the latest.
pub(super) struct Fleet {
    agents: Vec<Child>,
    answers: PipeReader,
    /// All agents read the other end.
    life: Option<PipeWriter>,
    /// When the plan begins, since boot.
    pub(super) start: Duration,
}

impl Fleet {
    pub(super) fn spawn(count: u32, sockets: &[&Path], plan: Plan) -> anyhow::Result<Self> {
        let start = clock::boottime() + EACH * count + BESIDE;
        let ((input, life), (answers, output)) = (std::io::pipe()?, std::io::pipe()?);
        let mut fleet = Self { agents: Vec::new(), answers, life: Some(life), start };
        let own = std::env::current_exe()?;
        for number in 0..count {
            let mut command = Command::new(&own);
            command.arg("local-agent");
            for socket in sockets {
                command.arg("--socket").arg(socket);
            }
            for (flag, value) in [
                ("--start", u64::try_from(start.as_nanos())?),
                ("--number", number.into()),
                ("--of", count.into()),
                ("--rounds", plan.rounds.into()),
                ("--seconds", plan.seconds.into()),
                ("--bursts", plan.bursts.into()),
            ] {
                command.arg(flag).arg(value.to_string());
            }
            command.stdin(Stdio::from(input.try_clone()?)).stdout(Stdio::from(output.try_clone()?));
            fleet.agents.push(command.spawn().context("cannot start an agent")?);
        }
        ensure!(clock::boottime() < start, "starting {count} processes took longer than there is time for it");
        Ok(fleet)
    }

    pub(super) fn pid(&self, number: usize) -> u32 {
        self.agents[number].id()
    }

    /// Waits until all have followed the plan; for each observer, what became of all their beats.
    pub(super) fn finish(self, observers: usize) -> anyhow::Result<Vec<Said>> {
        let mut sum = vec![Said::default(); observers];
        let answers = BufReader::new(&self.answers).lines().take(self.agents.len());
        let mut count = 0;
        for answer in answers {
            count += 1;
            let said: Vec<Said> = serde_json::from_str(&answer?)?;
            ensure!(said.len() == observers, "an agent knows of {} observers", said.len());
            for (sum, said) in sum.iter_mut().zip(said) {
                *sum += said;
            }
        }
        ensure!(count == self.agents.len(), "{count} of {} agents followed the plan to its end", self.agents.len());
        Ok(sum)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.life.take());
        for agent in &mut self.agents {
            // It may have ended, be stopped, or be in the midst of its plan.
            let _ = agent.kill();
        }
        for agent in &mut self.agents {
            let _ = agent.wait();
        }
    }
}
