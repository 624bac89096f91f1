//! What requests ask for, in their words.

use serde::Deserialize;
use varta_daemon::http::Failure;
use varta_vlp::subject::Verdict;

use crate::fleet::Filter;

/// Units of one answer, where it is not said how many.
const LIMIT: u32 = 1000;
/// Most units of one answer.
pub(super) const LIMIT_MAX: u32 = 10_000;
/// The longest text that is searched for, bytes.
const TEXT_MAX: usize = 200;
/// Most labels that are asked for.
const LABELS_MAX: usize = 8;

/// Which units are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    label: String,
    observer: Option<String>,
    #[serde(default = "default_limit")]
    pub(super) limit: u32,
    #[serde(default)]
    pub(super) cursor: u32,
}

const fn default_limit() -> u32 {
    LIMIT
}

impl Asked {
    pub(super) fn filter(&self) -> Result<Filter, Failure> {
        if self.limit == 0 || self.limit > LIMIT_MAX {
            return Err(Failure::bad_request(format!("limit is 1 to {LIMIT_MAX}")));
        }
        if self.q.len() > TEXT_MAX {
            return Err(Failure::bad_request(format!("q is at most {TEXT_MAX} bytes")));
        }
        let words =
            |text: &'_ str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let labels = words(&self.label);
        if labels.len() > LABELS_MAX {
            return Err(Failure::bad_request(format!("label is at most {LABELS_MAX} labels")));
        }
        let label = |text: String| {
            let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Failure::bad_request(format!("label is KEY=VALUE, several with commas; found {text}")))
        };
        Ok(Filter {
            verdicts: words(&self.verdict).iter().map(|word| verdict(word)).collect::<Result<_, _>>()?,
            text: self.q.to_lowercase(),
            labels: labels.into_iter().map(label).collect::<Result<_, _>>()?,
            observer: self.observer.clone(),
        })
    }
}

fn verdict(word: &str) -> Result<Verdict, Failure> {
    let names = Verdict::ALL.map(Verdict::name).join(", ");
    let found = Verdict::ALL.into_iter().find(|verdict| verdict.name() == word);
    found.ok_or_else(|| Failure::bad_request(format!("verdict is one or more of {names}, with commas between")))
}
