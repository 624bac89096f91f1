//! `varta-bench detection`: how soon a death is told, and how often a live sender is accused, by the observer's core and by
//! the detectors of the literature, on the same beats.
//!
//! Everything is simulated: time, paths, senders, an observer that is held up. A seed is a run. What is real is the
//! subject: the core as it ships, its settings at their defaults, fed with sealed datagrams ([`subject`]).

mod compare;
mod detectors;
mod random;
mod score;
mod subject;
mod trace;
mod units;
mod worlds;

use std::io::Write as _;

use clap::Args;

use self::{
    compare::{Line, REFERENCES},
    score::{Deaths, Score},
    trace::{Stalls, Trace, recurring},
    units::{DAY, SECOND},
    worlds::{WORLDS, World},
};

/// Simulated time and spans of it, nanoseconds.
type Ns = i64;

/// Deaths by which detection times are measured, in each world.
const DEATHS: usize = 200_000;
/// How long the path is out.
const OUTAGE: Ns = 60 * SECOND;

/// Detection in four simulated worlds, beside the detectors of the literature.
#[derive(Args)]
pub(crate) struct DetectionArgs {
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How long each world runs, in days of its own time.
    #[arg(long, default_value_t = 7.0, value_name = "D")]
    days: f64,
}

/// One world, and how everybody did in it.
struct Compared {
    world: World,
    /// The subject first.
    lines: Vec<Line>,
}

fn compare(world: &World, args: &DetectionArgs) -> anyhow::Result<Compared> {
    let end = (args.days * DAY as f64) as Ns;
    let trace = Trace::new(world, args.seed, end, recurring(1, end / 2, end, OUTAGE));
    let deaths = Deaths::new(&trace, args.seed, DEATHS);
    let run = subject::run(world, &trace, &Stalls::default(), end)?;
    let score = Score::new(&trace, &deaths, &run.deadlines, 0, &run.stalls);
    let mean = deaths.mean(&run.deadlines, 0);
    let mut lines = vec![Line { detector: "Varta".to_owned(), margin_s: None, score, deadlines: run.deadlines }];
    lines.extend(REFERENCES.iter().map(|reference| compare::line(*reference, world, &trace, &deaths, mean)));
    Ok(Compared { world: *world, lines })
}

pub(crate) fn run(args: &DetectionArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for world in &WORLDS {
        let compared = compare(world, args)?;
        writeln!(out, "{}: {}", compared.world.name, compared.world.what)?;
        for line in &compared.lines {
            let Score { mean_s, p999_s, mistakes_per_day, accuracy, mistakes, .. } = line.score;
            writeln!(
                out,
                "  {:<24} {mean_s:>8.4} {p999_s:>8.4} {mistakes_per_day:>10.2} {accuracy:.7} {mistakes}",
                line.detector
            )?;
        }
    }
    Ok(())
}
