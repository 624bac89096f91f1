//! The relay's metrics.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use varta_config::PerAgent;
use varta_daemon::metrics::Families;
use varta_link::{Refusal, Refusals};
use varta_vlp::{subject::Verdict, time::Now};

use crate::fleet::{Counts, Fleet, Kind, ObserverState, UnitView};
use crate::webhook::Hook;

/// What is counted, read at one instant.
pub(crate) struct Fixed {
    counts: Counts,
    observers: Vec<(String, [u64; 4])>,
    incidents: [u64; Kind::ALL.len()],
    refusals: [(Refusal, u64); Refusal::ALL.len()],
    dashboards: usize,
    /// Failed writes of history, and whether the newest one failed; none where none is kept.
    store: Option<(u64, bool)>,
    hooks: Vec<Hook>,
}

impl Fixed {
    pub(crate) fn read(
        fleet: &Fleet,
        now: Now,
        refusals: &Refusals,
        dashboards: usize,
        store: Option<(u64, bool)>,
        hooks: &[Hook],
    ) -> Self {
        let mut incidents = [0; Kind::ALL.len()];
        for incident in fleet.open_incidents() {
            incidents[incident.kind as usize] += 1;
        }
        let observer = |view: crate::fleet::ObserverView<'_>| {
            let connected = u64::from(view.state == ObserverState::Connected);
            (view.name.to_owned(), [connected, view.reports, view.resyncs, view.foreign])
        };
        Self {
            counts: fleet.counts(),
            observers: fleet.observers(now).map(observer).collect(),
            incidents,
            refusals: refusals.read(),
            dashboards,
            store,
            hooks: hooks.to_vec(),
        }
    }

    pub(crate) fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut families = Families::default();
        let states = ObserverState::ALL.map(ObserverState::name).into_iter().zip(self.counts.observers);
        let states = states.map(|(name, count)| (name, count.into()));
        families.gauges(("varta_relay_observers", "Observers of relay.toml by state."), "state", states)?;
        let verdicts = Verdict::ALL.into_iter().zip(self.counts.verdicts);
        let verdicts = verdicts.map(|(verdict, count)| (verdict.name(), count.into()));
        families.gauges(("varta_relay_agents", "Units by combined verdict."), "verdict", verdicts)?;
        families.gauge("varta_relay_disputed", "Units that observers disagree about.", self.counts.disputed.into())?;
        let incidents = Kind::ALL.into_iter().map(Kind::name).zip(self.incidents);
        families.gauges(("varta_relay_incidents", "Open incidents by kind."), "kind", incidents)?;
        families.gauge("varta_relay_silences", "Silences in force.", self.counts.silences as u64)?;
        families.gauge("varta_relay_dashboards", "Dashboards that are open.", self.dashboards as u64)?;
        families.counter("varta_relay_full_total", "Entries of units that found no room.", self.counts.full)?;
        let names = [
            ("varta_relay_observer_connected", "1 while an observer is connected."),
            ("varta_relay_reports_total", "Messages taken in, by observer."),
            ("varta_relay_resyncs_total", "Snapshots asked for because a message was missing, by observer."),
            ("varta_relay_foreign_total", "Entries of agents that an observer may not report, by observer."),
        ];
        for (place, name) in names.into_iter().enumerate() {
            let values = self.observers.iter().map(|(observer, counts)| (observer.as_str(), counts[place]));
            if place == 0 {
                families.gauges(name, "observer", values)?;
            } else {
                families.counters(name, ["observer"], values.map(|(observer, count)| ([observer], count)))?;
            }
        }
        families.counters(
            ("varta_relay_links_refused_total", "Those who knocked and were not let in, by reason."),
            ["reason"],
            self.refusals.iter().map(|(refusal, count)| ([refusal.name()], *count)),
        )?;
        families.gauges(
            ("varta_build_info", "1, with the version that runs."),
            "version",
            [(env!("CARGO_PKG_VERSION"), 1)],
        )?;
        if let Some((failures, failing)) = self.store {
            families.counter("varta_relay_store_failures_total", "Writes of history that failed.", failures)?;
            families.gauge("varta_relay_store_failing", "1 while history cannot be written.", failing.into())?;
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes = self.hooks.iter().flat_map(|hook| {
            let counts = &hook.counts;
            let counts = [
                ("delivered", &counts.delivered),
                ("retried", &counts.retried),
                ("given_up", &counts.given_up),
                ("lost", &counts.lost),
            ];
            counts.map(|(outcome, count)| ([hook.name.as_str(), outcome], read(count)))
        });
        let name = ("varta_relay_webhooks_total", "What became of notices, by webhook and outcome.");
        families.counters(name, ["webhook", "outcome"], outcomes)?;
        let waiting = self.hooks.iter().map(|hook| (hook.name.as_str(), read(&hook.counts.waiting)));
        families.gauges(("varta_relay_webhook_waiting", "Notices that wait, by webhook."), "webhook", waiting)?;
        let mut text = Vec::new();
        families.render(&mut text)?;
        Ok(text)
    }
}

/// Series of single units.
pub(crate) struct Series {
    which: PerAgent,
    text: String,
}

impl Series {
    pub(crate) const fn new(which: PerAgent) -> Self {
        Self { which, text: String::new() }
    }

    pub(crate) fn wants_units(&self) -> bool {
        self.which != PerAgent::None
    }

    pub(crate) fn add(&mut self, now: Now, unit: &UnitView<'_>) {
        let verdict = unit.verdict();
        if self.which == PerAgent::Unhealthy && verdict == Verdict::Up {
            return;
        }
        let name = unit.name();
        let since = unit.since_ms(now);
        let pid = if name.unit.is_empty() { name.pid.to_string() } else { String::new() };
        // Writing into a text cannot fail.
        let _ = writeln!(
            self.text,
            "varta_relay_unit_since_seconds{{agent=\"{}\",unit=\"{}\",pid=\"{pid}\",observer=\"{}\",verdict=\"{}\"}} {}.{:03}",
            escaped(&name.agent),
            escaped(&name.unit),
            escaped(name.observer.as_deref().unwrap_or_default()),
            verdict.name(),
            since / 1000,
            since % 1000,
        );
    }

    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        if self.text.is_empty() {
            return;
        }
        out.extend_from_slice(
            b"# HELP varta_relay_unit_since_seconds Since when a unit has its combined verdict, seconds since the Unix epoch.\n\
              # TYPE varta_relay_unit_since_seconds gauge\n",
        );
        out.extend_from_slice(self.text.as_bytes());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
