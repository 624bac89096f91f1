//! `varta-bench agents`: genuine agents in one process, each with its own key and the client that programs embed.

use std::{
    fs,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    sync::mpsc::{self, Receiver, TryRecvError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use varta_client::{BeatOutcome, SealedTransport, Status, Varta};

use crate::clock;

/// The unit of every agent.
const UNIT: &str = "beat";
/// How the name of an agent's key file ends.
const KEY_FILE: &str = ".agent.key";

/// Agents that beat in turn.
///
/// Answers each line on standard input by a JSON line: after an agent's name it is silent for good, and the answer says
/// when it beat last; after an empty line come counts. At the end of the input all say goodbye.
#[derive(Args)]
pub(crate) struct AgentsArgs {
    /// A folder of agent key files, NAME.agent.key.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// How often each beats, and what it promises.
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = humantime::parse_duration)]
    every: Duration,
    /// For how long at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

struct Agent {
    handle: Varta<SealedTransport>,
    /// When it beat last: time since the Unix epoch, and since boot.
    last: Option<(Duration, Duration)>,
    sent: u64,
    not_sent: u64,
    /// The longest time between two beats.
    gap: Duration,
    silent: bool,
}

impl Agent {
    fn beat(&mut self) {
        let now = clock::boottime();
        let outcome = self.handle.beat(Status::Ok, 0);
        match outcome {
            BeatOutcome::Sent => self.sent += 1,
            _ => self.not_sent += 1,
        }
        if let Some((_, last)) = self.last {
            self.gap = self.gap.max(now - last);
        }
        self.last = Some((clock::realtime(), now));
    }
}

fn connect(args: &AgentsArgs) -> anyhow::Result<Vec<Agent>> {
    let mut files: Vec<PathBuf> = fs::read_dir(&args.keys)
        .with_context(|| args.keys.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(KEY_FILE));
    files.sort();
    if files.is_empty() {
        bail!("{} holds no key file NAME{KEY_FILE}", args.keys.display());
    }
    let connect = |file: PathBuf| {
        let handle = Varta::builder().key_file(file).unit(UNIT).every(args.every).connect()?;
        Ok(Agent { handle, last: None, sent: 0, not_sent: 0, gap: Duration::ZERO, silent: false })
    };
    files.into_iter().map(connect).collect()
}

/// Lines of standard input; it is closed with the input.
fn lines() -> anyhow::Result<Receiver<String>> {
    let (send, receive) = mpsc::channel();
    std::thread::Builder::new().name("asked".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}

fn say(line: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn counts(agents: &[Agent]) -> serde_json::Value {
    let gap = agents.iter().map(|agent| agent.gap).max().unwrap_or_default();
    serde_json::json!({
        "agents": agents.len(),
        "sent": agents.iter().map(|agent| agent.sent).sum::<u64>(),
        "not_sent": agents.iter().map(|agent| agent.not_sent).sum::<u64>(),
        "longest_gap_ms": gap.as_secs_f64() * 1e3,
    })
}

/// Silences an agent.
fn silence(agents: &mut [Agent], name: &str) -> anyhow::Result<serde_json::Value> {
    let agent = agents.iter_mut().find(|agent| agent.handle.agent() == name);
    let agent = agent.with_context(|| format!("no agent {name:?}"))?;
    agent.silent = true;
    let (last, _) = agent.last.with_context(|| format!("{name} has not beaten yet"))?;
    Ok(serde_json::json!({ "silent": name, "last_beat": last.as_secs_f64() }))
}

pub(crate) fn run(args: &AgentsArgs) -> anyhow::Result<()> {
    let mut agents = connect(args)?;
    let asked = lines()?;
    let step = args.every / u32::try_from(agents.len())?;
    say(&counts(&agents))?;
    let began = clock::boottime();
    let mut due = began;
    'all: while due - began < Duration::from_secs(args.seconds) {
        for place in 0..agents.len() {
            let now = clock::boottime();
            if due > now {
                clock::pass(due - now);
            } else if now - due > args.every {
                // What was missed is missed: nobody beats twice for it.
                due = now;
            }
            match asked.try_recv() {
                Ok(line) if line.is_empty() => say(&counts(&agents))?,
                Ok(name) => say(&silence(&mut agents, &name)?)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break 'all,
            }
            if !agents[place].silent {
                agents[place].beat();
            }
            due += step;
        }
    }
    for agent in agents.iter_mut().filter(|agent| !agent.silent) {
        // One that is lost leaves a slot that stalls, as it would be.
        let _ = agent.handle.finish(Status::Ok, 0);
    }
    say(&counts(&agents))
}
