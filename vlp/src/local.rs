//! What is said without a seal, where the kernel vouches for the sender or nobody does: SPEC, "Base frames outside a seal".

use crate::{
    frame::Frame,
    key::UnitId,
    reject::Reject,
    sealed::{BODY_LEN, Body, Flags},
};

/// A base frame that says no more than it holds: no promise, no goodbye.
const fn bare(frame: Frame) -> Body {
    Body { frame, sent_at: 0, next_due_ms: 0, lag_us: 0, unit: UnitId::NONE, flags: Flags(0), boot: 0 }
}

/// Reads a bare base frame of 32 bytes.
///
/// # Errors
/// [`Reject::BadLength`], [`Reject::Decode`].
pub fn parse_frame(datagram: &[u8]) -> Result<Body, Reject> {
    let bytes = datagram.try_into().map_err(|_| Reject::BadLength)?;
    Frame::decode(bytes).map(bare).map_err(Reject::Decode)
}

/// Reads a datagram of a local socket: a base frame of 32 bytes, or the 64 bytes of a [`Body`] that names no unit, for
/// senders that promise, hold or say goodbye. Its `sent_at` and `boot` mean nothing: there is one host.
///
/// # Errors
/// [`Reject::BadLength`], [`Reject::Decode`], [`Reject::BadFlags`].
pub fn parse(datagram: &[u8]) -> Result<Body, Reject> {
    let Ok(bytes) = <&[u8; BODY_LEN]>::try_from(datagram) else { return parse_frame(datagram) };
    let body = Body::decode(bytes)?;
    let session = Flags::CONTINUES.with(Flags::STEPPED).0;
    let legal = body.flags.0 & session == 0 && body.unit == UnitId::NONE && body.promises_are_legal();
    if legal { Ok(body) } else { Err(Reject::BadFlags) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Status};

    fn frame() -> Frame {
        Frame { status: Status::Ok, pid: 4242, timestamp: 7, nonce: 1, payload: 9 }
    }

    #[test]
    fn both_forms_are_read_and_no_other_length() {
        assert_eq!(parse(&frame().encode()), Ok(bare(frame())));
        assert_eq!(parse_frame(&frame().encode()), Ok(bare(frame())));
        let whole = Body { next_due_ms: 1000, lag_us: 3, flags: Flags::HOLD, ..bare(frame()) };
        assert_eq!(parse(&whole.encode()), Ok(whole));
        assert_eq!(parse_frame(&whole.encode()), Err(Reject::BadLength));
        for length in (0..200).filter(|length| ![32, 64].contains(length)) {
            assert_eq!(parse(&[0; 200][..length]), Err(Reject::BadLength), "{length}");
        }
    }

    #[test]
    fn what_only_a_seal_may_say_is_refused() {
        let legal = Body { flags: Flags::FINAL, ..bare(frame()) };
        assert!(parse(&legal.encode()).is_ok());
        let illegal = [
            Body { unit: UnitId(1), ..legal },
            Body { flags: Flags::CONTINUES, ..legal },
            Body { flags: Flags::STEPPED, ..legal },
            Body { flags: Flags(1 << 3), ..legal },
            Body { flags: Flags::HOLD, ..legal },
            Body { flags: Flags::HOLD.with(Flags::FINAL), next_due_ms: 1, ..legal },
        ];
        for body in illegal {
            assert_eq!(parse(&body.encode()), Err(Reject::BadFlags), "{body:?}");
        }
        let mut broken = legal.encode();
        broken[28] ^= 1;
        assert!(matches!(parse(&broken), Err(Reject::Decode(DecodeError::BadCrc { .. }))));
    }
}
