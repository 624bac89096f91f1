//! Pictures to try the screen with.

use serde_json::{Value, json};

use super::{
    fetch::Answer,
    picture::{Event, Picture},
};

/// A unit as a relay tells it.
pub(super) fn row(agent: &str, verdict: &str, since_s: u64) -> Value {
    json!({
        "agent": agent, "unit": "api", "pid": 7, "verdict": verdict, "status": "ok", "payload": 0,
        "origin": "NetworkVerified", "last_beat_age_ms": 400, "due_in_ms": 600, "session": "1", "restarts": 2,
        "labels": { "host": "h1", "site": "north", "zeta": "z" }, "why": format!("obs-1: why {agent} is so"),
        "since_ms": 1_000_000_000 - since_s * 1000, "observers": ["obs-1", "obs-2"], "disputed": false, "incident": null,
    })
}

/// What a relay says of all.
pub(super) fn fleet(rows: &[Value]) -> Value {
    let mut verdicts = serde_json::Map::new();
    for row in rows {
        let name = row["verdict"].as_str().unwrap();
        let before = verdicts.get(name).and_then(Value::as_u64).unwrap_or_default();
        verdicts.insert(name.to_owned(), (before + 1).into());
    }
    json!({
        "relay": { "name": "relay-1", "version": "9.9.9", "started_ms": 1, "now_ms": 1_000_000_000 },
        "verdicts": verdicts, "observers": { "connected": 2, "lost": 1, "never": 0 }, "incidents": 1, "disputed": 0,
    })
}

/// An open incident.
pub(super) fn incident(id: u64, title: &str) -> Value {
    json!({
        "id": id, "kind": "unit", "subject": "web-1", "title": title, "severity": "critical", "opened_ms": 999_990_000,
        "closed_ms": null, "count": 1, "most": 1, "evidence": ["it is silent"], "acked": null, "silenced": null,
        "members": [{ "agent": "web-1", "unit": "api", "pid": 7, "verdict": "stalled" }],
    })
}

/// What a relay answers.
pub(super) fn answer(rows: &[Value]) -> Answer {
    let picture = Picture::of(&fleet(rows), &json!([incident(5, "web-1/api stalled")]), rows, false);
    Answer { picture, events: Vec::new(), events_problem: None, anew: false, detail: None }
}

/// What happened to a unit.
pub(super) fn event(id: u64, agent: &str, to: &str) -> Event {
    let event =
        json!({ "id": id, "at_ms": id * 1000, "kind": "unit", "agent": agent, "unit": "api", "to": to, "why": "so" });
    Event::of(&event).unwrap()
}
