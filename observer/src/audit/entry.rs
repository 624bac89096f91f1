//! An entry, and the line that it becomes.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use varta_core::WallNs;

use super::chain::{AuditKey, Link};

/// The longest line, bytes, its end included. What is longer was not written here.
pub const LINE_MAX: usize = 64 * 1024;
/// Arguments of a command that are kept.
const ARGUMENTS_MAX: usize = 32;
/// The longest argument, bytes.
const ARGUMENT_MAX: usize = 256;
/// The longest detail, bytes.
const DETAIL_MAX: usize = 1024;
/// The longest of the other texts, bytes.
const WORD_MAX: usize = 128;

/// What was decided or done. `spawn` is the number ([`Link::seq`]) of the line of the spawn that came to this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A command is about to be started.
    Spawn,
    /// It ended by itself.
    Completed {
        /// The line of its spawn.
        spawn: u64,
    },
    /// It was killed.
    Killed {
        /// The line of its spawn.
        spawn: u64,
    },
    /// There will be no spawn, and why.
    Refused,
    /// An agent or unit is not recovered any more.
    GivenUp,
    /// Recovery as a whole was stopped, or let go again.
    Brake,
    /// There would have been a spawn.
    DryRun,
}

impl Event {
    /// Its word in a line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => SPAWN,
            Self::Completed { .. } => COMPLETED,
            Self::Killed { .. } => KILLED,
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Brake => "brake",
            Self::DryRun => "dry_run",
        }
    }

    const fn spawn(self) -> Option<u64> {
        match self {
            Self::Completed { spawn } | Self::Killed { spawn } => Some(spawn),
            _ => None,
        }
    }
}

pub(super) const SPAWN: &str = "spawn";
pub(super) const COMPLETED: &str = "completed";
pub(super) const KILLED: &str = "killed";
/// The first line of each file.
pub(super) const BEGIN: &str = "begin";
/// A torn last line was set aside.
pub(super) const RECOVERED_TORN: &str = "recovered_torn";

/// One decision of recovery. Of texts that are too long the beginning is kept, and `…[+N]` says how many bytes are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: WallNs,
    /// What.
    pub event: Event,
    /// The agent it is about; 128 bytes are kept.
    pub agent: Option<String>,
    /// The agent's unit; 128 bytes are kept.
    pub unit: Option<String>,
    /// The process that stalled, or that was started.
    pub pid: Option<u32>,
    /// By what way the slot was heard; 128 bytes are kept.
    pub origin: Option<String>,
    /// The rule that decided; 128 bytes are kept.
    pub rule: Option<String>,
    /// The program and its arguments; 32 of them are kept, and 256 bytes of each. Left out where empty.
    pub command: Vec<String>,
    /// How it came out, in a word or two: `exit 1`, `signal 9`, the reason of a refusal; 128 bytes are kept.
    pub outcome: Option<String>,
    /// What else there is to say; 1024 bytes are kept.
    pub detail: Option<String>,
}

impl Entry {
    /// An entry that says no more than what and when.
    #[must_use]
    pub const fn new(at: WallNs, event: Event) -> Self {
        Self {
            at,
            event,
            agent: None,
            unit: None,
            pid: None,
            origin: None,
            rule: None,
            command: Vec::new(),
            outcome: None,
            detail: None,
        }
    }

    /// The line that follows `before`, and its link.
    pub(super) fn line(&self, before: &Link, key: &AuditKey) -> (Vec<u8>, Link) {
        let word = |text: &Option<String>| text.clone().map(|text| cut(&text, WORD_MAX).into_owned());
        let fields = Fields {
            spawn: self.event.spawn(),
            agent: word(&self.agent),
            unit: word(&self.unit),
            pid: self.pid,
            origin: word(&self.origin),
            rule: word(&self.rule),
            command: cut_command(&self.command),
            outcome: word(&self.outcome),
            detail: self.detail.as_deref().map(|text| cut(text, DETAIL_MAX).into_owned()),
            ..Fields::new(self.at, self.event.name())
        };
        fields.line(before, key)
    }
}

/// The fields of a line in their order, its own link apart.
#[derive(Serialize)]
pub(super) struct Fields {
    seq: u64,
    at: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    spawn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    prev: String,
}

impl Fields {
    fn new(at: WallNs, event: &'static str) -> Self {
        let at = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(at.0)).to_string();
        Self {
            seq: 0,
            at,
            event,
            spawn: None,
            agent: None,
            unit: None,
            pid: None,
            origin: None,
            rule: None,
            command: Vec::new(),
            outcome: None,
            detail: None,
            prev: String::new(),
        }
    }

    /// The first line of a file.
    pub(super) fn begin(at: WallNs, key: &AuditKey) -> Self {
        Self { outcome: Some(key.word().to_owned()), ..Self::new(at, BEGIN) }
    }

    /// Says that a torn line was set aside.
    pub(super) fn recovered_torn(at: WallNs, detail: String) -> Self {
        Self { detail: Some(detail), ..Self::new(at, RECOVERED_TORN) }
    }

    #[expect(clippy::expect_used, reason = "numbers and strings can be written, and a vector takes them")]
    pub(super) fn line(mut self, before: &Link, key: &AuditKey) -> (Vec<u8>, Link) {
        self.seq = before.seq.saturating_add(1);
        self.prev = before.hex();
        let mut line = Vec::with_capacity(512);
        self.serialize(&mut Serializer::with_formatter(&mut line, Plain)).expect("a vector takes every line");
        line.pop();
        let link = before.next(key, &line);
        link.close(&mut line);
        (line, link)
    }
}

