//! What happened in a world: a digest of all of it, and the last of it in words where somebody wants to read.

use std::{collections::VecDeque, fmt::Write as _};

use varta_core::Change;

use crate::{clock::EPOCH, model::Expected, process::Sealed};

/// So many lines are kept.
const LINES: usize = 4000;

/// The trace of one run.
#[derive(Default)]
pub struct Trace {
    digest: u64,
    /// The newest lines, where they are wanted.
    pub lines: Option<VecDeque<String>>,
}

impl Trace {
    /// Sums up everything that happened so far.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    fn fold(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.digest ^= self.digest >> 29;
    }

    /// Notes anything in words.
    pub fn note(&mut self, t: u64, what: impl FnOnce() -> String) {
        self.fold(&t.to_le_bytes());
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            let mut line = String::new();
            let _ = write!(line, "{:>12.6} {}", t as f64 / 1e9, what());
            lines.push_back(line);
        }
    }

    pub(crate) fn sealed(&mut self, t: u64, number: usize, sealed: &Sealed) {
        self.fold(&sealed.bytes);
        self.note(t, || {
            let (header, body) = (&sealed.header, &sealed.body);
            let at = |ns: u64| ns.cast_signed().wrapping_sub(EPOCH.cast_signed()) / 1_000_000;
            format!(
                "process {} seals {number}: {:04x}/{:x}/{} session {} ms counter {} sent_at {} ms stamp {} ms promise {} \
                 flags {:#b} nonce {:x} gen {}",
                sealed.process,
                header.agent.0 >> 48,
                body.unit.0,
                body.frame.pid,
                at(header.session_start),
                header.counter,
                at(body.sent_at),
                body.frame.timestamp / 1_000_000,
                body.next_due_ms,
                body.flags.0,
                body.frame.nonce,
                header.generation.0,
            )
        });
    }

    pub(crate) fn treated(&mut self, t: u64, observer: usize, number: usize, got: Expected) {
        self.fold(&number.to_le_bytes());
        self.fold(&match got {
            Expected::Accepted => [254],
            Expected::Late => [255],
            Expected::Rejected(reject) => [u8::try_from(reject.index()).unwrap_or(253)],
        });
        self.note(t, || format!("observer {observer} takes {number}: {got:?}"));
    }

    pub(crate) fn told(&mut self, t: u64, observer: usize, change: &Change) {
        let text = format!("{change:?}");
        self.fold(text.as_bytes());
        self.note(t, || format!("observer {observer} tells {text}"));
    }
}
