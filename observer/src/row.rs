//! A slot as the HTTP API shows it. Read out on the ingest thread as plain values and names; put in words where it is
//! rendered.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};
use varta_core::{Core, Now, Reasons, SlotView};
use varta_vlp::UnitId;

/// One row of `/api/v1/slots`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The agent's name, or its id as 16 hex digits.
    pub agent: String,
    /// The unit's name, its id as 8 hex digits, or "" where the slot is known by its pid.
    pub unit: String,
    /// The pid; 0 where none was heard.
    pub pid: u32,
    /// The verdict's name.
    pub verdict: &'static str,
    /// "ok", "degraded" or "critical".
    pub status: &'static str,
    /// Opaque.
    pub payload: u32,
    /// The origin class's name.
    pub origin: &'static str,
    /// Since the newest beat, milliseconds; null where none was heard.
    pub last_beat_age_ms: Option<u64>,
    /// The session's start, nanoseconds since the Unix epoch; shown as a string.
    #[serde(serialize_with = "as_text")]
    pub session: u64,
    /// Restarts seen.
    pub restarts: u32,
    /// Labels by key.
    pub labels: BTreeMap<String, String>,
    /// The deadline arithmetic; shown in words.
    pub why: Why,
    /// Beats accepted.
    pub beats: u64,
    /// Stalls told.
    pub stalls: u32,
    /// The sender's own lateness at its newest beat, microseconds.
    pub lag_us: u32,
}

/// Why a row has its verdict: what that of its slot was worked out from; `None` where it has no slot.
#[derive(Clone, Copy, Debug)]
pub struct Why(pub Option<Reasons>);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(reasons) => reasons.fmt(f),
            None => f.write_str("in the roster and not heard"),
        }
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn as_text<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Row {
    /// The row of a slot, or of a missing agent.
    #[must_use]
    pub fn new(core: &Core, now: Now, view: &SlotView<'_>) -> Self {
        let reasons = view.slot.and_then(|slot| core.reasons(now, slot));
        Self {
            agent: agent_name(view),
            unit: unit_name(view),
            pid: view.pid,
            verdict: view.verdict.name(),
            status: view.status.name(),
            payload: view.payload,
            origin: view.class.name(),
            last_beat_age_ms: view.last_beat_age.map(|age| age / varta_core::MILLI),
            session: view.session,
            restarts: view.restarts,
            labels: view.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            why: Why(reasons),
            beats: view.beats,
            stalls: view.stalls,
            lag_us: view.lag_us,
        }
    }
}

/// The agent's name, or its id as 16 hex digits.
#[must_use]
pub fn agent_name(view: &SlotView<'_>) -> String {
    view.agent_name.map_or_else(|| view.agent.to_string(), str::to_owned)
}

/// The unit's name, its id as 8 hex digits, or "" where the slot is known by its pid.
#[must_use]
pub fn unit_name(view: &SlotView<'_>) -> String {
    match view.unit_name {
        _ if view.unit == UnitId::NONE => String::new(),
        Some(name) => name.to_owned(),
        None => view.unit.to_string(),
    }
}
