//! `varta-bench exec`: from the death of a program under `varta exec` to the observer's verdict, on one host.
//!
//! Each program is one of `count`, of an agent of its own, and dies once the observer has it up: half of them killed by
//! SIGKILL, half by an exit of their own with status 3. *verdict* is when the observer's event says that it was critical,
//! *told* is when one who follows its events has read it; both from just before the signal, or the word to exit, was given.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver as Channel, channel},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use varta_client::keyfile::UnixSeconds;
use varta_keys::{Request, Vault, create_all};

use crate::{
    clock,
    load::Loader,
    machine::{self, Cores},
    process::Process,
    receiver::Receiver,
    spine::{built, quantile},
};

/// The audience of the observer.
const OBSERVER: &str = "measured";
/// How long an event may take.
const LIMIT: Duration = Duration::from_secs(10);
/// At most so long from death to verdict: in half of all, and in 99 of 100; milliseconds.
const GOAL_P50: f64 = 2.0;
const GOAL_P99: f64 = 20.0;
/// Says its pid, and then waits for the word to exit.
const PROGRAM: &str = "echo $$; read word; exit 3";

/// From the death of a program under `varta exec` to its verdict.
#[derive(Args)]
pub(crate) struct ExecArgs {
    /// The varta program to measure; without it, the release build of this repository, made if need be.
    #[arg(long, value_name = "FILE")]
    varta: Option<PathBuf>,
    /// How many programs die.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=5000))]
    count: u32,
    /// End with an error if a goal is missed.
    #[arg(long)]
    check: bool,
}

/// A verdict as one who follows reads it: microseconds since the Unix epoch.
struct Told {
    agent: String,
    to: String,
    why: String,
    verdict_us: u64,
    read_us: u64,
}

#[derive(Deserialize)]
struct Event {
    at: String,
    agent: Option<String>,
    to: Option<String>,
    why: String,
}

/// Milliseconds, and whether they are what is aimed at.
#[derive(Serialize)]
struct Figures {
    programs: u32,
    verdict_p50_ms: f64,
    verdict_p99_ms: f64,
    told_p50_ms: f64,
    told_p99_ms: f64,
    goal_p50_ms: f64,
    goal_p99_ms: f64,
    met: bool,
}

fn micros(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

fn told(line: &str) -> Option<Told> {
    let read_us = micros(clock::realtime());
    let event: Event = serde_json::from_str(line.strip_prefix("data:")?).ok()?;
    let at = humantime::parse_rfc3339(&event.at).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Told { agent: event.agent?, to: event.to?, why: event.why, verdict_us: micros(at), read_us })
}

