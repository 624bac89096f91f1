//! One run of a program: its own process group, a clean environment, bounded output, a limit on its time.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::watch,
    time::{sleep, timeout},
};

use super::rule::Rule;

/// What is kept of a run's output, bytes.
const OUTPUT: usize = 4096;
/// How long output may still come after the program has ended: what it started may hold its pipes for good.
const LINGER: Duration = Duration::from_millis(100);

/// What programs may be given of the observer's environment, and the word that ends them all.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    variables: Arc<BTreeMap<String, String>>,
    stop: watch::Sender<bool>,
}

impl Environment {
    pub(crate) fn new(variables: BTreeMap<String, String>) -> Self {
        Self { variables: Arc::new(variables), stop: watch::Sender::new(false) }
    }

    /// Ends every program that still runs.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A program that is to be run.
pub(super) struct Run {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    limit: Option<Duration>,
    stop: watch::Receiver<bool>,
}

/// How a run ended.
pub(super) struct Finished {
    how: How,
    output: Vec<u8>,
    /// Bytes of output that were not kept.
    more: usize,
}

enum How {
    Ended(ExitStatus),
    /// It took too long, or the observer stopped.
    Killed,
    NotBegun(std::io::Error),
    /// It was begun; what became of it nobody told.
    Unknown(std::io::Error),
}

impl Run {
    pub(super) fn new(command: Vec<String>, rule: &Rule, environment: &Environment) -> Self {
        let given = |name: &String| Some((name.clone(), environment.variables.get(name)?.clone()));
        Self {
            command,
            environment: rule.env.iter().filter_map(given).collect(),
            limit: rule.timeout,
            stop: environment.stop.subscribe(),
        }
    }

    pub(super) fn command(&self) -> &[String] {
        &self.command
    }

    /// Runs the program to its end, or to that of its time.
    pub(super) async fn carry_out(mut self) -> Finished {
        let (mut output, mut more) = (Vec::new(), 0);
        let how = match self.begin() {
            Ok(child) => self.attend(child, &mut output, &mut more).await,
            Err(error) => How::NotBegun(error),
        };
        Finished { how, output, more }
    }

    fn begin(&self) -> std::io::Result<Child> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    async fn attend(&mut self, mut child: Child, output: &mut Vec<u8>, more: &mut usize) -> How {
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let limit = self.limit;
        let too_long = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let stop = &mut self.stop;
        let stopped = async {
            // Only an observer that is gone has dropped the other end.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::pin!(too_long, stopped);
        let how = loop {
            let (mut some_out, mut some_err) = ([0; 512], [0; 512]);
            tokio::select! {
                status = child.wait() => break match status {
                    Ok(status) => How::Ended(status),
                    Err(error) => How::Unknown(error),
                },
                len = read(&mut out, &mut some_out) => keep(&some_out[..len], &mut out, output, more),
                len = read(&mut err, &mut some_err) => keep(&some_err[..len], &mut err, output, more),
                () = &mut too_long => break How::Killed,
                () = &mut stopped => break How::Killed,
            }
        };
        if matches!(how, How::Killed) {
            if let Some(group) = group {
                // What has ended meanwhile needs no killing; it was not waited for yet, so that the group is still its own.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
        }
        let rest = async {
            while out.is_some() || err.is_some() {
                let (mut some_out, mut some_err) = ([0; 512], [0; 512]);
                tokio::select! {
                    len = read(&mut out, &mut some_out) => keep(&some_out[..len], &mut out, output, more),
                    len = read(&mut err, &mut some_err) => keep(&some_err[..len], &mut err, output, more),
                }
            }
        };
        // What does not come in time is not waited for.
        let _ = timeout(LINGER, rest).await;
        how
    }
}

/// Reads some of a pipe; never, of one that is closed. 0 at its end.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, room: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(room).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Keeps what has room, and closes a pipe at its end.
fn keep<T>(some: &[u8], pipe: &mut Option<T>, output: &mut Vec<u8>, more: &mut usize) {
    if some.is_empty() {
        *pipe = None;
    }
    let room = OUTPUT - output.len();
    let (kept, lost) = some.split_at(some.len().min(room));
    output.extend_from_slice(kept);
    *more += lost.len();
}

impl Finished {
    /// Of a run whose task did not get to its end.
    pub(super) fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { how: How::Unknown(std::io::Error::other(error)), output: Vec::new(), more: 0 }
    }

    pub(super) const fn was_killed(&self) -> bool {
        matches!(self.how, How::Killed)
    }

    pub(super) fn was_well(&self) -> bool {
        matches!(self.how, How::Ended(status) if status.success())
    }

    /// As metrics print it.
    pub(super) fn outcome(&self) -> &'static str {
        match self.how {
            How::Killed => "killed",
            How::Ended(status) if status.success() => "succeeded",
            How::Ended(_) | How::NotBegun(_) | How::Unknown(_) => "failed",
        }
    }

    /// In words.
    pub(super) fn how(&self) -> String {
        match &self.how {
            How::Killed => "killed: it took too long, or the observer stops".to_owned(),
            How::NotBegun(error) => format!("cannot be run: {error}"),
            How::Unknown(error) => format!("its end is not known: {error}"),
            How::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => status.to_string(),
            },
        }
    }

    /// What it printed, as far as that was kept.
    pub(super) fn output(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output);
        let text = text.trim_end();
        match self.more {
            0 if text.is_empty() => None,
            0 => Some(text.to_owned()),
            more => Some(format!("{text} … and {more} bytes more")),
        }
    }
}