/// JSON in which no character acts on a terminal: what `serde_json` leaves of control characters, line and paragraph
/// separators and directions of writing is escaped too.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let acts = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let mut rest = fragment;
        while let Some((plain, c)) =
            rest.find(acts).and_then(|at| Some((rest.get(..at)?, rest.get(at..)?.chars().next()?)))
        {
            write!(writer, "{plain}\\u{:04x}", u32::from(c))?;
            rest = rest.get(plain.len() + c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// `text`, or its beginning and how many bytes it lacks; `most` bytes at most.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    /// As long as the mark gets.
    const MARK: usize = "…[+18446744073709551615]".len();
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most.saturating_sub(MARK)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let (kept, lost) = text.split_at(end);
    Cow::Owned(format!("{kept}…[+{}]", lost.len()))
}

fn cut_command(command: &[String]) -> Vec<String> {
    let kept = if command.len() <= ARGUMENTS_MAX { command.len() } else { ARGUMENTS_MAX - 1 };
    let mut arguments: Vec<_> = command.iter().take(kept).map(|text| cut(text, ARGUMENT_MAX).into_owned()).collect();
    if kept < command.len() {
        arguments.push(format!("…[+{}]", command.len() - kept));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn line(entry: &Entry) -> String {
        String::from_utf8(entry.line(&Link::START, &AuditKey::unkeyed()).0).unwrap()
    }

    #[test]
    fn a_line_has_its_fields_in_a_fixed_order() {
        let entry = Entry {
            agent: Some("web-1".into()),
            unit: Some("api".into()),
            pid: Some(42),
            origin: Some("sealed".into()),
            rule: Some("restart".into()),
            command: vec!["systemctl".into(), "restart".into(), "a b\n".into()],
            outcome: Some("exit 1".into()),
            detail: Some("\u{9b}31m \u{202e}\u{7f} é\"".into()),
            ..Entry::new(WallNs(1_700_000_000_123_456_789), Event::Completed { spawn: 7 })
        };
        let zeros = "0".repeat(64);
        let expected = format!(
            r#"{{"seq":1,"at":"2023-11-14T22:13:20.123456Z","event":"completed","spawn":7,"agent":"web-1","unit":"api","pid":42,"origin":"sealed","rule":"restart","command":["systemctl","restart","a b\n"],"outcome":"exit 1","detail":"\u009b31m \u202e\u007f é\"","prev":"{zeros}","link":""#
        );
        let line = line(&entry);
        assert!(line.starts_with(&expected), "{line}");
        assert_eq!(line.len(), expected.len() + 64 + 3);
    }

    #[test]
    fn what_is_not_said_is_left_out() {
        let line = line(&Entry::new(WallNs(u64::MAX), Event::Brake));
        assert!(
            line.starts_with(r#"{"seq":1,"at":"2554-07-21T23:34:33.709551Z","event":"brake","prev":"00"#),
            "{line}"
        );
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        assert_eq!(cut("abc", 3), "abc");
        let long = format!("{}é{}", "a".repeat(101), "b".repeat(200));
        assert_eq!(cut(&long, 128), format!("{}…[+202]", "a".repeat(101)));
        let many: Vec<_> = (0..33).map(|number| number.to_string()).collect();
        let kept = cut_command(&many);
        assert_eq!((kept.len(), kept[31].as_str()), (32, "…[+2]"));
        assert_eq!(cut_command(&many[..32]), many[..32]);
    }

    #[test]
    fn the_longest_line_is_within_the_limit() {
        let worst = |length| Some("\u{1}".repeat(length));
        let entry = Entry {
            agent: worst(WORD_MAX),
            unit: worst(WORD_MAX),
            pid: Some(u32::MAX),
            origin: worst(WORD_MAX),
            rule: worst(WORD_MAX),
            command: vec!["\u{1}".repeat(ARGUMENT_MAX); ARGUMENTS_MAX],
            outcome: worst(WORD_MAX),
            detail: worst(DETAIL_MAX),
            ..Entry::new(WallNs(u64::MAX), Event::Completed { spawn: u64::MAX })
        };
        let link = Link { seq: u64::MAX - 1, hash: [0; 32] };
        let length = entry.line(&link, &AuditKey::unkeyed()).0.len();
        assert!((50_000..LINE_MAX).contains(&length), "{length}");
    }

    proptest! {
        #[test]
        fn any_text_stays_on_one_line_and_is_read_again(text in any::<String>(), more in proptest::collection::vec(any::<String>(), 1..5)) {
            let entry = Entry {
                agent: Some(text.clone()),
                command: more.clone(),
                ..Entry::new(WallNs(5), Event::Spawn)
            };
            let line = line(&entry);
            prop_assert!(line.ends_with('\n'));
            prop_assert!(!line.trim_end().chars().any(char::is_control));
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["agent"].as_str().unwrap(), cut(&text, WORD_MAX));
            let command: Vec<_> = more.iter().map(|text| Value::from(cut(text, ARGUMENT_MAX))).collect();
            prop_assert_eq!(&read["command"], &Value::from(command));
        }
    }
}
