//! What both configuration files have in common: a schema, and everything that walks it.

use crate::schema::Section;

/// A configuration, as its schema says.
pub(crate) trait Document: Clone + Default {
    /// The sections that may stand several times.
    const SEVERAL: &'static [&'static str];
    /// Those of them that may stand once without doubled brackets.
    const ONE_OR_MORE: &'static [&'static str];
    /// Those of them of which a running daemon takes any number.
    const SEVERAL_LIVE: &'static [&'static str];

    /// Every place of this configuration, in the order of the file.
    fn sections(&mut self) -> Vec<Section<'_>>;

    /// How often one of [`Self::SEVERAL`] stands.
    fn count(&self, name: &str) -> usize;

    /// Makes one of [`Self::SEVERAL`] stand as often as the file has it, all at their defaults.
    fn set_count(&mut self, name: &str, count: usize);

    /// Reports values that are each right but do not go together: the key to blame, and what to do.
    fn check_together(&self, report: &mut dyn FnMut(String, String));

    /// A configuration with one of every section, to read the schema from.
    fn one_of_each() -> Self {
        let mut config = Self::default();
        for name in Self::SEVERAL {
            config.set_count(name, 1);
        }
        config
    }
}

/// Gives a [`Document`] what its users call.
macro_rules! document {
    ($config:ty, $file:literal) => {
        impl $config {
            #[doc = concat!("Reads `", $file, "` strictly. Relative paths in it are resolved against its directory.")]
            ///
            /// # Errors
            /// The file cannot be read, or something in it is wrong: then every mistake found is named.
            pub fn load(file: &std::path::Path) -> Result<Self, crate::ConfigError> {
                Self::parse(&crate::read::text_of(file)?, file)
            }

            #[doc = concat!("Reads the text of such a file that came from `file`, which errors name and relative paths are")]
            /// resolved against.
            ///
            /// # Errors
            /// [`ConfigError::Invalid`](crate::ConfigError::Invalid) with every mistake found.
            pub fn parse(text: &str, file: &std::path::Path) -> Result<Self, crate::ConfigError> {
                crate::read::parse(text, file)
            }

            /// Checks a configuration built in code as strictly as a file: every range, and that the values go together.
            ///
            /// # Errors
            /// [`ConfigError::Invalid`](crate::ConfigError::Invalid) with all problems, without file and lines.
            pub fn validate(&self) -> Result<(), crate::ConfigError> {
                crate::check::validate(self)
            }

            #[doc = concat!("The configuration in force as the text of a `", $file, "`: every key, defaults too; keys that have")]
            /// no value as comments. Read back it is the same configuration, unless a path is not UTF-8.
            #[must_use]
            pub fn render(&self) -> String {
                crate::render::render(self)
            }

            /// Compares the configuration in force with a new, valid one.
            #[must_use]
            pub fn reload(&self, new: &Self) -> crate::Reload<Self> {
                crate::reload::reload(self, new)
            }

            /// The name of every key there is, such as `http.listen`; the keys of a section that may stand several times
            /// once, such as `listen.sealed`.
            #[must_use]
            pub fn keys() -> Vec<String> {
                use crate::document::Document as _;
                (Self::one_of_each().sections().iter())
                    .flat_map(|section| section.fields.iter().map(|field| format!("{}.{}", section.name, field.key)))
                    .collect()
            }
        }
    };
}
pub(crate) use document;
