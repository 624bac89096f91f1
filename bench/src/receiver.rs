//! What is measured: an observer, or the bare loop, as a process of its own on the first core.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::{
    bare::{Counts, Listening, Work},
    clock,
    load::{Load, Loader},
    machine::{self, Cores},
    metrics::Metrics,
    process::Process,
};

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// Strangers a second that are told one by one.
const GENTLE: u64 = 25_000;
/// How long the last of them may take to be counted.
const MEET_LIMIT: Duration = Duration::from_secs(20);
/// An observer that logs nothing for so long has settled.
const QUIET: Duration = Duration::from_secs(1);

/// A process that receives beats.
pub(crate) struct Receiver {
    kind: Kind,
    address: SocketAddr,
    // The process ends before its directory is removed.
    process: Process,
    _directory: Option<TempDir>,
}

/// How an observer is set up beside its defaults.
#[derive(Default)]
pub(crate) struct Setup {
    series: bool,
    roster: Option<String>,
    every_core: bool,
    unfiltered: bool,
    state: Option<PathBuf>,
    relay: Option<Reporting>,
}

/// To whom an observer reports, and as whom.
struct Reporting {
    name: String,
    relay: SocketAddr,
    pin: String,
}

impl Setup {
    /// It may run on both cores, as an observer in service does.
    pub(crate) fn on_every_core(self) -> Self {
        Self { every_core: true, ..self }
    }

    /// Its metrics have the series of every agent.
    pub(crate) fn with_series(self) -> Self {
        Self { series: true, ..self }
    }

    /// The text of its roster.
    pub(crate) fn with_roster(self, text: String) -> Self {
        Self { roster: Some(text), ..self }
    }

    /// No kernel filter.
    pub(crate) fn without_filter(self) -> Self {
        Self { unfiltered: true, ..self }
    }

    /// It keeps its state in this directory, which outlives it.
    pub(crate) fn with_state(self, state: PathBuf) -> Self {
        Self { state: Some(state), ..self }
    }

    /// It reports, as `name`, to the relay of key `pin`.
    pub(crate) fn reporting(self, name: String, relay: SocketAddr, pin: String) -> Self {
        Self { relay: Some(Reporting { name, relay, pin }), ..self }
    }
}

enum Kind {
    Observer { http: String, log: PathBuf, roster: PathBuf },
    Bare(RefCell<Pipes>),
}

struct Pipes {
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a receiver had done at an instant.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    /// Time since boot.
    pub(crate) at: Duration,
    /// CPU time, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Beats accepted, or opened.
    pub(crate) accepted: u64,
    /// Datagrams dropped by the kernel.
    pub(crate) dropped: u64,
}

/// What a receiver had handled at an instant.
#[derive(Clone, Copy)]
pub(crate) struct Handled {
    pub(crate) datagrams: u64,
    /// CPU time, nanoseconds.
    pub(crate) cpu_ns: u64,
}

/// Starts a process on one core while this one stays on the other.
pub(crate) fn spawn_on(cores: Cores, command: &mut Command) -> anyhow::Result<Process> {
    machine::stay_on(cores.measured)?;
    let process = Process::spawn(command);
    machine::stay_on(cores.feeding)?;
    process
}

/// Starts a process on both cores while this one stays on its own.
fn spawn_anywhere(cores: Cores, command: &mut Command) -> anyhow::Result<Process> {
    machine::stay_on_either(cores)?;
    let process = Process::spawn(command);
    machine::stay_on(cores.feeding)?;
    process
}

impl Receiver {
    /// An observer as it ships, with a state directory of its own. Only the series of single agents are switched off.
    pub(crate) fn observer(cores: Cores, loader: &Loader) -> anyhow::Result<Self> {
        Self::observer_with(cores, loader, &Setup::default())
    }

