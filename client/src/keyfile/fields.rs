//! Strict reading of the TOML files of this family: every key known, every mistake told by line and key, and no text of
//! the file in any message.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Offset;
use varta_vlp::key::{Name, TokenError};

use super::fault::{ContentError, Fault};
use super::form::{UnixSeconds, check_name, parse_address};

/// A text and the name of the file it came from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    /// Lines of the file before the text.
    lines_before: usize,
    /// Entries of the file's array of tables before the text.
    entries_before: usize,
}

impl<'a> Source<'a> {
    /// Text that came from `file`, which is only named in errors.
    #[must_use]
    pub const fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, lines_before: 0, entries_before: 0 }
    }

    /// The same, for a part of a file that is read piece by piece: errors count the lines and entries before it.
    #[must_use]
    pub const fn part(file: &'a Path, text: &'a str, lines_before: usize, entries_before: usize) -> Self {
        Self { file, text, lines_before, entries_before }
    }

    /// Parses the text and hands the whole of it to `read`, as a section whose keys must all be in `known`.
    ///
    /// # Errors
    /// A mistake of syntax, an unknown key, or what `read` returns.
    pub fn read<T>(
        self,
        known: &'static [&'static str],
        read: impl FnOnce(&Section<'_>) -> Result<T, ContentError>,
    ) -> Result<T, ContentError> {
        self.look(|root| root.check_known(known).and_then(|()| read(root)))?
    }

    /// Parses the text and hands the whole of it to `look`, whatever its keys are.
    ///
    /// # Errors
    /// A mistake of syntax.
    pub fn look<T>(self, look: impl FnOnce(&Section<'_>) -> T) -> Result<T, ContentError> {
        let parsed = DeTable::parse(self.text).map_err(|error| {
            self.error(
                error.span().map_or(0, |span| span.start),
                String::new(),
                Fault::Syntax(error.message().to_owned()),
            )
        })?;
        let section = Section { source: self, table: parsed.get_ref(), start: 0, place: None };
        Ok(look(&section))
    }

    fn error(self, offset: usize, key: String, fault: Fault) -> ContentError {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        ContentError {
            file: self.file.to_owned(),
            line: 1 + self.lines_before + before.iter().filter(|byte| **byte == b'\n').count(),
            key,
            fault,
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

/// One table of a file. It shows nothing of its values but by the typed methods.
pub struct Section<'s> {
    source: Source<'s>,
    table: &'s DeTable<'s>,
    start: usize,
    /// The name and index of an entry of an array of tables; `None` for the file itself.
    place: Option<(&'static str, usize)>,
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'s> Section<'s> {
    fn check_known(&self, known: &'static [&'static str]) -> Result<(), ContentError> {
        let unknown = self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(()),
            Some(key) => Err(self.source.error(
                key.span().start,
                self.path(shown_key(key.get_ref())),
                Fault::UnknownKey { known },
            )),
        }
    }

    fn path(&self, key: &str) -> String {
        match self.place {
            Some((name, index)) => format!("{name}[{index}].{key}"),
            None => key.to_owned(),
        }
    }

    fn at(&self, offset: usize, key: &str, fault: Fault) -> ContentError {
        self.source.error(offset, self.path(key), fault)
    }

    fn wrong_type(&self, key: &str, wanted: &'static str, found: &Spanned<DeValue<'_>>) -> ContentError {
        let fault = Fault::WrongType { wanted, found: type_name(found.get_ref()) };
        self.at(found.span().start, key, fault)
    }

    /// The error that blames `key`: on its line, or on that of its section where it does not stand.
    #[must_use]
    pub fn fault(&self, key: &str, fault: Fault) -> ContentError {
        let start = self.table.get(key).map_or(self.start, |value| value.span().start);
        self.at(start, key, fault)
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string, if the key is there.
    ///
    /// # Errors
    /// A value of another type.
    pub fn opt_str(&self, key: &str) -> Result<Option<&'s str>, ContentError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::String(text) => Ok(Some(text)),
                _ => Err(self.wrong_type(key, "a string", value)),
            },
        }
    }

    /// A string.
    ///
    /// # Errors
    /// A missing key, or a value of another type.
    pub fn str(&self, key: &str) -> Result<&'s str, ContentError> {
        self.opt_str(key)?.ok_or_else(|| self.fault(key, Fault::MissingKey))
    }

    /// A name of an agent, unit or audience.
    ///
    /// # Errors
    /// A missing key, a value of another type, or no name.
    pub fn name(&self, key: &str) -> Result<Name<'s>, ContentError> {
        check_name(self.str(key)?).map_err(|error| self.fault(key, Fault::Value(error.to_string())))
    }

    /// An address of the form `host:port`.
    ///
    /// # Errors
    /// A missing key, a value of another type, or no address.
    pub fn address(&self, key: &str) -> Result<&'s str, ContentError> {
        let text = self.str(key)?;
        match parse_address(text) {
            Ok(_) => Ok(text),
            Err(error) => Err(self.fault(key, Fault::Value(error.to_string()))),
        }
    }

    /// A secret, read by its type's `from_text`.
    ///
    /// # Errors
    /// A missing key, a value of another type, or a text that is not this kind of secret.
    pub fn secret<T>(&self, key: &str, from_text: fn(&str) -> Result<T, TokenError>) -> Result<T, ContentError> {
        from_text(self.str(key)?).map_err(|error| self.fault(key, Fault::Secret(error)))
    }

    /// An integer within `range`, if the key is there.
    ///
    /// # Errors
    /// A value of another type or out of range.
    pub fn opt_integer<T: Integer>(&self, key: &str, range: RangeInclusive<T>) -> Result<Option<T>, ContentError> {
        self.table.get(key).map(|value| self.as_integer(key, value, &range)).transpose()
    }

    /// An integer within `range`.
    ///
    /// # Errors
    /// A missing key, or a value of another type or out of range.
    pub fn integer<T: Integer>(&self, key: &str, range: RangeInclusive<T>) -> Result<T, ContentError> {
        self.opt_integer(key, range)?.ok_or_else(|| self.fault(key, Fault::MissingKey))
    }

    fn as_integer<T: Integer>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: &RangeInclusive<T>,
    ) -> Result<T, ContentError> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(self.wrong_type(key, "an integer", value));
        };
        let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let parsed = parsed.and_then(|parsed| T::try_from(parsed).ok());
        parsed.filter(|parsed| range.contains(parsed)).ok_or_else(|| {
            let message = format!("write an integer from {} to {}", range.start(), range.end());
            self.at(value.span().start, key, Fault::Value(message))
        })
    }

    /// Integers within `range`, each once, in the order of the file; none if the key is not there.
    ///
    /// # Errors
    /// Values of another type or out of range, or one that stands twice.
    pub fn integers<T: Integer + Ord>(&self, key: &str, range: RangeInclusive<T>) -> Result<Vec<T>, ContentError> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, "an array of integers", value));
        };
        let mut seen = BTreeSet::new();
        let mut list = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let one = self.as_integer(key, item, &range)?;
            if !seen.insert(one) {
                let first = format!("an integer before it, at index {index}");
                return Err(self.at(item.span().start, key, Fault::Duplicate { first }));
            }
            list.push(one);
        }
        Ok(list)
    }

    /// Checks that `key` is `wanted`, the version of the file's form that this program reads.
    ///
    /// # Errors
    /// A missing key, a value of another type, or another version.
    pub fn version(&self, key: &str, wanted: u64) -> Result<(), ContentError> {
        match self.integer(key, 0..=u64::MAX)? {
            found if found == wanted => Ok(()),
            found => Err(self.fault(key, Fault::Version { wanted, found })),
        }
    }

    /// True or false; false if the key is not there.
    ///
    /// # Errors
    /// A value of another type.
    pub fn flag(&self, key: &str) -> Result<bool, ContentError> {
        match self.table.get(key) {
            None => Ok(false),
            Some(value) => match value.get_ref() {
                DeValue::Boolean(flag) => Ok(*flag),
                _ => Err(self.wrong_type(key, "true or false", value)),
            },
        }
    }

    /// An instant, if the key is there: a TOML date-time with an offset. Fractions of a second are dropped.
    ///
    /// # Errors
    /// A value of another type, a date-time without offset, or one before 1970.
    pub fn opt_time(&self, key: &str) -> Result<Option<UnixSeconds>, ContentError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let DeValue::Datetime(found) = value.get_ref() else {
            return Err(self.wrong_type(key, "a date-time such as 2030-01-31T12:00:00Z, without quotes,", value));
        };
        let minutes = match found.offset {
            Some(Offset::Z) => Some(0),
            Some(Offset::Custom { minutes }) => Some(minutes),
            None => None,
        };
        let time = found.date.zip(found.time).zip(minutes).and_then(|((date, time), minutes)| {
            let clock = (time.hour, time.minute, time.second.unwrap_or(0));
            UnixSeconds::from_civil((date.year, date.month, date.day), clock, minutes)
        });
        let message = "write a date-time since 1970 with its offset, such as 2030-01-31T12:00:00Z";
        time.map(Some).ok_or_else(|| self.fault(key, Fault::Value(message.to_owned())))
    }

    /// The strings of an array, in the order of the file; none if the key is not there.
    ///
    /// # Errors
    /// A value of another type.
    pub fn array_of_strings(&self, key: &str) -> Result<Vec<&'s str>, ContentError> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, "an array of strings", value));
        };
        let text = |item: &'s Spanned<DeValue<'s>>| match item.get_ref() {
            DeValue::String(text) => Ok(Cow::as_ref(text)),
            _ => Err(self.wrong_type(key, "a string", item)),
        };
        array.iter().map(text).collect()
    }

    /// The strings of a small table such as `{ site = "ams" }`, sorted by key; none if the key is not there.
    ///
    /// # Errors
    /// A value of another type, or a string within it that is none.
    pub fn strings(&self, key: &str) -> Result<Vec<(&'s str, &'s str)>, ContentError> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(key, "a table of strings", value));
        };
        let pair = |(name, value): (&'s Spanned<_>, &'s Spanned<_>)| match value.get_ref() {
            DeValue::String(text) => Ok((Cow::as_ref(name.get_ref()), Cow::as_ref(text))),
            _ => Err(self.wrong_type(key, "a string", value)),
        };
        table.iter().map(pair).collect()
    }

    /// The entries of an array of tables, whose keys must all be in `known`: at least `least` and at most `most` of them.
    ///
    /// # Errors
    /// A value of another type, too few or too many, or an unknown key in one of them.
    pub fn sections(
        &self,
        key: &'static str,
        known: &'static [&'static str],
        count: RangeInclusive<usize>,
    ) -> Result<Vec<Self>, ContentError> {
        let (least, max) = count.into_inner();
        let Some(value) = self.table.get(key) else {
            return if least == 0 { Ok(Vec::new()) } else { Err(self.fault(key, Fault::MissingKey)) };
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, "[[..]], with two brackets,", value));
        };
        let found = array.len();
        if found < least || found > max {
            return Err(self.fault(key, Fault::Count { least, max, found }));
        }
        let entry = |(index, item): (usize, &'s Spanned<DeValue<'s>>)| {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(self.wrong_type(key, "[[..]], with two brackets,", item));
            };
            let section = Self {
                source: self.source,
                table,
                start: item.span().start,
                place: Some((key, self.source.entries_before + index)),
            };
            section.check_known(known).map(|()| section)
        };
        array.iter().enumerate().map(entry).collect()
    }
}

/// The unsigned integers a section reads.
pub trait Integer: TryFrom<u64> + PartialOrd + Copy + fmt::Display {}
impl Integer for u32 {}
impl Integer for u64 {}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date-time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// An unknown key as errors show it: the text of a secret pasted in a key's place must not be told.
fn shown_key(key: &str) -> &str {
    let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let lower = !key.bytes().any(|byte| byte.is_ascii_uppercase());
    if bare && key.len() <= if lower { 32 } else { 12 } { key } else { "(a key not shown here)" }
}
