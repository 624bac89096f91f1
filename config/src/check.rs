//! What makes sense: every value in its range, and the values together.

use crate::document::Document;
use crate::error::{ConfigError, Problem, Problems};
use crate::observer::{At, Http, Listen, ObserverConfig};
use crate::schema::{Field, Section};
use crate::units;

mod recovery;
mod relay;

/// More listeners than this are a mistake.
const MAX_LISTENERS: usize = 16;

/// The longest path that fits a Unix socket address, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// Checks a configuration built in code as strictly as a file.
///
/// # Errors
/// [`ConfigError::Invalid`] with all problems, without file and lines.
pub(crate) fn validate<C: Document>(config: &C) -> Result<(), ConfigError> {
    let mut problems = Problems::default();
    let mut copy = config.clone();
    for section in copy.sections() {
        for field in section.fields.iter().filter(|field| !field.slot.is_in_range()) {
            problems.push(|| Problem {
                line: None,
                key: format!("{}.{}", section.path(), field.key),
                message: found(field.slot.text().as_deref().unwrap_or("nothing"), &field.slot.wants()),
            });
        }
    }
    config.check_together(&mut |key, message| problems.push(|| Problem { line: None, key, message }));
    problems.into_result()
}

/// HTTP that other hosts can reach needs a token.
fn check_http(http: &Http, blame: &mut dyn FnMut(&str, &str)) {
    let off_loopback = http.listen.filter(|address| !address.ip().to_canonical().is_loopback());
    if let (Some(address), None) = (off_loopback, &http.token_file) {
        let message = format!("{address} can be reached from other hosts; add token_file, or listen on 127.0.0.1");
        blame("http.listen", &message);
    }
}

impl ObserverConfig {
    /// Reports values that are each right but do not go together: the key to blame, and what to do.
    pub(crate) fn check_all(&self, report: &mut dyn FnMut(String, String)) {
        let mut blame = |key: &str, message: &str| report(key.to_owned(), message.to_owned());
        if self.listen.is_empty() {
            blame("listen", "nowhere to receive beats; add a [[listen]] section with sealed = \"0.0.0.0:9900\"");
        }
        if self.listen.len() > MAX_LISTENERS {
            let message = format!("found {}; write at most {MAX_LISTENERS} [[listen]] sections", self.listen.len());
            blame("listen", &message);
        }
        let sealed = self.listen.iter().any(|one| matches!(one.at(), Some(At::Sealed(_))));
        if sealed && self.observer.key_file.is_none() {
            blame(
                "observer.key_file",
                "is missing, and a sealed listener needs it; `varta keys observer add` makes one",
            );
        }
        self.check_listeners(&mut blame);
        self.check_recovery(&mut blame);
        check_http(&self.http, &mut blame);
        self.check_relays(&mut blame);
        if self.export.beats && self.export.file.is_none() {
            blame("export.beats", "is true, but there is no file to write to; add export.file");
        }
    }
}

/// More relays than this are a mistake.
const MAX_RELAYS: usize = 4;

impl ObserverConfig {
    fn check_relays(&self, blame: &mut dyn FnMut(&str, &str)) {
        if self.relay.len() > MAX_RELAYS {
            let message = format!("found {}; write at most {MAX_RELAYS} relays", self.relay.len());
            blame("relay", &message);
        }
        if !self.relay.is_empty() && self.observer.key_file.is_none() {
            blame(
                "observer.key_file",
                "is missing, and a relay knows this observer by it; `varta keys observer add` makes one",
            );
        }
        for (index, relay) in self.relay.iter().enumerate() {
            if let Some(earlier) = self.relay[..index].iter().position(|it| it.pin == relay.pin) {
                let message = format!("is also that of relay[{earlier}]; write each relay once");
                blame(&format!("relay[{index}].pin"), &message);
            }
        }
    }
}

impl ObserverConfig {
    /// Each listener has one place, which no other has, and only what belongs to its kind.
    fn check_listeners(&self, blame: &mut dyn FnMut(&str, &str)) {
        let mut copy = Self { listen: self.listen.clone(), ..Self::one_of_each() };
        let mut schema = Self::one_of_each();
        let (sections, defaults) = (copy.sections(), schema.sections());
        let is_listener = |section: &&Section<'_>| section.name == "listen";
        let defaults = defaults.iter().find(is_listener).map_or(&[][..], |section| &section.fields);
        let listeners = self.listen.iter().zip(sections.iter().filter(is_listener));
        for (index, (one, section)) in listeners.enumerate().take(MAX_LISTENERS) {
            let path = section.path();
            let Some(at) = one.at() else {
                blame(&path, &not_one_place(one));
                continue;
            };
            let key = format!("{path}.{}", at.key());
            if let Some(earlier) = self.listen[..index].iter().position(|it| it.at().is_some_and(|it| it.collides(at)))
            {
                let what = if matches!(at, At::Socket(_)) { "path" } else { "address" };
                blame(&key, &format!("{at} is also the {what} of listen[{earlier}]; write each once"));
            }
            match at {
                At::Sealed(_) => {}
                At::Socket(socket) => {
                    let length = socket.as_os_str().len();
                    if length > MAX_SOCKET_PATH {
                        let rule =
                            format!("the path of a socket has at most {MAX_SOCKET_PATH} bytes, this one {length}");
                        blame(&key, &format!("{rule}; write a shorter one"));
                    }
                }
                At::Plaintext(_) if one.accept_plaintext => {}
                At::Plaintext(_) => blame(
                    &key,
                    "anybody who can send to it can forge plaintext beats; add accept_plaintext = true if that is \
                     acceptable, or write sealed",
                ),
            }
            for (field, default) in section.fields.iter().zip(defaults) {
                if section.is_stray(field) && field.slot.text() != default.slot.text() {
                    blame(&format!("{path}.{}", field.key), &stray(field, section));
                }
            }
        }
    }
}

fn not_one_place(listen: &Listen) -> String {
    let set = [("sealed", listen.sealed.is_some()), ("socket", listen.socket.is_some())];
    let set = set.into_iter().chain([("plaintext", listen.plaintext.is_some())]);
    let found: Vec<_> = set.filter_map(|(key, is_set)| is_set.then_some(key)).collect();
    let found = if found.is_empty() { "nowhere to listen".to_owned() } else { found.join(" and ") };
    format!("found {found}; write exactly one of sealed, socket and plaintext in each [[listen]]")
}

/// The message for a key that belongs to another kind of section.
pub(crate) fn stray(field: &Field<'_>, section: &Section<'_>) -> String {
    let kind = section.kind.unwrap_or(section.name);
    format!("goes with {} only, and this is {kind}; leave it out", field.only.join(" or "))
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
