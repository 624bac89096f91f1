//! What targets are told, as text.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Notice, WebhookError};

/// The longest template, bytes.
const TEMPLATE_MAX: u64 = 64 << 10;

fn event(notice: &Notice) -> &'static str {
    if notice.open { "incident_opened" } else { "incident_closed" }
}

/// The usual text.
pub(super) fn json(relay: &str, notice: &Notice) -> String {
    json!({ "event": event(notice), "relay": relay, "incident": *notice.incident }).to_string()
}

fn rfc3339(ms: &Value) -> Option<String> {
    let at = UNIX_EPOCH + Duration::from_millis(ms.as_u64()?);
    Some(humantime::format_rfc3339_millis(at).to_string())
}

/// Incidents as alerts, for the API v2 of an Alertmanager.
pub(super) fn alerts<'a>(relay: &str, notices: impl IntoIterator<Item = &'a Notice>) -> String {
    let alert = |notice: &Notice| {
        let incident = &notice.incident;
        let text = |key: &str| incident[key].as_str().unwrap_or_default().to_owned();
        let evidence = incident["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut alert = json!({
            "labels": {
                "alertname": "VartaIncident",
                "severity": text("severity"),
                "incident": notice.id.to_string(),
                "relay": relay,
            },
            // Kind and subject may become others while it lasts, and labels must not.
            "annotations": {
                "summary": text("title"),
                "description": evidence.collect::<Vec<_>>().join("\n"),
                "kind": text("kind"),
                "subject": text("subject"),
            },
        });
        for (key, time) in [("startsAt", &incident["opened_ms"]), ("endsAt", &incident["closed_ms"])] {
            if let Some(time) = rfc3339(time) {
                alert[key] = time.into();
            }
        }
        alert
    };
    Value::from(notices.into_iter().map(alert).collect::<Vec<_>>()).to_string()
}

/// A text with places to be filled.
#[derive(Debug)]
pub(super) struct Template(String);

/// The places, as they stand in braces.
const PLACES: [&str; 11] =
    ["event", "relay", "id", "kind", "subject", "title", "severity", "opened", "closed", "count", "evidence"];

impl Template {
    /// Reads a template, which must give JSON with whatever is filled in.
    pub(super) fn load(file: &Path) -> Result<Self, WebhookError> {
        let unreadable = |error| WebhookError::Unreadable { file: file.to_owned(), error };
        let refuse = |problem: String| WebhookError::Template { file: file.to_owned(), problem };
        if std::fs::metadata(file).map_err(unreadable)?.len() > TEMPLATE_MAX {
            return Err(refuse(format!("is longer than {TEMPLATE_MAX} bytes, so it is no template")));
        }
        let template = Self(std::fs::read_to_string(file).map_err(unreadable)?);
        let hostile =
            json!({ "kind": "\"", "title": "\\\"}\n", "evidence": ["\u{1}"], "opened_ms": 1, "closed_ms": null });
        let sample = Notice { id: 1, open: true, silenced: false, incident: hostile.into() };
        let text = template.render("relay", &sample);
        serde_json::from_str::<Value>(&text).map_err(|error| {
            let places = PLACES.map(|place| format!("{{{place}}}")).join(" ");
            refuse(format!("does not give JSON: {error}; places, within quotes, are {places}"))
        })?;
        Ok(template)
    }

    /// The text for a notice. What is filled in cannot leave the quotes that it stands in.
    pub(super) fn render(&self, relay: &str, notice: &Notice) -> String {
        let incident = &notice.incident;
        let value = |place: &str| match place {
            "event" => event(notice).to_owned(),
            "relay" => relay.to_owned(),
            "id" => notice.id.to_string(),
            "opened" => rfc3339(&incident["opened_ms"]).unwrap_or_default(),
            "closed" => rfc3339(&incident["closed_ms"]).unwrap_or_default(),
            "count" => incident["count"].as_u64().unwrap_or(0).to_string(),
            "evidence" => {
                let lines = incident["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
                lines.collect::<Vec<_>>().join("\n")
            }
            other => incident[other].as_str().unwrap_or_default().to_owned(),
        };
        let mut out = String::with_capacity(self.0.len() + 256);
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('{') {
            let (head, tail) = rest.split_at(at);
            out.push_str(head);
            let place =
                PLACES.into_iter().find(|place| tail[1..].strip_prefix(*place).is_some_and(|end| end.starts_with('}')));
            match place {
                Some(place) => {
                    let quoted = Value::from(value(place)).to_string();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                    rest = &tail[place.len() + 2..];
                }
                None => {
                    out.push('{');
                    rest = &tail[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(open: bool) -> Notice {
        let incident = json!({
            "kind": "host", "subject": "web-7", "title": "host \"web-7\": 6 units stalled", "severity": "critical",
            "opened_ms": 1_800_000_000_000_u64, "closed_ms": if open { Value::Null } else { 1_800_000_060_000_u64.into() },
            "count": 6, "evidence": ["a\\b", "c"],
        });
        Notice { id: 7, open, silenced: false, incident: incident.into() }
    }

    #[test]
    fn the_usual_text_says_what_happened() {
        let told: Value = serde_json::from_str(&json("relay-1", &notice(true))).unwrap();
        assert_eq!((&told["event"], &told["relay"]), (&"incident_opened".into(), &"relay-1".into()));
        assert_eq!(told["incident"]["subject"], "web-7");
        let told: Value = serde_json::from_str(&json("relay-1", &notice(false))).unwrap();
        assert_eq!(told["event"], "incident_closed");
    }

    #[test]
    fn alerts_are_what_an_alertmanager_takes() {
        let told: Value = serde_json::from_str(&alerts("relay-1", [&notice(true), &notice(false)])).unwrap();
        assert_eq!(told[0]["labels"]["alertname"], "VartaIncident");
        assert_eq!(told[0]["labels"], told[1]["labels"], "both are of one alert");
        assert_eq!(told[0]["startsAt"], "2027-01-15T08:00:00.000Z");
        assert_eq!((told[0].get("endsAt"), &told[1]["endsAt"]), (None, &"2027-01-15T08:01:00.000Z".into()));
        assert_eq!(told[0]["annotations"]["summary"], "host \"web-7\": 6 units stalled");
    }

    #[test]
    fn a_template_is_filled_and_stays_json() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hook.json");
        std::fs::write(
            &file,
            r#"{"text": "{title} ({event})", "n": {count}, "why": "{evidence}", "x": {"y": "{no}"}}"#,
        )
        .unwrap();
        let template = Template::load(&file).unwrap();
        let told: Value = serde_json::from_str(&template.render("r", &notice(true))).unwrap();
        assert_eq!(told["text"], "host \"web-7\": 6 units stalled (incident_opened)");
        assert_eq!((&told["n"], &told["why"], &told["x"]["y"]), (&6.into(), &"a\\b\nc".into(), &"{no}".into()));
        for bad in ["{title}", r#"{"a": "{title}""#, r#"{"a": {title}}"#] {
            std::fs::write(&file, bad).unwrap();
            let error = Template::load(&file).unwrap_err().to_string();
            assert!(error.contains("does not give JSON") && error.contains("{title}"), "{error}");
        }
        assert!(Template::load(&directory.path().join("none")).is_err());
    }
}
