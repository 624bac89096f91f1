//! The base frame: what decodes is exactly what encodes, and the first rule that is broken is the one that is told.

use varta_vlp::{DecodeError, Frame, Status};

use super::input::Input;

/// CRC-32C as its definition says it, a bit at a time.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 })
    })
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes[place..place + N].try_into().expect("a field lies within the frame")
}

/// The rules of SPEC, "Base frame", in their order, over the bytes themselves.
pub(super) fn first_broken(bytes: &[u8; 32]) -> Option<DecodeError> {
    let (expected, actual) = (crc(&bytes[..28]), u32::from_le_bytes(at(bytes, 28)));
    let (status, pid) = (bytes[3], u32::from_le_bytes(at(bytes, 4)));
    let (timestamp, nonce) = (u64::from_le_bytes(at(bytes, 8)), u64::from_le_bytes(at(bytes, 16)));
    let rules = [
        (bytes[..2] != *b"VA", DecodeError::BadMagic),
        (bytes[2] != 2, DecodeError::BadVersion),
        (expected != actual, DecodeError::BadCrc { expected, actual }),
        (status > 3, DecodeError::BadStatus(status)),
        (status == 3, DecodeError::StallOnWire),
        (pid < 2, DecodeError::BadPid(pid)),
        (timestamp == u64::MAX, DecodeError::BadTimestamp),
        (nonce == u64::MAX && status != 2, DecodeError::BadNonce),
    ];
    rules.into_iter().find_map(|(broken, error)| broken.then_some(error))
}

fn check(bytes: &[u8; 32]) {
    match (Frame::decode(bytes), first_broken(bytes)) {
        (Ok(frame), None) => {
            assert_eq!(frame.encode(), *bytes, "a frame has one form");
            assert_eq!(frame.status as u8, bytes[3]);
            assert_eq!(frame.pid, u32::from_le_bytes(at(bytes, 4)));
            assert_eq!(frame.timestamp, u64::from_le_bytes(at(bytes, 8)));
            assert_eq!(frame.nonce, u64::from_le_bytes(at(bytes, 16)));
            assert_eq!(frame.payload, u32::from_le_bytes(at(bytes, 24)));
            assert_eq!(frame.is_terminal(), frame.nonce == u64::MAX);
            let next = Frame::next_nonce(frame.nonce);
            assert!(next != Frame::TERMINAL && (next == 0 || next == frame.nonce + 1), "after {}: {next}", frame.nonce);
        }
        (Err(error), Some(broken)) => {
            assert_eq!(error, broken, "the first broken rule is told");
            assert!(error.to_string().starts_with(error.name()), "{error}");
        }
        (decoded, broken) => panic!("decoded to {decoded:?}, where the rules say {broken:?}"),
    }
}

/// Judges 32 bytes as they are, with a right checksum, and as a frame built from their fields.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes: [u8; 32] = input.array();
    check(&bytes);
    let sum = crc(&bytes[..28]);
    bytes[28..].copy_from_slice(&sum.to_le_bytes());
    check(&bytes);
    bytes[..3].copy_from_slice(b"VA\x02");
    let sum = crc(&bytes[..28]);
    bytes[28..].copy_from_slice(&sum.to_le_bytes());
    check(&bytes);

    let status = input.pick(&[Status::Ok, Status::Degraded, Status::Critical, Status::Stall]);
    let pid = u32::try_from(input.odd() & 0xFFFF_FFFF).unwrap_or(0);
    let frame = Frame { status, pid, timestamp: input.odd(), nonce: input.odd(), payload: input.word() };
    let encoded = frame.encode();
    check(&encoded);
    match first_broken(&encoded) {
        None => assert_eq!(Frame::decode(&encoded), Ok(frame), "what is encoded decodes"),
        Some(broken) => assert!(
            !matches!(broken, DecodeError::BadMagic | DecodeError::BadVersion | DecodeError::BadCrc { .. }),
            "the encoder broke {broken:?}"
        ),
    }
    // Any single bit that is turned over is noticed.
    let mut turned = encoded;
    let bit = input.below(256);
    turned[bit / 8] ^= 1 << (bit % 8);
    assert!(Frame::decode(&turned).is_err(), "bit {bit} turned over");
}
