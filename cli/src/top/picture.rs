//! What an observer or a relay says, as the screen needs it. Every text in here can be shown.

use std::cmp::Reverse;

use serde_json::Value;
use varta_vlp::subject::Verdict;

use super::text::shown;
use crate::status::verdict_of;

/// Verdicts, the worst first, as the dashboard has them.
pub(super) const WORST: [Verdict; Verdict::ALL.len()] = Verdict::WORST_FIRST;

/// Labels that tell where a unit is come before others.
const PLACES: [&str; 5] = ["region", "site", "zone", "host", "role"];

/// The place of a verdict among the worst.
pub(super) fn rank(verdict: Verdict) -> usize {
    WORST.iter().position(|one| *one == verdict).unwrap_or_default()
}

/// How all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Ok,
    Degraded,
    Critical,
    Unknown,
}

impl Health {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// By what a unit is known: it stays the same while everything else of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) agent: String,
    /// Its name, or `pid:NUMBER`.
    pub(super) unit: String,
    /// The observer that alone can know it, of a unit without a key.
    pub(super) observer: Option<String>,
}

impl Key {
    pub(super) fn of(row: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let unit = text(&row["unit"]);
        Self {
            agent: text(&row["agent"]),
            unit: if unit.is_empty() { format!("pid:{}", row["pid"].as_u64().unwrap_or_default()) } else { unit },
            observer: row["observer"].as_str().map(str::to_owned),
        }
    }

    /// As people read it.
    pub(super) fn name(&self) -> String {
        let whose = self.observer.iter().map(|observer| format!(" @{}", shown(observer))).collect::<String>();
        format!("{}/{}{whose}", shown(&self.agent), shown(&self.unit))
    }
}

/// One unit.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) key: Key,
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) disputed: bool,
    /// For how long it has its verdict, where that is known.
    pub(super) since_ms: Option<u64>,
    /// Since its newest beat.
    pub(super) heard_ms: Option<u64>,
    /// From a beat to the deadline of the next.
    pub(super) within_ms: Option<u64>,
    pub(super) origin: String,
    pub(super) observers: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) why: String,
    pub(super) incident: Option<u64>,
    /// Facts that the detail tells.
    pub(super) facts: Vec<(&'static str, String)>,
}

fn text(value: &Value) -> String {
    shown(value.as_str().unwrap_or_default())
}

fn verdict(value: &Value) -> Verdict {
    let name = value.as_str().unwrap_or_default();
    Verdict::ALL.into_iter().find(|verdict| verdict.name() == name).unwrap_or(Verdict::Unknown)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(text).collect()
}

/// From a beat to its deadline: how old it is, and how much is left.
fn within(row: &Value) -> Option<u64> {
    let age = i64::try_from(row["last_beat_age_ms"].as_u64()?).ok()?;
    u64::try_from(row["due_in_ms"].as_i64()?.checked_add(age)?).ok()
}

/// For how long, of an instant on the clock of whoever says it.
fn ago(at: &Value, now_ms: Option<u64>) -> Option<u64> {
    Some(now_ms?.saturating_sub(at.as_u64()?))
}

impl Unit {
    pub(super) fn of(row: &Value, now_ms: Option<u64>) -> Self {
        let key = Key::of(row);
        let labels = row["labels"].as_object().into_iter().flatten();
        let mut labels: Vec<_> = labels.map(|(key, value)| (shown(key), text(value))).collect();
        labels.sort_by_key(|(key, _)| PLACES.iter().position(|place| key == place).unwrap_or(PLACES.len()));
        let facts = ["status", "payload", "pid", "session", "restarts", "beats", "stalls", "lag_us"];
        let fact = |name: &'static str| match &row[name] {
            Value::Null => None,
            Value::String(text) => Some((name, shown(text))),
            other => Some((name, shown(&other.to_string()))),
        };
        Self {
            name: key.name(),
            key,
            verdict: verdict(&row["verdict"]),
            disputed: row["disputed"] == true,
            since_ms: ago(&row["since_ms"], now_ms),
            heard_ms: row["last_beat_age_ms"].as_u64(),
            within_ms: within(row),
            origin: text(&row["origin"]),
            observers: texts(&row["observers"]).join(","),
            labels,
            why: text(&row["why"]),
            incident: row["incident"].as_u64(),
            facts: facts.into_iter().filter_map(fact).collect(),
        }
    }

    /// Labels as they are written.
    pub(super) fn label_text(&self) -> String {
        self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// An open incident.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    pub(super) id: u64,
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) critical: bool,
    pub(super) open_ms: Option<u64>,
    pub(super) count: u64,
    pub(super) evidence: Vec<String>,
    /// The units of it that were told, each with its verdict.
    pub(super) members: Vec<(String, Verdict)>,
    /// Who has taken it, and with which note.
    pub(super) taken: Option<String>,
    pub(super) silenced: bool,
}

