//! What an operator probably meant.

use crate::schema::Section;

/// The message for a key that this section does not know; `all` is every section there is.
pub(crate) fn unknown_key(key: &str, section: &Section<'_>, all: &[Section<'_>]) -> String {
    let known: Vec<_> = section.fields.iter().map(|field| field.key).collect();
    match (home_of(key, all), nearest(key, &known)) {
        (Some(home), _) => format!("unknown key here; it belongs in {home}"),
        (None, Some(near)) => format!("unknown key; did you mean `{near}`?"),
        (None, None) => format!("unknown key; {} knows {}", section.header(), known.join(", ")),
    }
}

/// The message for a name that stands where only sections do.
pub(crate) fn unknown_section(name: &str, all: &[Section<'_>]) -> String {
    let known: Vec<_> = all.iter().map(|section| section.name).collect();
    match (home_of(name, all), nearest(name, &known)) {
        (Some(home), _) => format!("stands before any section; it belongs in {home}"),
        (None, Some(near)) => format!("unknown section; did you mean `{near}`?"),
        (None, None) => format!("unknown section; there are {}", known.join(", ")),
    }
}

/// The header of the section that has this key.
fn home_of(key: &str, all: &[Section<'_>]) -> Option<String> {
    let home = all.iter().find(|section| section.fields.iter().any(|field| field.key == key));
    home.map(Section::header)
}

/// The known word that this one is a likely misspelling of: at most a third of its letters differ.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const LONGEST: usize = 40;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let distances = known.iter().map(|other| (strsim::osa_distance(&word, other), *other));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(near.len() / 3)).then_some(near)
}
