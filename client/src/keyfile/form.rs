//! Forms of values that stand in key files.

use varta_vlp::key::{AgentSecret, AudienceSecret, BadName, IdentitySecret, Name, RootSecret};

/// An instant: whole seconds since the Unix epoch, from 0, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The instant of a date and time of day at an offset from UTC; `None` before 1970. All fields as in RFC 3339;
    /// second 60 is the first of the next minute.
    #[must_use]
    pub fn from_civil(date: (u16, u8, u8), time: (u8, u8, u8), offset_minutes: i16) -> Option<Self> {
        let (year, month, day) = (i64::from(date.0), i64::from(date.1), i64::from(date.2));
        // Years begin in March here, so that the leap day is the last of its year.
        let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = i64::from(time.0) * 3600 + i64::from(time.1) * 60 + i64::from(time.2);
        u64::try_from(days * 86_400 + seconds - i64::from(offset_minutes) * 60).ok().map(Self)
    }
}

impl std::fmt::Display for UnixSeconds {
    /// As RFC 3339 in UTC, which is how it stands in files.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// An address that is not `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an address is HOST:PORT, such as 10.0.0.5:9900, obs.example:9900 or [2001:db8::5]:9900, with a port from 1 to 65535")
    }
}

impl std::error::Error for BadAddress {}

/// Takes `host:port` apart. The host is a name, an IPv4 address, or an IPv6 address in brackets, which are taken off; it
/// is not resolved.
///
/// # Errors
/// [`BadAddress`] if the text is of another form.
pub fn parse_address(text: &str) -> Result<(&str, u16), BadAddress> {
    let (host, port) = text.rsplit_once(':').ok_or(BadAddress)?;
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or(BadAddress)?;
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match inner.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok((inner, port)),
            Err(_) => Err(BadAddress),
        };
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let named = host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.len() <= 253 && host.bytes().all(legal);
    if named { Ok((host, port)) } else { Err(BadAddress) }
}

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// It is of bad form.
    Form(BadName),
    /// It is a secret, or begins like one, and was put in the wrong place.
    Secret,
}

impl std::fmt::Display for NameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(error) => write!(f, "{error}"),
            Self::Secret => f.write_str("a secret stands where a name belongs"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks a name of an agent, unit or audience, and that it is no secret put in the wrong place: names are public.
///
/// # Errors
/// [`NameError`], which does not carry the text.
pub fn check_name(text: &str) -> Result<Name<'_>, NameError> {
    if holds_secret(text) {
        return Err(NameError::Secret);
    }
    Name::new(text).map_err(NameError::Form)
}

/// Whether `text` holds the beginning of a secret's text form.
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    const PREFIXES: [&str; 4] =
        [RootSecret::PREFIX, AudienceSecret::PREFIX, AgentSecret::PREFIX, IdentitySecret::PREFIX];
    text.contains("VARTA-") && PREFIXES.iter().any(|prefix| text.contains(prefix))
}

/// Appends `text` to `out` as a TOML basic string, quotes included.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