impl Incident {
    fn of(row: &Value, now_ms: Option<u64>) -> Self {
        let acked = &row["acked"];
        let note = |note: String| if note.is_empty() { note } else { format!(": {note}") };
        let members = row["members"].as_array().into_iter().flatten();
        Self {
            id: row["id"].as_u64().unwrap_or_default(),
            kind: text(&row["kind"]),
            title: text(&row["title"]),
            critical: row["severity"] == "critical",
            open_ms: ago(&row["opened_ms"], now_ms),
            count: row["count"].as_u64().unwrap_or_default(),
            evidence: texts(&row["evidence"]),
            members: members.map(|one| (Key::of(one).name(), verdict(&one["verdict"]))).collect(),
            taken: acked.is_object().then(|| format!("{}{}", text(&acked["by"]), note(text(&acked["note"])))),
            silenced: !row["silenced"].is_null(),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: u64,
    /// When, as the wall clock of whoever tells it had it.
    pub(super) at: String,
    pub(super) kind: String,
    /// The unit that it is about.
    pub(super) unit: Option<Key>,
    pub(super) who: String,
    pub(super) to: String,
    pub(super) why: String,
    pub(super) incident: Option<u64>,
}

impl Event {
    pub(super) fn of(event: &Value) -> Option<Self> {
        let unit = event["agent"].is_string().then(|| Key::of(event));
        let at = match event["at_ms"].as_u64() {
            Some(ms) => {
                let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms))?;
                // What is beyond the year 9999 has no such form.
                (ms < 253_402_300_800_000).then(|| humantime::format_rfc3339_seconds(at).to_string())?
            }
            None => text(&event["at"]),
        };
        Some(Self {
            id: event["id"].as_u64()?,
            at,
            kind: text(&event["kind"]),
            who: unit.as_ref().map_or_else(|| text(&event["observer"]), Key::name),
            unit,
            to: text(&event["to"]),
            why: text(&event["why"]),
            incident: event["incident"].as_u64(),
        })
    }
}

/// All there is to say of one unit.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    pub(super) unit: Unit,
    /// What each observer says, a line each.
    pub(super) views: Vec<(Verdict, String)>,
    /// Shares of the time in which it was up, where history is kept.
    pub(super) history: Vec<String>,
}

impl Detail {
    pub(super) fn of(row: &Value, now_ms: Option<u64>) -> Self {
        let view = |view: &Value| {
            let said = verdict(&view["verdict"]);
            let why = text(&view["why"]);
            let why = if why.is_empty() { "on time" } else { &why };
            let line = format!("{} ({}): {}: {why}", text(&view["observer"]), text(&view["state"]), said.name());
            (said, line)
        };
        let share = |days: &str, name: &str| {
            let share = row["history"][days][name].as_f64()?;
            Some(format!("{name} {:.3} %", share * 100.0))
        };
        let history = [("day", "24 hours"), ("week", "7 days")].into_iter().filter_map(|(name, words)| {
            let uptime = share(name, "uptime")?;
            Some(format!("{words}: {uptime}{}", share(name, "coverage").map_or_else(String::new, |c| format!(", {c}"))))
        });
        Self {
            unit: Unit::of(row, now_ms),
            views: row["views"].as_array().into_iter().flatten().map(view).collect(),
            history: history.collect(),
        }
    }
}

/// All of it, at one instant.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) is_relay: bool,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) health: Health,
    /// How many units have each verdict, in the order of [`WORST`].
    pub(super) counts: [u64; WORST.len()],
    /// Why an observer cannot see.
    pub(super) blind: Option<String>,
    /// A relay's observers by state.
    pub(super) observers: Vec<(String, u64)>,
    pub(super) disputed: u64,
    /// How many incidents are open; more than are listed, perhaps.
    pub(super) open: u64,
    pub(super) incidents: Vec<Incident>,
    pub(super) units: Vec<Unit>,
    /// Whether there are more units that fit than were asked for.
    pub(super) more: bool,
}

/// The present on a relay's clock.
pub(super) fn now_of(status: &Value) -> Option<u64> {
    status["relay"]["now_ms"].as_u64()
}

/// How many units have each verdict.
pub(super) fn counts_of(status: &Value) -> [u64; WORST.len()] {
    WORST.map(|verdict| status["verdicts"][verdict.name()].as_u64().unwrap_or_default())
}

impl Picture {
    /// Made of what is said of all, of the incidents that are open, and of units.
    pub(super) fn of(status: &Value, incidents: &Value, units: &[Value], more: bool) -> Self {
        let is_relay = status["relay"].is_object();
        let who = if is_relay { &status["relay"] } else { status };
        let now_ms = now_of(status);
        let observers = status["observers"].as_object().into_iter().flatten();
        let incidents = incidents.as_array().into_iter().flatten();
        let mut units: Vec<_> = units.iter().map(|row| Unit::of(row, now_ms)).collect();
        // Of what is not well, the newest comes first; seconds, so that rows do not change places for nothing.
        let is_well = |verdict| matches!(verdict, Verdict::Held | Verdict::Departed | Verdict::Up);
        let seconds = |unit: &Unit| unit.since_ms.filter(|_| !is_well(unit.verdict)).map(|ms| ms / 1000);
        units.sort_by_cached_key(|unit| (rank(unit.verdict), seconds(unit), unit.key.clone()));
        let mut incidents: Vec<_> = incidents.map(|row| Incident::of(row, now_ms)).collect();
        incidents.sort_by_key(|one| (!one.critical, Reverse(one.id)));
        Self {
            is_relay,
            name: text(&who["name"]),
            version: text(&who["version"]),
            health: match verdict_of(status) {
                0 => Health::Ok,
                1 => Health::Degraded,
                2 => Health::Critical,
                _ => Health::Unknown,
            },
            counts: counts_of(status),
            blind: status["blind"].as_str().map(shown),
            observers: observers.map(|(name, count)| (shown(name), count.as_u64().unwrap_or_default())).collect(),
            disputed: status["disputed"].as_u64().unwrap_or_default(),
            open: status["incidents"].as_u64().unwrap_or_default(),
            incidents,
            units,
            more,
        }
    }

    /// How many units there are.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
