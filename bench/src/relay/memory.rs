//! `memory`: growth of resident memory per unit at 1,000,000 units, from a relay that knows nobody.
//!
//! Taken when the relay has come to rest after one observer's snapshot: with names, a host and a site for each unit, ten
//! units to a host. As it ships it keeps history, and what waits to be written of a million new units at once is in the
//! highest figure and, as far as the allocator gives it back, not in the other; without a state directory there is only the
//! picture.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Bench,
    asking::Asker,
    report::{Found, Row},
    server::{Server, Setup},
    units::Units,
};
use crate::{clock, machine};

const UNITS: u32 = 1_000_000;
/// At most this many bytes of resident memory per unit.
const GOAL: f64 = 400.0;
/// How long a relay may take until it is at rest.
const LIMIT: Duration = Duration::from_secs(120);

/// What was found of one relay, bytes.
#[derive(Serialize)]
struct Growth {
    history: bool,
    before: u64,
    /// At rest.
    after: u64,
    /// When the same snapshot has come once more, of another life of the observer.
    again: u64,
    highest: u64,
    per_unit: f64,
    per_unit_again: f64,
    per_unit_highest: f64,
}

/// The most that was resident at once, bytes.
fn highest(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("the kernel does not say how much was resident at most")? * 1024)
}

fn growth(bench: &Bench, units: &Arc<Units>, history: bool) -> anyhow::Result<Growth> {
    let setup = Setup { forgets: !history, ..Setup::default() };
    let server = Server::start(bench.cores, &bench.varta, &bench.keys, setup)?;
    let asker = Asker::new(server.http);
    let resident = || Ok::<_, anyhow::Error>(machine::memory(server.id()?)?.resident);
    let mut session = server.connect(&bench.feeder, &bench.keys)?;
    asker.fleet()?;
    server.rest(LIMIT)?;
    let before = resident()?;
    bench.feeder.run(session.snapshot(units))?;
    asker.wait_until(LIMIT, |fleet| fleet.is_well(UNITS.into()))?;
    server.rest(LIMIT)?;
    let after = resident()?;
    let most = highest(server.id()?)?;
    // Its life after: what was said in the one before stands beside until all is said again.
    let to = server.dialled(&bench.keys, 0);
    let mut next = bench.feeder.run(super::session::Session::connect(&to, 2))?;
    bench.feeder.run(next.snapshot(units))?;
    clock::pass(Duration::from_secs(1));
    server.rest(LIMIT)?;
    let again = resident()?;
    #[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
    let each = |bytes: u64| (bytes as f64 - before as f64) / f64::from(UNITS);
    Ok(Growth {
        history,
        before,
        after,
        again,
        highest: most,
        per_unit: each(after),
        per_unit_again: each(again),
        per_unit_highest: each(most),
    })
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let units = Arc::new(Units::new(0, UNITS)?);
    let all = [true, false].map(|history| growth(bench, &units, history));
    let all: Vec<_> = all.into_iter().collect::<anyhow::Result<_>>()?;
    let row = |growth: &Growth| {
        let how = if growth.history { "as it ships" } else { "without history" };
        let (highest, again) = (growth.per_unit_highest, growth.per_unit_again);
        Row::new(format!("bytes per unit, 1,000,000 units, {how}"), format!("{:.0}", growth.per_unit))
            .beside(format!("highest {highest:.0}, next life {again:.0}"))
            .at_most(growth.per_unit, GOAL, "")
    };
    Found::new(all.iter().map(row).collect(), &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_no_less_than_what_is_there_now() {
        let own = std::process::id();
        let now = machine::memory(own).unwrap().resident;
        assert!(highest(own).unwrap() + (1 << 20) >= now);
    }
}
