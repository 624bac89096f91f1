//! The series per slot, written straight from its row: the `prometheus` crate costs 20 times as much for each.

use std::{collections::HashSet, hash::BuildHasher as _};

use varta_config::PerAgent;
use varta_core::Verdict;

use crate::row::Row;

const FAMILIES: [(&str, &str, &str); 4] = [
    ("varta_beats_total", "counter", "Beats accepted from the slot."),
    ("varta_stalls_total", "counter", "Stalls told of the slot."),
    ("varta_status", "gauge", "What the slot last said: 0 ok, 1 degraded, 2 critical; 3 while it is stalled."),
    ("varta_last_beat_age_seconds", "gauge", "Since the slot's newest accepted beat left its sender."),
];

/// The text of the series, gathered page by page.
#[derive(Debug)]
pub struct Series {
    scope: PerAgent,
    /// By family.
    text: [Vec<u8>; FAMILIES.len()],
    labels: Vec<u8>,
    /// Hashes of label sets: a slot that is met again in a later page, or looks like another's, is left out, for one
    /// series told twice would spoil the scrape.
    told: HashSet<u64>,
}

impl Series {
    /// No series yet.
    #[must_use]
    pub fn new(scope: PerAgent) -> Self {
        Self { scope, text: Default::default(), labels: Vec::new(), told: HashSet::new() }
    }

    /// Whether rows are wanted at all.
    #[must_use]
    pub fn wants_rows(&self) -> bool {
        self.scope != PerAgent::None
    }

    /// Adds the series of each row.
    pub fn add(&mut self, rows: &[Row]) {
        for row in rows {
            if self.scope == PerAgent::All || row.verdict != Verdict::Up.name() {
                self.add_row(row);
            }
        }
    }

    fn add_row(&mut self, row: &Row) {
        self.labels.clear();
        label(&mut self.labels, b"{agent=\"", &row.agent);
        label(&mut self.labels, b"\",unit=\"", &row.unit);
        self.labels.extend_from_slice(b"\",pid=\"");
        if row.unit.is_empty() && row.pid != 0 {
            decimal(&mut self.labels, row.pid.into());
        }
        self.labels.extend_from_slice(b"\"} ");
        if !self.told.insert(self.told.hasher().hash_one(&self.labels)) {
            return;
        }
        let [beats, stalls, status, age] = &mut self.text;
        sample(beats, FAMILIES[0].0, &self.labels, |out| decimal(out, row.beats));
        sample(stalls, FAMILIES[1].0, &self.labels, |out| decimal(out, row.stalls.into()));
        // Who was never heard has said nothing.
        let Some(age_ms) = row.last_beat_age_ms else { return };
        sample(status, FAMILIES[2].0, &self.labels, |out| out.push(status_digit(row)));
        sample(age, FAMILIES[3].0, &self.labels, |out| {
            decimal(out, age_ms / 1000);
            out.push(b'.');
            out.extend([100, 10, 1].map(|place| digit(age_ms % 1000 / place)));
        });
    }

    /// The text, by family; nothing where no rows are wanted.
    pub fn finish(self) -> impl Iterator<Item = Vec<u8>> {
        let wanted = self.wants_rows();
        FAMILIES.into_iter().zip(self.text).filter(move |_| wanted).flat_map(|((name, kind, help), text)| {
            [format!("# HELP {name} {help}\n# TYPE {name} {kind}\n").into_bytes(), text]
        })
    }
}

fn status_digit(row: &Row) -> u8 {
    match row.status {
        _ if row.verdict == Verdict::Stalled.name() => b'3',
        "ok" => b'0',
        "degraded" => b'1',
        _ => b'2',
    }
}

fn sample(out: &mut Vec<u8>, name: &str, labels: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(labels);
    value(out);
    out.push(b'\n');
}

/// `before` and then `value` as a label's value.
fn label(out: &mut Vec<u8>, before: &[u8], value: &str) {
    out.extend_from_slice(before);
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(other),
        }
    }
}

const fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let first = out.len();
    loop {
        out.push(digit(value));
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(first..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(agent: &str, unit: &str, pid: u32) -> Row {
        Row {
            agent: agent.to_owned(),
            unit: unit.to_owned(),
            pid,
            verdict: "up",
            status: "ok",
            payload: 0,
            origin: "NetworkVerified",
            last_beat_age_ms: Some(1_050),
            session: "0".to_owned(),
            restarts: 0,
            labels: BTreeMap::new(),
            why: String::new(),
            beats: 12,
            stalls: 1,
            lag_us: 0,
        }
    }

    fn text(scope: PerAgent, rows: &[Row]) -> String {
        let mut series = Series::new(scope);
        rows.chunks(2).for_each(|page| series.add(page));
        String::from_utf8(series.finish().flatten().collect()).unwrap()
    }

    #[test]
    fn every_family_is_one_group_with_help_and_type() {
        let stalled = Row { verdict: "stalled", status: "degraded", ..row("web-1", "", 4242) };
        let missing = Row { verdict: "missing", last_beat_age_ms: None, beats: 0, stalls: 0, ..row("db-1", "", 0) };
        let rows = [row("web-1", "api", 7), stalled, missing];
        let expected = "\
# HELP varta_beats_total Beats accepted from the slot.
# TYPE varta_beats_total counter
varta_beats_total{agent=\"web-1\",unit=\"api\",pid=\"\"} 12
varta_beats_total{agent=\"web-1\",unit=\"\",pid=\"4242\"} 12
varta_beats_total{agent=\"db-1\",unit=\"\",pid=\"\"} 0
# HELP varta_stalls_total Stalls told of the slot.
# TYPE varta_stalls_total counter
varta_stalls_total{agent=\"web-1\",unit=\"api\",pid=\"\"} 1
varta_stalls_total{agent=\"web-1\",unit=\"\",pid=\"4242\"} 1
varta_stalls_total{agent=\"db-1\",unit=\"\",pid=\"\"} 0
# HELP varta_status What the slot last said: 0 ok, 1 degraded, 2 critical; 3 while it is stalled.
# TYPE varta_status gauge
varta_status{agent=\"web-1\",unit=\"api\",pid=\"\"} 0
varta_status{agent=\"web-1\",unit=\"\",pid=\"4242\"} 3
# HELP varta_last_beat_age_seconds Since the slot's newest accepted beat left its sender.
# TYPE varta_last_beat_age_seconds gauge
varta_last_beat_age_seconds{agent=\"web-1\",unit=\"api\",pid=\"\"} 1.050
varta_last_beat_age_seconds{agent=\"web-1\",unit=\"\",pid=\"4242\"} 1.050
";
        assert_eq!(text(PerAgent::All, &rows), expected);
        let unhealthy = text(PerAgent::Unhealthy, &rows);
        assert!(!unhealthy.contains("unit=\"api\""), "{unhealthy}");
        assert!(unhealthy.contains("varta_status{agent=\"web-1\",unit=\"\",pid=\"4242\"} 3\n"), "{unhealthy}");
        assert_eq!(text(PerAgent::None, &rows), "");
    }

    #[test]
    fn hostile_names_stay_within_their_quotes() {
        let text = text(PerAgent::All, &[row("a\"} 1\nb\\", "u\\\"", 0)]);
        assert!(
            text.contains("varta_beats_total{agent=\"a\\\"} 1\\nb\\\\\",unit=\"u\\\\\\\"\",pid=\"\"} 12\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 12);
    }

    #[test]
    fn a_series_is_told_once() {
        let rows = [row("web-1", "api", 7), row("web-1", "", 7), row("web-1", "", 8), row("web-1", "api", 9)];
        let text = text(PerAgent::All, &rows);
        let mut keys: Vec<_> = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(key, _)| key).collect();
        keys.retain(|key| key.starts_with("varta_"));
        let told = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((told, keys.len()), (12, 12));
    }

    #[test]
    fn numbers_are_decimal() {
        let mut out = Vec::new();
        decimal(&mut out, 0);
        decimal(&mut out, u64::MAX);
        assert_eq!(out, b"018446744073709551615");
    }
}
