//! `deltas`: what a relay takes in once it knows everybody, saturated: the played observer always has as many messages
//! under way as it may, and the relay's core has nothing left.
//!
//! *Touched* is what moves of a unit that lives; *told again* is all of a unit, nothing of it new; *turned* is a verdict that
//! changes, of one unit of each host, up and stalled in turn: each is judged, told to those who follow and written to
//! history, and after half a second an incident where it still is.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use varta_vlp::{report::Item, subject::Verdict};

use super::{
    Bench,
    asking::{Answered, Asker, Prober},
    report::{Found, Row},
    server::{Server, Setup},
    units::Units,
};
use crate::{
    clock,
    spine::{grouped, median},
};

const UNITS: u32 = 100_000;
/// One of so many changes its verdict.
const TURNING: u32 = 10;
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(4);
/// How long the relay may take until it shows all, and until it is at rest.
const LIMIT: Duration = Duration::from_secs(60);
/// From this share of its core on a relay is saturated.
const FULL: f64 = 0.9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Touched,
    ToldAgain,
    Turned,
}

impl What {
    const ALL: [Self; 3] = [Self::Touched, Self::ToldAgain, Self::Turned];

    const fn words(self) -> &'static str {
        match self {
            Self::Touched => "touched",
            Self::ToldAgain => "told again",
            Self::Turned => "turned, up and stalled",
        }
    }

    /// What is said in the pass of that number.
    fn items(self, units: &Units, pass: u32) -> impl Iterator<Item = Item<'_>> {
        let step = if self == Self::Turned { TURNING as usize } else { 1 };
        let turned = if pass.is_multiple_of(2) { Verdict::Stalled } else { Verdict::Up };
        (0..units.len()).step_by(step).map(move |number| match self {
            Self::Touched => Item::Touch(units.touch(number, pass)),
            Self::ToldAgain => Item::Entry(units.entry(number, Verdict::Up)),
            Self::Turned => Item::Entry(units.entry(number, turned)),
        })
    }
}

/// One window.
#[derive(Serialize)]
struct Window {
    entries_per_s: f64,
    cpu_us: f64,
    /// The relay's share of its core.
    share: f64,
    bytes_per_s: f64,
    fleet: Answered,
}

#[derive(Serialize)]
struct Taken {
    what: What,
    windows: Vec<Window>,
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let server = Server::start(bench.cores, &bench.varta, &bench.keys, Setup::default())?;
    let asker = Asker::new(server.http);
    let units = Arc::new(Units::new(0, UNITS)?);
    let mut session = server.connect(&bench.feeder, &bench.keys)?;
    bench.feeder.run(session.snapshot(&units))?;
    asker.wait_until(LIMIT, |fleet| fleet.is_well(UNITS.into()))?;
    let mut all = Vec::new();
    for what in What::ALL {
        let mut windows = Vec::new();
        server.rest(LIMIT)?;
        for _ in 0..ROUNDS {
            let prober = Prober::start(server.http, "/api/v1/fleet");
            let (cpu, began, bytes) = (server.cpu_ns()?, clock::boottime(), session.bytes);
            let told = Arc::clone(&units);
            let ((back, count), _) = bench.feeder.timed(async move {
                let (mut count, mut pass) = (0, 0);
                // Passes come in pairs: at the end all are up again.
                while clock::boottime() - began < WINDOW || pass % 2 == 1 {
                    count += session.items(what.items(&told, pass)).await?;
                    pass += 1;
                }
                session.drain().await?;
                Ok((session, count))
            })?;
            session = back;
            let (took, cpu) = ((clock::boottime() - began).as_secs_f64(), server.cpu_ns()? - cpu);
            #[expect(clippy::cast_precision_loss, reason = "counts of some seconds")]
            let (count, cpu, bytes) = (count as f64, cpu as f64, (session.bytes - bytes) as f64);
            windows.push(Window {
                entries_per_s: count / took,
                cpu_us: cpu / 1e3 / count,
                share: cpu / 1e9 / took,
                bytes_per_s: bytes / took,
                fleet: prober.finish()?,
            });
        }
        all.push(Taken { what, windows });
    }
    let row = |taken: &Taken| {
        let of = |value: fn(&Window) -> f64| median(taken.windows.iter().map(value).collect());
        let most = taken.windows.iter().map(|window| window.fleet.most_ms).fold(0.0, f64::max);
        let share = of(|window| window.share);
        let bound = if share < FULL { format!(", feeder bound at {:.0} %", share * 100.0) } else { String::new() };
        let what = format!("units {}, longest answer {most:.0} ms{bound}", taken.what.words());
        Row::new(what, format!("{}/s", grouped(of(|window| window.entries_per_s))))
            .beside(format!("{:.2} us of CPU each", of(|window| window.cpu_us)))
    };
    Found::new(all.iter().map(row).collect(), &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_host_one_unit_turns_and_turns_back() {
        let units = Units::new(0, 100).unwrap();
        let verdicts = |pass| {
            let verdict = |item| match item {
                Item::Entry(entry) => (entry.handle, entry.verdict),
                other => panic!("{other:?}"),
            };
            What::Turned.items(&units, pass).map(verdict).collect::<Vec<_>>()
        };
        let (stalled, up) = (verdicts(0), verdicts(1));
        assert_eq!((stalled.len(), up.len()), (10, 10));
        assert!(stalled.iter().zip(&up).all(|(a, b)| a.0 == b.0 && a.1 == Verdict::Stalled && b.1 == Verdict::Up));
        assert_eq!(What::Touched.items(&units, 0).count(), 100);
    }
}
