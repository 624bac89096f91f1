//! `dashboards`: fifty pages open at once, of 10,000 units of which every hundredth changes its verdict each second and every
//! one is touched in five seconds, as an observer's sweep does it.
//!
//! The relay's share of its core is beside what it is with the same changes and no page. *Delay* is from the instant at
//! which the observer begins to tell a verdict to its being read by a page, at every page, the first time that it is shown
//! there; a page is told of changes four times a second.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use varta_vlp::{report::Item, subject::Verdict};

use super::{
    Bench,
    asking::{Asker, ms, us},
    page::Page,
    report::{Found, Row},
    server::{Server, Setup},
    session::Session,
    units::Units,
};
use crate::{
    clock,
    spine::{grouped, median},
};

const UNITS: u32 = 10_000;
const PAGES: usize = 50;
/// The observer says something twenty times a second.
const STEP: Duration = Duration::from_millis(50);
/// Each time so many turn, half of them back: a hundred a second; and so many are touched: all in five seconds.
const TURNING: u32 = 5;
const TOUCHED: u32 = UNITS / 5 / 20;
/// A unit that stalled is up again after so many steps.
const BACK: u32 = 40;
const WINDOW: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// When each unit's verdict was told first, microseconds since boot; 0 not yet.
type Begun = Arc<Vec<AtomicU64>>;

/// One window.
#[derive(Serialize)]
struct Window {
    share: f64,
    bytes_per_s: f64,
}

#[derive(Serialize)]
struct Dashboards {
    units: u32,
    pages: usize,
    quiet: Vec<Window>,
    watched: Vec<Window>,
    /// CPU time for fifty times the grid and the opening of the streams, seconds, and how long that took.
    opened_cpu_s: f64,
    opened_s: f64,
    shown: usize,
    delay_p50_ms: f64,
    delay_p99_ms: f64,
    delay_most_ms: f64,
}

/// One who looks: what it has read, and the delays of what it was shown first, microseconds.
struct Looker {
    bytes: Arc<AtomicU64>,
    thread: thread::JoinHandle<anyhow::Result<Vec<u64>>>,
}

fn look(mut page: Page, begun: Begun, numbers: Arc<HashMap<String, u32>>) -> Looker {
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&bytes);
    let thread = thread::spawn(move || {
        let (mut delays, mut shown) = (Vec::new(), vec![false; begun.len()]);
        while let Some(line) = page.next()? {
            counted.fetch_add(line.bytes as u64, Ordering::Relaxed);
            for agent in line.delta.iter().flat_map(super::page::Delta::stalled) {
                let number = *numbers.get(agent).context("a unit that nobody told")? as usize;
                let since = begun[number].load(Ordering::Acquire);
                if !std::mem::replace(&mut shown[number], true) && since > 0 {
                    delays.push(us(line.at).saturating_sub(since));
                }
            }
        }
        Ok(delays)
    });
    Looker { bytes, thread }
}

/// The observer: what it says in one window.
struct Talk {
    step: u32,
    begun: Begun,
    units: Arc<Units>,
}

impl Talk {
    /// The unit that stalls as the `place`th of a step: each once, of hosts far apart.
    fn stalling(step: u32, place: u32) -> u32 {
        // This has no divisor in common with the number of units.
        (step * TURNING + place) * 7303 % UNITS
    }

