//! A place for one key's value: its type, its range, and its text.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;
use varta_vlp::key::{Peer, PublicKey};

use crate::schema::Field;
use crate::units;

/// A value that is one of a few words.
pub(crate) trait Choice {
    fn word(&self) -> &'static str;
    fn words(&self) -> &'static [&'static str];
    /// Takes `word` if it is one of [`Choice::words`].
    fn choose(&mut self, word: &str) -> bool;
}

/// Defines a [`Choice`]: an enum, and the word each variant has in the file.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$variant_about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_about])* $variant,)+ }

        impl crate::slot::Choice for $name {
            fn word(&self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
            fn words(&self) -> &'static [&'static str] {
                &[$($word),+]
            }
            fn choose(&mut self, word: &str) -> bool {
                match word {
                    $($word => *self = Self::$variant,)+
                    _ => return false,
                }
                true
            }
        }
    };
}
pub(crate) use choice;

/// Where one key's value stands, and what it may be.
pub(crate) enum Slot<'a> {
    Name(&'a mut Option<String>),
    Path(&'a mut Option<PathBuf>),
    Address(&'a mut Option<SocketAddr>),
    /// An address, or "" for none.
    AddressOrOff(&'a mut Option<SocketAddr>),
    Duration(&'a mut Duration, RangeInclusive<Duration>),
    Count(&'a mut u32, RangeInclusive<u32>),
    /// The mode of a file.
    Mode(&'a mut u32),
    Bytes(&'a mut u32, RangeInclusive<u32>),
    /// A size, or "" for never.
    BytesOrOff(&'a mut Option<u32>, RangeInclusive<u32>),
    Flag(&'a mut bool),
    Choice(&'a mut dyn Choice),
    /// A name, or "*" for any.
    NameOrAny(&'a mut Option<String>),
    /// A duration, or "" for no limit.
    DurationOrOff(&'a mut Option<Duration>, RangeInclusive<Duration>),
    /// As many texts as the range says, and what to write.
    Strings(&'a mut Vec<String>, RangeInclusive<usize>, &'static str),
    Labels(&'a mut BTreeMap<String, String>),
    /// A host and a port.
    HostAndPort(&'a mut String),
    /// The public key of a peer of this kind.
    Key(&'a mut String, Peer),
    /// Where a webhook is sent to.
    Url(&'a mut Option<String>),
    /// The key of a label.
    LabelKey(&'a mut String),
    /// Keys of their own.
    Table(Vec<Field<'a>>),
}

/// What is no label of the roster (`vlp/SPEC.md`, rosters).
const NO_LABELS: [&str; 4] = ["agent", "unit", "host", "version"];

/// More labels than this are a mistake.
const MAX_LABELS: usize = 64;

impl Slot<'_> {
    /// Takes a value from the file; relative paths are resolved against `base`. False if its type or form is wrong.
    pub(crate) fn set(&mut self, value: &DeValue<'_>, base: &Path) -> bool {
        match (self, value) {
            (Self::Name(slot) | Self::Url(slot), DeValue::String(text)) => put(slot, Some(Some(text.to_string()))),
            (Self::Path(slot), DeValue::String(text)) => {
                put(slot, (!text.is_empty()).then(|| Some(base.join(text.as_ref()))))
            }
            (Self::Address(slot), DeValue::String(text)) => put(slot, text.parse().ok().map(Some)),
            (Self::AddressOrOff(slot), DeValue::String(text)) if text.is_empty() => put(slot, Some(None)),
            (Self::AddressOrOff(slot), DeValue::String(text)) => put(slot, text.parse().ok().map(Some)),
            (Self::Duration(slot, _), DeValue::String(text)) => put(slot, humantime::parse_duration(text).ok()),
            (Self::Bytes(slot, _), DeValue::String(text)) => put(slot, units::parse_bytes(text)),
            (Self::BytesOrOff(slot, _), DeValue::String(text)) if text.is_empty() => put(slot, Some(None)),
            (Self::BytesOrOff(slot, _), DeValue::String(text)) => put(slot, units::parse_bytes(text).map(Some)),
            (Self::Count(slot, _) | Self::Bytes(slot, _), DeValue::Integer(number)) => {
                put(slot, u32::from_str_radix(number.as_str(), number.radix()).ok())
            }
            (Self::Mode(slot), DeValue::String(text)) => put(slot, units::parse_mode(text)),
            (Self::Flag(slot), DeValue::Boolean(flag)) => put(slot, Some(*flag)),
            (Self::Choice(slot), DeValue::String(word)) => slot.choose(word),
            (Self::NameOrAny(slot), DeValue::String(text)) => put(slot, Some((text != "*").then(|| text.to_string()))),
            (Self::DurationOrOff(slot, _), DeValue::String(text)) if text.is_empty() => put(slot, Some(None)),
            (Self::DurationOrOff(slot, _), DeValue::String(text)) => {
                put(slot, humantime::parse_duration(text).ok().map(Some))
            }
            (Self::Strings(slot, ..), DeValue::Array(array)) => {
                put(slot, array.iter().map(|item| string(item.get_ref())).collect())
            }
            (Self::HostAndPort(slot) | Self::Key(slot, _) | Self::LabelKey(slot), DeValue::String(text)) => {
                put(slot, Some(text.to_string()))
            }
            (Self::Labels(slot), DeValue::Table(table)) => {
                let pairs =
                    table.iter().map(|(key, value)| Some((key.get_ref().to_string(), string(value.get_ref())?)));
                put(slot, pairs.collect())
            }
            _ => false,
        }
    }

    /// Whether the value is one that [`Slot::wants`] describes.
    pub(crate) fn is_in_range(&self) -> bool {
        match self {
            Self::Name(name) => name.as_deref().is_none_or(is_name),
            Self::Path(path) => path.as_deref().is_none_or(is_path),
            Self::Duration(value, range) => range.contains(value),
            Self::Count(value, range) | Self::Bytes(value, range) => range.contains(value),
            Self::BytesOrOff(value, range) => value.is_none_or(|value| range.contains(&value)),
            Self::Mode(mode) => **mode <= units::MAX_MODE,
            Self::NameOrAny(name) => name.as_deref().is_none_or(is_name),
            Self::DurationOrOff(value, range) => value.is_none_or(|value| range.contains(&value)),
            Self::Strings(texts, count, _) => {
                count.contains(&texts.len()) && texts.iter().all(|text| is_argument(text))
            }
            Self::Labels(labels) => {
                labels.len() <= MAX_LABELS && labels.iter().all(|(key, value)| is_label(key, value))
            }
            Self::HostAndPort(text) => is_host_and_port(text),
            Self::Key(text, peer) => PublicKey::from_text(*peer, text).is_ok(),
            Self::Url(url) => url.as_deref().is_none_or(is_url),
            Self::LabelKey(text) => is_label_key(text),
            Self::Table(fields) => fields.iter().all(|field| field.slot.is_in_range()),
            Self::Address(_) | Self::AddressOrOff(_) | Self::Flag(_) | Self::Choice(_) => true,
        }
    }

    /// What to write: the object of "write ..".
    pub(crate) fn wants(&self) -> String {
        match self {
            Self::Name(_) => {
                "a name in quotes: 1 to 64 letters, digits and ._:@+-, beginning with a letter or digit".to_owned()
            }
            Self::Path(_) => "the path of a file or directory in quotes, or leave the key out".to_owned(),
            Self::Address(_) => {
                "an IP address and a port in quotes, such as \"0.0.0.0:9900\" or \"[::]:9900\"".to_owned()
            }
            Self::AddressOrOff(_) => {
                "an IP address and a port in quotes, such as \"127.0.0.1:9910\", or \"\" for none".to_owned()
            }
            Self::Duration(_, range) => {
                let (low, high) = (units::render_duration(*range.start()), units::render_duration(*range.end()));
                format!("a duration in quotes, from \"{low}\" to \"{high}\"")
            }
            Self::Count(_, range) => format!("a whole number from {} to {}", range.start(), range.end()),
            Self::Bytes(_, range) => {
                let (low, high) = (units::render_bytes(*range.start()), units::render_bytes(*range.end()));
                format!("a size in quotes, from \"{low}\" to \"{high}\", or that many bytes")
            }
            Self::BytesOrOff(_, range) => {
                let (low, high) = (units::render_bytes(*range.start()), units::render_bytes(*range.end()));
                format!("a size in quotes, from \"{low}\" to \"{high}\", or \"\" for never")
            }
            Self::Mode(_) => {
                let [low, high] = [0, units::MAX_MODE].map(units::render_mode);
                format!("an octal file mode in quotes, from \"{low}\" to \"{high}\"")
            }
            Self::Flag(_) => "true or false".to_owned(),
            Self::Choice(choice) => {
                let words: Vec<_> = choice.words().iter().map(|word| format!("\"{word}\"")).collect();
                words.join(" or ")
            }
            Self::NameOrAny(_) => "a name in quotes, or \"*\" for any".to_owned(),
            Self::DurationOrOff(_, range) => {
                let (low, high) = (units::render_duration(*range.start()), units::render_duration(*range.end()));
                format!("a duration in quotes, from \"{low}\" to \"{high}\", or \"\" for no limit")
            }
            Self::Strings(_, _, wants) => (*wants).to_owned(),
            Self::Labels(_) => {
                format!(
                    "labels of the roster in braces, at most {MAX_LABELS}, such as {{ site = \"zrh\", role = \"web\" }}"
                )
            }
            Self::HostAndPort(_) => {
                "a host and a port in quotes, such as \"relay.example:9920\" or \"[2001:db8::1]:9920\"".to_owned()
            }
            Self::Key(_, peer) => format!(
                "a public key in quotes: {} and 58 characters, as `varta keys inspect` on the key file shows it",
                peer.prefix()
            ),
            Self::Url(_) => {
                "an address in quotes that begins with http:// or https:// and holds no password".to_owned()
            }
            Self::LabelKey(_) => "the key of a label in quotes, 1 to 32 bytes without control characters".to_owned(),
            Self::Table(fields) => {
                let keys: Vec<_> = fields.iter().map(|field| field.key).collect();
                format!("{} in braces, such as {{ {} = \"*\" }}", keys.join(", "), keys.first().unwrap_or(&"key"))
            }
        }
    }

    /// The value as TOML; `None` where the key is left out. A path that is not UTF-8 is rendered with U+FFFD.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Name(name) => quote(name.as_deref()?),
            Self::Path(path) => quote(&path.as_deref()?.to_string_lossy()),
            Self::Address(address) => quote(&(**address)?.to_string()),
            Self::AddressOrOff(address) => quote(&address.map_or(String::new(), |address| address.to_string())),
            Self::Duration(value, _) => quote(&units::render_duration(**value)),
            Self::Count(value, _) => value.to_string(),
            Self::Bytes(value, _) => quote(&units::render_bytes(**value)),
            Self::BytesOrOff(value, _) => quote(&value.map_or(String::new(), units::render_bytes)),
            Self::Mode(mode) => quote(&units::render_mode(**mode)),
            Self::Flag(flag) => flag.to_string(),
            Self::Choice(choice) => quote(choice.word()),
            Self::NameOrAny(name) => quote(name.as_deref().unwrap_or("*")),
            Self::DurationOrOff(value, _) => quote(&value.map_or(String::new(), units::render_duration)),
            Self::Strings(texts, ..) => {
                let texts: Vec<_> = texts.iter().map(|text| quote(text)).collect();
                format!("[{}]", texts.join(", "))
            }
            // What a file without it has is nothing that could stand in one.
            Self::Url(url) => quote(url.as_deref()?),
            Self::HostAndPort(text) | Self::Key(text, _) | Self::LabelKey(text) => {
                quote((!text.is_empty()).then_some(text.as_str())?)
            }
            Self::Labels(labels) => {
                braces(labels.iter().map(|(key, value)| format!("{} = {}", quote_key(key), quote(value))))
            }
            Self::Table(fields) => {
                braces(fields.iter().filter_map(|field| Some(format!("{} = {}", field.key, field.slot.text()?))))
            }
        })
    }

    /// Copies the value of the same key of another configuration.
    pub(crate) fn copy(&mut self, from: &Slot<'_>) {
        match (self, from) {
            (Self::Name(to), Slot::Name(from)) | (Self::Url(to), Slot::Url(from)) => (**to).clone_from(from),
            (Self::Path(to), Slot::Path(from)) => (**to).clone_from(from),
            (Self::Address(to), Slot::Address(from)) | (Self::AddressOrOff(to), Slot::AddressOrOff(from)) => {
                **to = **from;
            }
            (Self::Duration(to, _), Slot::Duration(from, _)) => **to = **from,
            (Self::Count(to, _), Slot::Count(from, _))
            | (Self::Bytes(to, _), Slot::Bytes(from, _))
            | (Self::Mode(to), Slot::Mode(from)) => **to = **from,
            (Self::Flag(to), Slot::Flag(from)) => **to = **from,
            (Self::Choice(to), Slot::Choice(from)) => assert!(to.choose(from.word()), "same key, same words"),
            (Self::NameOrAny(to), Slot::NameOrAny(from)) => (**to).clone_from(from),
            (Self::BytesOrOff(to, _), Slot::BytesOrOff(from, _)) => **to = **from,
            (Self::DurationOrOff(to, _), Slot::DurationOrOff(from, _)) => **to = **from,
            (Self::Strings(to, ..), Slot::Strings(from, ..)) => (**to).clone_from(from),
            (Self::Labels(to), Slot::Labels(from)) => (**to).clone_from(from),
            (Self::HostAndPort(to), Slot::HostAndPort(from))
            | (Self::Key(to, _), Slot::Key(from, _))
            | (Self::LabelKey(to), Slot::LabelKey(from)) => (**to).clone_from(from),
            (Self::Table(to), Slot::Table(from)) => {
                for (to, from) in to.iter_mut().zip(from) {
                    to.slot.copy(&from.slot);
                }
            }
            _ => unreachable!("one key has one type"),
        }
    }
}

fn put<T>(slot: &mut &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    **slot = value;
    true
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn string(value: &DeValue<'_>) -> Option<String> {
    if let DeValue::String(text) = value { Some(text.to_string()) } else { None }
}

fn braces(pairs: impl Iterator<Item = String>) -> String {
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// What can be handed to a program, and is not a secret, which every process of the host could read there.
fn is_argument(text: &str) -> bool {
    !text.contains('\0') && !units::holds_secret(text)
}

/// The form of an address that is resolved when it is used: a host, or an IPv6 address in brackets, and a port above 0.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+')
}

/// The form of a webhook's address: `http://` or `https://`, a host, and neither user nor password.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    authority.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.len() <= 2048
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !units::holds_secret(text)
}

fn is_label_key(text: &str) -> bool {
    (1..=32).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The form of a label (`vlp/SPEC.md`, announce).
fn is_label(key: &str, value: &str) -> bool {
    let is_text = |text: &str| !text.chars().any(char::is_control) && !units::holds_secret(text);
    (1..=32).contains(&key.len()) && value.len() <= 255 && is_text(key) && is_text(value) && !NO_LABELS.contains(&key)
}

/// A key, which may not be a text of several lines. It holds no control character.
fn quote_key(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The form of every name on the mesh (`vlp/SPEC.md`, announce).
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@+-".contains(&byte))
}

/// A path the system can open, and not a secret pasted where its file should be named.
fn is_path(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    !bytes.is_empty() && !bytes.contains(&0) && !units::holds_secret(&path.to_string_lossy())
}
