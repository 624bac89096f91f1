//! A dashboard, as the page in a browser is one: the grid once, then its changes as they come.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::IgnoredAny};
use varta_vlp::subject::Verdict;

use super::asking::Asker;
use crate::clock;

/// What of a grid a dashboard goes on from.
#[derive(Deserialize)]
struct Grid {
    epoch: String,
    seq: u64,
    rows: Vec<IgnoredAny>,
}

/// A row: its place, agent, unit, pid, verdict, since when, when heard, span, observers, labels, flags.
type Whole = (u32, String, String, u32, u8, u64, u64, u64, IgnoredAny, u32, u8);

/// What of a row counts here.
#[derive(Deserialize)]
#[serde(from = "Whole")]
pub(crate) struct Row {
    pub(crate) agent: String,
    /// By number.
    pub(crate) verdict: u8,
}

impl From<Whole> for Row {
    fn from((_, agent, _, _, verdict, ..): Whole) -> Self {
        Self { agent, verdict }
    }
}

/// What changed.
#[derive(Deserialize)]
pub(crate) struct Delta {
    pub(crate) rows: Vec<Row>,
}

impl Delta {
    /// Agents of which it says that they are stalled.
    pub(crate) fn stalled(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Stalled as u8).map(|row| &*row.agent)
    }
}

/// A line of a dashboard's stream.
pub(crate) struct Line {
    /// Its length.
    pub(crate) bytes: usize,
    /// When it was read, time since boot.
    pub(crate) at: Duration,
    pub(crate) delta: Option<Delta>,
}

/// An open dashboard.
pub(crate) struct Page {
    /// Rows of its first grid.
    pub(crate) rows: usize,
    reader: BufReader<ureq::BodyReader<'static>>,
    line: String,
}

impl Page {
    /// Fetches the grid, and follows what changes from then on.
    pub(crate) fn open(http: SocketAddr) -> anyhow::Result<Self> {
        let grid: Grid = serde_json::from_slice(&Asker::new(http).get("/api/v1/grid", false)?)?;
        let url = format!("http://{http}/api/v1/live?epoch={}&since={}", grid.epoch, grid.seq);
        // Without a time limit: it goes on until the relay ends it.
        let answer = ureq::get(&url).call().context(url)?;
        let reader = BufReader::with_capacity(1 << 16, answer.into_body().into_reader());
        Ok(Self { rows: grid.rows.len(), reader, line: String::new() })
    }

    /// Waits for the next line of the stream; `None` at its end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        self.line.clear();
        let Ok(bytes @ 1..) = self.reader.read_line(&mut self.line) else { return Ok(None) };
        let at = clock::boottime();
        if self.line.starts_with("event:") && self.line.contains("reset") {
            bail!("the relay has a dashboard fetch the grid again");
        }
        let data = self.line.strip_prefix("data:").map(str::trim).filter(|data| data.len() > 2);
        let delta = data.map(serde_json::from_str).transpose().context("a delta")?;
        Ok(Some(Line { bytes, at, delta }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_says_whose_verdict_is_which() {
        let text = r#"{"epoch":"a","seq":3,"labels":{"1":{"site":"ams"}},"rows":[[7,"web.a","main",12,3,1700000000000,0,2250,[0],
            1,0],[8,"web.b","main",13,0,1700000000000,0,2250,[0],1,0]],"touch":[[1,2,3]],"gone":[]}"#;
        let delta: Delta = serde_json::from_str(text).unwrap();
        assert_eq!((delta.rows.len(), delta.stalled().collect::<Vec<_>>()), (2, vec!["web.a"]));
    }
}
