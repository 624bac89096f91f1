//! How the observer itself is, as a relay is told it.

use varta_core::{Cause, MILLI};
use varta_vlp::{
    Reject,
    report::{Draft, FromObserver, Reasons, ReportError, Status},
};

use crate::command::Snapshot;

/// A message that says so, its length before it.
pub(super) fn message(snapshot: &Snapshot) -> Result<Vec<u8>, ReportError> {
    let counters = &snapshot.counters;
    let sum = |read: fn(&varta_core::ListenerCounters) -> u64| counters.listeners.iter().map(read).sum::<u64>();
    let rejects = Reject::REASONS.iter().enumerate().map(|(place, reason)| {
        let of = |listener: &varta_core::ListenerCounters| listener.rejected.get(place).copied().unwrap_or(0);
        (*reason, counters.listeners.iter().map(of).sum())
    });
    let mut room = vec![0; 16 << 10];
    let rejects = Reasons::write(rejects, &mut room)?;
    let (cause, critical) = snapshot.blindness;
    let status = Status {
        verdicts: snapshot.verdicts,
        blind: cause.map_or("", Cause::name),
        critical,
        blind_ms: counters.blind_ns.iter().sum::<u64>() / MILLI,
        datagrams: [sum(|one| one.received), sum(|one| one.accepted), sum(|one| one.accepted_late)],
        stalls: counters.stall_detection.buckets.iter().sum(),
        rejects,
    };
    let mut message = vec![0; Draft::ROOM];
    let len = FromObserver::Status(status).write(&mut message)?;
    message.truncate(len);
    Ok(message)
}
