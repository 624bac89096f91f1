//! From a configuration back to the text of a file.

use crate::observer::ObserverConfig;

impl ObserverConfig {
    /// The configuration in force as the text of an `observer.toml`: every key, defaults too; keys that have no value as comments.
    /// Read back it is the same configuration, unless a path is not UTF-8.
    #[must_use]
    pub fn render(&self) -> String {
        let mut copy = self.clone();
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
}
