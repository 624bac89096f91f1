//! Layout of the sealed datagram, version 1: SPEC, "Sealed datagram".

mod metadata;

pub use metadata::{Metadata, MetadataError};

use crate::{
    frame::{Frame, Reader, Writer},
    key::{AgentId, AudienceId, Generation, UnitId},
    open::Opened,
    reject::Reject,
};

/// Bytes of the clear header, all of it authenticated.
pub const HEADER_LEN: usize = 44;
/// Bytes of the fixed plaintext.
pub const BODY_LEN: usize = 64;
/// Bytes of the tag.
pub const TAG_LEN: usize = 16;
/// Bytes of a whole beat.
pub const BEAT_LEN: usize = HEADER_LEN + BODY_LEN + TAG_LEN;
/// Most bytes of metadata in an announce.
pub const METADATA_MAX_LEN: usize = 1024;
/// Most bytes an announce with legal metadata has.
pub const ANNOUNCE_MAX_LEN: usize = BEAT_LEN + METADATA_MAX_LEN;
/// Most bytes of any datagram that is looked at.
pub const MAX_LEN: usize = 1200;
/// Counters from here on are refused.
pub const COUNTER_END: u64 = 1 << 48;
/// The pid written by a sender that is pid 1 of its namespace.
pub const INIT_PID: u32 = u32::MAX;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A beat: 124 bytes.
    Beat = 1,
    /// A beat with metadata behind it.
    Announce = 2,
}

/// The clear, authenticated header; bytes 20..44 are the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Beat or announce.
    pub kind: Kind,
    /// Which audience key.
    pub audience: AudienceId,
    /// Whose key.
    pub agent: AgentId,
    /// Which generation of it, from 1.
    pub generation: Generation,
    /// When the session began: nanoseconds since the Unix epoch by the sender's clock.
    pub session_start: u64,
    /// Fresh randomness for every frame.
    pub salt: [u8; 8],
    /// 0, 1, 2, .. in a session; refused from [`COUNTER_END`] on.
    pub counter: u64,
}

impl Header {
    const MAGIC: [u8; 2] = *b"VS";
    const VERSION: u8 = 1;

    /// The 44 bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut out = Writer(&mut bytes);
        out.put(Self::MAGIC);
        out.put([Self::VERSION, self.kind as u8]);
        out.put(self.audience.0.to_le_bytes());
        out.put(self.agent.0.to_le_bytes());
        out.put(self.generation.0.to_le_bytes());
        out.put(self.nonce());
        bytes
    }

    /// The nonce: session start, salt, counter.
    #[must_use]
    pub fn nonce(&self) -> [u8; 24] {
        let mut nonce = [0; 24];
        let mut out = Writer(&mut nonce);
        out.put(self.session_start.to_le_bytes());
        out.put(self.salt);
        out.put(self.counter.to_le_bytes());
        nonce
    }

    /// The nonce within an encoded header.
    #[must_use]
    pub(crate) fn nonce_of(bytes: &[u8; HEADER_LEN]) -> [u8; 24] {
        let mut input = Reader(bytes);
        let _: [u8; 20] = input.take();
        input.take()
    }

    /// Steps 1 and 2: length, magic, version, kind, the kind's own length.
    ///
    /// # Errors
    /// [`Reject::BadLength`], [`Reject::BadMagic`], [`Reject::BadVersion`], [`Reject::BadKind`].
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        if datagram.len() < BEAT_LEN || datagram.len() > MAX_LEN {
            return Err(Reject::BadLength);
        }
        let mut input = Reader(datagram);
        if input.take::<2>() != Self::MAGIC {
            return Err(Reject::BadMagic);
        }
        let [version, kind] = input.take();
        if version != Self::VERSION {
            return Err(Reject::BadVersion);
        }
        let kind = match kind {
            1 => Kind::Beat,
            2 => Kind::Announce,
            _ => return Err(Reject::BadKind),
        };
        if (datagram.len() == BEAT_LEN) != (kind == Kind::Beat) {
            return Err(Reject::BadLength);
        }
        Ok(Self {
            kind,
            audience: AudienceId(input.u32()),
            agent: AgentId(input.u64()),
            generation: Generation(input.u32()),
            session_start: input.u64(),
            salt: input.take(),
            counter: input.u64(),
        })
    }
}

