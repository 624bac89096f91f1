//! An honest agent is not locked out: its beats, sent by a right clock and delivered at once, are accepted again in time.

use varta_core::{MILLI, SECOND};
use varta_vlp::Reject;

use super::World;
use crate::{
    model::Expected,
    rules::{Breach, Rule},
};

/// A frame that took no longer was delivered promptly.
const PROMPT: u64 = 200 * MILLI;
/// The age of a session at most: nobody honest is locked out for longer.
const LOCKED: u64 = 660 * SECOND;

/// How a process was treated of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Treatment {
    /// Since when nothing of it was accepted though it came promptly.
    refused_since: Option<u64>,
    /// Whether another process has spoken for its slot while it lived.
    shared: bool,
}

impl World {
    /// A new process may share its slot with another.
    pub(super) fn note_speakers(&mut self, process: usize) {
        let slot = self.key_of(process);
        for other in 0..self.processes.len() {
            if other != process && self.processes[other].alive && self.key_of(other) == slot {
                self.treatment[other].shared = true;
                self.treatment[process].shared = true;
            }
        }
    }

    /// A child has named itself, and may share its slot with another now.
    pub fn named(&mut self, process: usize) {
        self.note_speakers(process);
    }

    /// Looks at what the newest turn of an observer did to genuine datagrams.
    pub(super) fn after_turn(&mut self, observer: usize) -> Result<(), Breach> {
        let told = std::mem::take(&mut self.observers[observer].told_now);
        for change in told {
            self.trace.told(self.t, observer, &change);
            self.observers[observer].told.push(change);
        }
        for treated in std::mem::take(&mut self.observers[observer].treated) {
            self.trace.treated(self.t, observer, treated.number, treated.got);
            let sealed = self.registry.frame(treated.number);
            let (process, sent) = (sealed.process, sealed.t);
            let Some(host) = self.processes.get(process).map(|process| process.who.host) else { continue };
            let skew = self.observers[observer].settings.skew / 2;
            let off = |error: i64| error.unsigned_abs() > skew;
            let wrong = off(self.hosts[host].clock.error(self.t)) || self.observers[observer].has_erred(self.t);
            let treatment = &mut self.treatment[process];
            let excused = match treated.got {
                Expected::Accepted | Expected::Late => true,
                Expected::Rejected(reject) => {
                    matches!(reject, Reject::SlotQuota | Reject::RetiredGeneration | Reject::AfterFinal)
                }
            };
            if excused || wrong || treatment.shared {
                treatment.refused_since = None;
                continue;
            }
            let prompt = self.t - sent <= PROMPT && treated.got != Expected::Rejected(Reject::Replayed);
            if !prompt {
                continue;
            }
            let since = *treatment.refused_since.get_or_insert(sent);
            if self.t - since > LOCKED {
                let what = format!(
                    "process {process} has beaten for {} s and nothing of it is accepted, now as {:?}",
                    (self.t - since) / SECOND,
                    treated.got
                );
                return Err(Breach::new(Rule::Lockout, what));
            }
        }
        Ok(())
    }
}
