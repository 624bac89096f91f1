//! Senders and an observer's core in a world of one simulated time. No wall time, and every choice from a seed.
use std::fmt::Write as _;

use crate::sender::{Say, Sender};
use varta_core::{
    Audience, Beat, Change, Core, Counters, Cursor, Limits, MILLI, MonoNs, Now, Origin, Outcome, Reject, SECOND, Saved,
    Settings, SlotChange, SlotId, Start, Verdict, WallNs,
};
use varta_vlp::key::{AudienceKey, AudienceSecret, Name, RootSecret};

/// World time 0 by a right realtime clock.
pub(crate) const EPOCH: u64 = 1_767_225_600 * SECOND;
/// World time 0 by the observer's boottime.
const BOOT: u64 = 5000 * SECOND;

pub(crate) const fn audience_name() -> &'static str {
    "obs-1"
}

pub(crate) fn audience_secret() -> AudienceSecret {
    RootSecret::from_bytes([7; 32]).audience(Name::new(audience_name()).unwrap())
}

/// Splitmix64.
pub(crate) struct Seed(pub u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ a >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ b >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The world: its time, the observer's core, and what it told.
pub(crate) struct Pair {
    pub(crate) core: Core,
    /// World time, nanoseconds.
    pub(crate) t: u64,
    /// How far the observer's realtime is ahead of the world's.
    pub(crate) skew: i64,
    /// What was told and not yet taken by [`Self::told`].
    changes: Vec<Change>,
}

pub(crate) fn origin(attested: bool) -> Origin {
    Origin { listener: usize::from(attested), attested, from: ([127, 0, 0, 1], 40_000).into() }
}

pub(crate) fn core(settings: Settings, limits: Limits) -> Core {
    let id = Name::new(audience_name()).unwrap().audience_id();
    let audience = Audience { id, key: AudienceKey::new(&audience_secret()), until: None };
    Core::new(settings, limits, vec![audience], 2, 1)
}

impl Pair {
    /// An observer that starts for the first time at world time 100 s.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), Limits::default())
    }

    pub(crate) fn with(settings: Settings, limits: Limits) -> Self {
        let mut pair = Self { core: core(settings, limits), t: 100 * SECOND, skew: 0, changes: Vec::new() };
        let now = pair.now();
        pair.core.start(now, Start::First, 0);
        pair.core.set_horizon(WallNs(u64::MAX));
        pair.wait(10 * MILLI);
        pair
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.mono(), wall: WallNs((EPOCH + self.t).saturating_add_signed(self.skew)) }
    }

    pub(crate) fn mono(&self) -> MonoNs {
        MonoNs(BOOT + self.t)
    }

    fn collect(&mut self) {
        while let Some(change) = self.core.poll_change() {
            self.changes.push(change);
        }
    }

    /// Lets time pass; the core is called exactly when it asked to be.
    pub(crate) fn wait(&mut self, ns: u64) {
        let end = self.t + ns;
        loop {
            let at = self.core.poll_timeout();
            if at.0 > BOOT + end {
                break;
            }
            // A bound may be early; time never goes back.
            self.t = self.t.max(at.0.saturating_sub(BOOT));
            self.turn();
            assert!(self.core.poll_timeout() > self.mono(), "a timeout that is not served");
        }
        self.t = end;
    }

    /// Lets time pass without the core being called.
    pub(crate) fn sleep(&mut self, ns: u64) {
        self.t += ns;
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self) {
        let now = self.now();
        self.core.begin_turn(false);
        self.core.handle_timeout(now);
        self.collect();
    }

    pub(crate) fn deliver_on(&mut self, attested: bool, bytes: &[u8]) -> Outcome {
        let now = self.now();
        let outcome = self.core.handle_datagram(now, origin(attested), &mut bytes.to_vec());
        self.collect();
        outcome
    }

    pub(crate) fn deliver(&mut self, bytes: &[u8]) -> Outcome {
        self.deliver_on(false, bytes)
    }

    /// A beat sent and delivered in the same instant, which is accepted as the newest.
    pub(crate) fn beat(&mut self, sender: &mut Sender, say: Say) -> Beat {
        let bytes = sender.beat(self.t, say);
        match self.deliver(&bytes) {
            Outcome::Accepted(beat) => beat,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// A beat sent and delivered in the same instant, whatever becomes of it.
    pub(crate) fn send(&mut self, sender: &mut Sender, say: Say) -> Outcome {
        let bytes = sender.beat(self.t, say);
        self.deliver(&bytes)
    }

    /// Beats on time, `count` of them.
    pub(crate) fn run(&mut self, sender: &mut Sender, say: Say, every: u64, count: u32) {
        for _ in 0..count {
            self.beat(sender, say);
            self.wait(every);
        }
    }

    pub(crate) fn slot(&self, sender: &Sender) -> SlotId {
        self.core.find(sender.agent, sender.unit, sender.pid).expect("a slot")
    }

    pub(crate) fn verdict(&self, sender: &Sender) -> Verdict {
        self.core.view(self.now(), self.slot(sender)).expect("a slot").verdict
    }

    pub(crate) fn why(&self, sender: &Sender) -> String {
        self.core.why(self.now(), self.slot(sender))
    }

    /// What was told since this was last asked.
    pub(crate) fn told(&mut self) -> Vec<Change> {
        self.collect();
        std::mem::take(&mut self.changes)
    }

    /// What was told of slots since this was last asked.
    pub(crate) fn told_of_slots(&mut self) -> Vec<SlotChange> {
        let slot = |change| match change {
            Change::Slot { what, .. } => Some(what),
            _ => None,
        };
        self.told().into_iter().filter_map(slot).collect()
    }

    pub(crate) fn rejected(&self, reject: Reject) -> u64 {
        self.core.counters().listeners.iter().map(|listener| listener.rejected[reject.index()]).sum()
    }

    /// Everything that can be read of the core, in words.
    pub(crate) fn picture(&self) -> String {
        let mut text = self.saved_picture();
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = self.core.page(self.now(), from, 7, |row| {
                let labels: Vec<_> = row.labels().collect();
                let why = row.slot.map(|slot| self.core.why(self.now(), slot));
                let _ = writeln!(
                    text,
                    "{:?} {} {:?} {:?} {} {:?} {:?} {} {:?} {:?} {} {} {} {labels:?} {why:?}",
                    row.slot,
                    row.agent,
                    row.agent_name,
                    row.unit_name,
                    row.pid,
                    row.verdict,
                    row.status,
                    row.payload,
                    row.class,
                    row.last_beat_age,
                    row.restarts,
                    row.stalls,
                    row.beats,
                );
            });
        }
        let _ = write!(text, "{:?} {:?} {:?}", self.core.verdict_counts(), self.core.sizes(), self.core.barrier());
        text
    }

    /// Everything that would be kept on disk, in words.
    pub(crate) fn saved_picture(&self) -> String {
        self.saved().iter().fold(String::new(), |mut text, saved| {
            let _ = writeln!(text, "{saved:?}");
            text
        })
    }

    pub(crate) fn saved(&self) -> Vec<Saved> {
        let mut records = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            cursor = self.core.save_page(from, 5, |saved| records.push(saved));
        }
        records
    }

    /// The counters in words, without what `reject` counts.
    pub(crate) fn counters_but(&self, reject: Reject) -> String {
        let mut counters = self.core.counters();
        for listener in &mut counters.listeners {
            listener.received = 0;
            listener.rejected[reject.index()] = 0;
        }
        format!("{counters:?}")
    }

    pub(crate) fn assert_conserved(&self) {
        for listener in &self.core.counters().listeners {
            let sum = listener.accepted + listener.accepted_late + listener.rejected_total();
            assert_eq!(listener.received, sum, "received is accepted, late and rejected");
        }
    }

    /// The counts by verdict are those of the rows.
    pub(crate) fn assert_counted(&self) {
        let mut counts = [0; Verdict::ALL.len()];
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = self.core.page(self.now(), from, 100, |row| counts[row.verdict as usize] += 1);
        }
        assert_eq!(counts, self.core.verdict_counts(), "rows by verdict");
    }

    /// Stops the observer and starts another from what it saved, `away` later.
    pub(crate) fn restart(&mut self, away: u64, same_boot: bool, how: impl FnOnce(&Core, MonoNs) -> Start) {
        let (saved, run) = (self.saved(), self.core.blind_run());
        let start = how(&self.core, self.mono());
        let mut next = core(*self.core.settings(), Limits::default());
        for record in saved {
            next.restore(record, same_boot);
        }
        self.core = next;
        self.t += away;
        let now = self.now();
        self.core.start(now, start, run);
        self.core.set_horizon(WallNs(u64::MAX));
        self.collect();
    }

    pub(crate) fn counters(&self) -> Counters {
        self.core.counters()
    }
}

pub(crate) fn assert_once(text: &str, part: &str) {
    assert_eq!(text.matches(part).count(), 1, "{part:?} once in {text:?}");
}
