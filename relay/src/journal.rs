//! What happens, told: to the log, and to those who follow events.

use std::sync::Arc;

use serde::Serialize;
use varta_daemon::http::{Entry, Ring};
use varta_vlp::{
    subject::Verdict,
    time::{MILLI, Now},
};

use crate::fleet::{Change, Fleet, Incident, IncidentId, ObserverChange, Severity, UnitName};

/// Tells what happens.
#[derive(Debug)]
pub(crate) struct Journal {
    ring: Ring,
    /// The newest event's id. They rise across restarts, too.
    newest: u64,
}

/// An event, as `/api/v1/events` has it.
#[derive(Debug, Default, Serialize)]
struct Event {
    id: u64,
    at_ms: u64,
    kind: &'static str,
    agent: Option<String>,
    unit: Option<String>,
    pid: Option<u32>,
    observer: Option<String>,
    from: Option<&'static str>,
    to: Option<&'static str>,
    why: String,
    incident: Option<u64>,
}

/// Every kind of event.
pub(crate) const KINDS: [&str; 5] = ["unit", "observer", "incident_opened", "incident_changed", "incident_closed"];

impl Journal {
    /// A journal that begins at `now`, for those who follow `ring`.
    #[must_use]
    pub(crate) const fn new(now: Now, ring: Ring) -> Self {
        Self { ring, newest: now.wall.0 / 1000 }
    }

    /// Wakes those who follow.
    pub(crate) fn announce(&self) {
        self.ring.announce();
    }

    /// Tells a change.
    pub(crate) fn tell(&mut self, fleet: &Fleet, now: Now, change: &Change) {
        let event = match change {
            Change::Unit { name, from, to, why, .. } => unit_event(name, *from, *to, why),
            Change::Observer { name, what } => Some(observer_event(name, what)),
            Change::Opened(id) => incident_event("incident_opened", fleet, *id),
            Change::Changed(id) => incident_event("incident_changed", fleet, *id),
            Change::Closed(id) => incident_event("incident_closed", fleet, *id),
            Change::Full => None,
        };
        let Some(mut event) = event else { return };
        self.newest += 1;
        (event.id, event.at_ms) = (self.newest, now.wall.0 / MILLI);
        // All of its fields have a text form.
        let json = serde_json::to_string(&event).unwrap_or_default();
        self.ring.push(Entry { id: event.id, kind: event.kind, json });
    }
}

/// A unit that turns up and is well is no event.
fn unit_event(name: &UnitName, from: Option<Verdict>, to: Option<Verdict>, why: &str) -> Option<Event> {
    let is_news = from.is_some() || to.is_some_and(|to| !matches!(to, Verdict::Up | Verdict::Departed | Verdict::Held));
    is_news.then(|| Event {
        kind: "unit",
        agent: Some(name.agent.clone()),
        unit: Some(name.unit.clone()),
        pid: (name.pid != 0).then_some(name.pid),
        observer: name.observer.as_deref().map(str::to_owned),
        from: from.map(Verdict::name),
        to: to.map(Verdict::name),
        why: why.to_owned(),
        ..Event::default()
    })
}

fn observer_event(name: &Arc<str>, what: &ObserverChange) -> Event {
    let (to, why) = match what {
        ObserverChange::Connected => ("connected", String::new()),
        ObserverChange::Lost => ("lost", "its link ended, and it did not come back in time".to_owned()),
        ObserverChange::Blind(cause) => ("blind", cause.clone()),
        ObserverChange::Sighted => ("sighted", String::new()),
        ObserverChange::Foreign(agent) => ("foreign", format!("it reported {agent}, which relay.toml does not let it")),
    };
    match what {
        ObserverChange::Connected | ObserverChange::Sighted => tracing::info!(observer = %name, "observer {to}"),
        _ => tracing::warn!(observer = %name, why, "observer {to}"),
    }
    Event { kind: "observer", observer: Some(name.to_string()), to: Some(to), why, ..Event::default() }
}

fn incident_event(kind: &'static str, fleet: &Fleet, id: IncidentId) -> Option<Event> {
    let incident = fleet.incident(id)?;
    match (kind, incident.kind.severity(), incident.silenced) {
        ("incident_opened", Severity::Critical, None) => log(incident, "incident opened", true),
        ("incident_opened" | "incident_closed", ..) => log(incident, &kind.replace('_', " "), false),
        _ => tracing::debug!(id = id.0, title = incident.title, "incident changed"),
    }
    Some(Event { kind, why: incident.title.clone(), incident: Some(id.0), ..Event::default() })
}

fn log(incident: &Incident, what: &str, loud: bool) {
    let (id, title) = (incident.id.0, &incident.title);
    if loud {
        tracing::warn!(id, title, "{what}");
    } else {
        tracing::info!(id, title, "{what}");
    }
}
