//! A slot as the HTTP API shows it. Read out on the ingest thread as plain values and names; put in words where it is
//! rendered.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};
use varta_core::{Class, Core, Now, Owner, Reasons, SlotId, SlotView, Verdict};
use varta_vlp::{Status, UnitId};

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

/// Rows as the ingest thread reads them out: plain values, and their texts one after another.
///
/// Whoever asks brings them and takes them back, so that the ingest thread allocates nothing in bulk that another frees: it
/// would wait for that one in the allocator, and it may be one of low priority.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    plain: Vec<Plain>,
    texts: String,
    /// Where each text ends: of each row its agent's name and its unit's, where they are known, and its labels' keys and
    /// values.
    ends: Vec<usize>,
}

/// One row as it was read: plain values and names.
#[derive(Clone, Debug)]
pub struct RawRow<'a> {
    /// The slot, or the place in the roster of an agent that is not here.
    pub slot: Result<SlotId, u32>,
    /// Whose it is.
    pub agent: Owner,
    /// Its unit.
    pub unit: UnitId,
    /// The agent's name and the unit's, where they are known.
    pub names: [Option<&'a str>; 2],
    /// Labels by key.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The pid; 0 where none was heard.
    pub pid: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The newest status.
    pub status: Status,
    /// The newest payload.
    pub payload: u32,
    /// How far its origin can be trusted.
    pub class: Class,
    /// Since the newest beat, nanoseconds.
    pub last_beat_age: Option<u64>,
    /// The session's start, nanoseconds since the Unix epoch.
    pub session: u64,
    /// Restarts seen.
    pub restarts: u32,
    /// Stalls told.
    pub stalls: u32,
    /// Beats accepted.
    pub beats: u64,
    /// The sender's own lateness at its newest beat, microseconds.
    pub lag_us: u32,
    /// What its verdict was worked out from.
    pub reasons: Option<Reasons>,
}

/// The values of one row.
#[derive(Clone, Copy, Debug)]
struct Plain {
    slot: Option<SlotId>,
    place: Option<u32>,
    agent: Owner,
    unit: UnitId,
    /// Whether the names of agent and unit are among the texts, and how many labels are.
    named: [bool; 2],
    labels: usize,
    pid: u32,
    verdict: Verdict,
    status: Status,
    payload: u32,
    class: Class,
    last_beat_age: Option<u64>,
    session: u64,
    restarts: u32,
    reasons: Option<Reasons>,
    beats: u64,
    stalls: u32,
    lag_us: u32,
}

impl Rows {
    /// None, with room for `count` of common size.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            plain: Vec::with_capacity(count),
            texts: String::with_capacity(count * 128),
            ends: Vec::with_capacity(count * 8),
        }
    }

    /// None again; the room stays.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.texts.clear();
        self.ends.clear();
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.plain.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    fn text(&mut self, text: &str) {
        self.texts.push_str(text);
        self.ends.push(self.texts.len());
    }

    /// Adds the row of a slot, or of a missing agent.
    pub fn add(&mut self, core: &Core, now: Now, view: &SlotView<'_>) {
        let names = [view.agent_name, view.unit_name];
        names.into_iter().flatten().for_each(|name| self.text(name));
        let mut labels = 0;
        for (key, value) in view.labels() {
            self.text(key);
            self.text(value);
            labels += 1;
        }
        self.plain.push(Plain {
            slot: view.slot,
            place: view.place,
            agent: view.agent,
            unit: view.unit,
            named: names.map(|name| name.is_some()),
            labels,
            pid: view.pid,
            verdict: view.verdict,
            status: view.status,
            payload: view.payload,
            class: view.class,
            last_beat_age: view.last_beat_age,
            session: view.session,
            restarts: view.restarts,
            reasons: view.slot.and_then(|slot| core.reasons(now, slot)),
            beats: view.beats,
            stalls: view.stalls,
            lag_us: view.lag_us,
        });
    }

    /// Each row as it was read.
    pub fn raw(&self) -> impl Iterator<Item = RawRow<'_>> {
        let mut start = 0;
        let mut texts = self.ends.iter().map(move |end| &self.texts[std::mem::replace(&mut start, *end)..*end]);
        self.plain.iter().map(move |plain| plain.raw(&mut texts))
    }

    /// Each row, put in words.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        let mut start = 0;
        let mut texts = self.ends.iter().map(move |end| &self.texts[std::mem::replace(&mut start, *end)..*end]);
        self.plain.iter().map(move |plain| plain.row(&mut texts))
    }
}

impl Plain {
    /// The row as it was read, its texts being the next ones.
    fn raw<'a>(&self, texts: &mut impl Iterator<Item = &'a str>) -> RawRow<'a> {
        let mut next = || texts.next().unwrap_or_default();
        let names = self.named.map(|named| named.then(&mut next));
        RawRow {
            slot: self.slot.ok_or(self.place.unwrap_or_default()),
            agent: self.agent,
            unit: self.unit,
            names,
            labels: (0..self.labels).map(|_| (next(), next())).collect(),
            pid: self.pid,
            verdict: self.verdict,
            status: self.status,
            payload: self.payload,
            class: self.class,
            last_beat_age: self.last_beat_age,
            session: self.session,
            restarts: self.restarts,
            stalls: self.stalls,
            beats: self.beats,
            lag_us: self.lag_us,
            reasons: self.reasons,
        }
    }

    /// The row, its texts being the next ones.
    fn row<'a>(&self, texts: &mut impl Iterator<Item = &'a str>) -> Row {
        let mut next = || texts.next().unwrap_or_default().to_owned();
        let [agent, unit] = self.named.map(|named| named.then(&mut next));
        Row {
            agent: agent.unwrap_or_else(|| self.agent.to_string()),
            unit: match unit {
                _ if self.unit == UnitId::NONE => String::new(),
                Some(name) => name,
                None => self.unit.to_string(),
            },
            pid: self.pid,
            verdict: self.verdict.name(),
            status: self.status.name(),
            payload: self.payload,
            origin: self.class.name(),
            last_beat_age_ms: self.last_beat_age.map(|age| age / varta_core::MILLI),
            session: self.session,
            restarts: self.restarts,
            labels: (0..self.labels).map(|_| (next(), next())).collect(),
            why: Why(self.reasons),
            beats: self.beats,
            stalls: self.stalls,
            lag_us: self.lag_us,
        }
    }
}
