//! The sender: `varta bench load`.

use std::{
    io::Read as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::{clock, process::Process};

/// How much longer a bounded load may take than its rate says.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts loads.
#[derive(Clone)]
pub(crate) struct Loader {
    /// The program.
    pub(crate) varta: PathBuf,
    /// The observer's key file.
    pub(crate) key: PathBuf,
}

/// What to send.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) agents: u32,
    /// Datagrams a second, or as many as go.
    pub(crate) rate: Option<u64>,
    pub(crate) count: u64,
    pub(crate) promise: Duration,
    /// Whether to end with a goodbye of every agent.
    pub(crate) goodbye: bool,
}

impl Load {
    /// Without end, for as long as the process is left to run.
    pub(crate) const fn endless(agents: u32, rate: Option<u64>) -> Self {
        Self { agents, rate, count: 1_000_000_000, promise: Duration::from_secs(60), goodbye: false }
    }
}

/// What is sent in place of beats.
#[derive(Clone, Copy)]
pub(crate) enum Garbage {
    /// Noise of a beat's length.
    Noise,
    /// Known agents with wrong tags.
    Tag,
}

/// What a load said at its end.
#[derive(Deserialize)]
pub(crate) struct Sent {
    pub(crate) sent: u64,
    pub(crate) goodbyes: u64,
    pub(crate) refused_by_kernel: u64,
}

impl Loader {
    /// Begins to send garbage as fast as it goes, in the name of the agents of a load.
    pub(crate) fn start_garbage(&self, to: SocketAddr, agents: u32, kind: Garbage) -> anyhow::Result<Process> {
        let kind = match kind {
            Garbage::Noise => "noise",
            Garbage::Tag => "tag",
        };
        let mut command = Command::new(&self.varta);
        command.args(["bench", "load", "--to", &to.to_string(), "--agents", &agents.to_string()]);
        command.args(["--count", "1000000000", "--garbage", kind, "--key"]).arg(&self.key);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Process::spawn(&mut command)
    }

    /// Begins to send. The load ends with the returned value at the latest.
    pub(crate) fn start(&self, to: SocketAddr, load: &Load) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.varta);
        command.args(["bench", "load", "--to", &to.to_string(), "--agents", &load.agents.to_string()]);
        command.args(["--count", &load.count.to_string(), "--promise", &format!("{}ms", load.promise.as_millis())]);
        command.args(["--rate", &load.rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string())]);
        command.arg("--key").arg(&self.key);
        if load.goodbye {
            command.arg("--final");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Process::spawn(&mut command)
    }

    /// Sends all of it.
    pub(crate) fn run(&self, to: SocketAddr, load: &Load) -> anyhow::Result<Sent> {
        let limit = LIMIT + Duration::from_secs(load.rate.map_or(0, |rate| load.count / rate.max(1)));
        Self::finish(self.start(to, load)?, limit)
    }

    /// Announces every agent in a session of its own, `rate` a second: its name and a host's, and labels that all share.
    pub(crate) fn announce(&self, to: SocketAddr, agents: u32, rate: u64, labels: &[&str]) -> anyhow::Result<Sent> {
        let mut command = Command::new(&self.varta);
        command.args(["bench", "load", "--to", &to.to_string(), "--agents", &agents.to_string(), "--announce"]);
        command.args(["--count", "1", "--promise", "60s", "--rate", &rate.to_string(), "--key"]).arg(&self.key);
        command.args(labels.iter().flat_map(|label| ["--label", *label]));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::finish(Process::spawn(&mut command)?, LIMIT + Duration::from_secs(u64::from(agents) / rate.max(1)))
    }

    fn finish(mut process: Process, limit: Duration) -> anyhow::Result<Sent> {
        let ended = clock::wait_for(limit, || Ok(process.0.try_wait()?))?;
        match ended {
            Some(status) if status.success() => {}
            Some(status) => bail!("varta bench load ended with {status}"),
            None => bail!("varta bench load did not end within {} s", limit.as_secs()),
        }
        let mut line = String::new();
        process.0.stdout.take().context("it was piped")?.read_to_string(&mut line)?;
        let sent: Sent = serde_json::from_str(&line).with_context(|| format!("varta bench load said {line:?}"))?;
        if sent.refused_by_kernel > 0 {
            bail!("the kernel refused {} of {} datagrams", sent.refused_by_kernel, sent.sent);
        }
        Ok(sent)
    }
}
