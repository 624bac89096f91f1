//! The table and the list of goals.

use std::io::Write;

use super::{Outcomes, WorldOutcome, compare::Line, goals::Goal, score::Score};

pub(super) fn write(outcomes: &Outcomes, goals: &[Goal], out: &mut impl Write) -> std::io::Result<()> {
    for world in &outcomes.worlds {
        write_world(world, out)?;
    }
    let missed = goals.iter().filter(|goal| !goal.met).count();
    writeln!(out, "Goals: {} of {} met", goals.len() - missed, goals.len())?;
    for Goal { what, measured, limit, met, from } in goals {
        let met = if *met { "met   " } else { "MISSED" };
        writeln!(out, "  {met} {what:<78} {measured:>8.3} limit {limit:<6.3} ({from})")?;
    }
    Ok(())
}

fn write_world(world: &WorldOutcome, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{}: {}; {} days, a beat each {} ms, an outage of 60 s in the middle",
        world.name, world.what, world.days, world.every_ms
    )?;
    writeln!(
        out,
        "  {:<24} {:>9} {:>10} {:>12} {:>13} {:>11}   {:>16}",
        "", "E[T_D] s", "p99.9 T_D", "mistakes/day", "mistake, s", "P_A", "after an outage"
    )?;
    for (Line { detector, score, .. }, recovery) in world.lines.iter().zip(&world.recoveries) {
        let Score { mean_s, p999_s, mistakes_per_day, mistake_s, accuracy, .. } = score;
        writeln!(
            out,
            "  {detector:<24} {mean_s:>9.4} {p999_s:>10.4} {mistakes_per_day:>12.1} {mistake_s:>13.3} {accuracy:>11.7}   {:>16.3}",
            recovery.ratio
        )?;
    }
    writeln!(out)
}
