//! The form of names, and ids as people read them.

use varta_vlp::{AgentId, AudienceId, Generation, UnitId, key::Name};

#[test]
fn names_of_good_form() {
    let longest = "a".repeat(64);
    for text in ["a", "Z", "0", "web-1", "a.b_c:d@e+f-g", "9.", &longest] {
        assert_eq!(Name::new(text).map(Name::as_str), Ok(text));
    }
}

#[test]
fn names_of_bad_form() {
    let too_long = "a".repeat(65);
    for text in ["", "-a", ".a", "_a", ":a", "@a", "+a", "a b", "a/b", "a\n", "a\0", "é", "aé", "a*", &too_long] {
        assert!(Name::new(text).is_err(), "{text:?}");
    }
}

#[test]
fn every_byte_in_first_and_second_place() {
    for byte in 0..=127u8 {
        let letter = char::from(byte);
        let first = Name::new(&letter.to_string()).is_ok();
        let second = Name::new(&format!("a{letter}")).is_ok();
        assert_eq!(first, letter.is_ascii_alphanumeric(), "{letter:?}");
        assert_eq!(second, letter.is_ascii_alphanumeric() || "._:@+-".contains(letter), "{letter:?}");
    }
}

/// Several characters that UTF-8 writes in more than one byte must not pass by their length either.
#[test]
fn the_limit_counts_bytes() {
    assert!(Name::new(&"é".repeat(32)).is_err());
}

#[test]
fn ids_are_shown_with_their_leading_zeros() {
    assert_eq!(AgentId(0xAB).to_string(), "00000000000000ab");
    assert_eq!(UnitId(1).to_string(), "00000001");
    assert_eq!(AudienceId(0xABC).to_string(), "00000abc");
    assert_eq!(Generation(12).to_string(), "12");
}

#[test]
fn the_same_name_has_another_id_in_each_role() {
    let name = Name::new("web").expect("a legal name");
    let agent = name.agent_id().0.to_le_bytes();
    let (unit, audience) = (name.unit_id().0.to_le_bytes(), name.audience_id().0.to_le_bytes());
    assert!(agent[..4] != unit && agent[..4] != audience && unit != audience);
}
