//! Rules about documents: what exists is described, what is described exists.

use varta_core::Verdict;
use varta_vlp::Reject;

use crate::{files, none, read};

#[test]
fn links_between_documents_resolve() {
    let mut offenders = Vec::new();
    for file in files(&[".md"]) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for part in file.text.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !varta_tests::repository().join(folder).join(target).exists() {
                offenders.push(format!("{}: {target}", file.path));
            }
        }
    }
    none(&offenders, "a link that leads nowhere");
}

/// Whether the table rows of `document` name `word` in code type.
fn names(document: &str, word: &str) -> bool {
    document.contains(&format!("`{word}`"))
}

#[test]
fn every_reason_is_in_the_reference() {
    let reference = read("docs/reference.md");
    let offenders: Vec<_> =
        Reject::REASONS.iter().filter(|reason| !names(&reference, reason)).map(|reason| (*reason).to_owned()).collect();
    none(&offenders, "a reason that docs/reference.md does not explain");
}

#[test]
fn every_verdict_is_in_the_reference() {
    let reference = read("docs/reference.md");
    let offenders: Vec<_> = Verdict::ALL
        .iter()
        .map(|verdict| verdict.name())
        .filter(|name| !names(&reference, name))
        .map(str::to_owned)
        .collect();
    none(&offenders, "a verdict that docs/reference.md does not explain");
}

/// Names that begin with `varta_` in quotes in the exporter's source.
fn exported_metrics() -> Vec<String> {
    let rooms = ["observer/src/export", "observer/src/forward", "relay/src/metrics"];
    let mut found: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|file| rooms.iter().any(|room| file.path.starts_with(room)))
        .flat_map(|file| {
            let starts = file.text.match_indices("varta_").map(|(at, _)| &file.text[at..]);
            let names = starts.filter_map(|text| {
                let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_')?;
                // What goes on as a path is the name of a crate.
                (!text[end..].starts_with("::")).then(|| text[..end].to_owned())
            });
            names.collect::<Vec<_>>()
        })
        .filter(|name| !["_", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_metric_is_in_the_reference() {
    let reference = read("docs/reference.md");
    let metrics = exported_metrics();
    assert!(metrics.len() > 10, "the exporter's metrics were not found: {metrics:?}");
    let offenders: Vec<_> = metrics.into_iter().filter(|name| !names(&reference, name)).collect();
    none(&offenders, "a metric that docs/reference.md does not explain");
}

/// What stands in quotes behind an arrow in the journal's sources of events.
fn event_kinds() -> Vec<String> {
    let sources = ["observer/src/journal/record.rs", "observer/src/journal/refusal.rs"].map(read);
    let words = sources.iter().flat_map(|source| source.split("=> \"").skip(1));
    let words = words.filter_map(|text| text.split_once('"').map(|(word, _)| word));
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).map(str::to_owned).collect()
}

#[test]
fn every_event_kind_is_in_the_reference() {
    let reference = read("docs/reference.md");
    let kinds = event_kinds();
    assert!(kinds.len() > 15, "the journal's kinds were not found: {kinds:?}");
    let offenders: Vec<_> = kinds.into_iter().filter(|kind| !names(&reference, kind)).collect();
    none(&offenders, "an event that docs/reference.md does not explain");
}

#[test]
fn every_configuration_key_is_in_the_sample() {
    let sample = read("config/observer.toml");
    let missing = |key: &String| !sample.contains(key.rsplit_once('.').map_or(key.as_str(), |(_, name)| name));
    let offenders: Vec<_> = varta_config::ObserverConfig::keys().into_iter().filter(missing).collect();
    none(&offenders, "a key that config/observer.toml does not explain");
}

#[test]
fn every_reason_is_shown_by_a_test() {
    let tests: String =
        files(&[".rs"]).into_iter().filter(|file| file.path.contains("/tests/")).map(|file| file.text).collect();
    let in_words = |reason: &str| -> String {
        let mut word = String::new();
        for part in reason.split('_') {
            let (first, rest) = part.split_at(1);
            word.push_str(&first.to_ascii_uppercase());
            word.push_str(rest);
        }
        word
    };
    let shown = |reason: &str| {
        let name = in_words(reason.strip_prefix("frame_").unwrap_or(reason));
        tests.contains(&name) || tests.contains(&format!("\"{reason}\""))
    };
    let offenders: Vec<_> =
        Reject::REASONS.iter().filter(|reason| !shown(reason)).map(|reason| (*reason).to_owned()).collect();
    none(&offenders, "a reason that no test shows");
}

#[test]
fn the_readme_has_both_commands() {
    let readme = read("README.md");
    for command in ["cargo run --release -- dev", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md lacks `{command}`");
    }
}

#[test]
fn the_change_log_knows_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").contains(&format!("## {version}")), "CHANGELOG.md has no section for {version}");
}
