//! How soon each tells that an agent was killed, or has fallen silent.

use std::{collections::BTreeMap, sync::mpsc::Receiver, time::Duration};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Programs, Side,
    agent::{EVERY, Plan},
    fleet::Fleet,
    observer::Observer,
    rows::{self, Read, Row},
};
use crate::clock;

/// Agents that beat, of which as many as this are killed, and as many stopped.
const AGENTS: u32 = 200;
pub(super) const EACH: usize = 20;
/// Silence that is a stall: what our observer allows unless told otherwise.
pub(super) const THRESHOLD: Duration = Duration::from_secs(2);
const PLAN: Plan = Plan { rounds: 1, seconds: 20, bursts: 0 };
/// Between one and the next; no part of a second, so that each stands elsewhere in its own.
const STEP: Duration = Duration::from_millis(137);
/// How long the last one may take to be told.
const LIMIT: Duration = Duration::from_secs(15);

/// Milliseconds of each, sorted.
#[derive(Default)]
pub(super) struct Lateness {
    /// From the instant to the stall, both in the observer's own time.
    pub(super) judged_ms: Vec<f64>,
    /// From the instant to when one who follows the export file has read of it.
    pub(super) read_ms: Vec<f64>,
}

/// What one observer did.
#[derive(Default)]
pub(super) struct Told {
    /// From a kill.
    pub(super) killed: Lateness,
    /// From the end of the threshold, after the last beat of one that was stopped.
    pub(super) stopped: Lateness,
}

/// What was done to an agent: with which mark, and when, since boot.
struct Done {
    signal: Signal,
    mark: usize,
    at: Duration,
}

pub(super) fn take(programs: &Programs) -> anyhow::Result<[Told; 2]> {
    let [ours, published] = Side::BOTH.map(|side| told(programs, side));
    Ok([ours?, published?])
}

fn told(programs: &Programs, side: Side) -> anyhow::Result<Told> {
    let mut observer = Observer::start(programs, side, THRESHOLD)?;
    let fleet = Fleet::spawn(AGENTS, &[&observer.socket()], PLAN)?;
    let follower = rows::follow(&observer.export())?;
    clock::pass((fleet.start + 2 * EVERY).saturating_sub(clock::boottime()));
    let mut done = BTreeMap::new();
    for number in 0..EACH {
        for (signal, agent) in [(Signal::SIGKILL, number), (Signal::SIGSTOP, EACH + number)] {
            // Spread over all that beat.
            let pid = fleet.pid(agent * AGENTS as usize / (2 * EACH));
            // The mark comes first: what it takes is held against the observer.
            let mark = observer.mark()?;
            let at = clock::boottime();
            kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
            done.insert(pid, Done { signal, mark, at });
            clock::pass(STEP);
        }
    }
    let read = until_told(&follower, &done)?;
    drop(fleet);
    let rows = observer.rows()?;
    let mut told = Told::default();
    for (pid, done) in &done {
        let mark = rows[done.mark + 1][0].at;
        let of_pid: Vec<Row> = rows.iter().flatten().filter(|row| row.pid == *pid).copied().collect();
        let stall = of_pid.iter().position(Row::is_stall).with_context(|| format!("{pid} was never told"))?;
        let beat = of_pid[..stall].last().with_context(|| format!("{pid} has stalled and never beaten"))?;
        let (lateness, from) = match done.signal {
            Signal::SIGKILL => (&mut told.killed, mark),
            _ => (&mut told.stopped, beat.at + u64::try_from(THRESHOLD.as_nanos())?),
        };
        lateness.judged_ms.push(ms(of_pid[stall].at, from));
        // What was read, in the observer's own time: by the distance from the mark.
        let read = mark + u64::try_from((read[pid] - done.at).as_nanos())?;
        lateness.read_ms.push(ms(read, from));
    }
    for lateness in [&mut told.killed, &mut told.stopped] {
        lateness.judged_ms.sort_by(f64::total_cmp);
        lateness.read_ms.sort_by(f64::total_cmp);
    }
    Ok(told)
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
fn ms(at: u64, from: u64) -> f64 {
    at.saturating_sub(from) as f64 / 1e6
}

/// When each of them was read of, since boot.
fn until_told(follower: &Receiver<Read>, done: &BTreeMap<u32, Done>) -> anyhow::Result<BTreeMap<u32, Duration>> {
    let mut read = BTreeMap::new();
    while read.len() < done.len() {
        let told = follower.recv_timeout(LIMIT).context("not all that were killed or stopped are told")?;
        if done.contains_key(&told.row.pid) {
            read.entry(told.row.pid).or_insert(told.at);
        }
    }
    Ok(read)
}
