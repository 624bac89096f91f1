//! What an observer serves while stalls are told: scrapes with every series, its slots page by page, reloads of a roster of
//! every agent. Each is asked for again as soon as it is done.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, spawn},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::stalls::{DYING, LIVING};
use crate::{clock, mortals, receiver::Receiver};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Slots of one page.
const PAGE: u32 = 1000;
/// What the log says once a reload is in force.
const IN_FORCE: &str = "were read again and are in force";
/// What it says when it is not.
const REFUSED: &str = "reload refused";

/// What was served.
#[derive(Serialize)]
pub(crate) struct Served {
    pub(crate) seconds: f64,
    pub(crate) scrapes: u64,
    scraped_bytes: u64,
    pub(crate) pages: u64,
    paged_slots: u64,
    pub(crate) reloads: u64,
}

/// Everything being served in loops.
pub(crate) struct Serving {
    stop: Arc<AtomicBool>,
    began: Duration,
    scrapes: JoinHandle<anyhow::Result<(u64, u64)>>,
    pages: JoinHandle<anyhow::Result<(u64, u64)>>,
    reloads: JoinHandle<anyhow::Result<u64>>,
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
    slots: Vec<serde_json::Value>,
    next: Option<u64>,
}

impl Serving {
    /// Begins to ask.
    pub(crate) fn start(receiver: &Receiver) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let http = receiver.http()?.to_owned();
        let going = || {
            let stop = Arc::clone(&stop);
            move || !stop.load(Ordering::Relaxed)
        };
        let (on, url) = (going(), format!("http://{http}/metrics"));
        let scrapes = spawn(move || {
            let (mut count, mut bytes) = (0, 0);
            while on() {
                let text = get(&url)?;
                let series = text.lines().filter(|line| line.starts_with("varta_beats_total{")).count();
                ensure!(series as u64 >= u64::from(LIVING), "a scrape had {series} agents");
                (count, bytes) = (count + 1, bytes + text.len() as u64);
            }
            Ok((count, bytes))
        });
        let on = going();
        let pages = spawn(move || {
            let (mut count, mut slots, mut cursor) = (0, 0, 0);
            while on() {
                let text = get(&format!("http://{http}/api/v1/slots?limit={PAGE}&cursor={cursor}"))?;
                let page: Page = serde_json::from_str(&text)?;
                (count, slots) = (count + 1, slots + page.slots.len() as u64);
                cursor = page.next.unwrap_or(0);
            }
            Ok((count, slots))
        });
        let (on, pid) = (going(), Pid::from_raw(i32::try_from(receiver.id())?));
        let (roster, log) = (receiver.roster()?.to_owned(), receiver.log()?.to_owned());
        let reloads = spawn(move || reload(&on, pid, &roster, &log));
        Ok(Self { stop, began: clock::boottime(), scrapes, pages, reloads })
    }

    /// Ends it, and says what was served; an error if any of it failed.
    pub(crate) fn stop(self) -> anyhow::Result<Served> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = (clock::boottime() - self.began).as_secs_f64();
        fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
            thread.join().unwrap_or_else(|_| bail!("one who asks has panicked"))
        }
        let ((scrapes, scraped_bytes), (pages, paged_slots)) = (joined(self.scrapes)?, joined(self.pages)?);
        let served = Served { seconds, scrapes, scraped_bytes, pages, paged_slots, reloads: joined(self.reloads)? };
        ensure!(served.scrapes > 1 && served.pages > 1 && served.reloads > 1, "hardly anything was served");
        Ok(served)
    }
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
