//! Which changes a running daemon can take.

use crate::document::Document;
use crate::observer::ObserverConfig;
use crate::schema::Takes;

/// What reading the configuration again changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload<C = ObserverConfig> {
    /// What is in force after the reload: the new value of every key that is taken live, the old one of the rest.
    pub config: C,
    /// Changes taken at once, such as `stall.threshold: "2s" -> "3s"`.
    pub live: Vec<String>,
    /// Changes that wait for a restart, in the same form.
    pub restart: Vec<String>,
}

/// Compares the configuration in force with a new, valid one.
pub(crate) fn reload<C: Document>(before: &C, new: &C) -> Reload<C> {
    let (mut config, mut wanted) = (before.clone(), new.clone());
    let (mut live, mut restart) = (Vec::new(), Vec::new());
    for name in C::SEVERAL {
        let (before, after) = (config.count(name), wanted.count(name));
        if before != after {
            let sections = |count| {
                if count == 1 { "1 section".to_owned() } else { format!("{count} sections") }
            };
            let change = format!("{name}: {} -> {}", sections(before), sections(after));
            if C::SEVERAL_LIVE.contains(name) {
                // Of other sections than before nothing is left; what each is to be is compared below.
                config.set_count(name, after);
                live.push(change);
            } else {
                restart.push(change);
            }
        }
    }
    for to in &mut wanted.sections() {
        // A section that is only in the new configuration has nothing to be compared with.
        let mut sections = config.sections();
        let Some(from) = sections.iter_mut().find(|from| from.path() == to.path()) else {
            continue;
        };
        for (from_field, to_field) in from.fields.iter_mut().zip(&to.fields) {
            let (before, after) = (from_field.slot.text(), to_field.slot.text());
            if before == after {
                continue;
            }
            let [before, after] = [before, after].map(|text| text.unwrap_or_else(|| "not set".to_owned()));
            let change = format!("{}.{}: {before} -> {after}", to.path(), to_field.key);
            match to_field.takes {
                Takes::Restart => restart.push(change),
                Takes::Live => {
                    from_field.slot.copy(&to_field.slot);
                    live.push(change);
                }
            }
        }
    }
    Reload { config, live, restart }
}
