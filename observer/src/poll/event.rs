//! What an observer that is polled hands out.

use std::io;

use varta_core::{Change, Class, Exit, Reject, Verdict};
use varta_vlp::{DecodeError, Status};

use crate::journal;

/// One thing that happened. `observer_ns`, and the number beside an error, is when: nanoseconds since the observer was made.
/// A pid is as a person reads it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A beat was accepted.
    Beat {
        /// The pid that it names; of a local process, the kernel says the same.
        pid: u32,
        /// What it says.
        status: Status,
        /// Opaque.
        payload: u32,
        /// The beat's number in its run, from 1; `u64::MAX` of the last beat of a process that ends badly.
        nonce: u64,
        /// How far its origin can be trusted.
        origin: Class,
        /// The inode of the PID namespace of a local process, where it was read.
        pid_ns_inode: Option<u64>,
        /// When.
        observer_ns: u64,
    },
    /// Silent past its deadline, or a local process that ended without a goodbye. Told once of each silence.
    Stall {
        /// The pid of its newest beat.
        pid: u32,
        /// The newest nonce below the terminal one; 0 of a sealed slot, which counts otherwise.
        last_nonce: u64,
        /// When its newest beat was accepted, on the same timeline as `observer_ns`; 0 if that was before.
        last_ns: u64,
        /// How far its origin can be trusted.
        origin: Class,
        /// The inode of the PID namespace of a local process, where it was read.
        pid_ns_inode: Option<u64>,
        /// When it was noticed.
        observer_ns: u64,
    },
    /// Something of a frame's length is no frame.
    Decode(DecodeError, u64),
    /// A frame on a local socket names another pid than its sender's.
    AuthFailure {
        /// The pid that the frame names.
        claimed_pid: u32,
        /// When.
        observer_ns: u64,
    },
    /// A frame of a lower class than its slot's was refused. Told once until one of the right class is accepted.
    OriginConflict {
        /// The slot's pid.
        claimed_pid: u32,
        /// The frame's class.
        observed_origin: Class,
        /// The slot's.
        slot_origin: Class,
        /// When.
        observer_ns: u64,
    },
    /// A local process of another PID namespace was refused.
    NamespaceConflict {
        /// The pid that its frame names.
        claimed_pid: u32,
        /// The inode of its PID namespace, where it was read.
        observed_ns_inode: Option<u64>,
        /// The inode of the observer's.
        observer_ns_inode: Option<u64>,
        /// When.
        observer_ns: u64,
    },
    /// A listener could not be read. Told once until it can, or fails otherwise.
    Io(io::Error, u64),
    /// A datagram on a local socket carried more, such as descriptors. Nothing of that was received.
    CtrlTruncated(io::Error, u64),
    /// A datagram was refused for another reason.
    Refused(Reject, u64),
    /// A local process that was heard has ended. Unless it had said goodbye or was stalled, its stall follows.
    Exit {
        /// Its pid.
        pid: u32,
        /// How, as far as the kernel tells.
        exit: Exit,
        /// When that was noticed.
        observer_ns: u64,
    },
    /// First heard.
    New {
        /// The pid of its beat.
        pid: u32,
        /// Its verdict.
        to: Verdict,
        /// When.
        observer_ns: u64,
    },
    /// Another verdict than before; one of stalled is a [`Self::Stall`]. A goodbye is one of departed.
    Verdict {
        /// The pid of its newest beat.
        pid: u32,
        /// The verdict before.
        from: Verdict,
        /// The verdict from now on.
        to: Verdict,
        /// When.
        observer_ns: u64,
    },
    /// Another process, or another life of the same one, began to speak for a slot.
    Restarted {
        /// Its pid.
        pid: u32,
        /// The pid before.
        old_pid: u32,
        /// When.
        observer_ns: u64,
    },
    /// Anything else that changed.
    Changed(Change, u64),
}

impl Event {
    /// When it happened: nanoseconds since the observer was made.
    #[must_use]
    pub const fn observer_ns(&self) -> u64 {
        match self {
            Self::Beat { observer_ns, .. }
            | Self::Stall { observer_ns, .. }
            | Self::AuthFailure { observer_ns, .. }
            | Self::OriginConflict { observer_ns, .. }
            | Self::NamespaceConflict { observer_ns, .. }
            | Self::Exit { observer_ns, .. }
            | Self::New { observer_ns, .. }
            | Self::Verdict { observer_ns, .. }
            | Self::Restarted { observer_ns, .. }
            | Self::Decode(_, observer_ns)
            | Self::Io(_, observer_ns)
            | Self::CtrlTruncated(_, observer_ns)
            | Self::Refused(_, observer_ns)
            | Self::Changed(_, observer_ns) => *observer_ns,
        }
    }

    /// The kind under which the daemon tells the same in its event file; `refused` and `exit` are none of those.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Beat { .. } => "beat",
            Self::Stall { .. } => "stall",
            Self::Decode(..) => "decode",
            Self::AuthFailure { .. } => "auth_failure",
            Self::OriginConflict { .. } => "origin_conflict",
            Self::NamespaceConflict { .. } => "namespace_conflict",
            Self::Io(..) => "io",
            Self::CtrlTruncated(..) => "ctrl_truncated",
            Self::Refused(..) => "refused",
            Self::Exit { .. } => "exit",
            Self::New { .. } => "new",
            Self::Verdict { .. } => "verdict",
            Self::Restarted { .. } => "restarted",
            Self::Changed(change, _) => journal::kind(change),
        }
    }
}
