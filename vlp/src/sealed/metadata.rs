//! What an announce says about its sender: SPEC, "Announce".

use super::METADATA_MAX_LEN;
use crate::{
    key::{AgentId, Name, UnitId},
    reject::Reject,
};

/// Metadata of legal form: `key_len u8, key, value_len u8, value`, repeated, keys strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a>(&'a [u8]);

/// Why bytes or pairs are not metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Nothing at all.
    Empty,
    /// More than 1024 bytes in all, or a value of more than 255.
    TooLong,
    /// A length runs past the end.
    Truncated,
    /// A key that is empty or longer than 32 bytes.
    BadKey,
    /// A key not above the one before it.
    KeyOrder,
    /// Not UTF-8, or with a control character.
    BadText,
    /// An agent or unit name of bad form.
    BadName,
}

impl core::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Empty => "metadata is empty",
            Self::TooLong => "metadata is longer than 1024 bytes, or a value longer than 255",
            Self::Truncated => "metadata is cut short",
            Self::BadKey => "a metadata key is not 1 to 32 bytes long",
            Self::KeyOrder => "metadata keys are not strictly ascending",
            Self::BadText => "metadata is not UTF-8 or holds a control character",
            Self::BadName => "an agent or unit name in metadata is of bad form",
        })
    }
}

impl core::error::Error for MetadataError {}

impl<'a> Metadata<'a> {
    /// Checks the form of `bytes`.
    ///
    /// # Errors
    /// The first [`MetadataError`] met.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MetadataError> {
        if bytes.is_empty() {
            return Err(MetadataError::Empty);
        }
        if bytes.len() > METADATA_MAX_LEN {
            return Err(MetadataError::TooLong);
        }
        let mut rest = bytes;
        let mut last = "";
        while !rest.is_empty() {
            let key = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            check_pair(last, key, value)?;
            last = key;
        }
        Ok(Self(bytes))
    }

    /// Writes pairs into `out` and returns them as metadata. Pairs are to be sorted by key.
    ///
    /// # Errors
    /// The first [`MetadataError`] met.
    pub fn write<'b, 'p>(
        pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
        out: &'b mut [u8; METADATA_MAX_LEN],
    ) -> Result<Metadata<'b>, MetadataError> {
        let mut len = 0;
        for text in pairs.into_iter().flat_map(|(key, value)| [key, value]) {
            let size = u8::try_from(text.len()).map_err(|_| MetadataError::TooLong)?;
            let (head, tail) = out.get_mut(len..).and_then(<[u8]>::split_first_mut).ok_or(MetadataError::TooLong)?;
            *head = size;
            tail.get_mut(..text.len()).ok_or(MetadataError::TooLong)?.copy_from_slice(text.as_bytes());
            len += 1 + text.len();
        }
        Metadata::parse(out.get(..len).ok_or(MetadataError::TooLong)?)
    }

    /// The bytes as they were received.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The pairs, in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || Some((take_text(&mut rest).ok()?, take_text(&mut rest).ok()?)))
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find_map(|(found, value)| (found == key).then_some(value))
    }

    pub(super) fn check_names(&self, agent: AgentId, unit: UnitId) -> Result<(), Reject> {
        let matches_agent = |name: Name<'_>| name.agent_id() == agent;
        let matches_unit = |name: Name<'_>| unit != UnitId::NONE && name.unit_id() == unit;
        for (key, value) in self.iter() {
            let agrees = match key {
                "agent" => Name::new(value).is_ok_and(matches_agent),
                "unit" => Name::new(value).is_ok_and(matches_unit),
                _ => true,
            };
            if !agrees {
                return Err(Reject::NameMismatch);
            }
        }
        Ok(())
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, MetadataError> {
    let (len, tail) = rest.split_first().ok_or(MetadataError::Truncated)?;
    let (text, tail) = tail.split_at_checked(usize::from(*len)).ok_or(MetadataError::Truncated)?;
    *rest = tail;
    core::str::from_utf8(text).map_err(|_| MetadataError::BadText)
}

fn check_pair(last: &str, key: &str, value: &str) -> Result<(), MetadataError> {
    if key.is_empty() || key.len() > 32 {
        return Err(MetadataError::BadKey);
    }
    if key <= last {
        return Err(MetadataError::KeyOrder);
    }
    if key.chars().chain(value.chars()).any(char::is_control) {
        return Err(MetadataError::BadText);
    }
    if matches!(key, "agent" | "unit") && Name::new(value).is_err() {
        return Err(MetadataError::BadName);
    }
    Ok(())
}
