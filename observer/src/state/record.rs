//! One record of the state on disk: a [`Saved`] as bytes, and back. Integers are little-endian.
//!
//! A record is `length u16 ‖ tag u8 ‖ fields`. What a slot may lack is announced by a bit and otherwise not there, so
//! that a record has exactly one form. A changed layout gets a new tag.

use varta_core::{Cause, MonoNs, Owner, Phase, Saved, SavedAgent, SavedSlot, SlotKey, WallNs};
use varta_vlp::{AgentId, Generation, Status, UnitId, sealed::METADATA_MAX_LEN};

const AGENT: u8 = 1;
const SLOT: u8 = 2;
const REMOVED: u8 = 3;
const LOCAL_SLOT: u8 = 4;
const LOCAL_REMOVED: u8 = 5;

const PREVIOUS: u16 = 1;
const LAST_COUNTER: u16 = 1 << 1;
const OFFSET: u16 = 1 << 2;
const CONTESTED: u16 = 1 << 3;
const ANNOUNCE: u16 = 1 << 4;
const HOLD: u16 = 1 << 5;
const TERMINAL: u16 = 1 << 6;
const KNOWN_BITS: u16 = (1 << 7) - 1;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within a field, or within its length.
    #[error("a record ends too early")]
    Short,
    /// It goes on after its last field.
    #[error("a record is too long")]
    Long,
    /// Its kind is none that this version writes.
    #[error("a record of unknown kind {0}")]
    Kind(u8),
    /// A field holds a value that means nothing.
    #[error("a record with a meaningless {0}")]
    Value(&'static str),
}

/// Appends `saved` to `out`, its length first. An announce beyond [`METADATA_MAX_LEN`] bytes, which no observer accepts,
/// is left out; so is what is said without a key from a network.
pub fn encode(saved: &Saved, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 2]);
    match saved {
        Saved::Agent(agent) => {
            out.push(AGENT);
            put(out, agent.agent.0);
            out.extend(agent.floor.0.to_le_bytes());
            out.extend(agent.floor_since.to_le_bytes());
            put(out, agent.barrier.0);
        }
        Saved::Slot(slot) => {
            let Some(tag) = tag_of(slot.key.agent, SLOT, LOCAL_SLOT) else { return out.truncate(start) };
            out.push(tag);
            encode_slot(slot, out);
        }
        Saved::Removed(key) => {
            let Some(tag) = tag_of(key.agent, REMOVED, LOCAL_REMOVED) else { return out.truncate(start) };
            out.push(tag);
            encode_key(*key, out);
        }
    }
    // The longest record is some 1300 bytes.
    let length = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn put(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}

/// The tag of a record about a slot of `owner`; none is kept of those on a network who have no key.
const fn tag_of(owner: Owner, agent: u8, local: u8) -> Option<u8> {
    match owner {
        Owner::Agent(_) => Some(agent),
        Owner::Local => Some(local),
        Owner::Plain(_) => None,
    }
}

fn encode_key(key: SlotKey, out: &mut Vec<u8>) {
    if let Owner::Agent(agent) = key.agent {
        put(out, agent.0);
    }
    out.extend(key.unit.0.to_le_bytes());
    out.extend(key.pid.to_le_bytes());
}

fn encode_slot(slot: &SavedSlot, out: &mut Vec<u8>) {
    let announce = slot.announce.as_deref().filter(|bytes| bytes.len() <= METADATA_MAX_LEN);
    let bit = |there: bool, bit: u16| if there { bit } else { 0 };
    let bits = bit(slot.previous.is_some(), PREVIOUS)
        | bit(slot.last_counter.is_some(), LAST_COUNTER)
        | bit(slot.offset.is_some(), OFFSET)
        | bit(slot.contested_until.is_some(), CONTESTED)
        | bit(announce.is_some(), ANNOUNCE)
        | bit(slot.hold, HOLD)
        | bit(slot.terminal, TERMINAL);
    out.extend(bits.to_le_bytes());
    encode_key(slot.key, out);
    out.extend([slot.status as u8, phase_code(slot.phase)]);
    for word in [slot.generation.0, slot.next_due_ms, slot.payload, slot.restarts, slot.stalls] {
        out.extend(word.to_le_bytes());
    }
    for word in [slot.session, slot.window.0, slot.boot, slot.timestamp, slot.sent_at.0] {
        put(out, word);
    }
    for word in [slot.arrival.0, slot.heard.0, slot.deadline.0, slot.beats] {
        put(out, word);
    }
    out.extend(slot.window.1.to_le_bytes());
    if let Some((start, newest, seen)) = slot.previous {
        put(out, start);
        put(out, newest);
        out.extend(seen.to_le_bytes());
    }
    slot.last_counter.into_iter().for_each(|counter| put(out, counter));
    slot.offset.into_iter().for_each(|offset| out.extend(offset.to_le_bytes()));
    slot.contested_until.into_iter().for_each(|until| put(out, until.0));
    announce.into_iter().for_each(|bytes| out.extend(bytes));
}

const fn phase_code(phase: Phase) -> u8 {
    match phase {
        Phase::Live => 0,
        Phase::Held => 1,
        Phase::Stalled => 2,
        Phase::Departed => 3,
        Phase::Ended => 4,
        Phase::Unknown(Cause::Restart) => 5,
        Phase::Unknown(Cause::Gap) => 6,
        Phase::Unknown(Cause::Clock) => 7,
        Phase::Unknown(Cause::Drops) => 8,
    }
}

