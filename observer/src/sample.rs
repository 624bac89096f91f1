//! What a scrape reads of each slot: plain values and copied names. The ingest thread writes no text for it.

use varta_core::{Owner, SlotView, Verdict};
use varta_vlp::{Status, UnitId};

/// The values of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The agent, or whoever speaks without a key.
    pub agent: Owner,
    /// The unit's id, or [`UnitId::NONE`].
    pub unit: UnitId,
    /// The pid as a person reads it; 0 where none was heard.
    pub pid: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The newest status.
    pub status: Status,
    /// Since the newest beat, nanoseconds; `None` where none was heard.
    pub last_beat_age: Option<u64>,
    /// Beats accepted.
    pub beats: u64,
    /// Stalls told.
    pub stalls: u32,
}

impl Sample {
    /// The values of a slot, or of a missing agent.
    #[must_use]
    pub const fn new(view: &SlotView<'_>) -> Self {
        Self {
            agent: view.agent,
            unit: view.unit,
            pid: view.pid,
            verdict: view.verdict,
            status: view.status,
            last_beat_age: view.last_beat_age,
            beats: view.beats,
            stalls: view.stalls,
        }
    }
}

/// Samples of many slots, their names in one text. Whoever asks brings them and takes them back, as with
/// [`Rows`](crate::row::Rows).
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Each sample, and where its agent's name and its unit's end in the text, where they are known.
    samples: Vec<(Sample, [Option<usize>; 2])>,
    names: String,
}

impl Samples {
    /// No samples, with room for `count`.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { samples: Vec::with_capacity(count), names: String::with_capacity(count * 32) }
    }

    /// None again; the room stays.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.names.clear();
    }

    /// Adds a sample with the names of its agent and its unit, where they are known.
    pub fn push(&mut self, sample: Sample, agent: Option<&str>, unit: Option<&str>) {
        let ends = [agent, unit].map(|name| {
            name.map(|name| {
                self.names.push_str(name);
                self.names.len()
            })
        });
        self.samples.push((sample, ends));
    }

    /// Adds the sample of a slot, or of a missing agent.
    pub fn add(&mut self, view: &SlotView<'_>) {
        self.push(Sample::new(view), view.agent_name, view.unit_name);
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Each sample with the names of its agent and its unit, where they are known.
    pub fn iter(&self) -> impl Iterator<Item = (&Sample, Option<&str>, Option<&str>)> {
        let mut start = 0;
        self.samples.iter().map(move |(sample, ends)| {
            let [agent, unit] =
                ends.map(|end| end.and_then(|end| self.names.get(std::mem::replace(&mut start, end)..end)));
            (sample, agent, unit)
        })
    }
}

#[cfg(test)]
mod tests {
    use varta_vlp::AgentId;

    use super::*;

    #[test]
    fn each_sample_has_its_own_names() {
        let sample = |beats| Sample {
            agent: Owner::Agent(AgentId(1)),
            unit: UnitId(2),
            pid: 3,
            verdict: Verdict::Up,
            status: Status::Ok,
            last_beat_age: None,
            beats,
            stalls: 0,
        };
        let mut samples = Samples::with_capacity(1);
        let names =
            [(Some("web-1"), Some("api")), (None, Some("b")), (None, None), (Some("db"), None), (Some(""), Some("x"))];
        for (beats, (agent, unit)) in (0..).zip(names) {
            samples.push(sample(beats), agent, unit);
        }
        assert_eq!((samples.len(), samples.is_empty()), (names.len(), false));
        let read: Vec<_> = samples.iter().map(|(sample, agent, unit)| (sample.beats, agent, unit)).collect();
        let pushed: Vec<_> = (0..).zip(names).map(|(beats, (agent, unit))| (beats, agent, unit)).collect();
        assert_eq!(read, pushed);
    }
}
