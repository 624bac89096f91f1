//! From a configuration back to the text of a file.

use crate::document::Document;

/// The text of a configuration: every key, defaults too; keys that have no value as comments.
pub(crate) fn render<C: Document>(config: &C) -> String {
    let mut copy = config.clone();
    let sections = copy.sections().into_iter().map(|section| {
        let lines = section.fields.iter().map(|field| match field.slot.text() {
            _ if section.is_stray(field) => format!("# {} is for {}\n", field.key, field.only.join(" and ")),
            Some(text) => format!("{} = {text}\n", field.key),
            None => format!("# {} is not set\n", field.key),
        });
        format!("{}\n{}", section.header(), lines.collect::<String>())
    });
    sections.collect::<Vec<_>>().join("\n")
}
