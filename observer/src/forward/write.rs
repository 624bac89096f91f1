//! Rows as a relay is told them.

use varta_core::{MILLI, Verdict};
use varta_vlp::{
    key::Name,
    report::{Entry, Touch, WHY_MAX_LEN},
    sealed::{METADATA_MAX_LEN, Metadata},
};

use super::seen::handle_of;
use crate::row::{RawRow, Why};

fn ms(ns: u64) -> u32 {
    // The largest stands for none.
    u32::try_from(ns / MILLI).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

fn age_ms(row: &RawRow<'_>) -> Option<u32> {
    row.last_beat_age.map(ms)
}

fn span_ms(row: &RawRow<'_>) -> Option<u32> {
    row.reasons.as_ref().and_then(varta_core::Reasons::span).map(ms)
}

/// What moves of a row.
pub(super) fn touch_of(row: &RawRow<'_>) -> Touch {
    Touch {
        handle: handle_of(row),
        age_ms: age_ms(row),
        span_ms: span_ms(row),
        payload: row.payload,
        lag_us: row.lag_us,
    }
}

/// A row's texts, as an entry borrows them.
#[derive(Debug)]
pub(super) struct Texts {
    why: String,
    labels: [u8; METADATA_MAX_LEN],
    len: usize,
}

impl Texts {
    /// The texts of a row. That it is up needs no reason: whoever reads it has all there is to say.
    pub(super) fn of(row: &RawRow<'_>) -> Self {
        let mut why = match row.verdict {
            Verdict::Up => String::new(),
            _ => Why(row.reasons).to_string(),
        };
        if why.len() > WHY_MAX_LEN {
            let end = (0..=WHY_MAX_LEN).rev().find(|end| why.is_char_boundary(*end));
            why.truncate(end.unwrap_or(0));
        }
        why.retain(|c| !c.is_control());
        let mut pairs = row.labels.clone();
        pairs.sort_unstable();
        let mut labels = [0; METADATA_MAX_LEN];
        // The roster's and the announced ones may be too much together: then those that fit are told.
        let mut len = 0;
        while !pairs.is_empty() {
            match Metadata::write(pairs.iter().copied(), &mut labels) {
                Ok(written) => {
                    len = written.bytes().len();
                    break;
                }
                Err(_) => drop(pairs.pop()),
            }
        }
        Self { why, labels, len }
    }
}

/// A row, all of it.
pub(super) fn entry_of<'a>(row: &RawRow<'a>, texts: &'a Texts) -> Entry<'a> {
    let name = |name: Option<&'a str>| name.and_then(|name| Name::new(name).ok());
    let [agent_name, unit_name] = row.names.map(name);
    Entry {
        handle: handle_of(row),
        owner: row.agent,
        unit: row.unit,
        pid: row.pid,
        verdict: row.verdict,
        status: row.status,
        class: row.class,
        ended: row.reasons.as_ref().is_some_and(varta_core::Reasons::is_ended),
        payload: row.payload,
        age_ms: age_ms(row),
        span_ms: span_ms(row),
        since_ms: None,
        session: row.session,
        restarts: row.restarts,
        stalls: row.stalls,
        beats: row.beats,
        lag_us: row.lag_us,
        agent_name: agent_name.filter(|name| row.agent.agent() == Some(name.agent_id())),
        unit_name: unit_name.filter(|name| name.unit_id() == row.unit),
        why: &texts.why,
        labels: Metadata::parse(texts.labels.get(..texts.len).unwrap_or_default()).ok(),
    }
}
