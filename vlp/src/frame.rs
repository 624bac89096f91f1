//! The base frame (VLP 0.2, 32 bytes): SPEC, "Base frame".

use crate::crc::crc32c;

/// What a beat says about its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// All is well.
    Ok = 0,
    /// Working, with a fault.
    Degraded = 1,
    /// Not working.
    Critical = 2,
    /// Silent past its deadline. Made by observers only; illegal on the wire.
    Stall = 3,
}

impl Status {
    /// The name used in JSON, metrics and the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Stall => "stall",
        }
    }
}

/// A decoded base frame, or one to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the process says of itself.
    pub status: Status,
    /// Process id; 0 and 1 are refused on the wire.
    pub pid: u32,
    /// Nanoseconds since the agent's connect, monotonic; `u64::MAX` is refused.
    pub timestamp: u64,
    /// Starts at 1, one more per beat; [`Frame::TERMINAL`] is legal only with [`Status::Critical`].
    pub nonce: u64,
    /// Opaque to the protocol.
    pub payload: u32,
}

/// Why 32 bytes are not a frame, in the normative order of checks: the first failure wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Bytes 0..2 are not `56 41`.
    BadMagic,
    /// Byte 2 is not `02`.
    BadVersion,
    /// The checksum over bytes 0..28 does not agree.
    BadCrc {
        /// Computed over the bytes received.
        expected: u32,
        /// Carried by the frame.
        actual: u32,
    },
    /// Byte 3 is above 3.
    BadStatus(u8),
    /// Status 3, which only observers make.
    StallOnWire,
    /// Pid 0 or 1.
    BadPid(u32),
    /// Timestamp `u64::MAX`.
    BadTimestamp,
    /// The terminal nonce with a status other than critical.
    BadNonce,
}

impl DecodeError {
    /// The published name of the error, without its values.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadMagic => "BadMagic",
            Self::BadVersion => "BadVersion",
            Self::BadCrc { .. } => "BadCrc",
            Self::BadStatus(_) => "BadStatus",
            Self::StallOnWire => "StallOnWire",
            Self::BadPid(_) => "BadPid",
            Self::BadTimestamp => "BadTimestamp",
            Self::BadNonce => "BadNonce",
        }
    }
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadCrc { expected, actual } => {
                write!(f, "BadCrc: computed {expected:08x}, the frame carries {actual:08x}")
            }
            Self::BadStatus(status) => write!(f, "BadStatus: {status}"),
            Self::BadPid(pid) => write!(f, "BadPid: {pid}"),
            other => f.write_str(other.name()),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Frame {
    /// Length on the wire, bytes.
    pub const LEN: usize = 32;
    /// The nonce of a last, critical beat.
    pub const TERMINAL: u64 = u64::MAX;
    const MAGIC: [u8; 2] = *b"VA";
    const VERSION: u8 = 2;

    /// The nonce after `nonce`: one more, and 0 after `MAX - 1`.
    #[must_use]
    pub const fn next_nonce(nonce: u64) -> u64 {
        if nonce >= u64::MAX - 1 { 0 } else { nonce + 1 }
    }

    /// Whether this is the last beat of a process that ends badly.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.nonce == Self::TERMINAL
    }

    /// The 32 bytes of this frame. Fields that are illegal on the wire are written as they are; the decoder refuses them.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer(&mut bytes);
        out.put(Self::MAGIC);
        out.put([Self::VERSION, self.status as u8]);
        out.put(self.pid.to_le_bytes());
        out.put(self.timestamp.to_le_bytes());
        out.put(self.nonce.to_le_bytes());
        out.put(self.payload.to_le_bytes());
        let [checked @ .., _, _, _, _] = &bytes;
        let crc = crc32c(checked).to_le_bytes();
        let [.., a, b, c, d] = &mut bytes;
        [*a, *b, *c, *d] = crc;
        bytes
    }

    /// Decodes 32 bytes.
    ///
    /// # Errors
    /// The first [`DecodeError`] in its declared order.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes);
        if input.take::<2>() != Self::MAGIC {
            return Err(DecodeError::BadMagic);
        }
        let [version] = input.take();
        if version != Self::VERSION {
            return Err(DecodeError::BadVersion);
        }
        let [checked @ .., a, b, c, d] = bytes;
        let (expected, actual) = (crc32c(checked), u32::from_le_bytes([*a, *b, *c, *d]));
        if expected != actual {
            return Err(DecodeError::BadCrc { expected, actual });
        }
        let status = match input.take() {
            [0] => Status::Ok,
            [1] => Status::Degraded,
            [2] => Status::Critical,
            [3] => return Err(DecodeError::StallOnWire),
            [other] => return Err(DecodeError::BadStatus(other)),
        };
        let pid = input.u32();
        if pid <= 1 {
            return Err(DecodeError::BadPid(pid));
        }
        let timestamp = input.u64();
        if timestamp == u64::MAX {
            return Err(DecodeError::BadTimestamp);
        }
        let nonce = input.u64();
        if nonce == Self::TERMINAL && status != Status::Critical {
            return Err(DecodeError::BadNonce);
        }
        Ok(Self { status, pid, timestamp, nonce, payload: input.u32() })
    }
}

/// Writes fields one after another; a field beyond the end is a broken invariant.
pub(crate) struct Writer<'a>(pub(crate) &'a mut [u8]);

impl Writer<'_> {
    #[expect(clippy::expect_used, reason = "layouts are fixed; running past the end is our own error")]
    pub(crate) fn put<const N: usize>(&mut self, field: [u8; N]) {
        let (head, tail) =
            core::mem::take(&mut self.0).split_first_chunk_mut::<N>().expect("a field lies within its layout");
        *head = field;
        self.0 = tail;
    }
}

/// Reads fields one after another; a field beyond the end is a broken invariant.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    #[expect(clippy::expect_used, reason = "layouts are fixed; running past the end is our own error")]
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_first_chunk::<N>().expect("a field lies within its layout");
        self.0 = tail;
        *head
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn worked_examples() {
        let first = Frame { status: Status::Ok, pid: 2, timestamp: 0, nonce: 1, payload: 0 };
        let bytes = hex("56410200020000000000000000000000010000000000000000000000e4116baa");
        assert_eq!(first.encode(), bytes);
        assert_eq!(Frame::decode(&bytes), Ok(first));
        let last = Frame { status: Status::Critical, pid: 2, timestamp: 999, nonce: Frame::TERMINAL, payload: 0 };
        let bytes = hex("5641020202000000e703000000000000ffffffffffffffff00000000a299eeed");
        assert_eq!(last.encode(), bytes);
        assert_eq!(Frame::decode(&bytes), Ok(last));
        assert!(last.is_terminal());
    }

    #[test]
    fn nonce_wraps_around_the_terminal_value() {
        assert_eq!(Frame::next_nonce(1), 2);
        assert_eq!(Frame::next_nonce(u64::MAX - 2), u64::MAX - 1);
        assert_eq!(Frame::next_nonce(u64::MAX - 1), 0);
    }
}