/// The flags of a beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// The same process began a new session.
    pub const CONTINUES: Self = Self(1);
    /// Goodbye.
    pub const FINAL: Self = Self(1 << 1);
    /// The session's start is more than 50 ms off the old timeline.
    pub const STEPPED: Self = Self(1 << 2);
    /// `next_due_ms` is a planned absence.
    pub const HOLD: Self = Self(1 << 4);
    const KNOWN: u32 = Self::CONTINUES.0 | Self::FINAL.0 | Self::STEPPED.0 | Self::HOLD.0;

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and `other`'s.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The fixed plaintext of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The base frame inside.
    pub frame: Frame,
    /// Nanoseconds since the Unix epoch on the session's own timeline.
    pub sent_at: u64,
    /// The sender promises another beat within this many milliseconds; 0 promises nothing.
    pub next_due_ms: u32,
    /// How late this beat left by the sender's own plan, microseconds, saturating.
    pub lag_us: u32,
    /// The unit, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// What the beat says besides.
    pub flags: Flags,
    /// Names the boot of the sender's host; 0 unknown.
    pub boot: u64,
}

impl Body {
    /// The 64 bytes of this body.
    #[must_use]
    pub fn encode(&self) -> [u8; BODY_LEN] {
        let mut bytes = [0; BODY_LEN];
        let mut out = Writer(&mut bytes);
        out.put(self.frame.encode());
        out.put(self.sent_at.to_le_bytes());
        out.put(self.next_due_ms.to_le_bytes());
        out.put(self.lag_us.to_le_bytes());
        out.put(self.unit.0.to_le_bytes());
        out.put(self.flags.0.to_le_bytes());
        out.put(self.boot.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; BODY_LEN]) -> Result<Self, Reject> {
        let mut input = Reader(bytes);
        let frame = Frame::decode(&input.take()).map_err(Reject::Decode)?;
        Ok(Self {
            frame,
            sent_at: input.u64(),
            next_due_ms: input.u32(),
            lag_us: input.u32(),
            unit: UnitId(input.u32()),
            flags: Flags(input.u32()),
            boot: input.u64(),
        })
    }

    fn flags_are_legal(&self, generation: Generation) -> bool {
        self.promises_are_legal() && !(self.frame.pid == INIT_PID && self.unit == UnitId::NONE) && generation.0 != 0
    }

    /// Whether the flags are known ones, and an absence is one.
    pub(crate) const fn promises_are_legal(&self) -> bool {
        let hold = self.flags.has(Flags::HOLD);
        self.flags.0 & !Flags::KNOWN == 0 && !(hold && (self.flags.has(Flags::FINAL) || self.next_due_ms == 0))
    }

    /// The pid as a person reads it: [`INIT_PID`] is 1.
    #[must_use]
    pub const fn shown_pid(&self) -> u32 {
        shown_pid(self.frame.pid)
    }
}

/// A pid from a sealed frame as a person reads it: [`INIT_PID`] is 1.
#[must_use]
pub const fn shown_pid(pid: u32) -> u32 {
    if pid == INIT_PID { 1 } else { pid }
}

/// What an opened datagram says, checked by itself.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The fixed part.
    pub body: Body,
    /// What an announce adds.
    pub metadata: Option<Metadata<'a>>,
}

impl<'a> Message<'a> {
    /// Step 8: base frame, flags, metadata, name hashes, times, in this order.
    ///
    /// # Errors
    /// [`Reject::Decode`], [`Reject::BadFlags`], [`Reject::BadMetadata`], [`Reject::NameMismatch`], [`Reject::BadTimes`].
    pub fn parse(header: &Header, opened: Opened<'a>) -> Result<Self, Reject> {
        let body = Body::decode(opened.body)?;
        if !body.flags_are_legal(header.generation) {
            return Err(Reject::BadFlags);
        }
        let metadata = match header.kind {
            Kind::Beat => None,
            Kind::Announce => Some(Metadata::parse(opened.metadata).map_err(|_| Reject::BadMetadata)?),
        };
        if let Some(metadata) = metadata {
            metadata.check_names(header.agent, body.unit)?;
        }
        if header.session_start > body.sent_at {
            return Err(Reject::BadTimes);
        }
        Ok(Self { body, metadata })
    }
}
