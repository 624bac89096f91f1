//! What an observer tells a relay, and what it is answered: SPEC, "Report".
//!
//! One ordered stream of messages, each behind its length in four bytes. The observer's messages about slots are numbered;
//! a relay that misses a number asks for a snapshot. Times cross as ages.

mod bytes;
mod entry;

pub use entry::{Entry, Item, Touch, WHY_MAX_LEN};

use crate::{key::Name, subject::Verdict};
use bytes::{Reader, Writer};

/// The protocol's name in the handshake (ALPN).
pub const ALPN: &[u8] = b"varta-report/1";
/// Longest message, bytes, without the length before it.
pub const MESSAGE_MAX_LEN: usize = 64 << 10;
/// The length before each message, little-endian.
pub const PREFIX_LEN: usize = 4;
/// Most reasons in one [`Status`].
pub const REASONS_MAX: usize = 64;

const VERSION: u8 = 1;

const HELLO: u8 = 1;
const SNAPSHOT: u8 = 2;
const ITEMS: u8 = 3;
const END: u8 = 4;
const STATUS: u8 = 5;
const WELCOME: u8 = 129;
const ACK: u8 = 130;
const RESYNC: u8 = 131;

/// Why bytes are not a message, or do not become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// The length before it is 0 or above [`MESSAGE_MAX_LEN`].
    BadLength(u32),
    /// Of another version of the protocol.
    BadVersion(u8),
    /// A kind that this side does not take.
    BadKind(u8),
    /// A kind of item that is not known.
    BadItem(u8),
    /// A number that stands for nothing.
    BadValue(u8),
    /// It ends before its fields do.
    Truncated,
    /// Its fields end before it does.
    Trailing,
    /// Not UTF-8, or with a control character.
    BadText,
    /// A name of bad form.
    BadName,
    /// A name that is not that of the id beside it.
    NameMismatch,
    /// Labels of bad form.
    BadLabels,
    /// A text is longer than its room.
    TooLong,
    /// The message has no room for more.
    Full,
}

impl core::fmt::Display for ReportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadLength(len) => write!(f, "a message of {len} bytes where 1 to {MESSAGE_MAX_LEN} are legal"),
            Self::BadVersion(version) => {
                write!(f, "version {version} of the report protocol where {VERSION} is spoken")
            }
            Self::BadKind(kind) => write!(f, "a message of kind {kind}, which does not belong here"),
            Self::BadItem(item) => write!(f, "an item of kind {item}, which is not known"),
            Self::BadValue(value) => write!(f, "a field holds {value}, which stands for nothing"),
            Self::Truncated => f.write_str("a message is cut short"),
            Self::Trailing => f.write_str("a message is longer than its fields"),
            Self::BadText => f.write_str("a text is not UTF-8, or holds a control character"),
            Self::BadName => f.write_str("a name is of bad form"),
            Self::NameMismatch => f.write_str("a name is not that of the id beside it"),
            Self::BadLabels => f.write_str("labels are of bad form"),
            Self::TooLong => f.write_str("a text is longer than its room"),
            Self::Full => f.write_str("the message is full"),
        }
    }
}

impl core::error::Error for ReportError {}

/// The first message of an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Its name.
    pub observer: Name<'a>,
    /// Names its life: random at each start, never 0.
    pub boot: u64,
    /// The newest number that the relay acknowledged in this life; 0 none.
    pub acked: u64,
    /// Version of its software.
    pub version: &'a str,
}

/// The first message of a relay. Only an observer that has read it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The relay's name.
    pub relay: Name<'a>,
    /// Up to which number of the observer's this life it has everything; 0 asks for a snapshot.
    pub held: u64,
}

/// How the observer itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// Slots by verdict, in the order of [`Verdict::ALL`].
    pub verdicts: [u32; Verdict::ALL.len()],
    /// Why it is blind; empty where it sees.
    pub blind: &'a str,
    /// Whether it was blind for longer than its limit.
    pub critical: bool,
    /// Blindness in all, milliseconds.
    pub blind_ms: u64,
    /// Datagrams received, accepted, and accepted late.
    pub datagrams: [u64; 3],
    /// Stalls told.
    pub stalls: u64,
    /// Datagrams refused, by reason.
    pub rejects: Reasons<'a>,
}

/// Counts by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasons<'a>(&'a [u8]);

