//! Metadata of an announce: writing, reading, and arbitrary bytes.

mod cases;

use std::collections::BTreeMap;

use cases::cases;
use proptest::prelude::*;
use varta_vlp::sealed::{METADATA_MAX_LEN, Metadata, MetadataError};

fn write(pairs: &[(&str, &str)]) -> Result<Vec<u8>, MetadataError> {
    let mut room = [0; METADATA_MAX_LEN];
    Metadata::write(pairs.iter().copied(), &mut room).map(|metadata| metadata.bytes().to_vec())
}

#[test]
fn bytes_are_as_specified() {
    let bytes = write(&[("agent", "web-1"), ("site", "")]).expect("legal pairs");
    assert_eq!(bytes, b"\x05agent\x05web-1\x04site\x00");
}

#[test]
fn pairs_that_cannot_be_written() {
    let long = "x".repeat(256);
    let cases: [(&[(&str, &str)], MetadataError); 11] = [
        (&[], MetadataError::Empty),
        (&[("", "v")], MetadataError::BadKey),
        (&[(&long[..33], "v")], MetadataError::BadKey),
        (&[("k", &long)], MetadataError::TooLong),
        (&[(&long, "v")], MetadataError::TooLong),
        (&[("a", &long[1..]), ("b", &long[1..]), ("c", &long[1..]), ("d", &long[1..])], MetadataError::TooLong),
        (&[("k", "1"), ("k", "2")], MetadataError::KeyOrder),
        (&[("l", "1"), ("k", "2")], MetadataError::KeyOrder),
        (&[("k", "a\tb")], MetadataError::BadText),
        (&[("a\u{9F}", "")], MetadataError::BadText),
        (&[("unit", "a b")], MetadataError::BadName),
    ];
    for (pairs, error) in cases {
        assert_eq!(write(pairs), Err(error), "{pairs:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn exactly_1024_bytes_fit() {
    let text = "x".repeat(253);
    let full = [("k0", &text[..252]), ("k1", &text[..252]), ("k2", &text[..252]), ("k3", &text[..252])];
    assert_eq!(write(&full).map(|bytes| bytes.len()), Ok(METADATA_MAX_LEN));
    let over = [full[0], full[1], full[2], ("k3", &text)];
    assert_eq!(write(&over), Err(MetadataError::TooLong));
}

#[test]
fn every_cut_is_seen() {
    let bytes = write(&[("agent", "web-1"), ("site", "Zürich")]).expect("legal pairs");
    let whole_pairs = [b"\x05agent\x05web-1".len(), bytes.len()];
    for len in 1..=bytes.len() {
        assert_eq!(Metadata::parse(&bytes[..len]).is_ok(), whole_pairs.contains(&len), "{len} bytes");
    }
}

#[test]
fn values_by_key() {
    let bytes = write(&[("host", "node-7"), ("site", "")]).expect("legal pairs");
    let metadata = Metadata::parse(&bytes).expect("just written");
    assert_eq!(metadata.get("host"), Some("node-7"));
    assert_eq!(metadata.get("site"), Some(""));
    assert_eq!(metadata.get("hos"), None);
    assert_eq!(metadata.get("node-7"), None);
}

/// Keys and values of legal form; `agent` and `unit` have rules of their own.
fn legal_pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = "[^\\p{Cc}]{1,8}".prop_filter("not a reserved name", |key| key != "agent" && key != "unit");
    proptest::collection::btree_map(key, "[^\\p{Cc}]{0,20}", 1..8)
}

proptest! {
    #![proptest_config(cases(500, 2))]

    #[test]
    fn what_is_written_reads_back(pairs in legal_pairs()) {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let bytes = write(&pairs).expect("legal pairs");
        let metadata = Metadata::parse(&bytes).expect("just written");
        prop_assert_eq!(metadata.iter().collect::<Vec<_>>(), pairs.clone());
        for (key, value) in pairs {
            prop_assert_eq!(metadata.get(key), Some(value));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..if cfg!(miri) { 60 } else { 1100 })) {
        let _ = Metadata::parse(&bytes);
    }

    /// Short lengths and few letters, so that much of it is legal.
    #[test]
    fn what_is_accepted_is_of_legal_form(bytes in proptest::collection::vec(prop_oneof![0..4u8, b'a'..b'd'], 0..24)) {
        if let Ok(metadata) = Metadata::parse(&bytes) {
            let pairs: Vec<_> = metadata.iter().collect();
            prop_assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
            prop_assert!(pairs.iter().all(|(key, value)| (1..=32).contains(&key.len()) && !value.contains(char::is_control)));
            prop_assert_eq!(write(&pairs), Ok(bytes));
        }
    }
}
