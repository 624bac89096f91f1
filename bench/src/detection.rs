//! `varta-bench detection`: how soon a death is told, and how often a live sender is accused, by the observer's core and by
//! the detectors of the literature, on the same beats.
//!
//! Everything is simulated: time, paths, senders, an observer that is held up. A seed is a run. What is real is the
//! subject: the core as it ships, its settings at their defaults, fed with sealed datagrams ([`subject`]).

mod blindness;
mod compare;
mod detectors;
mod fleet;
mod goals;
mod outages;
mod random;
mod report;
mod score;
mod subject;
mod trace;
mod units;
mod worlds;

use anyhow::bail;
use clap::Args;

use self::{
    blindness::Blindness,
    compare::{Line, REFERENCES},
    fleet::{Absence, Told},
    outages::Recovery,
    score::{Deaths, Score},
    trace::{Stalls, Trace, recurring},
    units::{DAY, SECOND},
    worlds::{SLOW, WORLDS, World},
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
    /// After how many outages of the path detection times are measured, in each world.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    outages: u32,
    /// How often the observer is held up, and how many deaths lie behind such stalls, in each world.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    injections: u32,
    /// Of the fleet whose observer is away.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    agents: u32,
    /// End with an error if a goal is missed.
    #[arg(long)]
    check: bool,
}

/// Everything that was found.
#[derive(serde::Serialize)]
struct Outcomes {
    seed: u64,
    worlds: Vec<WorldOutcome>,
    /// Stalls of the observer of a [slow](worlds::SLOW) sender, and its longest detection time without.
    slow: Blindness,
    slow_longest_s: f64,
    /// In the order of [`Absence::ALL`].
    absences: Vec<Told>,
}

/// What was found in one world.
#[derive(serde::Serialize)]
struct WorldOutcome {
    name: &'static str,
    what: &'static str,
    days: f64,
    every_ms: f64,
    /// The subject first, the oracle last.
    lines: Vec<Line>,
    /// In the same order.
    recoveries: Vec<Recovery>,
    blindness: Blindness,
}

fn take_world(world: &World, args: &DetectionArgs) -> anyhow::Result<WorldOutcome> {
    let end = (args.days * DAY as f64) as Ns;
    let trace = Trace::new(world, args.seed, end, recurring(1, end / 2, end, OUTAGE));
    let deaths = Deaths::new(&trace, args.seed, DEATHS);
    let run = subject::run(world, &trace, &Stalls::default(), end)?;
    let score = Score::new(&trace, &deaths, &run.deadlines, 0, &run.stalls);
    let mean = deaths.mean(&run.deadlines, 0);
    let mut lines = vec![Line { detector: "Varta".to_owned(), margin: 0, score }];
    lines.extend(REFERENCES.iter().map(|reference| compare::line(*reference, world, &trace, &deaths, mean)));
    let margins: Vec<Ns> = lines.iter().skip(1).map(|line| line.margin).collect();
    Ok(WorldOutcome {
        name: world.name,
        what: world.what,
        days: args.days,
        every_ms: world.every as f64 / 1e6,
        lines,
        recoveries: outages::take(world, args.seed, args.outages, &margins)?,
        blindness: blindness::take(world, args.seed, args.injections)?,
    })
}

/// The longest detection time in a world without outages, seconds.
fn longest(world: &World, seed: u64) -> anyhow::Result<f64> {
    let trace = Trace::new(world, seed, DAY, vec![]);
    let run = subject::run(world, &trace, &Stalls::default(), trace.end)?;
    let longest = Deaths::new(&trace, seed, DEATHS).times(&run.deadlines, 0).max();
    Ok(units::seconds(longest.unwrap_or_default()))
}

fn take(args: &DetectionArgs) -> anyhow::Result<Outcomes> {
    let worlds = WORLDS.iter().map(|world| take_world(world, args)).collect::<anyhow::Result<_>>()?;
    let slow = blindness::take(&SLOW, args.seed, args.injections)?;
    let slow_longest_s = longest(&SLOW, args.seed)?;
    let absences = Absence::ALL.map(|absence| fleet::take(args.agents, absence)).into_iter();
    Ok(Outcomes { seed: args.seed, worlds, slow, slow_longest_s, absences: absences.collect::<anyhow::Result<_>>()? })
}

pub(crate) fn run(args: &DetectionArgs) -> anyhow::Result<()> {
    let outcomes = take(args)?;
    let goals = goals::goals(&outcomes);
    report::write(&outcomes, &goals, &mut std::io::stdout().lock())?;
    let missed = goals.iter().filter(|goal| !goal.met).count();
    if args.check && missed > 0 {
        bail!("{missed} of {} goals are missed", goals.len());
    }
    Ok(())
}
