//! From text to a configuration, or to every mistake in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::check::{excerpt, found, stray};
use crate::document::Document;
use crate::error::{ConfigError, Problem, Problems};
use crate::schema::Section;
use crate::slot::Slot;
use crate::suggest::{unknown_key, unknown_section};

/// A longer file is refused unread.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// The text of a configuration file.
///
/// # Errors
/// It cannot be read, or is no text of reasonable size.
pub(crate) fn text_of(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
    let opened = File::open(file).map_err(unreadable)?;
    if opened.metadata().map_err(unreadable)?.is_dir() {
        return Err(ConfigError::Directory { file: file.to_owned() });
    }
    let mut bytes = Vec::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { file: file.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| ConfigError::NotUtf8 {
        file: file.to_owned(),
        line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
    })
}

/// Reads the text of `file`.
///
/// # Errors
/// [`ConfigError::Invalid`] with every mistake found.
pub(crate) fn parse<C: Document>(text: &str, file: &Path) -> Result<C, ConfigError> {
    let base = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader {
        text,
        base,
        problems: Problems { file: Some(file.to_owned()), ..Problems::default() },
        seen: BTreeMap::new(),
    };
    let (root, mistakes) = DeTable::parse_recoverable(text);
    reader.report_syntax(&mistakes);
    let config = if mistakes.is_empty() { reader.read::<C>(root.get_ref()) } else { C::default() };
    if reader.problems.list.is_empty() {
        config.check_together(&mut |key, message| reader.report_together(key, message));
    }
    reader.problems.into_result().map(|()| config)
}

struct Reader<'a> {
    text: &'a str,
    base: &'a Path,
    problems: Problems,
    /// Where each known key and section stands.
    seen: BTreeMap<String, Range<usize>>,
}

impl Reader<'_> {
    fn report(&mut self, at: &Range<usize>, key: &str, message: impl FnOnce() -> String) {
        let text = self.text.as_bytes();
        self.problems.push(|| Problem { line: Some(line_at(text, at.start)), key: key.to_owned(), message: message() });
    }

    fn report_syntax(&mut self, mistakes: &[toml::de::Error]) {
        let text = self.text;
        for mistake in mistakes {
            let span = mistake.span().unwrap_or(0..0);
            self.report(&span, "", || {
                let culprit = text.lines().nth(line_at(text.as_bytes(), span.start) - 1).unwrap_or_default();
                format!("not TOML: {}, in `{}`", mistake.message(), excerpt(culprit.trim()))
            });
        }
    }

    /// A combination is blamed on its key where it stands, else on its section, else on the file.
    fn report_together(&mut self, key: String, message: String) {
        let section = key.split('.').next().unwrap_or_default();
        match self.seen.get(&key).or_else(|| self.seen.get(section)).cloned() {
            Some(span) => self.report(&span, &key, || message),
            None => self.problems.push(|| Problem { line: None, key, message }),
        }
    }

    fn read<C: Document>(&mut self, root: &DeTable<'_>) -> C {
        let mut schema = C::one_of_each();
        let known = schema.sections();
        let mut config = C::default();
        let mut tables = BTreeMap::new();
        for (name, value) in root {
            match known.iter().find(|section| section.name == name.get_ref()) {
                None => self.report_unknown_section(name, &known),
                Some(Section { index: None, name: known, .. }) => match value.get_ref() {
                    DeValue::Table(table) => _ = tables.insert(known.to_string(), (value.span(), table)),
                    other => self.report_value(value.span(), known, other, &format!("the section once, as [{known}]")),
                },
                Some(Section { name: known, .. }) => {
                    let several = self.tables_of(known, value, C::ONE_OR_MORE.contains(known));
                    config.set_count(known, several.len());
                    let numbered = several.into_iter().enumerate();
                    tables.extend(numbered.map(|(index, table)| (format!("{known}[{index}]"), table)));
                }
            }
        }
        for mut section in config.sections() {
            let path = section.path();
            if let Some((span, table)) = tables.get(&path) {
                self.seen.insert(path.clone(), span.clone());
                self.read_section(&path, &mut section, table, &known);
                self.report_missing(&path, &section, span);
            }
        }
        for section in config.sections() {
            self.report_strays(&section);
        }
        config
    }

    /// The tables of a section that may stand several times.
    fn tables_of<'t, 'i>(
        &mut self,
        name: &'static str,
        value: &'t Spanned<DeValue<'i>>,
        single: bool,
    ) -> Vec<(Range<usize>, &'t DeTable<'i>)> {
        self.seen.insert(name.to_owned(), value.span());
        let wants = format!("[[{name}]], with two brackets, once for each one");
        if let (true, DeValue::Table(table)) = (single, value.get_ref()) {
            return vec![(value.span(), table)];
        }
        let DeValue::Array(array) = value.get_ref() else {
            self.report_value(value.span(), name, value.get_ref(), &wants);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((item.span(), table)),
                other => self.report_value(item.span(), name, other, &wants),
            }
        }
        tables
    }

    fn read_section(&mut self, path: &str, section: &mut Section<'_>, table: &DeTable<'_>, all: &[Section<'_>]) {
        for (key, value) in table {
            let Some(field) = section.fields.iter_mut().find(|field| field.key == key.get_ref()) else {
                let named = format!("{path}.{}", excerpt(key.get_ref()));
                self.report(&key.span(), &named, || unknown_key(key.get_ref(), section, all));
                continue;
            };
            let named = format!("{path}.{}", field.key);
            if let (Slot::Table(fields), DeValue::Table(inner)) = (&mut field.slot, value.get_ref()) {
                self.seen.insert(named.clone(), key.span());
                let fields = std::mem::take(fields);
                let mut within = Section { name: field.key, index: None, kind: None, fields };
                self.read_section(&named, &mut within, inner, &[]);
                field.slot = Slot::Table(within.fields);
                continue;
            }
            if !(field.slot.set(value.get_ref(), self.base) && field.slot.is_in_range()) {
                self.report_value(value.span(), &named, value.get_ref(), &field.slot.wants());
            }
            self.seen.insert(named, key.span());
        }
    }

    fn report_missing(&mut self, path: &str, section: &Section<'_>, span: &Range<usize>) {
        for field in section.fields.iter().filter(|field| field.required) {
            let named = format!("{path}.{}", field.key);
            if !self.seen.contains_key(&named) {
                self.report(span, &named, || format!("is missing; write {}", field.slot.wants()));
            }
        }
    }

    /// A key of another kind of section is a mistake even at its default: it would be taken to be in force.
    fn report_strays(&mut self, section: &Section<'_>) {
        for field in section.strays() {
            let named = format!("{}.{}", section.path(), field.key);
            if let Some(span) = self.seen.get(&named).cloned() {
                self.report(&span, &named, || stray(field, section));
            }
        }
    }

    fn report_value(&mut self, span: Range<usize>, key: &str, value: &DeValue<'_>, wants: &str) {
        let text = match value {
            DeValue::Table(_) => "a table",
            DeValue::Array(_) => "an array",
            _ => self.text.get(span.clone()).unwrap_or(value.type_str()),
        };
        self.report(&span, key, || found(text, wants));
    }

    fn report_unknown_section(&mut self, name: &Spanned<impl AsRef<str>>, known: &[Section<'_>]) {
        let text = name.get_ref().as_ref();
        self.report(&name.span(), &excerpt(text), || unknown_section(text, known));
    }
}

/// The number, from 1, of the line that holds this byte.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}
