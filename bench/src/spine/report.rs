//! The figures, as a table and as one JSON line.

use std::io::Write;

use serde::Serialize;

use super::{
    capacity::{Capacity, Lossless},
    idle::Idle,
    line::{Line, grouped},
    memory::{self, Growth},
    restore::{self, Restore},
    scrape::Scrape,
    stalls::{self, Lateness},
};

/// From this share on, the machine's other work is in the figures.
const BUSY: f64 = 0.05;

/// What was taken.
#[derive(Default, Serialize)]
pub(super) struct Report {
    /// The share of the two cores that others used before it began.
    pub(super) used_by_others: f64,
    /// Figures beside their limits.
    pub(super) lines: Vec<Line>,
    pub(super) capacity: Option<Vec<Capacity>>,
    pub(super) stalls: Vec<Lateness>,
    pub(super) scrapes: Vec<Scrape>,
    pub(super) restore: Option<Restore>,
    pub(super) idle: Option<Idle>,
    pub(super) memory: Option<Growth>,
    /// How long all of it took.
    pub(super) seconds: u64,
}

/// A line of the table: what, the observer's, the bare loop's, the ratio, what is aimed at, whether it is reached.
struct Row {
    what: String,
    observer: String,
    bare: String,
    ratio: String,
    target: String,
    reached: Option<bool>,
}

impl Row {
    fn new(what: String, observer: String) -> Self {
        Self { what, observer, bare: String::new(), ratio: String::new(), target: String::new(), reached: None }
    }

    /// The value that counts, in words, and the highest that it is to have.
    fn at_most(mut self, value: f64, target: f64, unit: &str) -> Self {
        self.target = format!("<= {target}{unit}");
        self.reached = Some(value <= target);
        self
    }
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.lines.iter().map(line_row).collect();
        rows.extend(self.capacity.iter().flatten().map(capacity_row));
        rows.extend(self.stalls.iter().map(stalls_row));
        rows.extend(self.scrapes.iter().map(scrape_row));
        rows.extend(self.restore.iter().flat_map(restore_rows));
        rows.extend(self.idle.iter().map(idle_row));
        if let Some(growth) = &self.memory {
            let row = |what: &str, per_agent: &memory::PerAgent| {
                let what = format!("bytes per agent, {what}");
                Row::new(what, format!("{:.0} ({:.0} written)", per_agent.resident, per_agent.private_dirty))
            };
            let target = |row: Row, per_agent: &memory::PerAgent| row.at_most(per_agent.resident, memory::TARGET, "");
            rows.push(target(row("one session", &growth.one_session), &growth.one_session));
            rows.push(row("for seconds, while all begin another", &growth.all_change));
            rows.push(target(row("after that", &growth.changed), &growth.changed));
            let more = |what: &str, bytes: f64| Row::new(format!("more for {what}"), format!("{bytes:.0}"));
            rows.push(more("an agent's name and its host's", growth.names));
            rows.push(more("four labels that all have", growth.labels));
        }
        rows
    }

    /// The table, and below it the JSON line.
    pub(super) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{:<66} {:>22} {:>22} {:>6}  target", "", "measured", "limit", "ratio")?;
        for Row { what, observer, bare, ratio, target, reached } in self.rows() {
            let reached = match reached {
                Some(true) => " reached",
                Some(false) => " MISSED",
                None => "",
            };
            let line = format!("{what:<66} {observer:>22} {bare:>22} {ratio:>6}  {target}{reached}");
            writeln!(out, "{}", line.trim_end())?;
        }
        if self.used_by_others >= BUSY {
            let share = self.used_by_others * 100.0;
            writeln!(
                out,
                "Others used {share:.0} % of both cores: only ratios of CPU times and the memory mean much."
            )?;
        }
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

fn line_row(line: &Line) -> Row {
    let unit = line.unit;
    let mut row = Row {
        bare: format!("{:.0} {unit}", line.limit_median),
        ratio: format!("{:.2}", line.ratio),
        ..Row::new(format!("{} : {}", line.what, line.limit), format!("{:.0} {unit}", line.measured_median))
    };
    row.target = format!("<= {}{}", line.goal, if line.stretch { " (stretch)" } else { "" });
    row.reached = Some(line.reached);
    row
}

fn capacity_row(capacity: &Capacity) -> Row {
    let rate = |lossless: &Lossless| {
        let bound = if lossless.sender_bound { " (sender)" } else { "" };
        format!("{}/s{bound}", grouped(lossless.per_second))
    };
    Row {
        bare: rate(&capacity.bare),
        ratio: format!("{:.2}", capacity.ratio),
        ..Row::new(
            format!("beats without loss, {} agents", grouped(f64::from(capacity.agents))),
            rate(&capacity.observer),
        )
    }
}

fn stalls_row(lateness: &Lateness) -> Row {
    let [half, most] = stalls::GOALS_MS;
    let (told, judged) = (
        format!("{:.2}, {:.2} ms", lateness.told_p50_ms, lateness.told_p99_ms),
        format!("judged {:.2}, {:.2} ms", lateness.judged_p50_ms, lateness.judged_p99_ms),
    );
    let reached = lateness.reached();
    let target = if reached.is_some() { format!("<= {half}, <= {most} ms") } else { String::new() };
    let what = format!("stall told {}, p50, p99", lateness.how);
    Row { bare: judged, target, reached, ..Row::new(what, told) }
}

fn scrape_row(scrape: &Scrape) -> Row {
    let [http, lowest, highest] = scrape.http_ms;
    let what = format!("CPU time of a scrape, {} series", grouped(f64::from(scrape.series)));
    let row = Row {
        bare: format!("ingest {:.1} ms", scrape.ingest_ms[0]),
        ..Row::new(what, format!("{http:.1} ms ({lowest:.1} to {highest:.1})"))
    };
    match scrape.goal_ms {
        Some(goal) => row.at_most(http, goal, " ms"),
        None => row,
    }
}

fn restore_rows(restore: &Restore) -> [Row; 2] {
    let [stop, kill] = restore.medians();
    [("a clean stop", stop), ("a kill", kill)].map(|(how, seconds)| {
        let what = format!("start to first answer, 1,000,000 agents, after {how}");
        Row::new(what, format!("{seconds:.2} s")).at_most(seconds, restore::GOAL_SECONDS, " s")
    })
}

#[expect(clippy::cast_precision_loss, reason = "a few switches")]
fn idle_row(idle: &Idle) -> Row {
    let what = format!("switches in {} s, idle, 1,000 departed", idle.seconds);
    Row::new(what, idle.switches.to_string()).at_most(idle.switches as f64, super::idle::TARGET as f64, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([7.0, 999.6, 123_456.0, 1_234_567.0].map(grouped), ["7", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn what_is_missed_is_said() {
        let line = Line::new("cost", "a", "receive", [(200.0, 100.0)], 1.6);
        let mut out = Vec::new();
        let report = Report { lines: vec![line], used_by_others: 0.5, ..Report::default() };
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Others used 50 %"), "{text}");
        assert!(text.contains("2.00  <= 1.6 MISSED"), "{text}");
        let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(json["lines"][0]["ratio"], 2.0);
        assert!(json["idle"].is_null());
    }
}
