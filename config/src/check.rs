//! What makes sense: every value in its range, and the values together.

use crate::error::{ConfigError, Problem, Problems};
use crate::observer::ObserverConfig;
use crate::units;

/// More listeners than this are a mistake.
const MAX_LISTENERS: usize = 16;

impl ObserverConfig {
    /// Checks a configuration built in code as strictly as a file: every range, and that the values go together.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all problems, without file and lines.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        let mut copy = self.clone();
        for section in copy.sections() {
            for field in section.fields.iter().filter(|field| !field.slot.is_in_range()) {
                problems.push(|| Problem {
                    line: None,
                    key: format!("{}.{}", section.path(), field.key),
                    message: found(field.slot.text().as_deref().unwrap_or("nothing"), &field.slot.wants()),
                });
            }
        }
        self.check_together(&mut |key, message| problems.push(|| Problem { line: None, key, message }));
        problems.into_result()
    }

    /// Reports values that are each right but do not go together: the key to blame, and what to do.
    pub(crate) fn check_together(&self, report: &mut dyn FnMut(String, String)) {
        let mut blame = |key: &str, message: &str| report(key.to_owned(), message.to_owned());
        if self.listen.is_empty() {
            blame("listen", "nowhere to receive beats; add a [[listen]] section with sealed = \"0.0.0.0:9900\"");
        }
        if self.listen.len() > MAX_LISTENERS {
            let message = format!("found {}; write at most {MAX_LISTENERS} [[listen]] sections", self.listen.len());
            blame("listen", &message);
        }
        if !self.listen.is_empty() && self.observer.key_file.is_none() {
            blame(
                "observer.key_file",
                "is missing, and a sealed listener needs it; `varta keys observer add` makes one",
            );
        }
        for (index, one) in self.listen.iter().enumerate().take(MAX_LISTENERS) {
            let earlier = self.listen[..index].iter().position(|earlier| earlier.sealed == one.sealed);
            if let Some(earlier) = earlier.filter(|_| one.sealed.port() != 0) {
                let message = format!("{} is also the address of listen[{earlier}]; write each once", one.sealed);
                blame(&format!("listen[{index}].sealed"), &message);
            }
        }
        let off_loopback = self.http.listen.filter(|address| !address.ip().to_canonical().is_loopback());
        if let (Some(address), None) = (off_loopback, &self.http.token_file) {
            let message = format!("{address} can be reached from other hosts; add token_file, or listen on 127.0.0.1");
            blame("http.listen", &message);
        }
        if self.export.beats && self.export.file.is_none() {
            blame("export.beats", "is true, but there is no file to write to; add export.file");
        }
    }
}

/// The message for a value that is not what it should be.
pub(crate) fn found(value: &str, wants: &str) -> String {
    format!("found {}; write {wants}", excerpt(value))
}

/// Text of the file, fit to stand in one line of an error.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX: usize = 60;
    if units::holds_secret(text) {
        return "(a secret, which belongs in a key file)".to_owned();
    }
    let mut short = String::new();
    for c in text.chars().take(MAX) {
        match c {
            c if c.is_control() => short.extend(c.escape_default()),
            // Characters that reorder or hide their neighbours on a terminal.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => {
                short.extend(c.escape_unicode())
            }
            c => short.push(c),
        }
    }
    if text.chars().nth(MAX).is_some() {
        short.push_str("..");
    }
    short
}