impl<'a> Reasons<'a> {
    /// Each reason's name and its count.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let mut rest = Reader::new(self.0);
        core::iter::from_fn(move || Some((rest.short_text().ok()?, rest.u64().ok()?)))
    }

    /// Writes counts into `room`; those of 0 are left out.
    ///
    /// # Errors
    /// [`ReportError::Full`] or [`ReportError::TooLong`].
    pub fn write<'b>(
        counts: impl IntoIterator<Item = (&'b str, u64)>,
        room: &'a mut [u8],
    ) -> Result<Self, ReportError> {
        let mut out = Writer::new(room);
        let mut some = 0;
        for (reason, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            some += 1;
            if some > REASONS_MAX {
                return Err(ReportError::Full);
            }
            out.short_text(reason)?;
            out.u64(count)?;
        }
        let len = out.len();
        Ok(Self(room.get(..len).unwrap_or_default()))
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, ReportError> {
        let len = from.u16()?;
        let bytes = from.bytes(len.into())?;
        let mut rest = Reader::new(bytes);
        let mut count = 0;
        while !rest.is_empty() {
            rest.short_text()?;
            rest.u64()?;
            count += 1;
        }
        if count > REASONS_MAX { Err(ReportError::TooLong) } else { Ok(Self(bytes)) }
    }
}

/// What an observer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromObserver<'a> {
    /// Who it is.
    Hello(Hello<'a>),
    /// All its slots follow; the items after this are numbered from the next number on.
    Snapshot {
        /// This message's number.
        seq: u64,
    },
    /// Of slots.
    Items {
        /// This message's number: one more than that of the one before.
        seq: u64,
        /// What is told.
        items: Items<'a>,
    },
    /// The snapshot is complete: what was not in it is gone.
    End {
        /// This message's number.
        seq: u64,
    },
    /// Of itself.
    Status(Status<'a>),
}

/// What is told of slots in one message, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// Each item. The first that is not one is the last.
    pub fn iter(self) -> impl Iterator<Item = Result<Item<'a>, ReportError>> + use<'a> {
        let mut rest = Reader::new(self.0);
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let item = Item::read(&mut rest);
            if item.is_err() {
                rest = Reader::new(&[]);
            }
            Some(item)
        })
    }
}

/// What a relay says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromRelay<'a> {
    /// The observer is connected.
    Welcome(Welcome<'a>),
    /// Everything up to this number has been taken in.
    Ack {
        /// The number.
        seq: u64,
    },
    /// A number is missing: a snapshot is asked for.
    Resync,
}

/// The length of the message that follows its four bytes of length.
///
/// # Errors
/// [`ReportError::BadLength`].
pub fn message_len(prefix: [u8; PREFIX_LEN]) -> Result<usize, ReportError> {
    let len = u32::from_le_bytes(prefix);
    let legal = usize::try_from(len).ok().filter(|len| (1..=MESSAGE_MAX_LEN).contains(len));
    legal.ok_or(ReportError::BadLength(len))
}

fn begin<'a>(message: &'a [u8]) -> Result<(u8, Reader<'a>), ReportError> {
    let mut from = Reader::new(message);
    let version = from.u8()?;
    if version != VERSION {
        return Err(ReportError::BadVersion(version));
    }
    Ok((from.u8()?, from))
}

fn name<'a>(from: &mut Reader<'a>) -> Result<Name<'a>, ReportError> {
    Name::new(from.short_text()?).map_err(|_| ReportError::BadName)
}

/// Begins a message in `room`, of which it may have as much as is legal.
fn draft(room: &mut [u8], kind: u8) -> Result<Writer<'_>, ReportError> {
    let legal = room.len().min(Draft::ROOM);
    let mut out = Writer::new(room.get_mut(..legal).unwrap_or_default());
    out.u32(0)?;
    out.u8(VERSION)?;
    out.u8(kind)?;
    Ok(out)
}

