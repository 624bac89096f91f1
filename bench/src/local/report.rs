//! The table: ours, the published one's, the ratio, and whether ours is better.

use std::io::Write;

use serde::Serialize;

use super::{
    load::{Fate, Load},
    stalls::{Lateness, THRESHOLD, Told},
};
use crate::spine::median;

/// From this share of both cores on, others used so much that only ratios mean anything.
const BUSY: f64 = 0.1;

/// A line of the table.
#[derive(Serialize)]
struct Row {
    what: String,
    ours: String,
    published: String,
    /// Ours over the published one's; none where that is nothing.
    ratio: Option<f64>,
    reached: bool,
}

/// Everything that was found.
#[derive(Serialize)]
pub(super) struct Report {
    rows: Vec<Row>,
    /// How many datagrams the kernel holds for a local socket.
    queue: u32,
    used_by_others: f64,
}

impl Report {
    pub(super) const fn new(used_by_others: f64, queue: u32) -> Self {
        Self { rows: Vec::new(), queue, used_by_others }
    }

    pub(super) fn add_load(&mut self, load: &Load) {
        let agents = grouped(u64::from(load.agents));
        let [ours, published] = &load.did;
        self.add_lost(format!("first beats lost, {agents} agents within a second"), ours.first, published.first);
        self.add_lost(format!("beats lost, {agents} agents at 1 Hz"), ours.steady, published.steady);
        self.add_lost(format!("beats lost, {agents} agents at one instant, 5 times"), ours.burst, published.burst);
        let ratios = ours.cost_ns.iter().zip(&published.cost_ns).map(|(ours, published)| ours / published);
        let ratio = median(ratios.collect());
        let shown = |costs: &[f64]| format!("{:.1} us", median(costs.to_vec()) / 1000.0);
        self.rows.push(Row {
            what: format!("CPU time per beat, {agents} agents at 1 Hz"),
            ours: shown(&ours.cost_ns),
            published: shown(&published.cost_ns),
            ratio: Some(ratio),
            reached: ratio < 1.0,
        });
    }

    /// None lost is as good as can be.
    #[expect(clippy::cast_precision_loss, reason = "some thousands of beats")]
    fn add_lost(&mut self, what: String, ours: Fate, published: Fate) {
        let shown = |fate: Fate| {
            let (lost, all) = (grouped(fate.lost()), grouped(fate.sent.all()));
            let refused = if fate.sent.refused > 0 {
                format!(" ({} refused)", grouped(fate.sent.refused))
            } else {
                String::new()
            };
            format!("{lost} of {all}{refused}")
        };
        let ratio = (published.lost() > 0).then(|| ours.lost() as f64 / published.lost() as f64);
        let reached = ours.lost() == 0 || ours.lost() < published.lost();
        self.rows.push(Row { what, ours: shown(ours), published: shown(published), ratio, reached });
    }

    pub(super) fn add_stalls(&mut self, [ours, published]: &[Told; 2]) {
        let ms = THRESHOLD.as_millis();
        for (what, ours, published) in [
            ("a killed agent, from the kill".to_owned(), &ours.killed, &published.killed),
            (format!("a stopped agent, from the {ms} ms after its last beat"), &ours.stopped, &published.stopped),
        ] {
            type Values = fn(&Lateness) -> &Vec<f64>;
            let judged: Values = |lateness| &lateness.judged_ms;
            let read: Values = |lateness| &lateness.read_ms;
            for (how, of) in [("told", judged), ("read in the file", read)] {
                let (ours, published) = (of(ours), of(published));
                let shown = |sorted: &[f64]| {
                    let most = sorted.last().copied().unwrap_or(f64::NAN);
                    format!("{:.2} ms ({most:.2})", median(sorted.to_vec()))
                };
                let ratio = median(ours.clone()) / median(published.clone());
                let (what, reached) = (format!("{what}, {how}: median (most)"), ratio < 1.0);
                let (ours, published) = (shown(ours), shown(published));
                self.rows.push(Row { what, ours, published, ratio: Some(ratio), reached });
            }
        }
    }

    /// Whether ours is better in each.
    pub(super) fn reached(&self) -> bool {
        self.rows.iter().all(|row| row.reached)
    }

    /// The table, and below it the JSON line.
    pub(super) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{:<78} {:>26} {:>30} {:>7}  goal", "", "ours", "published", "ratio")?;
        for Row { what, ours, published, ratio, reached } in &self.rows {
            let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            let reached = if *reached { "reached" } else { "MISSED" };
            writeln!(out, "{what:<78} {ours:>26} {published:>30} {ratio:>7}  better {reached}")?;
        }
        writeln!(out, "The kernel holds {} datagrams for a local socket (net.unix.max_dgram_qlen).", self.queue)?;
        if self.used_by_others >= BUSY {
            writeln!(out, "Others used {:.0} % of both cores at the start.", self.used_by_others * 100.0)?;
        }
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn grouped(value: u64) -> String {
    crate::spine::grouped(value as f64)
}

#[cfg(test)]
mod tests {
    use super::{super::agent::Sent, *};

    #[test]
    fn losing_nothing_is_reached_and_losing_more_is_missed() {
        let fate = |taken, refused, heard| Fate { sent: Sent { taken, refused }, heard };
        let mut report = Report::new(0.0, 10);
        report.add_lost("a".to_owned(), fate(1_000, 0, 1_000), fate(1_000, 0, 1_000));
        assert!(report.reached());
        report.add_lost("b".to_owned(), fate(900, 100, 890), fate(1_000, 0, 990));
        assert!(!report.reached());
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("110 of 1,000 (100 refused)") && text.contains("11.000  better MISSED"), "{text}");
    }
}