    /// Says what there is to say for so long.
    async fn on(mut self, mut session: Session, length: Duration) -> anyhow::Result<(Self, Session)> {
        let began = clock::boottime();
        let mut due = began;
        while due - began < length {
            // Every second step for those that stall, every other for those that are up again.
            let mut items = Vec::new();
            let turn = self.step / 2;
            for place in 0..TURNING {
                if self.step.is_multiple_of(2) {
                    let number = Self::stalling(turn, place);
                    self.begun[number as usize].store(us(clock::boottime()), Ordering::Release);
                    items.push(Item::Entry(self.units.entry(number, Verdict::Stalled)));
                } else if let Some(before) = turn.checked_sub(BACK / 2) {
                    items.push(Item::Entry(self.units.entry(Self::stalling(before, place), Verdict::Up)));
                }
            }
            let first = self.step * TOUCHED % UNITS;
            items.extend((first..first + TOUCHED).map(|number| Item::Touch(self.units.touch(number, self.step))));
            session.items(items).await?;
            session.drain().await?;
            self.step += 1;
            due += STEP;
            tokio::time::sleep(due.saturating_sub(clock::boottime())).await;
        }
        Ok((self, session))
    }
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let server = Server::start(bench.cores, &bench.varta, &bench.keys, Setup::default())?;
    let units = Arc::new(Units::new(0, UNITS)?);
    let mut session = server.connect(&bench.feeder, &bench.keys)?;
    bench.feeder.run(session.snapshot(&units))?;
    Asker::new(server.http).wait_until(LIMIT, |fleet| fleet.is_well(UNITS.into()))?;
    server.rest(LIMIT)?;
    let begun: Begun = Arc::new((0..UNITS).map(|_| AtomicU64::new(0)).collect());
    let mut talk = Talk { step: 0, begun: Arc::clone(&begun), units: Arc::clone(&units) };
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds and bytes of seconds")]
    let window = |talk: Talk, session: Session, lookers: &[Looker]| {
        let read = || lookers.iter().map(|looker| looker.bytes.load(Ordering::Relaxed)).sum::<u64>();
        let (cpu, bytes, began) = (server.cpu_ns()?, read(), clock::boottime());
        let ((talk, session), _) = bench.feeder.timed(talk.on(session, WINDOW))?;
        let took = (clock::boottime() - began).as_secs_f64();
        let pages = lookers.len().max(1) as f64;
        let window = Window {
            share: (server.cpu_ns()? - cpu) as f64 / 1e9 / took,
            bytes_per_s: (read() - bytes) as f64 / took / pages,
        };
        Ok::<_, anyhow::Error>((talk, session, window))
    };
    let mut quiet = Vec::new();
    for _ in 0..ROUNDS {
        let taken;
        (talk, session, taken) = window(talk, session, &[])?;
        quiet.push(taken);
    }
    // Units that have turned already are no news.
    begun.iter().for_each(|begun| begun.store(0, Ordering::Release));
    let numbers: Arc<HashMap<_, _>> =
        Arc::new((0..UNITS).map(|number| (units.name(number).to_owned(), number)).collect());
    let (cpu, began) = (server.cpu_ns()?, clock::boottime());
    let pages = (0..PAGES).map(|_| Page::open(server.http)).collect::<anyhow::Result<Vec<_>>>()?;
    let (opened, opened_cpu) = (clock::boottime() - began, server.cpu_ns()? - cpu);
    ensure!(pages.iter().all(|page| page.rows == UNITS as usize), "a page was shown less than all");
    let look = |page| look(page, Arc::clone(&begun), Arc::clone(&numbers));
    let lookers: Vec<_> = pages.into_iter().map(look).collect();
    // What was told before the pages were open is shown and over.
    clock::pass(Duration::from_secs(2));
    let mut watched = Vec::new();
    for _ in 0..ROUNDS {
        let taken;
        (talk, session, taken) = window(talk, session, &lookers)?;
        watched.push(taken);
    }
    clock::pass(Duration::from_secs(1));
    drop((session, talk));
    // Streams end with the relay.
    drop(server);
    let mut delays = Vec::new();
    for looker in lookers {
        delays.extend(looker.thread.join().map_err(|_| anyhow::anyhow!("one who looks has panicked"))??);
    }
    delays.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
    let found = Dashboards {
        units: UNITS,
        pages: PAGES,
        quiet,
        watched,
        opened_cpu_s: opened_cpu as f64 / 1e9,
        opened_s: opened.as_secs_f64(),
        shown: delays.len(),
        delay_p50_ms: ms(&delays, 0.5),
        delay_p99_ms: ms(&delays, 0.99),
        delay_most_ms: ms(&delays, 1.0),
    };
    let of = |windows: &[Window], value: fn(&Window) -> f64| median(windows.iter().map(value).collect());
    let share = |windows: &[Window]| of(windows, |window| window.share) * 100.0;
    let rows = vec![
        Row::new("50 dashboards of 10,000 units, share of the relay's core", format!("{:.1} %", share(&found.watched)))
            .beside(format!("without any {:.1} %", share(&found.quiet))),
        Row::new("  bytes a second for each of them", grouped(of(&found.watched, |window| window.bytes_per_s))),
        Row::new(
            "  from the observer's word to a page, p50, p99",
            format!("{:.0}, {:.0} ms", found.delay_p50_ms, found.delay_p99_ms),
        )
        .beside(format!("longest {:.0} ms of {}", found.delay_most_ms, found.shown)),
        Row::new("  their grids and streams, opened one after another", format!("{:.2} s", found.opened_s))
            .beside(format!("{:.2} s of CPU", found.opened_cpu_s)),
    ];
    Found::new(rows, &found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unit_turns_twice_before_all_have() {
        let mut seen = vec![false; UNITS as usize];
        for step in 0..UNITS / TURNING {
            for place in 0..TURNING {
                assert!(!std::mem::replace(&mut seen[Talk::stalling(step, place) as usize], true));
            }
        }
        assert_eq!(TOUCHED * 20 * 5, UNITS);
    }
}
