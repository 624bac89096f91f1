//! What an announce says: SPEC, "Announce". Made ready at connect; changed later without allocating.

use std::collections::BTreeMap;

use varta_vlp::{
    key::Name,
    sealed::{METADATA_MAX_LEN, Metadata, MetadataError},
};

/// The key of the unit's name.
const UNIT: &str = "unit";
/// The longest unit name, its key, and a length byte for each.
const UNIT_ROOM: usize = 1 + UNIT.len() + 1 + 64;

/// Keys that labels may not use: what they hold is set by other means.
pub(crate) const RESERVED: [&str; 4] = ["agent", "host", UNIT, "version"];

/// The metadata of every announce.
pub(crate) struct Announcement {
    unnamed: Text,
    current: Text,
}

struct Text {
    bytes: [u8; METADATA_MAX_LEN],
    len: usize,
}

impl Text {
    fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, MetadataError> {
        let mut bytes = [0; METADATA_MAX_LEN];
        let len = Metadata::write(pairs, &mut bytes)?.bytes().len();
        Ok(Self { bytes, len })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Checks one label by itself, so that an error can name it.
///
/// # Errors
/// The label's own mistake.
pub(crate) fn check_label(key: &str, value: &str) -> Result<(), MetadataError> {
    Text::write([(key, value)]).map(|_| ())
}

impl Announcement {
    /// Metadata without a unit. Room is kept for one, so that naming it later cannot fail.
    ///
    /// # Errors
    /// The pairs are of bad form, or too long together.
    pub(crate) fn new(pairs: &BTreeMap<String, String>) -> Result<Self, MetadataError> {
        let write = || Text::write(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let (unnamed, current) = (write()?, write()?);
        if unnamed.len + UNIT_ROOM > METADATA_MAX_LEN {
            return Err(MetadataError::TooLong);
        }
        Ok(Self { unnamed, current })
    }

    /// Names the unit.
    #[expect(clippy::expect_used, reason = "the pairs were checked at connect, and room was kept")]
    pub(crate) fn name_unit(&mut self, unit: Name<'_>) {
        let pairs = Metadata::parse(self.unnamed.as_bytes()).expect("metadata that was written can be read");
        let before = pairs.iter().take_while(|(key, _)| *key < UNIT);
        let after = pairs.iter().skip_while(|(key, _)| *key < UNIT);
        self.current =
            Text::write(before.chain([(UNIT, unit.as_str())]).chain(after)).expect("room was kept for a unit");
    }

    /// The process was forked: it is not that unit.
    pub(crate) fn forget_unit(&mut self) {
        self.current.bytes = self.unnamed.bytes;
        self.current.len = self.unnamed.len;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.current.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn the_unit_takes_its_place_among_sorted_keys() {
        let mut announcement =
            Announcement::new(&pairs(&[("zone", "z"), ("agent", "web-1"), ("version", "1"), ("site", "s")])).unwrap();
        let keys = |announcement: &Announcement| -> Vec<String> {
            let metadata = Metadata::parse(announcement.bytes()).unwrap();
            metadata.iter().map(|(key, _)| key.into()).collect()
        };
        assert_eq!(keys(&announcement), ["agent", "site", "version", "zone"]);
        announcement.name_unit(Name::new("api").unwrap());
        assert_eq!(keys(&announcement), ["agent", "site", "unit", "version", "zone"]);
        announcement.name_unit(Name::new("db").unwrap());
        assert_eq!(Metadata::parse(announcement.bytes()).unwrap().get("unit"), Some("db"));
        announcement.forget_unit();
        assert_eq!(keys(&announcement), ["agent", "site", "version", "zone"]);
    }

    #[test]
    fn the_longest_unit_always_finds_room() {
        let longest = "u".repeat(64);
        let long = "v".repeat(244);
        let fits = |last: usize| {
            Announcement::new(&pairs(&[("a", &long), ("b", &long), ("c", &long), ("d", &"v".repeat(last))]))
        };
        // Three pairs of 247 bytes, and one of three and its value, leave 70.
        let mut announcement = fits(210).unwrap();
        announcement.name_unit(Name::new(&longest).unwrap());
        assert_eq!(announcement.bytes().len(), METADATA_MAX_LEN);
        assert!(matches!(fits(211), Err(MetadataError::TooLong)));
    }
}