/// Follows the events of the observer that serves `http`, until it stops.
fn follow(http: &str) -> anyhow::Result<Channel<Told>> {
    let url = format!("http://{http}/api/v1/events");
    let answer = ureq::get(&url).call().context(url)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok) {
            if told(&line).is_some_and(|told| sender.send(told).is_err()) {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Waits until `agent` is told to be `verdict`.
fn wait_for(events: &Channel<Told>, agent: &str, verdict: &str) -> anyhow::Result<Told> {
    loop {
        let told = events.recv_timeout(LIMIT).with_context(|| format!("{agent} was not told to be {verdict}"))?;
        if told.agent == agent && told.to == verdict {
            return Ok(told);
        }
    }
}

/// How a program dies.
#[derive(Clone, Copy)]
enum Death {
    Killed,
    Exits,
}

/// One program's life and death: microseconds until the verdict, and until it was read.
fn die(
    varta: &Path,
    key: &Path,
    to: &str,
    agent: &str,
    death: Death,
    events: &Channel<Told>,
) -> anyhow::Result<(u64, u64)> {
    let mut command = Command::new(varta);
    command.arg("exec").arg("--key").arg(key).args(["--to", to, "--unit", "program", "--", "sh", "-c", PROGRAM]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut command)?;
    let mut word = process.0.stdin.take().context("it was piped")?;
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().context("it was piped")?).read_line(&mut line)?;
    let pid = line.trim().parse().with_context(|| format!("{agent} said {line:?} for its pid"))?;
    wait_for(events, agent, "up")?;
    let died = micros(clock::realtime());
    let why = match death {
        Death::Killed => {
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
            "signal 9"
        }
        Death::Exits => {
            word.write_all(b"\n")?;
            "exit 3"
        }
    };
    let told = wait_for(events, agent, "critical")?;
    ensure!(told.why.contains(why), "{agent} is critical for another reason: {}", told.why);
    Ok((told.verdict_us.saturating_sub(died), told.read_us.saturating_sub(died)))
}

fn take(args: &ExecArgs) -> anyhow::Result<Figures> {
    let varta = args.varta.clone().map_or_else(built, Ok)?;
    let cores = Cores::choose()?;
    machine::stay_on(cores.feeding)?;
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    let vault = Vault::init(&place("vault"))?;
    let mut change = vault.change()?;
    let now = UnixSeconds(clock::realtime().as_secs());
    let observer = change.add_observer(OBSERVER, "127.0.0.1:9900", false, now)?;
    let agents: Vec<String> = (0..args.count).map(|number| format!("host-{number}")).collect();
    let issued = change.issue(&Request { agents: agents.clone(), ..Request::default() }, now)?;
    change.commit()?;
    let file = |agent: &str| place(&format!("{agent}.agent.key"));
    let files: Vec<_> = agents.iter().map(|agent| file(agent)).collect();
    let key = place("measured.observer.key");
    let keys = files.iter().map(PathBuf::as_path).zip(issued.iter().map(|issued| issued.key.render()));
    create_all(keys.chain([(key.as_path(), observer.render())]))?;
    let receiver = Receiver::observer(cores, &Loader { varta: varta.clone(), key })?;
    let events = follow(receiver.http()?)?;
    let to = receiver.address().to_string();
    let (mut verdicts, mut reads) = (Vec::new(), Vec::new());
    for (number, (agent, file)) in agents.iter().zip(&files).enumerate() {
        let death = if number % 2 == 0 { Death::Killed } else { Death::Exits };
        let (verdict, read) = die(&varta, file, &to, agent, death, &events)?;
        verdicts.push(verdict);
        reads.push(read);
    }
    verdicts.sort_unstable();
    reads.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
    let ms = |sorted: &[u64], part| quantile(sorted, part).map_or(f64::NAN, |us| us as f64 / 1000.0);
    let (verdict_p50_ms, verdict_p99_ms) = (ms(&verdicts, 0.5), ms(&verdicts, 0.99));
    Ok(Figures {
        programs: args.count,
        verdict_p50_ms,
        verdict_p99_ms,
        told_p50_ms: ms(&reads, 0.5),
        told_p99_ms: ms(&reads, 0.99),
        goal_p50_ms: GOAL_P50,
        goal_p99_ms: GOAL_P99,
        met: verdict_p50_ms <= GOAL_P50 && verdict_p99_ms <= GOAL_P99,
    })
}

pub(crate) fn run(args: &ExecArgs) -> anyhow::Result<()> {
    let figures = take(args)?;
    let mut out = std::io::stdout().lock();
    let line = |reached: bool| if reached { "met" } else { "MISSED" };
    writeln!(out, "{} programs under varta exec, from death to verdict:", figures.programs)?;
    let Figures { verdict_p50_ms: p50, verdict_p99_ms: p99, told_p50_ms, told_p99_ms, .. } = figures;
    writeln!(
        out,
        "  p50 {p50:>7.3} ms, limit {GOAL_P50} ms {} (read by a follower: {told_p50_ms:.3} ms)",
        line(p50 <= GOAL_P50)
    )?;
    writeln!(
        out,
        "  p99 {p99:>7.3} ms, limit {GOAL_P99} ms {} (read by a follower: {told_p99_ms:.3} ms)",
        line(p99 <= GOAL_P99)
    )?;
    writeln!(out, "{}", serde_json::to_string(&figures)?)?;
    if args.check && !figures.met {
        bail!("a goal is missed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_its_own_time() {
        let line = r#"data: {"id":3,"at":"2026-01-01T00:00:00.000250Z","kind":"verdict","agent":"a","unit":"u","to":"critical","why":"ended: signal 9"}"#;
        let event = told(line).unwrap();
        assert_eq!((event.verdict_us, &*event.agent, &*event.to), (1_767_225_600_000_250, "a", "critical"));
        assert!(told("id: 3").is_none() && told("data: {}").is_none());
    }
}
