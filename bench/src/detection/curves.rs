//! The exchange of detection time for mistakes: what each detector makes of other margins, or thresholds, than those of
//! the table.

use super::{
    Ns,
    compare::Reference,
    detectors::Phi,
    score::{Deadlines, Deaths, deadlines, mistakes},
    trace::{Stalls, Trace},
    units::DAY,
    worlds::World,
};

/// Mean detection time in seconds, mistakes a day.
pub(super) type Point = (f64, f64);

/// A detector's points, in the order of their detection times.
pub(super) struct Curve {
    pub(super) detector: String,
    pub(super) points: Vec<Point>,
}

/// Margins on each side of the one at which the mean detection time is the subject's.
const STEPS: i32 = 12;
/// From this part of the subject's mean detection time to as much above it.
const REACH: f64 = 0.6;
const THRESHOLDS: [u8; 8] = [1, 2, 3, 4, 6, 8, 10, 12];

pub(super) fn take(world: &World, trace: &Trace, deaths: &Deaths, mean: f64) -> Vec<Curve> {
    let margins = [Reference::Fixed, Reference::NfdE(1000), Reference::TwoWindow, Reference::Oracle];
    let mut curves: Vec<Curve> = margins.map(|reference| by_margin(reference, world, trace, deaths, mean)).into();
    let phi = THRESHOLDS.iter().map(|threshold| {
        let held = deadlines(trace, &Stalls::default(), &mut Phi::new(world.every, f64::from(*threshold)));
        point(trace, deaths, &held, 0)
    });
    curves.push(Curve { detector: "phi-accrual, 1 to 12".to_owned(), points: phi.collect() });
    curves
}

fn by_margin(reference: Reference, world: &World, trace: &Trace, deaths: &Deaths, mean: f64) -> Curve {
    let held = reference.deadlines(world, trace);
    let middle = deaths.margin_for(&held, mean);
    let step = mean * REACH / f64::from(STEPS);
    let shift = |steps: i32| middle + (f64::from(steps) * step) as Ns;
    let points = (-STEPS..=STEPS).map(|steps| point(trace, deaths, &held, shift(steps)));
    Curve { detector: reference.name(), points: points.collect() }
}

fn point(trace: &Trace, deaths: &Deaths, held: &Deadlines, margin: Ns) -> Point {
    let made = mistakes(trace, &Stalls::default(), held, margin).len();
    (deaths.mean(held, margin) / 1e9, made as f64 * DAY as f64 / trace.end as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::worlds::WORLDS;

    #[test]
    fn who_waits_longer_is_wrong_less_often() {
        let world = &WORLDS[0];
        let trace = Trace::new(world, 1, DAY / 4, vec![]);
        let deaths = Deaths::new(&trace, 1, 5000);
        for Curve { detector, points } in take(world, &trace, &deaths, 1.0e9) {
            assert!(points.len() >= THRESHOLDS.len());
            for pair in points.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{detector}: {pair:?}");
                assert!(pair[0].1 >= pair[1].1, "{detector}: {pair:?}");
            }
        }
    }
}
