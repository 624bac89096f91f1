//! One figure beside its limit.

use serde::Serialize;

use super::median;

/// A figure that was taken in rounds, each beside its limit.
#[derive(Serialize)]
pub(crate) struct Line {
    /// The name by which it is asked for.
    figure: &'static str,
    pub(crate) what: String,
    /// What the limit is.
    pub(crate) limit: &'static str,
    pub(crate) unit: &'static str,
    /// In each round.
    measured: Vec<f64>,
    limits: Vec<f64>,
    pub(crate) measured_median: f64,
    pub(crate) limit_median: f64,
    /// The median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The highest ratio that is aimed at.
    pub(crate) goal: f64,
    pub(crate) reached: bool,
    /// Whether the goal is beyond what is asked for.
    pub(crate) stretch: bool,
}

/// Thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Line {
    /// From the rounds, in their order: what was measured, and the limit in the same round.
    pub(crate) fn new(
        figure: &'static str,
        what: impl Into<String>,
        limit: &'static str,
        rounds: impl IntoIterator<Item = (f64, f64)>,
        goal: f64,
    ) -> Self {
        let (measured, limits): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let ratio = median(measured.iter().zip(&limits).map(|(measured, limit)| measured / limit).collect());
        Self {
            figure,
            what: what.into(),
            limit,
            unit: "ns",
            measured_median: median(measured.clone()),
            limit_median: median(limits.clone()),
            measured,
            limits,
            ratio,
            goal,
            // Nothing measured reaches nothing.
            reached: ratio <= goal,
            stretch: false,
        }
    }

    /// The goal is one to reach for.
    pub(crate) fn stretch(self) -> Self {
        Self { stretch: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_ratios_and_nothing_measured_is_missed() {
        let line = Line::new("cost", "a", "b", [(1.0, 1.0), (30.0, 10.0), (4.0, 2.0)], 2.0);
        assert!((line.ratio - 2.0).abs() < 1e-9 && line.reached);
        assert!(!Line::new("cost", "a", "b", [], 2.0).reached);
    }
}