    /// An observer as it ships but for what `setup` says.
    pub(crate) fn observer_with(cores: Cores, loader: &Loader, setup: &Setup) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        let quoted = |path: &Path| serde_json::to_string(&path.to_string_lossy());
        let state = setup.state.clone().unwrap_or_else(|| place("state"));
        fs::create_dir_all(&state)?;
        let roster = place("roster.toml");
        let roster_file = match &setup.roster {
            Some(text) => {
                fs::write(&roster, text)?;
                format!("roster_file = {}\n", quoted(&roster)?)
            }
            None => String::new(),
        };
        let (name, relay) = match &setup.relay {
            Some(Reporting { name, relay, pin }) => {
                (name.as_str(), format!("\n[relay]\naddress = \"{relay}\"\npin = \"{pin}\"\n"))
            }
            None => ("measured", String::new()),
        };
        let config = format!(
            "[observer]\nname = \"{name}\"\nstate_dir = {}\nkey_file = {}\n{roster_file}\n[[listen]]\nsealed = \
             \"127.0.0.1:0\"\nkernel_filter = \"{}\"\n\n[http]\nlisten = \"127.0.0.1:0\"\n\n[metrics]\nper_agent = \"{}\"\n{relay}",
            quoted(&state)?,
            quoted(&loader.key)?,
            if setup.unfiltered { "off" } else { "auto" },
            if setup.series { "all" } else { "none" },
        );
        fs::write(place("observer.toml"), config)?;
        let mut command = Command::new(&loader.varta);
        command.arg("watch").arg("--config").arg(place("observer.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(place("log"))?);
        let mut process =
            if setup.every_core { spawn_anywhere(cores, &mut command)? } else { spawn_on(cores, &mut command)? };
        let log = place("log");
        let ready = clock::wait_for(READY, || {
            let text = fs::read_to_string(&log)?;
            if let Some(status) = process.0.try_wait()? {
                bail!("varta watch ended with {status}: {text}");
            }
            let behind = |words: &str| {
                let line = text.split_inclusive('\n').find(|line| line.contains(words) && line.ends_with('\n'))?;
                Some(line.split(words).nth(1)?.trim().to_owned())
            };
            Ok(behind("receives beats on ").zip(behind("serves http://")))
        })?;
        let (address, http) = ready.context("varta watch does not say where it receives and serves")?;
        let address = address.parse().with_context(|| format!("varta watch receives on {address:?}"))?;
        Ok(Self { kind: Kind::Observer { http, log, roster }, address, process, _directory: Some(directory) })
    }

    /// The bare loop.
    pub(crate) fn bare(cores: Cores, loader: &Loader, agents: u32, work: Work) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let work = match work {
            Work::Open => "open",
            Work::Receive => "receive",
        };
        command.args(["bare", "--agents", &agents.to_string(), "--work", work, "--key"]).arg(&loader.key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = spawn_on(cores, &mut command)?;
        let ask = process.0.stdin.take().context("it was piped")?;
        let mut pipes = Pipes { ask, answers: BufReader::new(process.0.stdout.take().context("it was piped")?) };
        let Listening { listening } = pipes.next()?;
        Ok(Self { kind: Kind::Bare(RefCell::new(pipes)), address: listening, process, _directory: None })
    }

    /// Where it receives.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves HTTP.
    pub(crate) fn http(&self) -> anyhow::Result<&str> {
        match &self.kind {
            Kind::Observer { http, .. } => Ok(http),
            Kind::Bare(_) => bail!("the bare loop serves no HTTP"),
        }
    }

    /// An observer's log.
    pub(crate) fn log(&self) -> anyhow::Result<&Path> {
        match &self.kind {
            Kind::Observer { log, .. } => Ok(log),
            Kind::Bare(_) => bail!("the bare loop keeps no log"),
        }
    }

    /// An observer's roster file.
    pub(crate) fn roster(&self) -> anyhow::Result<&Path> {
        match &self.kind {
            Kind::Observer { roster, .. } => Ok(roster),
            Kind::Bare(_) => bail!("the bare loop has no roster"),
        }
    }

    /// Ends it at once, without a word.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }

    /// An observer's metrics.
    pub(crate) fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::scrape(self.http()?)
    }

    /// Beats accepted so far, or opened.
    pub(crate) fn accepted(&self) -> anyhow::Result<u64> {
        match &self.kind {
            Kind::Observer { http, .. } => Metrics::scrape(http)?.counter("varta_datagrams_accepted_total"),
            Kind::Bare(pipes) => {
                let counts = pipes.borrow_mut().counts()?;
                if counts.refused > 0 {
                    bail!("the bare loop could not open {} datagrams", counts.refused);
                }
                Ok(counts.opened)
            }
        }
    }

    /// Datagrams handled so far, whatever became of them, those that a kernel filter refused too, and the CPU time of all.
    pub(crate) fn handled(&self) -> anyhow::Result<Handled> {
        let datagrams = match &self.kind {
            Kind::Observer { http, .. } => {
                let metrics = Metrics::scrape(http)?;
                metrics.counter("varta_datagrams_received_total")? + metrics.counter("varta_kernel_filtered_total")?
            }
            Kind::Bare(pipes) => {
                let counts = pipes.borrow_mut().counts()?;
                counts.opened + counts.refused
            }
        };
        Ok(Handled { datagrams, cpu_ns: machine::cpu_ns(self.id())? })
    }

    /// Waits until `accepted` beats were, at most for `limit`.
    pub(crate) fn wait_for(&self, accepted: u64, limit: Duration) -> anyhow::Result<()> {
        let reached = clock::wait_for(limit, || {
            clock::pass(Duration::from_millis(45));
            Ok((self.accepted()? >= accepted).then_some(()))
        })?;
        reached.with_context(|| format!("no {accepted} beats were accepted within {} s", limit.as_secs()))
    }

    /// Has the observer hear each of a load's first `agents` agents once, slowly enough for each to be told as new: in a
    /// flood strangers are shed.
    pub(crate) fn meet(&self, loader: &Loader, agents: u32) -> anyhow::Result<()> {
        let count = u64::from(agents);
        let load = Load { agents, rate: Some(GENTLE), count, promise: Duration::from_secs(60), goodbye: false };
        let known = self.accepted()? + count;
        loader.run(self.address(), &load)?;
        self.wait_for(known, MEET_LIMIT)
    }

    /// Waits until an observer's log has not grown for a second: nobody is new or restarted any more.
    pub(crate) fn wait_until_quiet(&self, limit: Duration) -> anyhow::Result<()> {
        let Kind::Observer { log, .. } = &self.kind else { return Ok(()) };
        let mut seen = (fs::metadata(log)?.len(), clock::boottime());
        let quiet = clock::wait_for(limit, || {
            clock::pass(Duration::from_millis(45));
            let len = fs::metadata(log)?.len();
            if len != seen.0 {
                seen = (len, clock::boottime());
            }
            Ok((clock::boottime() - seen.1 >= QUIET).then_some(()))
        })?;
        quiet.with_context(|| format!("the observer had something to tell for {} s without a pause", limit.as_secs()))
    }

    pub(crate) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let accepted = self.accepted()?;
        Ok(Snapshot {
            at: clock::boottime(),
            cpu_ns: machine::cpu_ns(self.id())?,
            accepted,
            dropped: machine::socket_drops(self.address)?,
        })
    }
}

impl Pipes {
    fn counts(&mut self) -> anyhow::Result<Counts> {
        self.ask.write_all(b"\n")?;
        self.next()
    }

    fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the bare loop said {line:?}"))
    }
}
