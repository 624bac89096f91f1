//! Local processes: what they say without a seal, and their ends.

use varta_core::{Now, Sender};
use varta_vlp::Reject;

use super::{Ingest, drain::mapped, inlet::Kind};
use crate::listen::uds::Envelope;

impl Ingest {
    /// Judges what came on a local socket.
    pub(super) fn judge_local(&mut self, now: Now, number: usize, count: usize) {
        for place in 0..count {
            let (bytes, envelope) = self.local_buffers.get(place);
            let sender = match envelope {
                Envelope { more: true, .. } => Err(Reject::CtrlTruncated),
                Envelope { peer: None, .. } => Err(Reject::NoCredentials),
                Envelope { peer: Some(peer), arrived, .. } => {
                    let arrived = arrived.map_or(now.mono, |arrived| mapped(now, arrived));
                    let inlet = &mut self.inlets[number];
                    let process = self.processes.identify(peer, arrived, || inlet.take_out());
                    process.map(|(process, ours)| Sender::Local { pid: peer.pid, process, ours })
                }
            };
            self.outcomes.push(self.core.handle_unsealed(now, number, sender, bytes));
            // Meanwhile others may have filled the queue.
            self.inlets[number].take_out();
        }
    }

    /// Watches the processes that were heard by the observer before this one; those that are gone have ended.
    pub(super) fn resume_processes(&mut self, now: Now) {
        for (pid, process) in self.core.local_processes() {
            if !self.processes.resume(pid, process) {
                self.core.handle_exit(now, pid, process, varta_core::Exit::Unknown);
            }
        }
    }

    /// Tells the core of processes that have ended, once everything that they sent was read. What else is to be read does not
    /// matter: a flood on a network hides no end.
    pub(super) fn tell_ends(&mut self, now: Now) {
        let local = self.inlets.iter().filter(|inlet| inlet.kind == Kind::Local);
        let Some(read) = local.map(|inlet| inlet.seen).min() else { return };
        while let Some((pid, process, exit)) = self.processes.poll_end(read) {
            self.tap_end(now, pid, exit);
            self.core.handle_exit(now, pid, process, exit);
        }
    }
}
