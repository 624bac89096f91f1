//! The base frame: every error, their order, every bit, and the checksum.

mod cases;

use cases::cases;
use proptest::prelude::*;
use varta_vlp::{DecodeError, Frame, Status, crc::crc32c};

const GOOD: Frame = Frame { status: Status::Ok, pid: 4242, timestamp: 1_500_000_000, nonce: 7, payload: 0x1234_5678 };

/// Writes `field` at `offset` and makes the checksum right again.
fn with(mut bytes: [u8; 32], offset: usize, field: &[u8]) -> [u8; 32] {
    bytes[offset..offset + field.len()].copy_from_slice(field);
    let crc = ::crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn each_error_once_with_a_right_checksum() {
    let max = u64::MAX.to_le_bytes();
    let cases: [(usize, &[u8], DecodeError); 11] = [
        (0, b"VS", DecodeError::BadMagic),
        (2, &[1], DecodeError::BadVersion),
        (2, &[3], DecodeError::BadVersion),
        (3, &[4], DecodeError::BadStatus(4)),
        (3, &[255], DecodeError::BadStatus(255)),
        (3, &[3], DecodeError::StallOnWire),
        (4, &[0, 0, 0, 0], DecodeError::BadPid(0)),
        (4, &[1, 0, 0, 0], DecodeError::BadPid(1)),
        (8, &max, DecodeError::BadTimestamp),
        (16, &max, DecodeError::BadNonce),
        (3, &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], DecodeError::BadNonce),
    ];
    for (offset, field, error) in cases {
        assert_eq!(Frame::decode(&with(GOOD.encode(), offset, field)), Err(error));
    }
    let mut bytes = GOOD.encode();
    bytes[31] ^= 1;
    let expected = ::crc32c::crc32c(&bytes[..28]);
    let actual = expected ^ 0x0100_0000;
    assert_eq!(Frame::decode(&bytes), Err(DecodeError::BadCrc { expected, actual }));
}

#[test]
fn a_frame_wrong_in_several_ways_reports_the_first() {
    for faults in 1..1u32 << 7 {
        let fault = |bit: u32| faults >> bit & 1 == 1;
        for bad_status in [3, 4, 200] {
            let mut bytes = GOOD.encode();
            let mut wanted = Vec::new();
            if fault(0) {
                bytes[0] = b'v';
                wanted.push(DecodeError::BadMagic);
            }
            if fault(1) {
                bytes[2] = 1;
                wanted.push(DecodeError::BadVersion);
            }
            if fault(3) {
                bytes[3] = bad_status;
            }
            if fault(4) {
                bytes[4..8].copy_from_slice(&[1, 0, 0, 0]);
            }
            if fault(5) {
                bytes[8..16].fill(255);
            }
            if fault(6) {
                bytes[16..24].fill(255);
            }
            let expected = ::crc32c::crc32c(&bytes[..28]);
            let actual = if fault(2) { !expected } else { expected };
            bytes[28..].copy_from_slice(&actual.to_le_bytes());
            let rest = [
                (fault(2), DecodeError::BadCrc { expected, actual }),
                (fault(3) && bad_status == 3, DecodeError::StallOnWire),
                (fault(3), DecodeError::BadStatus(bad_status)),
                (fault(4), DecodeError::BadPid(1)),
                (fault(5), DecodeError::BadTimestamp),
                (fault(6), DecodeError::BadNonce),
            ];
            wanted.extend(rest.into_iter().filter_map(|(wrong, error)| wrong.then_some(error)));
            assert_eq!(Frame::decode(&bytes).err(), wanted.first().copied(), "faults {faults:07b}");
        }
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for bit in 0..256 {
        let mut bytes = GOOD.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = match bit / 8 {
            0 | 1 => DecodeError::BadMagic,
            2 => DecodeError::BadVersion,
            _ => DecodeError::BadCrc {
                expected: ::crc32c::crc32c(&bytes[..28]),
                actual: u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]),
            },
        };
        assert_eq!(Frame::decode(&bytes), Err(error), "bit {bit}");
    }
}

#[test]
fn the_terminal_nonce_is_for_critical_only() {
    for status in [Status::Ok, Status::Degraded, Status::Critical] {
        let frame = Frame { status, nonce: Frame::TERMINAL, ..GOOD };
        let wanted = if status == Status::Critical { Ok(frame) } else { Err(DecodeError::BadNonce) };
        assert_eq!(Frame::decode(&frame.encode()), wanted);
    }
}

#[test]
fn errors_say_their_values() {
    let crc = DecodeError::BadCrc { expected: 0xAB, actual: 0xCD00_0000 };
    for (error, text) in [
        (crc, "BadCrc: computed 000000ab, the frame carries cd000000"),
        (DecodeError::BadStatus(9), "BadStatus: 9"),
        (DecodeError::BadPid(1), "BadPid: 1"),
        (DecodeError::StallOnWire, "StallOnWire"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

proptest! {
    #![proptest_config(cases(2000, 4))]

    #[test]
    fn checksum_agrees_with_another_implementation(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(crc32c(&bytes), ::crc32c::crc32c(&bytes));
    }

    #[test]
    fn what_is_encoded_decodes(
        status in prop_oneof![Just(Status::Ok), Just(Status::Degraded), Just(Status::Critical)],
        pid in 2..=u32::MAX,
        timestamp in 0..u64::MAX,
        nonce in 0..u64::MAX,
        payload: u32,
    ) {
        let frame = Frame { status, pid, timestamp, nonce, payload };
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes: [u8; 32], status in 0..5u8) {
        let mut bytes = with(bytes, 0, b"VA\x02");
        bytes = with(bytes, 3, &[status]);
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        } else {
            let pid = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let at_limit = bytes[8..16] == [255; 8] || bytes[16..24] == [255; 8];
            prop_assert!(status > 2 || pid <= 1 || at_limit);
        }
    }
}
