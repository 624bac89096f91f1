//! What local processes are refused for that no agent does: told once of each process, and no more often than a log bears.

use std::collections::VecDeque;

use varta_core::{MonoNs, Now, Outcome, Reject, SECOND};
use varta_vlp::local;

use super::Ingest;
use crate::journal::{Offence, Refusal};

/// Offenders that are remembered; further ones displace the oldest.
const REMEMBERED: usize = 256;
/// For so long a process that was told of is not told of again.
const SILENT: u64 = 3600 * SECOND;
/// Most that are told within a second.
const AT_ONCE: u32 = 4;

/// Whom was told of, oldest first.
#[derive(Debug, Default)]
pub(super) struct Offenders {
    told: VecDeque<(MonoNs, Offence, u32)>,
    /// When the newest second of telling began, and how many were told in it.
    second: (MonoNs, u32),
}

impl Offenders {
    /// Whether to tell of this one, which then counts as told. One that finds no room is told of when it does it again.
    pub(super) fn is_news(&mut self, now: MonoNs, offence: Offence, pid: u32) -> bool {
        if now >= self.second.0.after(SECOND) {
            self.second = (now, 0);
        }
        if self.second.1 >= AT_ONCE {
            return false;
        }
        while self.told.front().is_some_and(|(at, ..)| now >= at.after(SILENT)) {
            self.told.pop_front();
        }
        if self.told.iter().any(|(_, known, who)| (*known, *who) == (offence, pid)) {
            return false;
        }
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back((now, offence, pid));
        self.second.1 += 1;
        true
    }
}

impl Ingest {
    /// Tells of offences in the newest batch, which came on a local socket.
    pub(super) fn tell_refusals(&mut self, now: Now) {
        for place in 0..self.outcomes.len() {
            let Outcome::Rejected(reject) = self.outcomes[place] else { continue };
            let Some(refusal) = self.refusal(place, reject) else { continue };
            if self.offenders.is_news(now.mono, refusal.offence, refusal.pid) {
                self.journal.refusal(now, refusal);
            }
        }
    }

    /// The offence that a datagram of the newest batch was refused for, if it was for one.
    pub(super) fn refusal(&self, place: usize, reject: Reject) -> Option<Refusal> {
        let offence = Offence::of(reject)?;
        let (bytes, envelope) = self.local_buffers.get(place);
        let pid = envelope.peer.map_or(0, |peer| peer.pid);
        Some(Refusal {
            offence,
            claimed: local::parse(bytes).ok()?.frame.pid,
            pid,
            uid: envelope.peer.map(|peer| peer.uid),
            namespace: self.processes.namespace(pid),
            own: self.processes.own_namespace(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    const fn at(seconds: u64) -> MonoNs {
        MonoNs(seconds * SECOND)
    }

    #[test]
    fn each_offence_of_a_process_is_told_once_an_hour() {
        let mut offenders = Offenders::default();
        assert!(offenders.is_news(at(1), Offence::AuthFailure, 7));
        assert!(offenders.is_news(at(1), Offence::CtrlTruncated, 7), "another offence");
        assert!(offenders.is_news(at(1), Offence::AuthFailure, 8), "another process");
        for second in [1, 2, HOUR] {
            assert!(!offenders.is_news(at(second), Offence::AuthFailure, 7));
        }
        assert!(offenders.is_news(at(HOUR + 1), Offence::AuthFailure, 7));
    }

    #[test]
    fn many_offenders_are_told_of_few_at_a_time_and_none_is_forgotten_for_that() {
        let mut offenders = Offenders::default();
        for pid in 0..100 {
            assert_eq!(offenders.is_news(at(5), Offence::AuthFailure, pid), pid < AT_ONCE);
        }
        assert!(!offenders.is_news(MonoNs(6 * SECOND - 1), Offence::AuthFailure, 50));
        assert!(offenders.is_news(at(6), Offence::AuthFailure, 50));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut offenders = Offenders::default();
        for pid in 0..2_000 {
            assert!(offenders.is_news(at(u64::from(pid)), Offence::CtrlTruncated, pid));
            assert!(offenders.told.len() <= REMEMBERED);
        }
        assert!(!offenders.is_news(at(2_001), Offence::CtrlTruncated, 1_999));
        assert!(offenders.is_news(at(2_001), Offence::CtrlTruncated, 0), "displaced");
    }
}
