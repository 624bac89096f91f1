//! The relay's figures, as a table and as one JSON line.

use std::io::Write;

use serde::Serialize;

/// From this share on, the machine's other work is in the figures.
const BUSY: f64 = 0.05;

/// A line of the table.
#[derive(Default)]
pub(crate) struct Row {
    what: String,
    measured: String,
    beside: String,
    goal: String,
    reached: Option<bool>,
    /// Whether the run has failed if the goal is missed.
    must: bool,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), ..Self::default() }
    }

    /// What stands beside it.
    pub(crate) fn beside(self, beside: impl Into<String>) -> Self {
        Self { beside: beside.into(), ..self }
    }

    /// The value that counts, and the highest that it is to have.
    pub(crate) fn at_most(self, value: f64, most: f64, unit: &str) -> Self {
        // Nothing measured reaches nothing.
        Self { goal: format!("<= {most}{unit}"), reached: Some(value <= most), ..self }
    }

    /// The run fails if the goal is missed.
    pub(crate) fn must(self) -> Self {
        Self { must: true, ..self }
    }
}

/// One figure's rows, and all that was found.
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    pub(crate) json: serde_json::Value,
}

impl Found {
    pub(crate) fn new(rows: Vec<Row>, all: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self { rows, json: serde_json::to_value(all)? })
    }
}

/// What was taken.
#[derive(Default)]
pub(super) struct Report {
    /// The share of the two cores that others used before it began.
    pub(super) used_by_others: f64,
    /// By the names by which figures are asked for.
    pub(super) figures: Vec<(&'static str, Found)>,
    /// How long all of it took.
    pub(super) seconds: u64,
}

impl Report {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.figures.iter().flat_map(|(_, found)| &found.rows)
    }

    /// What is missed and must not be.
    pub(super) fn failed(&self) -> Vec<&str> {
        self.rows().filter(|row| row.must && row.reached == Some(false)).map(|row| &*row.what).collect()
    }

    /// The table, and below it the JSON line.
    pub(super) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{:<76} {:>24} {:>30}  goal", "", "measured", "beside")?;
        for Row { what, measured, beside, goal, reached, must: _ } in self.rows() {
            let reached = match reached {
                Some(true) => " reached",
                Some(false) => " MISSED",
                None => "",
            };
            writeln!(out, "{}", format!("{what:<76} {measured:>24} {beside:>30}  {goal}{reached}").trim_end())?;
        }
        if self.used_by_others >= BUSY {
            let share = self.used_by_others * 100.0;
            writeln!(out, "Others used {share:.0} % of both cores: only ratios of CPU times and memory mean much.")?;
        }
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|(name, found)| ((*name).to_owned(), found.json.clone())).collect();
        let all = serde_json::json!({
            "used_by_others": self.used_by_others, "seconds": self.seconds, "figures": figures,
        });
        writeln!(out, "{all}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_said_and_fails_only_where_it_must_not_be() {
        let rows = vec![
            Row::new("a", "9").at_most(9.0, 9.0, " ms"),
            Row::new("b", "9").at_most(9.0, 8.0, " ms").beside("x"),
            Row::new("c", "9").at_most(f64::NAN, 8.0, "").must(),
        ];
        let found = Found::new(rows, &[1]).unwrap();
        let report = Report { figures: vec![("told", found)], used_by_others: 0.5, ..Report::default() };
        assert_eq!(report.failed(), ["c"]);
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("<= 9 ms reached") && text.contains("x  <= 8 ms MISSED"), "{text}");
        assert!(text.contains("Others used 50 %"), "{text}");
        let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(json["figures"]["told"][0], 1);
    }
}