const fn phase_of(code: u8) -> Option<Phase> {
    Some(match code {
        0 => Phase::Live,
        1 => Phase::Held,
        2 => Phase::Stalled,
        3 => Phase::Departed,
        4 => Phase::Ended,
        5 => Phase::Unknown(Cause::Restart),
        6 => Phase::Unknown(Cause::Gap),
        7 => Phase::Unknown(Cause::Clock),
        8 => Phase::Unknown(Cause::Drops),
        _ => return None,
    })
}

const fn status_of(code: u8) -> Option<Status> {
    Some(match code {
        0 => Status::Ok,
        1 => Status::Degraded,
        2 => Status::Critical,
        3 => Status::Stall,
        _ => return None,
    })
}

/// Takes the next record off the front of `bytes`; `None` at their end.
pub fn decode(bytes: &mut &[u8]) -> Option<Result<Saved, Malformed>> {
    take(bytes).map(|record| match record?.parse()? {
        Parsed::Agent(agent) => Ok(Saved::Agent(agent)),
        Parsed::Slot(slot, announce) => {
            let announce = announce.map(Box::from);
            Ok(Saved::Slot(Box::new(SavedSlot { announce, ..slot })))
        }
        Parsed::Removed(key) => Ok(Saved::Removed(key)),
    })
}

/// Goes past the next record; whether it can be decoded, found out without allocating.
pub(super) fn check(bytes: &mut &[u8]) -> Option<Result<(), Malformed>> {
    take(bytes).map(|record| record?.parse().map(drop))
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<Result<Fields<'a>, Malformed>> {
    if bytes.is_empty() {
        return None;
    }
    let length_of = |length: [u8; 2]| usize::from(u16::from_le_bytes(length));
    let taken = bytes.split_first_chunk().and_then(|(length, rest)| rest.split_at_checked(length_of(*length)));
    let Some((record, rest)) = taken else {
        *bytes = &[];
        return Some(Err(Malformed::Short));
    };
    *bytes = rest;
    Some(Ok(Fields(record)))
}

/// A record whose announce, if it has one, still lies where it was read.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Parsed<'a> {
    Agent(SavedAgent),
    Slot(SavedSlot, Option<&'a [u8]>),
    Removed(SlotKey),
}

impl<'a> Fields<'a> {
    fn parse(mut self) -> Result<Parsed<'a>, Malformed> {
        let [tag] = self.take()?;
        let parsed = match tag {
            AGENT => Parsed::Agent(SavedAgent {
                agent: AgentId(self.long()?),
                floor: Generation(self.word()?),
                floor_since: self.word()?,
                barrier: WallNs(self.long()?),
            }),
            SLOT | LOCAL_SLOT => self.parse_slot(tag == LOCAL_SLOT)?,
            REMOVED | LOCAL_REMOVED => Parsed::Removed(self.key(tag == LOCAL_REMOVED)?),
            other => return Err(Malformed::Kind(other)),
        };
        if self.0.is_empty() { Ok(parsed) } else { Err(Malformed::Long) }
    }

    fn parse_slot(&mut self, local: bool) -> Result<Parsed<'a>, Malformed> {
        let bits = u16::from_le_bytes(self.take()?);
        if bits & !KNOWN_BITS != 0 {
            return Err(Malformed::Value("set of bits"));
        }
        let has = |bit: u16| bits & bit != 0;
        let key = self.key(local)?;
        let [status, phase] = self.take()?;
        let mut slot = SavedSlot {
            key,
            status: status_of(status).ok_or(Malformed::Value("status"))?,
            phase: phase_of(phase).ok_or(Malformed::Value("phase"))?,
            generation: Generation(self.word()?),
            next_due_ms: self.word()?,
            payload: self.word()?,
            restarts: self.word()?,
            stalls: self.word()?,
            session: self.long()?,
            window: (self.long()?, 0),
            boot: self.long()?,
            timestamp: self.long()?,
            sent_at: WallNs(self.long()?),
            arrival: MonoNs(self.long()?),
            heard: MonoNs(self.long()?),
            deadline: MonoNs(self.long()?),
            beats: self.long()?,
            previous: None,
            last_counter: None,
            offset: None,
            contested_until: None,
            announce: None,
            hold: has(HOLD),
            terminal: has(TERMINAL),
        };
        slot.window.1 = self.bits()?;
        if has(PREVIOUS) {
            slot.previous = Some((self.long()?, self.long()?, self.bits()?));
        }
        if has(LAST_COUNTER) {
            slot.last_counter = Some(self.long()?);
        }
        if has(OFFSET) {
            slot.offset = Some(self.long()?.cast_signed());
        }
        if has(CONTESTED) {
            slot.contested_until = Some(MonoNs(self.long()?));
        }
        let announce = has(ANNOUNCE).then(|| std::mem::take(&mut self.0));
        if announce.is_some_and(|bytes| bytes.len() > METADATA_MAX_LEN) {
            return Err(Malformed::Long);
        }
        Ok(Parsed::Slot(slot, announce))
    }
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    fn word(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    fn bits(&mut self) -> Result<u128, Malformed> {
        self.take().map(u128::from_le_bytes)
    }

    fn key(&mut self, local: bool) -> Result<SlotKey, Malformed> {
        let agent = if local { Owner::Local } else { Owner::Agent(AgentId(self.long()?)) };
        Ok(SlotKey { agent, unit: UnitId(self.word()?), pid: self.word()? })
    }
}

#[cfg(test)]
mod tests;