/// Writes one message behind its length; returns its bytes in all.
fn write(
    room: &mut [u8],
    kind: u8,
    fields: impl FnOnce(&mut Writer<'_>) -> Result<(), ReportError>,
) -> Result<usize, ReportError> {
    let mut out = draft(room, kind)?;
    fields(&mut out)?;
    Ok(out.finish())
}

impl<'a> FromObserver<'a> {
    /// Reads a message, without the length before it.
    ///
    /// # Errors
    /// The first [`ReportError`] met. Items are read when they are iterated over.
    pub fn parse(message: &'a [u8]) -> Result<Self, ReportError> {
        let (kind, mut from) = begin(message)?;
        let parsed = match kind {
            HELLO => Self::Hello(Hello {
                observer: name(&mut from)?,
                boot: from.u64()?,
                acked: from.u64()?,
                version: from.short_text()?,
            }),
            SNAPSHOT => Self::Snapshot { seq: from.u64()? },
            ITEMS => {
                let seq = from.u64()?;
                return Ok(Self::Items { seq, items: Items(from.rest()) });
            }
            END => Self::End { seq: from.u64()? },
            STATUS => Self::Status(Status {
                verdicts: {
                    let mut verdicts = [0; Verdict::ALL.len()];
                    for count in &mut verdicts {
                        *count = from.u32()?;
                    }
                    verdicts
                },
                blind: from.short_text()?,
                critical: from.flag()?,
                blind_ms: from.u64()?,
                datagrams: [from.u64()?, from.u64()?, from.u64()?],
                stalls: from.u64()?,
                rejects: Reasons::read(&mut from)?,
            }),
            other => return Err(ReportError::BadKind(other)),
        };
        if from.is_empty() { Ok(parsed) } else { Err(ReportError::Trailing) }
    }

    /// Writes it into `room`, its length before it. Items are written by [`Draft`].
    ///
    /// # Errors
    /// [`ReportError::Full`] or [`ReportError::TooLong`].
    pub fn write(&self, room: &mut [u8]) -> Result<usize, ReportError> {
        match self {
            Self::Hello(hello) => write(room, HELLO, |out| {
                out.short_text(hello.observer.as_str())?;
                out.u64(hello.boot)?;
                out.u64(hello.acked)?;
                out.short_text(hello.version)
            }),
            Self::Snapshot { seq } => write(room, SNAPSHOT, |out| out.u64(*seq)),
            Self::Items { seq, items } => write(room, ITEMS, |out| {
                out.u64(*seq)?;
                out.bytes(items.0)
            }),
            Self::End { seq } => write(room, END, |out| out.u64(*seq)),
            Self::Status(status) => write(room, STATUS, |out| {
                status.verdicts.iter().try_for_each(|count| out.u32(*count))?;
                out.short_text(status.blind)?;
                out.u8(status.critical.into())?;
                out.u64(status.blind_ms)?;
                status.datagrams.iter().try_for_each(|count| out.u64(*count))?;
                out.u64(status.stalls)?;
                out.u16(u16::try_from(status.rejects.0.len()).map_err(|_| ReportError::TooLong)?)?;
                out.bytes(status.rejects.0)
            }),
        }
    }
}

impl<'a> FromRelay<'a> {
    /// Reads a message, without the length before it.
    ///
    /// # Errors
    /// The first [`ReportError`] met.
    pub fn parse(message: &'a [u8]) -> Result<Self, ReportError> {
        let (kind, mut from) = begin(message)?;
        let parsed = match kind {
            WELCOME => Self::Welcome(Welcome { relay: name(&mut from)?, held: from.u64()? }),
            ACK => Self::Ack { seq: from.u64()? },
            RESYNC => Self::Resync,
            other => return Err(ReportError::BadKind(other)),
        };
        if from.is_empty() { Ok(parsed) } else { Err(ReportError::Trailing) }
    }

    /// Writes it into `room`, its length before it.
    ///
    /// # Errors
    /// [`ReportError::Full`] or [`ReportError::TooLong`].
    pub fn write(&self, room: &mut [u8]) -> Result<usize, ReportError> {
        match self {
            Self::Welcome(welcome) => write(room, WELCOME, |out| {
                out.short_text(welcome.relay.as_str())?;
                out.u64(welcome.held)
            }),
            Self::Ack { seq } => write(room, ACK, |out| out.u64(*seq)),
            Self::Resync => write(room, RESYNC, |_| Ok(())),
        }
    }
}

/// A message of items while it is written.
#[derive(Debug)]
pub struct Draft<'a> {
    out: Writer<'a>,
    count: u32,
}

impl<'a> Draft<'a> {
    /// Room for the largest message.
    pub const ROOM: usize = PREFIX_LEN + MESSAGE_MAX_LEN;

    /// A message of that number without items, in `room`.
    ///
    /// # Errors
    /// [`ReportError::Full`] where not even its head fits.
    pub fn new(room: &'a mut [u8], seq: u64) -> Result<Self, ReportError> {
        let mut out = draft(room, ITEMS)?;
        out.u64(seq)?;
        Ok(Self { out, count: 0 })
    }

    /// Adds an item.
    ///
    /// # Errors
    /// [`ReportError::Full`]: it belongs in the next message, and this one is as it was.
    /// [`ReportError::TooLong`]: it fits in none.
    pub fn push(&mut self, item: &Item<'_>) -> Result<(), ReportError> {
        let before = self.out.len();
        let pushed = item.write(&mut self.out);
        match pushed {
            Ok(()) => self.count += 1,
            Err(_) => self.out.truncate(before),
        }
        pushed
    }

    /// How many items it has.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Ends it; returns its bytes in all, with the length before it.
    #[must_use]
    pub fn finish(self) -> usize {
        self.out.finish()
    }
}
