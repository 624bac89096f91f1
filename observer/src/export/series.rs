//! The series per slot, written straight from its sample: the `prometheus` crate costs 20 times as much for each.

use std::{collections::HashSet, hash::BuildHasher as _, io::Write as _};

use varta_config::PerAgent;
use varta_core::{MILLI, Verdict};
use varta_vlp::{Status, UnitId};

use crate::sample::{Sample, Samples};

/// Of the first three, name, type and help are as Varta 0.2 published them.
const FAMILIES: [(&str, &str, &str); 4] = [
    ("varta_beats_total", "counter", "Total accepted beats per agent pid."),
    ("varta_stalls_total", "counter", "Total observer-detected stalls per agent pid."),
    ("varta_status", "gauge", "Last reported status code per agent pid (0=ok,1=degraded,2=critical,3=stall)."),
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

    /// Whether rows of slots that are up are wanted.
    #[must_use]
    pub fn wants_up(&self) -> bool {
        self.scope == PerAgent::All
    }

    /// Adds the series of each sample that is wanted.
    pub fn add(&mut self, samples: &Samples) {
        for (row, agent, unit) in samples.iter() {
            if self.wants_up() || row.verdict != Verdict::Up {
                self.add_row(row, agent, unit);
            }
        }
    }

    fn add_row(&mut self, row: &Sample, agent: Option<&str>, unit: Option<&str>) {
        self.labels.clear();
        self.labels.extend_from_slice(b"{agent=\"");
        // Writing to memory does not fail.
        let _ = match agent {
            Some(name) => label(&mut self.labels, name),
            None => write!(self.labels, "{}", row.agent),
        };
        self.labels.extend_from_slice(b"\",unit=\"");
        let _ = match unit {
            _ if row.unit == UnitId::NONE => Ok(()),
            Some(name) => label(&mut self.labels, name),
            None => write!(self.labels, "{}", row.unit),
        };
        self.labels.extend_from_slice(b"\",pid=\"");
        if row.unit == UnitId::NONE && row.pid != 0 {
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
        let Some(age_ms) = row.last_beat_age.map(|age| age / MILLI) else { return };
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

fn status_digit(row: &Sample) -> u8 {
    match row.status {
        _ if row.verdict == Verdict::Stalled => b'3',
        Status::Ok => b'0',
        Status::Degraded => b'1',
        _ => b'2',
    }
}

fn sample(out: &mut Vec<u8>, name: &str, labels: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(labels);
    value(out);
    out.push(b'\n');
}

/// `value` as a label's value.
fn label(out: &mut Vec<u8>, value: &str) -> std::io::Result<()> {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(other),
        }
    }
    Ok(())
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
    use varta_vlp::AgentId;

    use super::*;

    type Row<'a> = (Sample, &'a str, &'a str);

    fn row<'a>(agent: &'a str, unit: &'a str, pid: u32) -> Row<'a> {
        let sample = Sample {
            agent: varta_core::Owner::Agent(AgentId(0xa9)),
            unit: if unit.is_empty() { UnitId::NONE } else { UnitId(0x17) },
            pid,
            verdict: Verdict::Up,
            status: Status::Ok,
            last_beat_age: Some(1_050 * MILLI + 999_999),
            beats: 12,
            stalls: 1,
        };
        (sample, agent, unit)
    }

    fn text(scope: PerAgent, rows: &[Row<'_>]) -> String {
        let mut series = Series::new(scope);
        for page in rows.chunks(2) {
            let mut samples = Samples::default();
            page.iter().for_each(|(sample, agent, unit)| samples.push(*sample, Some(*agent), Some(*unit)));
            series.add(&samples);
        }
        String::from_utf8(series.finish().flatten().collect()).unwrap()
    }

    #[test]
    fn what_has_no_name_is_told_by_its_id() {
        let (sample, ..) = row("", "unknown", 7);
        let mut samples = Samples::default();
        samples.push(sample, None, None);
        let mut series = Series::new(PerAgent::All);
        series.add(&samples);
        let text = String::from_utf8(series.finish().flatten().collect()).unwrap();
        assert!(
            text.contains("varta_beats_total{agent=\"00000000000000a9\",unit=\"00000017\",pid=\"\"} 12\n"),
            "{text}"
        );
    }

    #[test]
    fn every_family_is_one_group_with_help_and_type() {
        let mut stalled = row("web-1", "", 4242);
        (stalled.0.verdict, stalled.0.status) = (Verdict::Stalled, Status::Degraded);
        let mut missing = row("db-1", "", 0);
        let absent = Sample { verdict: Verdict::Missing, last_beat_age: None, beats: 0, stalls: 0, ..missing.0 };
        missing.0 = absent;
        let rows = [row("web-1", "api", 7), stalled, missing];
        let expected = "\
# HELP varta_beats_total Total accepted beats per agent pid.
# TYPE varta_beats_total counter
varta_beats_total{agent=\"web-1\",unit=\"api\",pid=\"\"} 12
varta_beats_total{agent=\"web-1\",unit=\"\",pid=\"4242\"} 12
varta_beats_total{agent=\"db-1\",unit=\"\",pid=\"\"} 0
# HELP varta_stalls_total Total observer-detected stalls per agent pid.
# TYPE varta_stalls_total counter
varta_stalls_total{agent=\"web-1\",unit=\"api\",pid=\"\"} 1
varta_stalls_total{agent=\"web-1\",unit=\"\",pid=\"4242\"} 1
varta_stalls_total{agent=\"db-1\",unit=\"\",pid=\"\"} 0
# HELP varta_status Last reported status code per agent pid (0=ok,1=degraded,2=critical,3=stall).
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
