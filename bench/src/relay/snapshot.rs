//! `snapshot`: one observer tells all its units to a relay that knows none, and a browser asks for all of them once.
//!
//! *Taken* is from the first message to the last one's acknowledgement, *shown* until `/api/v1/fleet` says that all are
//! known and up: before a snapshot is complete none of it is judged. When the relay has come to rest, its history written,
//! the grid is asked for as a browser asks, compressed. Meanwhile two others ask for `/healthz` and `/api/v1/fleet` every
//! few milliseconds: the longest of their answers says whether the relay stays answerable. What they cost is in the CPU
//! times.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Bench,
    asking::{Answered, Asker, Prober},
    report::{Found, Row},
    server::{Server, Setup},
    units::Units,
};
use crate::{
    clock, machine,
    spine::{grouped, median},
};

/// How many units.
const UNITS: [u32; 2] = [10_000, 1_000_000];
const ROUNDS: u32 = 3;
/// How long a relay may take until it shows all of it, and until it is at rest.
const LIMIT: Duration = Duration::from_secs(120);

/// One round.
#[derive(Serialize)]
struct Round {
    /// Bytes of the snapshot on the stream.
    bytes: u64,
    taken_s: f64,
    shown_s: f64,
    /// CPU time of the relay until then, seconds.
    taken_cpu_s: f64,
    shown_cpu_s: f64,
    /// CPU time until it was at rest, and of the thread that writes history, seconds.
    rest_cpu_s: f64,
    store_cpu_s: f64,
    healthz: Answered,
    fleet: Answered,
    grid: GridCost,
}

/// The grid, asked for once.
#[derive(Serialize)]
struct GridCost {
    seconds: f64,
    cpu_s: f64,
    zipped_bytes: usize,
    plain_bytes: usize,
    rows: usize,
    truncated: bool,
    healthz: Answered,
    fleet: Answered,
}

/// Rounds with one number of units.
#[derive(Serialize)]
struct Snapshot {
    units: u32,
    rounds: Vec<Round>,
}

/// What of a grid counts here.
#[derive(Deserialize)]
struct Shown {
    rows: Vec<IgnoredAny>,
    truncated: bool,
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of minutes")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn grid(server: &Server) -> anyhow::Result<GridCost> {
    let asker = Asker::new(server.http);
    let probers = ["/healthz", "/api/v1/fleet"].map(|path| Prober::start(server.http, path));
    // They have their connections.
    clock::pass(Duration::from_millis(100));
    let (cpu, asked) = (server.cpu_ns()?, clock::boottime());
    let zipped = asker.get("/api/v1/grid", true)?;
    let (took, cpu) = (clock::boottime() - asked, server.cpu_ns()? - cpu);
    let [healthz, fleet] = probers.map(Prober::finish);
    let plain = asker.get("/api/v1/grid", false)?;
    let shown: Shown = serde_json::from_slice(&plain)?;
    Ok(GridCost {
        seconds: took.as_secs_f64(),
        cpu_s: seconds(cpu),
        zipped_bytes: zipped.len(),
        plain_bytes: plain.len(),
        rows: shown.rows.len(),
        truncated: shown.truncated,
        healthz: healthz?,
        fleet: fleet?,
    })
}

fn round(bench: &Bench, units: &Arc<Units>) -> anyhow::Result<Round> {
    let server = Server::start(bench.cores, &bench.varta, &bench.keys, Setup::default())?;
    let asker = Asker::new(server.http);
    let mut session = server.connect(&bench.feeder, &bench.keys)?;
    let probers = ["/healthz", "/api/v1/fleet"].map(|path| Prober::start(server.http, path));
    let (cpu, began) = (server.cpu_ns()?, clock::boottime());
    let told = Arc::clone(units);
    let (session, _) = bench.feeder.timed(async move {
        session.snapshot(&told).await?;
        Ok(session)
    })?;
    let (taken, taken_cpu) = (clock::boottime() - began, server.cpu_ns()? - cpu);
    asker.wait_until(LIMIT, |fleet| fleet.is_well(units.len().into()))?;
    let (shown, shown_cpu) = (clock::boottime() - began, server.cpu_ns()? - cpu);
    let [healthz, fleet] = probers.map(Prober::finish);
    server.rest(LIMIT)?;
    let rest_cpu = server.cpu_ns()? - cpu;
    let store_cpu = machine::cpu_ns_by_thread(server.id()?)?.get("varta-store").copied().unwrap_or(0);
    let grid = grid(&server)?;
    Ok(Round {
        bytes: session.bytes,
        taken_s: taken.as_secs_f64(),
        shown_s: shown.as_secs_f64(),
        taken_cpu_s: seconds(taken_cpu),
        shown_cpu_s: seconds(shown_cpu),
        rest_cpu_s: seconds(rest_cpu),
        store_cpu_s: seconds(store_cpu),
        healthz: healthz?,
        fleet: fleet?,
        grid,
    })
}

fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let units = grouped(f64::from(snapshot.units));
    let of = |value: fn(&Round) -> f64| median(snapshot.rounds.iter().map(value).collect());
    let most = |value: fn(&Round) -> f64| snapshot.rounds.iter().map(value).fold(0.0, f64::max);
    let each = |cpu_s: f64| format!("{:.2} us of CPU a unit", cpu_s * 1e6 / f64::from(snapshot.units));
    let mut rows = vec![
        Row::new(format!("snapshot of {units} units, taken"), format!("{:.2} s", of(|round| round.taken_s)))
            .beside(each(of(|round| round.taken_cpu_s))),
        Row::new(format!("snapshot of {units} units, shown"), format!("{:.2} s", of(|round| round.shown_s)))
            .beside(each(of(|round| round.shown_cpu_s))),
        Row::new("  and all of it written to history", each(of(|round| round.rest_cpu_s)))
            .beside(format!("writer {:.2} s", of(|round| round.store_cpu_s))),
        Row::new(
            "  meanwhile, longest answer of /healthz, /api/v1/fleet",
            format!("{:.0}, {:.0} ms", most(|round| round.healthz.most_ms), most(|round| round.fleet.most_ms)),
        )
        .beside(format!(
            "p50 {:.1}, {:.1} ms",
            of(|round| round.healthz.p50_ms),
            of(|round| round.fleet.p50_ms)
        )),
        Row::new(
            "  meanwhile, longest answer of /healthz, /api/v1/fleet, while the grid is made",
            format!(
                "{:.0}, {:.0} ms",
                most(|round| round.grid.healthz.most_ms),
                most(|round| round.grid.fleet.most_ms)
            ),
        ),
    ];
    if let Some(last) = snapshot.rounds.last() {
        let shown = grouped(last.grid.rows as f64);
        let truncated = if last.grid.truncated { ", the rest left out" } else { "" };
        let what = format!("the grid of {units} units, once: {shown} rows{truncated}");
        let row = Row::new(what, format!("{:.2} s", of(|round| round.grid.seconds)));
        let zipped = grouped(last.grid.zipped_bytes as f64);
        rows.insert(4, row.beside(format!("{zipped} B, {:.2} s of CPU", of(|round| round.grid.cpu_s))));
    }
    rows
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let mut all = Vec::new();
    for count in UNITS {
        let units = Arc::new(Units::new(0, count)?);
        let rounds = (0..ROUNDS).map(|_| round(bench, &units)).collect::<anyhow::Result<_>>()?;
        all.push(Snapshot { units: count, rounds });
    }
    Found::new(all.iter().flat_map(rows).collect(), &all)
}
