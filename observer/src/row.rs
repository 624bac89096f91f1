//! A slot as the HTTP API shows it. Built on the ingest thread, rendered elsewhere.

use std::collections::BTreeMap;

use serde::Serialize;
use varta_core::{Core, Now, SlotView};
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
    /// The session's start, nanoseconds since the Unix epoch, as a string.
    pub session: String,
    /// Restarts seen.
    pub restarts: u32,
    /// Labels by key.
    pub labels: BTreeMap<String, String>,
    /// The deadline arithmetic in words.
    pub why: String,
    /// Beats accepted.
    pub beats: u64,
    /// Stalls told.
    pub stalls: u32,
    /// The sender's own lateness at its newest beat, microseconds.
    pub lag_us: u32,
}

impl Row {
    /// The row of a slot, or of a missing agent.
    #[must_use]
    pub fn new(core: &Core, now: Now, view: &SlotView<'_>) -> Self {
        let why = view.slot.map_or_else(|| "in the roster and not heard".to_owned(), |slot| core.why(now, slot));
        Self {
            agent: agent_name(view),
            unit: unit_name(view),
            pid: view.pid,
            verdict: view.verdict.name(),
            status: view.status.name(),
            payload: view.payload,
            origin: view.class.name(),
            last_beat_age_ms: view.last_beat_age.map(|age| age / varta_core::MILLI),
            session: view.session.to_string(),
            restarts: view.restarts,
            labels: view.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            why,
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
