//! `varta-bench detection`: how soon a death is told, and how often a live sender is accused, by the observer's core and by
//! the detectors of the literature, on the same beats.
//!
//! Everything is simulated: time, paths, senders, an observer that is held up. A seed is a run. What is real is the
//! subject: the core as it ships, its settings at their defaults, fed with sealed datagrams ([`subject`]).

mod blindness;
mod compare;
mod curves;
mod detectors;
mod fleet;
mod goals;
mod outages;
mod random;
mod report;
mod score;
mod subject;
mod svg;
mod trace;
mod units;
mod worlds;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use self::{
    blindness::Blindness,
    compare::{Line, REFERENCES, Reference},
    curves::Curve,
    fleet::{Absence, Told},
    outages::Recovery,
    score::{Deaths, Score},
    trace::{Stalls, Trace, recurring},
    units::{DAY, SECOND},
    worlds::{SLOW, WORLDS, World},
};

/// Simulated time and spans of it, nanoseconds.
type Ns = i64;

/// Deaths by which detection times are measured in each world, at most; else as many as there are beats.
const DEATHS: usize = 200_000;
const SUBJECT: &str = "Varta";
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
    /// Write a plot of each world into this folder.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// End with an error if a goal is missed.
    #[arg(long)]
    check: bool,
    /// One JSON line in place of the table.
    #[arg(long)]
    json: bool,
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
    let deaths = Deaths::new(&trace, args.seed, DEATHS.min(trace.beats.len()));
    let run = subject::run(world, &trace, &Stalls::default(), end)?;
    ensure!(run.unknown == 0, "{}: unknown {} times to an observer that sees", world.name, run.unknown);
    let score = Score::new(&trace, &deaths, &run.deadlines, 0, &run.stalls);
    let mean = deaths.mean(&run.deadlines, 0);
    let mut lines = vec![Line { detector: SUBJECT.to_owned(), margin: 0, score }];
    lines.extend(REFERENCES.iter().map(|reference| compare::line(*reference, world, &trace, &deaths, mean)));
    if let Some(folder) = &args.svg {
        let curves = curves::take(world, &trace, &deaths, mean);
        draw(world, &curves, &lines, folder)?;
    }
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

/// Writes the plot of a world: the subject, those without a margin to choose, and the curves of the others.
fn draw(world: &World, curves: &[Curve], lines: &[Line], folder: &Path) -> anyhow::Result<()> {
    let shown = |detector: &str| detector == SUBJECT || detector == Reference::Bertier.name();
    let marks = lines.iter().filter(|line| shown(&line.detector));
    let marks = marks.map(|line| (line.detector.clone(), (line.score.mean_s, line.score.mistakes_per_day)));
    let title = format!("{}: {}", world.name, world.what);
    let plot = svg::plot(&title, curves, &marks.collect::<Vec<_>>());
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = folder.join(format!("{}.svg", world.name.to_lowercase()));
    fs::write(&file, plot).with_context(|| file.display().to_string())
}

/// The longest detection time in a world without outages, seconds.
fn longest(world: &World, seed: u64) -> anyhow::Result<f64> {
    let trace = Trace::new(world, seed, DAY, vec![]);
    let run = subject::run(world, &trace, &Stalls::default(), trace.end)?;
    let longest = Deaths::new(&trace, seed, trace.beats.len()).times(&run.deadlines, 0).max();
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
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&(&outcomes, &goals))?)?;
    } else {
        report::write(&outcomes, &goals, &mut out)?;
    }
    let missed = goals.iter().filter(|goal| !goal.met).count();
    if args.check && missed > 0 {
        bail!("{missed} of {} goals are missed", goals.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as the full run, of a hundredth of its size.
    #[test]
    fn a_short_run_meets_every_goal() {
        let args = DetectionArgs {
            seed: 1,
            days: 0.05,
            outages: 10,
            injections: 25,
            agents: 300,
            svg: None,
            check: true,
            json: false,
        };
        let outcomes = take(&args).unwrap();
        let goals = goals::goals(&outcomes);
        let missed: Vec<_> = goals.iter().filter(|goal| !goal.met).collect();
        assert!(missed.is_empty(), "{missed:#?}");
        assert_eq!(goals.len(), 4 * WORLDS.len() + 2 + 2 * Absence::ALL.len());
        let mut table = Vec::new();
        report::write(&outcomes, &goals, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert_eq!(table.matches("NFD-S oracle").count(), WORLDS.len());
        assert!(table.contains("Goals: 24 of 24 met"), "{table}");
    }
}
