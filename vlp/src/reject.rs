//! Why a datagram is refused: SPEC, "Acceptance". A reject is the peer's fault: it is counted, never an error of ours.

use crate::frame::DecodeError;

macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident = $reason:literal,)+) => {
        /// One reason per refused datagram, declared in the order in which the steps run; after them those of unsealed
        /// base frames.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reject {
            $($(#[$doc])* $name,)+
            /// Step 8: the base frame inside is not one.
            Decode(DecodeError),
        }

        impl Reject {
            /// Every reason, as metrics print them; base-frame errors last.
            pub const REASONS: &'static [&'static str] = &[
                $($reason,)+
                "frame_bad_magic", "frame_bad_version", "frame_bad_crc", "frame_bad_status", "frame_stall_on_wire",
                "frame_bad_pid", "frame_bad_timestamp", "frame_bad_nonce",
            ];

            /// Every reject but those of the base frame, in their declared order.
            #[cfg(test)]
            const PLAIN: &'static [Self] = &[$(Self::$name),+];

            /// The reason as metrics print it: the name in snake case, base-frame errors with `frame_` before it.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)+
                    Self::Decode(DecodeError::BadMagic) => "frame_bad_magic",
                    Self::Decode(DecodeError::BadVersion) => "frame_bad_version",
                    Self::Decode(DecodeError::BadCrc { .. }) => "frame_bad_crc",
                    Self::Decode(DecodeError::BadStatus(_)) => "frame_bad_status",
                    Self::Decode(DecodeError::StallOnWire) => "frame_stall_on_wire",
                    Self::Decode(DecodeError::BadPid(_)) => "frame_bad_pid",
                    Self::Decode(DecodeError::BadTimestamp) => "frame_bad_timestamp",
                    Self::Decode(DecodeError::BadNonce) => "frame_bad_nonce",
                }
            }

            /// The reason's place in [`Self::REASONS`].
            #[must_use]
            pub const fn index(self) -> usize {
                #[derive(Clone, Copy)]
                enum Plain { $($name,)+ End }
                match self {
                    $(Self::$name => Plain::$name as usize,)+
                    Self::Decode(error) => Plain::End as usize + match error {
                        DecodeError::BadMagic => 0,
                        DecodeError::BadVersion => 1,
                        DecodeError::BadCrc { .. } => 2,
                        DecodeError::BadStatus(_) => 3,
                        DecodeError::StallOnWire => 4,
                        DecodeError::BadPid(_) => 5,
                        DecodeError::BadTimestamp => 6,
                        DecodeError::BadNonce => 7,
                    },
                }
            }
        }
    };
}

rejects! {
    /// Steps 1 and 2: shorter than 124 bytes, longer than 1200, or not of the kind's own length.
    BadLength = "bad_length",
    /// Step 2: bytes 0..2 are not `56 53`.
    BadMagic = "bad_magic",
    /// Step 2: byte 2 is not `01`.
    BadVersion = "bad_version",
    /// Step 2: byte 3 is neither 1 nor 2.
    BadKind = "bad_kind",
    /// Step 3: sealed for an audience this observer does not hold.
    UnknownAudience = "unknown_audience",
    /// Step 4: reached a shard that does not own the agent.
    WrongShard = "wrong_shard",
    /// Step 4: not in the roster.
    UnknownAgent = "unknown_agent",
    /// Step 4: the agent's generation is revoked.
    Revoked = "revoked",
    /// Step 4: below the agent's floor for longer than the overlap.
    RetiredGeneration = "retired_generation",
    /// Step 4: past its expiry in the roster.
    Expired = "expired",
    /// Step 5: counter at or above 2^48.
    CounterRange = "counter_range",
    /// Step 6: overloaded, and the agent has no live record.
    Shed = "shed",
    /// Step 7: the tag does not verify.
    AuthFailure = "auth_failure",
    /// Step 8: reserved or contradictory flags.
    BadFlags = "bad_flags",
    /// Step 8: metadata of bad form.
    BadMetadata = "bad_metadata",
    /// Step 8: a name that does not hash to its id.
    NameMismatch = "name_mismatch",
    /// Step 8: sent before its session began.
    BadTimes = "bad_times",
    /// Step 9: sent more than the skew ahead of now.
    FromFuture = "from_future",
    /// Step 10: sent too long ago.
    Stale = "stale",
    /// Step 11: not newer than the barrier of a restart or of the agent.
    BeforeBarrier = "before_barrier",
    /// Step 12: the agent has no room or no rate for another slot.
    SlotQuota = "slot_quota",
    /// Step 13: of a session older than the previous one.
    SessionSuperseded = "session_superseded",
    /// Step 13: a second live process speaks for the slot.
    SessionConflict = "session_conflict",
    /// Step 13: after the session said goodbye.
    AfterFinal = "after_final",
    /// Step 14: below the window of 128.
    CounterTooOld = "counter_too_old",
    /// Step 14: already accepted.
    Replayed = "replayed",
    /// Step 14: the newest counter again, with another tag.
    CloneSuspected = "clone_suspected",
    /// Step 15: a newer counter with a send time that is not newer.
    TimeRegressed = "time_regressed",
    /// Step 16: held back on the way.
    Delayed = "delayed",
    /// Step 17: of a lower origin class than the slot.
    OriginConflict = "origin_conflict",
    /// Base frames: the nonce is not above the last.
    OutOfOrder = "out_of_order",
    /// Local socket: the frame's pid is not the kernel's.
    PidMismatch = "pid_mismatch",
    /// Local socket: the sender lives in another PID namespace than the observer.
    NamespaceConflict = "namespace_conflict",
    /// Local socket: the kernel did not say who sent it.
    NoCredentials = "no_credentials",
    /// Local socket: it carried more than a datagram, such as descriptors.
    CtrlTruncated = "ctrl_truncated",
}

impl core::fmt::Display for Reject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "{error}"),
            other => f.write_str(other.reason()),
        }
    }
}

impl core::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use std::{
        format,
        string::{String, ToString as _},
    };

    use super::*;

    const DECODE_ERRORS: [DecodeError; 8] = [
        DecodeError::BadMagic,
        DecodeError::BadVersion,
        DecodeError::BadCrc { expected: 0, actual: 1 },
        DecodeError::BadStatus(4),
        DecodeError::StallOnWire,
        DecodeError::BadPid(0),
        DecodeError::BadTimestamp,
        DecodeError::BadNonce,
    ];

    /// `BadCrc` becomes `bad_crc`.
    fn snake(name: &str) -> String {
        let mut text = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    }

    #[test]
    fn index_and_reason_agree() {
        let plain = Reject::PLAIN.iter().copied();
        let all = plain.chain(DECODE_ERRORS.map(Reject::Decode));
        let mut count = 0;
        for (index, reject) in all.enumerate() {
            assert_eq!(reject.index(), index, "{reject:?}");
            assert_eq!(Reject::REASONS[index], reject.reason(), "{reject:?}");
            count += 1;
        }
        assert_eq!(count, Reject::REASONS.len());
    }

    #[test]
    fn a_reason_is_the_name_in_snake_case() {
        for reject in Reject::PLAIN {
            assert_eq!(reject.reason(), snake(&format!("{reject:?}")));
            assert_eq!(reject.to_string(), reject.reason());
        }
        for error in DECODE_ERRORS {
            let reject = Reject::Decode(error);
            assert_eq!(reject.reason(), format!("frame_{}", snake(error.name())));
            assert!(reject.to_string().starts_with(error.name()), "{reject}");
        }
    }
}
