//! What is aimed at, and where we stand.

use super::{Outcomes, WorldOutcome, blindness::Blindness, compare::Line, fleet::Absence};

/// Mistakes over the oracle's, at most.
const MISTAKES: f64 = 1.05;
/// Detection time on the first beat after an outage over that before, at most.
const AFTER_OUTAGE: f64 = 1.1;

/// One goal: a figure that is to be at most its limit.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) measured: f64,
    pub(super) limit: f64,
    pub(super) met: bool,
    /// What the figure was made of.
    pub(super) from: String,
}

impl Goal {
    fn at_most(what: String, measured: f64, limit: f64, from: String) -> Self {
        // What could not be measured is not met.
        Self { what, measured, limit, met: measured <= limit, from }
    }

    fn exactly(what: String, measured: f64, wanted: f64, from: String) -> Self {
        Self { met: (measured - wanted).abs() < f64::EPSILON, ..Self::at_most(what, measured, wanted, from) }
    }
}

pub(super) fn goals(outcomes: &Outcomes) -> Vec<Goal> {
    let mut goals: Vec<Goal> = outcomes.worlds.iter().flat_map(of_world).collect();
    goals.extend(of_blindness("slow", &outcomes.slow, outcomes.slow_longest_s));
    for (absence, told) in Absence::ALL.iter().zip(&outcomes.absences) {
        let how = format!("{} with {} agents", absence.name(), told.agents);
        let from = format!("{} of {} agents up in the end", told.up, told.agents);
        goals.push(Goal::exactly(format!("{how}: events"), f64::from(told.events), 1.0, from.clone()));
        // Who is not up again in the end is a page that is still to come.
        let pages = told.pages + told.agents.saturating_sub(told.up);
        goals.push(Goal::at_most(format!("{how}: pages for single agents"), f64::from(pages), 0.0, from));
    }
    goals
}

fn of_world(outcome: &WorldOutcome) -> Vec<Goal> {
    let name = outcome.name;
    let mut goals = Vec::new();
    if let Some(goal) = mistakes(name, &outcome.lines) {
        goals.push(goal);
    }
    if let Some(ours) = outcome.recoveries.first() {
        let from = format!("p99.9 {:.4} s, before {:.4} s", ours.after_s, ours.baseline_s);
        let what = format!("{name}: T_D on the first beat after an outage of 60 s, over that before");
        goals.push(Goal::at_most(what, ours.ratio, AFTER_OUTAGE, from));
    }
    let limit = outcome.lines.first().map_or(f64::NAN, |line| line.score.longest_s);
    goals.extend(of_blindness(name, &outcome.blindness, limit));
    goals
}

/// `limit` is the longest detection time of an observer that sees all the time, seconds.
fn of_blindness(name: &str, blindness: &Blindness, limit: f64) -> [Goal; 2] {
    let Blindness { injections, told, wrong, deaths, untold, longest_s } = *blindness;
    let from = format!("{injections} stalls of the observer, {told} stalls told, {wrong} of them not owed to the path");
    let false_stalls =
        Goal::at_most(format!("{name}: false stalls for stalls of the observer"), wrong as f64, 0.0, from);
    let measured = if untold > 0 { f64::INFINITY } else { longest_s };
    let from = format!("the longest of {deaths} deaths, {untold} never told; T_D at most {limit:.4} s without");
    [
        false_stalls,
        Goal::at_most(format!("{name}: a death within a stall of the observer, s after it"), measured, limit, from),
    ]
}

/// The subject's mistakes over the oracle's at the same mean detection time. Nobody's mistakes are as many as nobody's.
fn mistakes(name: &str, lines: &[Line]) -> Option<Goal> {
    let (ours, oracle) = (lines.first()?, lines.last()?);
    let (made, of_oracle) = (ours.score.mistakes, oracle.score.mistakes);
    let ratio = if made == of_oracle { 1.0 } else { made as f64 / of_oracle as f64 };
    let from = format!(
        "{made} mistakes and {of_oracle}, at a mean T_D of {:.4} s and {:.4} s",
        ours.score.mean_s, oracle.score.mean_s
    );
    Some(Goal::at_most(format!("{name}: mistakes over the oracle's at equal T_D"), ratio, MISTAKES, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{fleet::Told, outages::Recovery, score::Score};

    fn line(mistakes: usize, longest_s: f64) -> Line {
        let score = Score {
            mean_s: 1.0,
            p999_s: 2.0,
            longest_s,
            mistakes,
            mistakes_per_day: 1.0,
            mistake_s: 1.0,
            accuracy: 1.0,
        };
        Line { detector: String::new(), margin: 0, score }
    }

    fn outcomes() -> Outcomes {
        let blindness = Blindness { injections: 9, told: 3, wrong: 0, deaths: 9, untold: 0, longest_s: 2.25 };
        let recovery = Recovery { detector: String::new(), after_s: 2.2, baseline_s: 2.0, ratio: 1.1 };
        let world = WorldOutcome {
            name: "W1",
            what: "",
            days: 1.0,
            every_ms: 1000.0,
            lines: vec![line(105, 2.26), line(500, 9.0), line(100, 2.2)],
            recoveries: vec![recovery],
            blindness,
        };
        let absences = vec![Told { agents: 5, events: 1, pages: 0, up: 5 }; Absence::ALL.len()];
        Outcomes { seed: 1, worlds: vec![world], slow: blindness, slow_longest_s: 2.25, absences }
    }

    fn missed(change: impl Fn(&mut Outcomes)) -> Vec<String> {
        let mut outcomes = outcomes();
        change(&mut outcomes);
        goals(&outcomes).into_iter().filter(|goal| !goal.met).map(|goal| goal.what).collect()
    }

    #[test]
    fn what_is_at_its_limit_is_met_and_what_is_above_is_not() {
        assert_eq!(goals(&outcomes()).len(), 4 + 2 + 6);
        assert_eq!(missed(|_| {}), [""; 0]);
        let one = |missed: Vec<String>, part: &str| {
            assert_eq!(missed.len(), 1, "{part}: {missed:?}");
            assert!(missed[0].contains(part), "{missed:?}");
        };
        one(missed(|all| all.worlds[0].lines[0].score.mistakes = 106), "mistakes over the oracle's");
        one(missed(|all| all.worlds[0].recoveries[0].ratio = 1.101), "after an outage");
        one(missed(|all| all.worlds[0].blindness.wrong = 1), "W1: false stalls");
        one(missed(|all| all.slow.wrong = 1), "slow: false stalls");
        one(missed(|all| all.slow.longest_s = 2.251), "slow: a death");
        one(missed(|all| all.worlds[0].blindness.untold = 1), "W1: a death");
        one(missed(|all| all.absences[1].events = 2), "events");
        one(missed(|all| all.absences[1].events = 0), "events");
        one(missed(|all| all.absences[2].pages = 1), "pages");
        one(missed(|all| all.absences[2].up = 4), "pages");
    }

    #[test]
    fn mistakes_where_the_oracle_makes_none_are_missed() {
        let ratio = |ours, oracle| mistakes("", &[line(ours, 1.0), line(oracle, 1.0)]).unwrap();
        assert!(ratio(0, 0).met);
        assert!(!ratio(1, 0).met);
        assert!(ratio(0, 1).met);
    }
}
