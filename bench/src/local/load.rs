//! The same load on both: agents at one beat a second, and bursts.

use std::time::Duration;

use super::{
    Programs, Side,
    agent::{Plan, Said, Sent},
    fleet::Fleet,
    observer::Observer,
    rows::Row,
};
use crate::{clock, machine};

const PLAN: Plan = Plan { rounds: 3, seconds: 4, bursts: 5 };
/// Far longer than an observer has to do without a beat.
const THRESHOLD: Duration = Duration::from_secs(120);
/// A window's ends lie so long before the second in which the next one begins, when nobody beats.
const QUIET: Duration = Duration::from_millis(50);

/// What became of beats, as the agents counted them and as the observer heard them.
#[derive(Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) sent: Sent,
    pub(super) heard: u64,
}

impl Fate {
    pub(super) const fn lost(self) -> u64 {
        self.sent.all().saturating_sub(self.heard)
    }
}

/// What one observer did.
#[derive(Default)]
pub(super) struct Did {
    /// Of the first beat of each process.
    pub(super) first: Fate,
    /// Of those after it, up to the bursts.
    pub(super) steady: Fate,
    pub(super) burst: Fate,
    /// Nanoseconds of CPU time per beat heard, in each round.
    pub(super) cost_ns: Vec<f64>,
}

pub(super) struct Load {
    pub(super) agents: u32,
    /// Ours, and the published one's.
    pub(super) did: [Did; 2],
}

/// A window of an observer: the marks at its ends, and the CPU time between, nanoseconds.
struct Window {
    side: usize,
    marks: [usize; 2],
    cpu_ns: u64,
}

pub(super) fn take(programs: &Programs, agents: u32) -> anyhow::Result<Load> {
    let start = |side| Observer::start(programs, side, THRESHOLD);
    let [ours, published] = Side::BOTH.map(start);
    let mut observers = [ours?, published?];
    let sockets = [observers[0].socket(), observers[1].socket()];
    let fleet = Fleet::spawn(agents, &[&sockets[0], &sockets[1]], PLAN)?;
    let windows = watch(&mut observers, fleet.start)?;
    let said = fleet.finish(observers.len())?;
    let [ours, published] = observers.map(Observer::rows);
    let rows = [ours?, published?];
    let did = [0, 1].map(|side| did(&rows[side], said[side], windows.iter().filter(|window| window.side == side)));
    Ok(Load { agents, did })
}

/// Reads CPU times at the ends of each window while the agents beat.
fn watch(observers: &mut [Observer; 2], start: Duration) -> anyhow::Result<Vec<Window>> {
    let mut windows = Vec::new();
    for round in 0..PLAN.rounds {
        for side in [0, 1] {
            let begins = start + PLAN.window(round, side, 2) - QUIET;
            let ends = begins + super::agent::EVERY * PLAN.seconds;
            let observer = &mut observers[side as usize];
            let mut end = |at: Duration| -> anyhow::Result<(usize, u64)> {
                clock::pass(at.saturating_sub(clock::boottime()));
                Ok((observer.mark()?, machine::cpu_ns(observer.id())?))
            };
            let ((first, before), (last, after)) = (end(begins)?, end(ends)?);
            windows.push(Window { side: side as usize, marks: [first, last], cpu_ns: after - before });
        }
    }
    Ok(windows)
}

/// Beats behind a mark but for its own. A mark's number is one less than that of what lies behind it.
fn beats(rows: &[Vec<Row>], behind: std::ops::Range<usize>) -> u64 {
    behind.map(|mark| rows[mark + 1].iter().filter(|row| row.is_beat()).count() as u64 - 1).sum()
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
fn did<'a>(rows: &[Vec<Row>], said: Said, windows: impl Iterator<Item = &'a Window>) -> Did {
    let mut did = Did::default();
    let mut last = 0;
    for Window { marks: [first, end], cpu_ns, .. } in windows {
        let heard = beats(rows, *first..*end);
        did.cost_ns.push(*cpu_ns as f64 / heard.max(1) as f64);
        last = *end;
    }
    did.first = Fate { sent: said.first, heard: rows[0].iter().filter(|row| row.is_beat()).count() as u64 };
    did.steady = Fate { sent: said.steady, heard: beats(rows, 0..last) };
    did.burst = Fate { sent: said.burst, heard: beats(rows, last..rows.len() - 1) };
    did
}
