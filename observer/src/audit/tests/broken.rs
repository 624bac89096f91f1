//! Logs that somebody changed.

use proptest::prelude::*;

use super::*;

/// A log of seven lines, from memory.
fn whole() -> Vec<u8> {
    let place = directory();
    written(&place.path().join("audit.log"))
}

/// As docs/audit.md has it, with nothing of this crate.
#[test]
fn a_chain_can_be_verified_by_its_document() {
    use hmac::{Hmac, KeyInit as _, Mac as _};

    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(b"vlp1 audit"), &[8; 32]).expand(b"audit chain", &mut key).unwrap();
    let mut before = [0; 32];
    for line in String::from_utf8(whole()).unwrap().lines() {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        let link = read["link"].as_str().unwrap();
        assert_eq!(read["prev"], data_encoding::HEXLOWER.encode(&before));
        let text = line.replace(&format!(r#","link":"{link}""#), "");
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap().chain_update(before).chain_update(text);
        before = mac.finalize().into_bytes().into();
        assert_eq!(link, data_encoding::HEXLOWER.encode(&before));
    }
}

#[test]
fn a_flipped_byte_is_found_in_its_line() {
    let whole = whole();
    let line_of = |at: usize| whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    for at in 0..whole.len() - 1 {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            assert_eq!(fault(&bytes).0, line_of(at), "byte {at} ^ {bit}");
        }
    }
    // Without its end the last line is as a crash leaves it.
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() = b' ';
    let verified = verify(&bytes[..], &key(), None).unwrap();
    assert_eq!((verified.lines, verified.torn.map(|torn| torn.line)), (6, Some(7)));
}

#[test]
fn a_line_removed_is_found_in_its_place() {
    let whole = whole();
    let all = lines(&whole);
    for gone in 0..all.len() - 1 {
        let mut left = all.clone();
        left.remove(gone);
        let number = gone as u64 + 1;
        let expected = if gone == 0 { Fault::NoBegin } else { Fault::Sequence { expected: number, found: number + 1 } };
        assert_eq!(fault(&left.concat()), (number, expected));
    }
}

#[test]
fn lines_swapped_or_put_in_are_found() {
    let whole = whole();
    let all = lines(&whole);
    for first in 0..all.len() {
        for second in first + 1..all.len() {
            let mut swapped = all.clone();
            swapped.swap(first, second);
            assert_eq!(fault(&swapped.concat()).0, first as u64 + 1);
            let mut repeated = all.clone();
            repeated.insert(second + 1, all[first]);
            assert_eq!(fault(&repeated.concat()).0, second as u64 + 2);
        }
    }
}

#[test]
fn a_line_of_another_chain_is_found() {
    let whole = whole();
    let place = directory();
    let path = place.path().join("audit.log");
    let mut other = open(&path, NEVER).unwrap();
    spawns(&mut other, 1);
    other.append(&entry(Event::DryRun)).unwrap();
    spawns(&mut other, 2);
    let other = fs::read(&path).unwrap();
    let mixed = [&lines(&whole)[..4], &lines(&other)[4..]].concat().concat();
    assert_eq!(fault(&mixed), (5, Fault::Prev));
}

#[test]
fn a_chain_needs_its_key() {
    let whole = whole();
    let broken = |bytes: &[u8], key: &AuditKey| verify(bytes, key, None).unwrap_err();
    let first = |fault| Broken { line: 1, fault };
    let other = AuditKey::of(&IdentitySecret::from_bytes([9; 32]));
    assert_eq!(broken(&whole, &other), first(Fault::Link));
    assert_eq!(broken(&whole, &AuditKey::unkeyed()), first(Fault::Key { keyed: true }));

    let place = directory();
    let path = place.path().join("audit.log");
    drop(Audit::open(&path, AuditKey::unkeyed(), NEVER, AT).unwrap());
    let unkeyed = fs::read(&path).unwrap();
    assert!(String::from_utf8_lossy(&unkeyed).contains(r#""event":"begin","outcome":"unkeyed""#));
    assert_eq!(verify(&unkeyed[..], &AuditKey::unkeyed(), None).unwrap().lines, 1);
    assert_eq!(broken(&unkeyed, &key()), first(Fault::Key { keyed: false }));
    let error = open(&path, NEVER).unwrap_err().to_string();
    assert!(error.contains("audit.log:1: the chain is unkeyed, and a key was given; nothing was changed"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), unkeyed);
}

#[test]
fn a_file_follows_the_link_that_is_expected() {
    let whole = whole();
    assert_eq!(verify(&whole[..], &key(), Some(Link::START)).unwrap().before, Link::START);
    let elsewhere = Link { seq: 0, hash: [1; 32] };
    let broken = verify(&whole[..], &key(), Some(elsewhere)).unwrap_err();
    assert_eq!(broken, Broken { line: 1, fault: Fault::Prev });
    let later = Link { seq: 4, hash: [0; 32] };
    let broken = verify(&whole[..], &key(), Some(later)).unwrap_err();
    assert_eq!(broken, Broken { line: 1, fault: Fault::Sequence { expected: 5, found: 1 } });
    assert_eq!(fault(b""), (1, Fault::Empty));
}

#[test]
fn a_log_cut_or_replaced_lacks_a_link_that_was_handed_out() {
    let place = directory();
    let path = place.path().join("audit.log");
    let whole = written(&path);
    let last = holds(&path).last;
    let against = |link| verify_files(&path, &key(), Some(link)).map_err(|error| error.to_string());
    assert!(against(last).is_ok() && against(Link::START).is_ok());
    let other = Link { seq: 3, hash: [7; 32] };
    let error = against(other).unwrap_err();
    assert!(error.contains(&format!("the chain holds, but not {other}: the log was replaced: it holds 3:")), "{error}");

    put(&path, &lines(&whole)[..5].concat());
    assert!(holds(&path).torn.is_none(), "alone it shows nothing");
    let error = against(last).unwrap_err();
    assert!(error.contains("the log was truncated: it ends with 5:"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_broken_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(verify(&bytes[..], &key(), None).is_err());
    }

    #[test]
    fn lines_changed_in_several_places_are_found(changes in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..6)) {
        let whole = whole();
        let mut bytes = whole.clone();
        for (at, bits) in changes {
            bytes[at.index(whole.len() - 1)] ^= bits;
        }
        prop_assume!(bytes != whole);
        prop_assert!(verify(&bytes[..], &key(), None).is_err());
    }
}
