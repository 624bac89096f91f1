//! A datagram of a local process that was refused for who sent it, or for what came with it, as those who follow read it.

use varta_core::{Now, Reject};

use super::record::{Detail, EventRecord, rfc3339};

/// What a local process did that no agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Its frame names another pid than its own.
    AuthFailure,
    /// It lives in another PID namespace than the observer, or is not to be seen from there.
    NamespaceConflict,
    /// It sent more than a datagram, such as descriptors.
    CtrlTruncated,
}

impl Offence {
    /// The offence that a datagram of a local socket was refused for, if it was for one.
    #[must_use]
    pub const fn of(reject: Reject) -> Option<Self> {
        match reject {
            Reject::PidMismatch => Some(Self::AuthFailure),
            Reject::NamespaceConflict => Some(Self::NamespaceConflict),
            Reject::CtrlTruncated => Some(Self::CtrlTruncated),
            _ => None,
        }
    }

    /// Its event's kind.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::AuthFailure => "auth_failure",
            Self::NamespaceConflict => "namespace_conflict",
            Self::CtrlTruncated => "ctrl_truncated",
        }
    }

    /// What the log line says.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::AuthFailure => "a local process spoke for another",
            Self::NamespaceConflict => "a process of another PID namespace was refused",
            Self::CtrlTruncated => "a local process sent more than a datagram",
        }
    }
}

/// A refused datagram of a local process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For what.
    pub offence: Offence,
    /// The pid that its frame names.
    pub claimed: u32,
    /// The sender's pid as the kernel says it; 0 where it does not, or the observer's PID namespace does not show the sender.
    pub pid: u32,
    /// The sender's user as the kernel says it.
    pub uid: Option<u32>,
    /// The inode of the sender's PID namespace, where it was read.
    pub namespace: Option<u64>,
    /// The inode of the observer's, where the system says it.
    pub own: Option<u64>,
}

impl Refusal {
    fn why(&self) -> String {
        let claimed = self.claimed;
        let user = self.uid.map_or_else(String::new, |uid| format!(" of user {uid}"));
        let who = match self.pid {
            0 => format!("a process that has no pid here{user}"),
            pid => format!("process {pid}{user}"),
        };
        match (self.offence, self.namespace, self.own) {
            (Offence::AuthFailure, ..) => format!("{who} sent a frame that names pid {claimed}"),
            (Offence::NamespaceConflict, Some(theirs), Some(own)) => {
                format!("{who} lives in pid:[{theirs}] and this observer in pid:[{own}]; its frame names pid {claimed}")
            }
            (Offence::NamespaceConflict, ..) => {
                format!("{who} lives in another PID namespace; its frame names pid {claimed}")
            }
            (Offence::CtrlTruncated, ..) => {
                format!("{who} sent more with its frame, such as descriptors; nothing of that was received")
            }
        }
    }
}

/// The event of a refusal.
pub(super) fn record(now: Now, id: u64, refusal: &Refusal) -> EventRecord {
    EventRecord {
        id,
        at: rfc3339(now.wall),
        kind: refusal.offence.kind(),
        agent: None,
        unit: None,
        pid: Some(refusal.claimed),
        origin: None,
        from: None,
        to: None,
        why: refusal.why(),
        detail: Detail::Refusal {
            sender_pid: refusal.pid,
            sender_uid: refusal.uid,
            namespace: refusal.namespace,
            observer_namespace: refusal.own,
        },
    }
}
