//! What an observer serves while stalls are told: scrapes with every series, its slots page by page, reloads of a roster of
//! every agent. Each is asked for again as soon as it is done.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, spawn},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{clock, mortals, process::Process, receiver::Receiver};

/// Agents that beat on.
pub(crate) const LIVING: u32 = 100_000;
/// Agents that die in each round.
pub(crate) const DYING: u32 = 2000;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Slots of one page.
const PAGE: u32 = 1000;
/// What the log says once a reload is in force.
const IN_FORCE: &str = "were read again and are in force";
/// What it says when it is not.
const REFUSED: &str = "reload refused";

/// What was served.
#[derive(Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) seconds: f64,
    pub(crate) scrapes: u64,
    scraped_bytes: u64,
    pub(crate) pages: u64,
    paged_slots: u64,
    pub(crate) reloads: u64,
}

/// Asks an observer for everything without a pause, until standard input ends; prints one JSON line.
#[derive(Args)]
pub(crate) struct AsksArgs {
    /// Where the observer serves HTTP.
    #[arg(long, value_name = "ADDR")]
    http: String,
    /// Its process.
    #[arg(long, value_name = "PID")]
    pid: i32,
    /// Its roster file, which is written anew for each reload.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// Its log.
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
}

/// Everything being asked for by a process that gives way to all others: what it does with the answers is not the
/// observer's.
pub(crate) struct Serving(Process);

impl Serving {
    /// Begins to ask.
    pub(crate) fn start(receiver: &Receiver) -> anyhow::Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "15"]).arg(std::env::current_exe()?).args(["asks", "--http", receiver.http()?]);
        command.args(["--pid", &receiver.id().to_string(), "--roster"]).arg(receiver.roster()?);
        command.arg("--log").arg(receiver.log()?).stdin(Stdio::piped()).stdout(Stdio::piped());
        Process::spawn(&mut command).map(Self)
    }

    /// Ends it, and says what was served; an error if any of it failed.
    pub(crate) fn stop(mut self) -> anyhow::Result<Served> {
        drop(self.0.0.stdin.take());
        let mut line = String::new();
        self.0.0.stdout.take().context("it was piped")?.read_to_string(&mut line)?;
        let served: Served = serde_json::from_str(&line).with_context(|| format!("varta-bench asks said {line:?}"))?;
        ensure!(served.scrapes > 1 && served.pages > 1 && served.reloads > 1, "hardly anything was served");
        Ok(served)
    }
}

/// The text of a roster of every agent, whose version rises from reload to reload.
pub(crate) fn roster(version: u64) -> anyhow::Result<String> {
    let mut text = format!("version = {version}\n");
    let living = (0..LIVING).map(|number| format!("bench-{number:07}"));
    for name in living.chain((0..DYING).map(mortals::name)) {
        // Some change from reload to reload: a label, and whether the agent is required.
        let required = if version.is_multiple_of(2) { "required = true\n" } else { "" };
        writeln!(
            text,
            "[[agent]]\nname = \"{name}\"\ngeneration = 1\nlabels = {{ site = \"s{version}\" }}\n{required}"
        )?;
    }
    Ok(text)
}

fn get(url: &str) -> anyhow::Result<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
    let agent: ureq::Agent = config.into();
    let answer = agent.get(url).call().with_context(|| url.to_owned())?;
    let mut text = String::new();
    answer.into_body().into_reader().read_to_string(&mut text).with_context(|| url.to_owned())?;
    Ok(text)
}

#[derive(Deserialize)]
struct Page {
    slots: Vec<IgnoredAny>,
    next: Option<u64>,
}

pub(crate) fn asks(args: &AsksArgs) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let going = || {
        let stop = Arc::clone(&stop);
        move || !stop.load(Ordering::Relaxed)
    };
    let began = clock::boottime();
    let (on, url) = (going(), format!("http://{}/metrics", args.http));
    let scrapes = spawn(move || scrape(&on, &url));
    let (on, url) = (going(), format!("http://{}/api/v1/slots", args.http));
    let pages = spawn(move || page(&on, &url));
    let (on, pid) = (going(), Pid::from_raw(args.pid));
    let (roster, log) = (args.roster.clone(), args.log.clone());
    let reloads = spawn(move || reload(&on, pid, &roster, &log));
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    stop.store(true, Ordering::Relaxed);
    let seconds = (clock::boottime() - began).as_secs_f64();
    let ((scrapes, scraped_bytes), (pages, paged_slots)) = (joined(scrapes)?, joined(pages)?);
    let served = Served { seconds, scrapes, scraped_bytes, pages, paged_slots, reloads: joined(reloads)? };
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&served)?)?;
    Ok(())
}

fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| bail!("one who asks has panicked"))
}

/// Scrapes again and again. Returns how often, and how many bytes.
fn scrape(on: &dyn Fn() -> bool, url: &str) -> anyhow::Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    while on() {
        let text = get(url)?;
        let series = text.lines().filter(|line| line.starts_with("varta_beats_total{")).count();
        ensure!(series as u64 >= u64::from(LIVING), "a scrape had {series} agents");
        (count, bytes) = (count + 1, bytes + text.len() as u64);
    }
    Ok((count, bytes))
}

/// Reads page after page, from the first again after the last. Returns how many, and how many slots they had.
fn page(on: &dyn Fn() -> bool, url: &str) -> anyhow::Result<(u64, u64)> {
    let (mut count, mut slots, mut cursor) = (0, 0, 0);
    while on() {
        let text = get(&format!("{url}?limit={PAGE}&cursor={cursor}"))?;
        let page: Page = serde_json::from_str(&text)?;
        (count, slots) = (count + 1, slots + page.slots.len() as u64);
        cursor = page.next.unwrap_or(0);
    }
    Ok((count, slots))
}

/// Reloads again and again, each time with another roster, and waits until each is in force.
fn reload(on: &dyn Fn() -> bool, pid: Pid, roster: &Path, log: &Path) -> anyhow::Result<u64> {
    let mut log = BufReader::new(File::open(log).with_context(|| log.display().to_string())?);
    log.seek(SeekFrom::End(0))?;
    let mut count = 0;
    while on() {
        // Made aside and put in place at once, as an operator's tool does it.
        let fresh = roster.with_extension("fresh");
        fs::write(&fresh, self::roster(count + 2)?)?;
        fs::rename(&fresh, roster)?;
        kill(pid, Signal::SIGHUP)?;
        count += 1;
        let mut line = String::new();
        let reached = clock::wait_for(PATIENCE, || {
            while log.read_line(&mut line)? > 0 {
                let whole = line.ends_with('\n');
                if whole && line.contains(REFUSED) {
                    bail!("{line}");
                }
                if whole && line.contains(IN_FORCE) {
                    return Ok(Some(()));
                }
                if whole {
                    line.clear();
                }
            }
            Ok(None)
        })?;
        reached.with_context(|| format!("reload {count} did not come in force"))?;
    }
    Ok(count)
}
