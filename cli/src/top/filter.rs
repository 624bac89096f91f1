//! What is looked for: words in any order, `key=value` for labels, as in the dashboard's search.

use super::picture::{Event, Incident, Unit};

/// The longest text, bytes: what a relay takes.
pub(super) const LONGEST: usize = 200;

/// What is looked for; empty, it fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    text: String,
    /// Lower case.
    words: Vec<String>,
    labels: Vec<(String, String)>,
}

impl Filter {
    pub(super) fn new(text: &str) -> Self {
        let mut filter = Self { text: text.to_owned(), ..Self::default() };
        for word in text.to_lowercase().split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => filter.labels.push((key.to_owned(), value.to_owned())),
                None => filter.words.push(word.to_owned()),
            }
        }
        filter
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty() && self.labels.is_empty()
    }

    /// The one text that a relay is asked for, so that it tells little else: the longest that stands in one name or label.
    pub(super) fn query(&self) -> Option<&str> {
        // A relay does not look into numbers of processes.
        let is_text = |word: &&str| !word.starts_with("pid:") && word.chars().any(|c| !c.is_ascii_digit());
        let words = self.words.iter().flat_map(|word| word.split('/')).filter(is_text);
        let values = self.labels.iter().map(|(_, value)| value.as_str());
        words.chain(values).filter(|word| !word.is_empty()).max_by_key(|word| word.len())
    }

    /// An agent's unit by its whole name, where one is written so.
    pub(super) fn whole_name(&self) -> Option<(&str, &str)> {
        let mut names = self.text.split_whitespace().filter_map(|word| word.split_once('/'));
        names.rfind(|(agent, unit)| !agent.is_empty() && !unit.is_empty())
    }

    fn has_words(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }

    pub(super) fn fits(&self, unit: &Unit) -> bool {
        if self.is_empty() {
            return true;
        }
        let has = |(key, value): &(String, String)| {
            let mut labels = unit.labels.iter();
            labels.any(|(name, text)| name.to_lowercase() == *key && text.to_lowercase().starts_with(value))
        };
        let values = unit.labels.iter().map(|(_, value)| value.as_str());
        let pid = unit.facts.iter().filter(|(name, _)| *name == "pid").map(|(_, pid)| pid.as_str());
        let all: Vec<_> = std::iter::once(unit.name.as_str()).chain(pid).chain(values).collect();
        self.labels.iter().all(has) && self.has_words(&all.join(" "))
    }

    /// Whether an incident or one of its units has the words. Labels are of units: they hide no incident.
    pub(super) fn fits_incident(&self, one: &Incident) -> bool {
        let mut all = format!("#{} {} {}", one.id, one.kind, one.title);
        one.members.iter().for_each(|(name, _)| all.extend([" ", name]));
        self.words.is_empty() || self.has_words(&all)
    }

    /// Whether an event has the words.
    pub(super) fn fits_event(&self, one: &Event) -> bool {
        self.words.is_empty() || self.has_words(&[&*one.kind, &one.who, &one.to, &one.why].join(" "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unit() -> Unit {
        let row = json!({ "agent": "web-1", "unit": "api", "pid": 42, "labels": { "site": "North", "role": "edge" } });
        Unit::of(&row, None)
    }

    #[test]
    fn words_stand_in_any_order_and_labels_begin_with_their_values() {
        let fits = |text: &str| Filter::new(text).fits(&unit());
        for text in ["", "  ", "WEB", "api web", "web-1/api", "42", "north", "site=nor", "edge site=north", "site="] {
            assert!(fits(text), "{text}");
        }
        for text in ["web-2", "api db", "site=south", "zone=", "site=orth", "api/web"] {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn a_relay_is_asked_for_what_it_can_find() {
        let query = |text: &str| Filter::new(text).query().map(str::to_owned);
        assert_eq!(query("ab Web-1/postgres site=no"), Some("postgres".to_owned()));
        assert_eq!(query("a site=north"), Some("north".to_owned()));
        for text in ["", "42", "pid:42", "site=", "/"] {
            assert_eq!(query(text), None, "{text}");
        }
        assert_eq!(Filter::new("x Web-1/Api").whole_name(), Some(("Web-1", "Api")));
        assert_eq!(Filter::new("web-1 /api a/").whole_name(), None);
    }
}
