//! What an observer says of one slot: SPEC, "Report".

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ReportError,
    bytes::{Reader, Writer},
};
use crate::{
    frame::Status,
    key::{AgentId, Name, UnitId},
    sealed::Metadata,
    subject::{Class, Owner, Verdict},
};

/// Longest [`Entry::why`], bytes.
pub const WHY_MAX_LEN: usize = 1024;

const ENTRY: u8 = 1;
const TOUCH: u8 = 2;
const GONE: u8 = 3;

const AGENT: u8 = 0;
const LOCAL: u8 = 1;
const PLAIN: u8 = 2;

/// A slot, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// By what the link knows the slot. Another slot may take it over by an entry of its own.
    pub handle: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Its unit, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// Its pid as a person reads it; 0 where none was heard.
    pub pid: u32,
    /// The observer's verdict.
    pub verdict: Verdict,
    /// The newest status.
    pub status: Status,
    /// How far its origin can be trusted.
    pub class: Class,
    /// Whether a terminal beat ended it, so that its verdict is not that of a live process.
    pub ended: bool,
    /// The newest payload.
    pub payload: u32,
    /// Since its newest beat left it, milliseconds; `None` where none was heard.
    pub age_ms: Option<u32>,
    /// From its newest beat to its deadline, milliseconds; `None` where nothing is due.
    pub span_ms: Option<u32>,
    /// Since it has this verdict, milliseconds; `None` where that is not known.
    pub since_ms: Option<u32>,
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
    /// The agent's name, where it is known.
    pub agent_name: Option<Name<'a>>,
    /// The unit's name, where it is known.
    pub unit_name: Option<Name<'a>>,
    /// The verdict's reasons in words, at most [`WHY_MAX_LEN`] bytes.
    pub why: &'a str,
    /// Labels.
    pub labels: Option<Metadata<'a>>,
}

/// A slot of which only what moves all the time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The slot.
    pub handle: u32,
    /// Since its newest beat left it, milliseconds.
    pub age_ms: Option<u32>,
    /// From its newest beat to its deadline, milliseconds.
    pub span_ms: Option<u32>,
    /// The newest payload.
    pub payload: u32,
    /// The sender's own lateness at its newest beat, microseconds.
    pub lag_us: u32,
}

/// One thing told of one slot. Told twice, it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// All of it.
    Entry(Entry<'a>),
    /// What moves.
    Touch(Touch),
    /// The observer has it no longer.
    Gone(u32),
}

