//! Reading and writing a message's fields, in order.

use super::{PREFIX_LEN, ReportError};

/// What is left to be read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReportError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(ReportError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ReportError> {
        self.array().map(u8::from_le_bytes)
    }

    /// 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, ReportError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(ReportError::BadValue(other)),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReportError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReportError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReportError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn address(&mut self) -> Result<[u8; 16], ReportError> {
        self.array()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ReportError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(ReportError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// A text of `len` bytes, without control characters.
    pub(super) fn text(&mut self, len: usize) -> Result<&'a str, ReportError> {
        let text = core::str::from_utf8(self.bytes(len)?).map_err(|_| ReportError::BadText)?;
        if text.chars().any(char::is_control) { Err(ReportError::BadText) } else { Ok(text) }
    }

    /// A text behind its length in one byte.
    pub(super) fn short_text(&mut self) -> Result<&'a str, ReportError> {
        let len = self.u8()?;
        self.text(len.into())
    }

    /// A value that is its type's largest where there is none.
    pub(super) fn optional_u32(&mut self) -> Result<Option<u32>, ReportError> {
        self.u32().map(|value| (value != u32::MAX).then_some(value))
    }
}

/// Room that is being written to.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Forgets what was written after the first `len` bytes.
    pub(super) const fn truncate(&mut self, len: usize) {
        self.len = len;
    }

    /// Ends a message: writes its length before it, and returns that of both.
    pub(super) fn finish(self) -> usize {
        let message = self.len.saturating_sub(PREFIX_LEN);
        if let (Some(prefix), Ok(message)) = (self.room.first_chunk_mut(), u32::try_from(message)) {
            *prefix = message.to_le_bytes();
        }
        self.len
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        let room = self.room.get_mut(self.len..).and_then(|room| room.get_mut(..bytes.len()));
        room.ok_or(ReportError::Full)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    pub(super) fn u8(&mut self, value: u8) -> Result<(), ReportError> {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> Result<(), ReportError> {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> Result<(), ReportError> {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> Result<(), ReportError> {
        self.bytes(&value.to_le_bytes())
    }

    /// A text behind its length in one byte.
    pub(super) fn short_text(&mut self, text: &str) -> Result<(), ReportError> {
        self.u8(u8::try_from(text.len()).map_err(|_| ReportError::TooLong)?)?;
        self.bytes(text.as_bytes())
    }

    pub(super) fn optional_u32(&mut self, value: Option<u32>) -> Result<(), ReportError> {
        self.u32(value.unwrap_or(u32::MAX))
    }
}
