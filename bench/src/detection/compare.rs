//! All detectors on one trace. Those with a margin to choose are given the one at which their mean detection time is that
//! of the subject, so that mistakes can be compared; the others stand as they were published.

use super::{
    Ns,
    detectors::{Bertier, Detector, FixedTimeout, NfdE, NfdS, Phi, TwoWindow},
    score::{Deadlines, Deaths, Score, deadlines, mistakes},
    trace::{Stalls, Trace},
    worlds::World,
};

/// A reference detector.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Fixed,
    NfdE(usize),
    Bertier,
    Phi(u32),
    TwoWindow,
    Oracle,
}

/// All of them, in the table's order.
pub(super) const REFERENCES: [Reference; 8] = [
    Reference::Fixed,
    Reference::NfdE(32),
    Reference::NfdE(1000),
    Reference::Bertier,
    Reference::Phi(8),
    Reference::Phi(12),
    Reference::TwoWindow,
    Reference::Oracle,
];

impl Reference {
    pub(super) fn name(self) -> String {
        match self {
            Self::Fixed => "fixed timeout".to_owned(),
            Self::NfdE(window) => format!("Chen NFD-E, n {window}"),
            Self::Bertier => "Bertier".to_owned(),
            Self::Phi(threshold) => format!("phi-accrual, {threshold}"),
            Self::TwoWindow => "two-window, 1 and 1000".to_owned(),
            Self::Oracle => "NFD-S oracle".to_owned(),
        }
    }

    /// Whether a margin is to be chosen for it.
    pub(super) const fn has_margin(self) -> bool {
        !matches!(self, Self::Bertier | Self::Phi(_))
    }

    /// With a margin of nothing.
    pub(super) fn detector(self, world: &World) -> Box<dyn Detector> {
        let every = world.every;
        match self {
            Self::Fixed => Box::new(FixedTimeout(0)),
            Self::NfdE(window) => Box::new(NfdE::new(every, window, 0)),
            Self::Bertier => Box::new(Bertier::new(every)),
            Self::Phi(threshold) => Box::new(Phi::new(every, f64::from(threshold))),
            Self::TwoWindow => Box::new(TwoWindow::new(every, 0)),
            Self::Oracle => Box::new(NfdS { every, delta: 0 }),
        }
    }

    /// What it holds after each beat, with a margin of nothing.
    pub(super) fn deadlines(self, world: &World, trace: &Trace) -> Deadlines {
        deadlines(trace, &Stalls::default(), &mut *self.detector(world))
    }
}

/// A line of the table.
#[derive(serde::Serialize)]
pub(super) struct Line {
    pub(super) detector: String,
    /// The margin that was chosen for it, nanoseconds; 0 where there is none to choose.
    pub(super) margin: Ns,
    pub(super) score: Score,
}

/// A reference detector's line beside a subject with that mean detection time, nanoseconds.
pub(super) fn line(reference: Reference, world: &World, trace: &Trace, deaths: &Deaths, mean: f64) -> Line {
    let held = reference.deadlines(world, trace);
    let margin = if reference.has_margin() { deaths.margin_for(&held, mean) } else { 0 };
    let made = mistakes(trace, &Stalls::default(), &held, margin);
    let score = Score::new(trace, deaths, &held, margin, &made);
    Line { detector: reference.name(), margin, score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{
        units::{DAY, SECOND},
        worlds::WORLDS,
    };

    /// The share of beats whose loss by itself is a mistake of phi-accrual at a loss of one in a hundred.
    #[test]
    fn phi_accrual_suspects_at_each_loss_and_the_others_only_at_two_in_a_row() {
        let world = &WORLDS[0];
        let trace = Trace::new(world, 1, 4 * DAY, vec![]);
        let deaths = Deaths::new(&trace, 1, 20_000);
        let lines = REFERENCES.map(|reference| line(reference, world, &trace, &deaths, 1.77 * SECOND as f64));
        let lost_twice = trace.beats.windows(3).filter(|three| {
            three[0].arrives != super::super::trace::LOST
                && three[1..].iter().all(|beat| beat.arrives == super::super::trace::LOST)
        });
        let floor = lost_twice.count();
        for (reference, line) in REFERENCES.iter().zip(&lines) {
            let Score { mistakes, mistakes_per_day, mean_s, .. } = line.score;
            if reference.has_margin() {
                assert!((mean_s - 1.77).abs() < 1e-3, "{}: {mean_s}", line.detector);
                assert!((floor..=floor + 4).contains(&mistakes), "{}: {mistakes} and {floor}", line.detector);
            }
            if *reference == Reference::Phi(8) {
                assert!((800.0..900.0).contains(&mistakes_per_day), "{mistakes_per_day}");
            }
        }
    }
}