impl<'a> Item<'a> {
    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), ReportError> {
        match self {
            Self::Entry(entry) => {
                out.u8(ENTRY)?;
                entry.write(out)
            }
            Self::Touch(touch) => {
                out.u8(TOUCH)?;
                out.u32(touch.handle)?;
                out.optional_u32(touch.age_ms)?;
                out.optional_u32(touch.span_ms)?;
                out.u32(touch.payload)?;
                out.u32(touch.lag_us)
            }
            Self::Gone(handle) => {
                out.u8(GONE)?;
                out.u32(*handle)
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'a>) -> Result<Self, ReportError> {
        Ok(match from.u8()? {
            ENTRY => Self::Entry(Entry::read(from)?),
            TOUCH => Self::Touch(Touch {
                handle: from.u32()?,
                age_ms: from.optional_u32()?,
                span_ms: from.optional_u32()?,
                payload: from.u32()?,
                lag_us: from.u32()?,
            }),
            GONE => Self::Gone(from.u32()?),
            other => return Err(ReportError::BadItem(other)),
        })
    }
}

impl<'a> Entry<'a> {
    fn write(&self, out: &mut Writer<'_>) -> Result<(), ReportError> {
        out.u32(self.handle)?;
        write_owner(self.owner, out)?;
        out.u32(self.unit.0)?;
        out.u32(self.pid)?;
        out.u8(self.verdict as u8)?;
        out.u8(self.status as u8)?;
        out.u8(self.class as u8)?;
        out.u8(self.ended.into())?;
        out.u32(self.payload)?;
        out.optional_u32(self.age_ms)?;
        out.optional_u32(self.span_ms)?;
        out.optional_u32(self.since_ms)?;
        out.u64(self.session)?;
        out.u32(self.restarts)?;
        out.u32(self.stalls)?;
        out.u64(self.beats)?;
        out.u32(self.lag_us)?;
        for name in [self.agent_name, self.unit_name] {
            out.short_text(name.map_or("", Name::as_str))?;
        }
        write_long(self.why.as_bytes(), WHY_MAX_LEN, out)?;
        write_long(self.labels.as_ref().map_or(&[], Metadata::bytes), usize::from(u16::MAX), out)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, ReportError> {
        let entry = Self {
            handle: from.u32()?,
            owner: read_owner(from)?,
            unit: UnitId(from.u32()?),
            pid: from.u32()?,
            verdict: pick(&Verdict::ALL, from.u8()?)?,
            status: pick(&[Status::Ok, Status::Degraded, Status::Critical], from.u8()?)?,
            class: pick(&Class::ALL, from.u8()?)?,
            ended: from.flag()?,
            payload: from.u32()?,
            age_ms: from.optional_u32()?,
            span_ms: from.optional_u32()?,
            since_ms: from.optional_u32()?,
            session: from.u64()?,
            restarts: from.u32()?,
            stalls: from.u32()?,
            beats: from.u64()?,
            lag_us: from.u32()?,
            agent_name: read_name(from)?,
            unit_name: read_name(from)?,
            why: {
                let len = usize::from(from.u16()?);
                if len > WHY_MAX_LEN {
                    return Err(ReportError::TooLong);
                }
                from.text(len)?
            },
            labels: {
                let len = from.u16()?;
                let bytes = from.bytes(len.into())?;
                if bytes.is_empty() { None } else { Some(Metadata::parse(bytes).map_err(|_| ReportError::BadLabels)?) }
            },
        };
        entry.check_names()?;
        Ok(entry)
    }

    /// Names are those of the ids they stand beside: an allow-list goes by name.
    fn check_names(&self) -> Result<(), ReportError> {
        let agent_agrees = self.agent_name.is_none_or(|name| self.owner == Owner::Agent(name.agent_id()));
        let unit_agrees = self.unit_name.is_none_or(|name| self.unit != UnitId::NONE && self.unit == name.unit_id());
        if agent_agrees && unit_agrees { Ok(()) } else { Err(ReportError::NameMismatch) }
    }
}

fn write_long(bytes: &[u8], limit: usize, out: &mut Writer<'_>) -> Result<(), ReportError> {
    let len = u16::try_from(bytes.len()).ok().filter(|len| usize::from(*len) <= limit);
    out.u16(len.ok_or(ReportError::TooLong)?)?;
    out.bytes(bytes)
}

fn pick<T: Copy>(all: &[T], number: u8) -> Result<T, ReportError> {
    all.get(usize::from(number)).copied().ok_or(ReportError::BadValue(number))
}

fn write_owner(owner: Owner, out: &mut Writer<'_>) -> Result<(), ReportError> {
    match owner {
        Owner::Agent(agent) => {
            out.u8(AGENT)?;
            out.u64(agent.0)
        }
        Owner::Local => out.u8(LOCAL),
        Owner::Plain(address) => {
            out.u8(PLAIN)?;
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            out.bytes(&address.octets())
        }
    }
}

fn read_owner(from: &mut Reader<'_>) -> Result<Owner, ReportError> {
    Ok(match from.u8()? {
        AGENT => Owner::Agent(AgentId(from.u64()?)),
        LOCAL => Owner::Local,
        PLAIN => {
            let address = Ipv6Addr::from(from.address()?);
            Owner::Plain(address.to_ipv4_mapped().map_or(IpAddr::V6(address), |v4: Ipv4Addr| IpAddr::V4(v4)))
        }
        other => return Err(ReportError::BadValue(other)),
    })
}

fn read_name<'a>(from: &mut Reader<'a>) -> Result<Option<Name<'a>>, ReportError> {
    let text = from.short_text()?;
    if text.is_empty() { Ok(None) } else { Name::new(text).map(Some).map_err(|_| ReportError::BadName) }
}
