//! What waits to be written.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use varta_vlp::{
    AgentId,
    key::UnitId,
    subject::{Owner, Verdict},
};

use super::Mark;
use crate::fleet::{SavedIncident, SavedUnit, Silence, UnitKey};

/// More than most rows have in one piece, bytes.
const PIECE: usize = 256;

/// A unit as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitRow {
    /// Whose it is: an id in hex digits, `local`, or an address.
    owner: String,
    unit: u32,
    pid: u32,
    agent: String,
    name: String,
    shown_pid: u32,
    observers: Vec<String>,
    labels: Vec<u8>,
}

impl UnitRow {
    pub(crate) fn of(saved: SavedUnit) -> Self {
        Self {
            owner: saved.key.owner.to_string(),
            unit: saved.key.unit.0,
            pid: saved.key.pid,
            agent: saved.agent,
            name: saved.unit,
            shown_pid: saved.pid,
            observers: saved.observers,
            labels: saved.labels,
        }
    }

    /// In one piece, to wait: each text and each number behind its length.
    fn pack(&self) -> Box<[u8]> {
        let numbers = [self.unit, self.pid, self.shown_pid].map(u32::to_le_bytes);
        let texts = [&self.owner, &self.agent, &self.name].map(String::as_bytes);
        let rest = [self.labels.as_slice()].into_iter().chain(self.observers.iter().map(String::as_bytes));
        let mut out = Vec::with_capacity(PIECE);
        for part in numbers.iter().map(<[u8; 4]>::as_slice).chain(texts).chain(rest) {
            // None is as long as that.
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
        out.into()
    }

    /// What was packed.
    pub(super) fn unpack(mut packed: &[u8]) -> Option<Self> {
        let mut part = || {
            let (len, rest) = packed.split_first_chunk()?;
            let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            packed = rest;
            Some(part)
        };
        let number = |part: &[u8]| part.try_into().ok().map(u32::from_le_bytes);
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
        let [unit, pid, shown_pid] = [number(part()?)?, number(part()?)?, number(part()?)?];
        let [owner, agent, name] = [text(part()?)?, text(part()?)?, text(part()?)?];
        let labels = part()?.to_vec();
        let observers = std::iter::from_fn(part).map(text).collect::<Option<_>>()?;
        Some(Self { owner, unit, pid, agent, name, shown_pid, observers, labels })
    }

    /// The unit that it stands for, if it stands for one.
    pub(crate) fn saved(&self) -> Option<SavedUnit> {
        let by_id = || u64::from_str_radix(&self.owner, 16).ok().map(|id| Owner::Agent(AgentId(id)));
        let owner = Owner::of_unsealed(&self.owner).or_else(by_id)?;
        let key = UnitKey { owner, unit: UnitId(self.unit), pid: self.pid, observer: UnitKey::SHARED };
        Some(SavedUnit {
            key,
            agent: self.agent.clone(),
            unit: self.name.clone(),
            pid: self.shown_pid,
            observers: self.observers.clone(),
            labels: self.labels.clone(),
        })
    }
}

/// What makes a unit the same unit in the file. One without a key is known by its observer's name, too.
pub(crate) fn key_of(key: &UnitKey, observer: Option<&str>) -> Vec<u8> {
    let text = format!("{}/{}/{}/{}", key.owner, key.unit, key.pid, observer.unwrap_or_default());
    text.into_bytes()
}

/// No verdict: the unit is not known any more.
pub(super) const GONE: u8 = 254;

pub(super) fn code_of(verdict: Option<Verdict>) -> u8 {
    verdict.map_or(GONE, |verdict| verdict as u8)
}

/// Turns of one unit that wait; further ones replace the last.
const TURNS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct PendingUnit {
    /// Packed in one piece: where the many pieces of a million of them were given back, the allocator would gather them for
    /// most of a second, on whichever thread asks it next.
    pub(super) row: Option<Box<[u8]>>,
    /// From when on which verdict.
    pub(super) turns: Vec<(u64, u8)>,
}

/// What waits to be written: bounded by the units, incidents and targets that there can be.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(super) units: HashMap<Vec<u8>, PendingUnit>,
    pub(super) incidents: BTreeMap<u64, SavedIncident>,
    pub(super) silences: Option<Vec<Silence>>,
    /// What a webhook's target, by number, was told of an incident; none where nothing is owed any more.
    pub(super) marks: BTreeMap<(u64, u64), Option<Mark>>,
    pub(super) failures: u64,
    pub(super) failing: bool,
}

impl Pending {
    /// A unit has another verdict from this instant on.
    pub(crate) fn turn(&mut self, key: Vec<u8>, row: Option<UnitRow>, at_ms: u64, verdict: Option<Verdict>) {
        let unit = self.units.entry(key).or_default();
        if let Some(row) = row {
            unit.row = Some(row.pack());
        }
        let turn = (at_ms, code_of(verdict));
        let full = unit.turns.len() >= TURNS;
        match unit.turns.last_mut() {
            Some(last) if last.0 >= at_ms => last.1 = turn.1,
            Some(last) if full => *last = turn,
            _ => {
                // Most have one.
                unit.turns.reserve_exact(1);
                unit.turns.push(turn);
            }
        }
    }

    pub(crate) fn incident(&mut self, incident: SavedIncident) {
        self.incidents.insert(incident.id.0, incident);
    }

    /// A target, by number, was told so much of an incident; none: it is owed nothing any more.
    pub(crate) fn mark(&mut self, target: u64, incident: u64, mark: Option<Mark>) {
        self.marks.insert((target, incident), mark);
    }

    pub(crate) fn silences(&mut self, silences: Vec<Silence>) {
        self.silences = Some(silences);
    }

    /// What a write could not take is noted again, unless there is something newer.
    pub(super) fn put_back(&mut self, older: Self) {
        for (key, mut unit) in older.units {
            if let Some(newer) = self.units.remove(&key) {
                unit.row = newer.row.or(unit.row);
                unit.turns.extend(newer.turns);
                let surplus = unit.turns.len().saturating_sub(TURNS);
                unit.turns.drain(..surplus);
            }
            self.units.insert(key, unit);
        }
        for (id, incident) in older.incidents {
            self.incidents.entry(id).or_insert(incident);
        }
        for (key, mark) in older.marks {
            self.marks.entry(key).or_insert(mark);
        }
        self.silences = self.silences.take().or(older.silences);
    }
}
