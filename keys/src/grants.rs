//! What a roster says of an agent beside its name: labels, durations. One reading for rosters and the fleet's record.

use std::collections::BTreeMap;
use std::time::Duration;

use varta_client::keyfile::{ContentError, Fault, Section, holds_secret, push_quoted};

/// Labels of one agent at most.
pub(crate) const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY_BYTES: usize = 32;
const MAX_LABEL_VALUE_BYTES: usize = 255;
const RESERVED: [&str; 4] = ["agent", "unit", "host", "version"];
const LONGEST: Duration = Duration::from_secs(3660 * 86_400);

/// A label of bad form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The key is empty, longer than 32 bytes, or holds a control character.
    #[error("a label's key is 1 to 32 bytes without control characters")]
    Key,
    /// The key has a meaning of its own.
    #[error("agent, unit, host and version are told by the agent itself and cannot be labels")]
    Reserved,
    /// The value is longer than 255 bytes or holds a control character.
    #[error("a label's value is at most 255 bytes without control characters")]
    Value,
    /// More than 32 labels.
    #[error("an agent has at most {MAX_LABELS} labels")]
    TooMany,
    /// A secret was put where a label belongs.
    #[error("a secret stands where a label belongs")]
    Secret,
}

/// Checks the form of a label.
///
/// # Errors
/// [`LabelError`], without the label's text.
pub fn check_label(key: &str, value: &str) -> Result<(), LabelError> {
    if holds_secret(key) || holds_secret(value) {
        return Err(LabelError::Secret);
    }
    if key.is_empty() || key.len() > MAX_LABEL_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(LabelError::Key);
    }
    if RESERVED.contains(&key) {
        return Err(LabelError::Reserved);
    }
    if value.len() > MAX_LABEL_VALUE_BYTES || value.chars().any(char::is_control) {
        return Err(LabelError::Value);
    }
    Ok(())
}

pub(crate) fn read_labels(section: &Section<'_>) -> Result<BTreeMap<String, String>, ContentError> {
    let pairs = section.strings("labels")?;
    if pairs.len() > MAX_LABELS {
        let fault = Fault::Count { least: 0, max: MAX_LABELS, found: pairs.len() };
        return Err(section.fault("labels", fault));
    }
    pairs
        .into_iter()
        .map(|(key, value)| match check_label(key, value) {
            Ok(()) => Ok((key.to_owned(), value.to_owned())),
            Err(error) => Err(section.fault("labels", Fault::Value(error.to_string()))),
        })
        .collect()
}

/// A duration of whole milliseconds, from 1 ms to 10 years, if the key is there.
pub(crate) fn read_duration(section: &Section<'_>, key: &str) -> Result<Option<Duration>, ContentError> {
    let Some(text) = section.opt_str(key)? else {
        return Ok(None);
    };
    let parsed = humantime::parse_duration(text).ok();
    let legal = |found: &Duration| {
        (Duration::from_millis(1)..=LONGEST).contains(found) && found.subsec_nanos().is_multiple_of(1_000_000)
    };
    parsed.filter(legal).map(Some).ok_or_else(|| {
        let message = "write a duration from 1ms to 10years, such as \"90s\" or \"7d\"";
        section.fault(key, Fault::Value(message.to_owned()))
    })
}

pub(crate) fn push_labels(out: &mut String, labels: &BTreeMap<String, String>) {
    if labels.is_empty() {
        return;
    }
    out.push_str("labels = { ");
    for (index, (key, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if bare {
            out.push_str(key);
        } else {
            push_quoted(out, key);
        }
        out.push_str(" = ");
        push_quoted(out, value);
    }
    out.push_str(" }\n");
}

pub(crate) fn push_duration(out: &mut String, key: &str, duration: Option<Duration>) {
    if let Some(duration) = duration {
        out.push_str(key);
        out.push_str(" = \"");
        out.push_str(&humantime::format_duration(duration).to_string());
        out.push_str("\"\n");
    }
}
