//! The subject: the observer's real core, fed with real sealed datagrams and driven by simulated time as the observer's
//! ingest loop drives it by the clock. What is scored are the stalls that it told.

mod sender;

use anyhow::ensure;
use varta_core::{
    AgentChange, Audience, Change, Core, Limits, MonoNs, Now, Origin, Outcome, Settings, SlotChange, SlotId, Start,
    Verdict, WallNs,
};
use varta_vlp::key::{AudienceKey, AudienceSecret, Name, RootSecret};

pub(super) use self::sender::Sender;
use super::{
    Ns,
    score::Deadlines,
    trace::{LOST, Span, Stalls, Trace},
    units::{MILLI, SECOND},
    worlds::World,
};

/// The observer's boottime when the trace begins.
const BOOT: u64 = 5000 * SECOND as u64;
/// The realtime when the trace begins.
const EPOCH: u64 = 1_767_225_600 * SECOND as u64;
/// A turn of the loop later than this after it should have been is a gap, as in the observer.
const GAP: Ns = 500 * MILLI;
const AUDIENCE: &str = "obs-1";

pub(super) fn mono(at: Ns) -> MonoNs {
    MonoNs(BOOT.saturating_add_signed(at))
}

pub(super) fn now(at: Ns) -> Now {
    Now { mono: mono(at), wall: WallNs(EPOCH.saturating_add_signed(at)) }
}

/// Back from the observer's boottime; what is never due is [`Ns::MAX`].
fn trace_time(mono: MonoNs) -> Ns {
    mono.0.checked_sub(BOOT).map_or(0, |ns| Ns::try_from(ns).unwrap_or(Ns::MAX))
}

pub(super) fn audience_secret() -> anyhow::Result<AudienceSecret> {
    Ok(RootSecret::from_bytes([7; 32]).audience(Name::new(AUDIENCE)?))
}

/// The core as it ships, in the one configuration of all worlds: every setting at its default.
pub(super) fn core() -> anyhow::Result<Core> {
    let id = Name::new(AUDIENCE)?.audience_id();
    let audience = Audience { id, key: AudienceKey::new(&audience_secret()?), until: None };
    Ok(Core::new(Settings::default(), Limits::default(), vec![audience], 1, 1))
}

pub(super) fn origin() -> Origin {
    Origin { listener: 0, attested: false, from: ([127, 0, 0, 1], 40_000).into() }
}

/// What the core made of a trace.
pub(super) struct Run {
    /// What it held after each beat was sent.
    pub(super) deadlines: Deadlines,
    /// From a stall that was told to the verdict after it.
    pub(super) stalls: Vec<Span>,
    /// Whether the last verdict is a stall.
    pub(super) stalled: bool,
    /// How often the sender was called unknown, which would be no answer from an observer that sees.
    pub(super) unknown: usize,
}

/// The loop around the core.
struct Observer<'a> {
    core: Core,
    stalls: &'a Stalls,
    /// The last turn.
    last: Ns,
    slot: Option<SlotId>,
    told: Vec<(Ns, Verdict)>,
    flapping: bool,
}

impl Observer<'_> {
    /// When the loop turns next, if nothing arrives before `arrival`, and when it should have.
    fn next_turn(&self, arrival: Ns) -> (Ns, Ns) {
        let wake = trace_time(self.core.poll_timeout()).max(self.last);
        let due = wake.min(arrival).min(self.stalls.turn_before(self.last).unwrap_or(Ns::MAX));
        (if due == Ns::MAX { due } else { self.stalls.served(due) }, wake)
    }

    /// Begins the turn at `at` that was due at `wake`, with the first datagram in the queue there since `arrival`.
    fn begin_turn(&mut self, at: Ns, wake: Ns, arrival: Ns) {
        let arrival = self.stalls.company(at).unwrap_or(arrival).min(arrival);
        let slept = std::mem::replace(&mut self.last, at);
        if at - wake.max(slept) > GAP {
            self.core.handle_gap(mono(slept), now(at));
        }
        self.core.begin_turn(false);
        if at.saturating_sub(arrival.max(slept)) > GAP {
            self.core.handle_gap(mono(slept), now(at));
        }
    }

    fn read(&mut self, at: Ns, bytes: &mut [u8]) {
        if let Outcome::Accepted(beat) = self.core.handle_datagram(now(at), origin(), bytes) {
            self.slot = Some(beat.slot);
        }
    }

    fn end_turn(&mut self, at: Ns) {
        self.core.handle_timeout(now(at));
        while let Some(change) = self.core.poll_change() {
            match change {
                Change::Slot { at, what: SlotChange::Verdict { to, .. }, .. } => self.told.push((trace_time(at), to)),
                Change::Agent { what: AgentChange::Flapping(_), .. } => self.flapping = true,
                _ => {}
            }
        }
    }

    /// What the core holds of the slot now; where it waits for nothing, `before`.
    fn deadline(&self, before: Ns) -> Ns {
        let held = self.slot.and_then(|slot| self.core.deadline(slot)).map_or(Ns::MAX, trace_time);
        if held == Ns::MAX { before } else { held }
    }
}

/// Lets the core hear a trace, and then look on until `until`.
pub(super) fn run(world: &World, trace: &Trace, stalls: &Stalls, until: Ns) -> anyhow::Result<Run> {
    let mut core = core()?;
    core.start(now(0), Start::First, 0);
    core.set_horizon(WallNs(u64::MAX));
    let mut observer = Observer { core, stalls, last: 0, slot: None, told: Vec::new(), flapping: false };
    let mut sender = Sender::new("web-1", world.promise_ms())?;
    let mut deadlines = Deadlines::with_capacity(trace.beats.len());
    let mut held = 0;
    let mut beats = trace.beats.iter().peekable();
    loop {
        // What is lost was sent all the same.
        while let Some(beat) = beats.next_if(|beat| beat.arrives == LOST) {
            sender.skip(beat);
            deadlines.push(held);
        }
        let arrival = beats.peek().map_or(Ns::MAX, |beat| beat.arrives);
        let (at, wake) = observer.next_turn(arrival);
        if at >= until {
            break;
        }
        observer.begin_turn(at, wake, arrival);
        while let Some(beat) = beats.next_if(|beat| beat.arrives == LOST || beat.arrives <= at) {
            if beat.arrives == LOST {
                sender.skip(beat);
            } else {
                observer.read(at, &mut sender.seal(beat));
                held = observer.deadline(held);
            }
            deadlines.push(held);
        }
        observer.end_turn(at);
    }
    deadlines.resize(trace.beats.len(), held);
    let mut told: Vec<Span> = Vec::new();
    let mut stalled = false;
    for (at, verdict) in &observer.told {
        if *verdict == Verdict::Stalled {
            told.push((*at, until));
        } else if stalled && let Some((_, to)) = told.last_mut() {
            *to = *at;
        }
        stalled = *verdict == Verdict::Stalled;
    }
    ensure!(!observer.flapping, "{}: changes came faster than they are told", world.name);
    ensure!(observer.core.counters().stalls == told.len() as u64, "{}: a stall was not told", world.name);
    let unknown = observer.told.iter().filter(|(_, verdict)| *verdict == Verdict::Unknown).count();
    Ok(Run { deadlines, stalls: told, stalled, unknown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::{score::mistakes, trace::recurring, units::DAY, worlds::WORLDS};

    #[test]
    fn what_is_told_is_what_the_deadlines_say() {
        for world in &WORLDS {
            let trace = Trace::new(world, 5, DAY / 12, recurring(1, DAY / 24, DAY, 60 * SECOND));
            let run = run(world, &trace, &Stalls::default(), trace.end).unwrap();
            assert_eq!(run.deadlines.len(), trace.beats.len());
            let mut worked_out = mistakes(&trace, &Stalls::default(), &run.deadlines, 0);
            // A deadline is judged at its instant, and one nanosecond later a beat takes the stall back.
            worked_out.retain(|(from, to)| from < to);
            assert!(!worked_out.is_empty());
            assert_eq!(run.stalls, worked_out, "{}", world.name);
        }
    }

    #[test]
    fn a_death_is_told_when_the_deadlines_say() {
        for world in &WORLDS {
            let whole = || Trace::new(world, 6, 400 * SECOND, vec![]);
            let deadlines = run(world, &whole(), &Stalls::default(), 400 * SECOND).unwrap().deadlines;
            for place in (20..380).step_by(37) {
                let trace = whole().until(place * SECOND + 333 * MILLI);
                let sent = trace.beats.len();
                let run = run(world, &trace, &Stalls::default(), 400 * SECOND + 60 * SECOND).unwrap();
                assert_eq!(
                    run.stalls.last().map(|(told, _)| *told),
                    deadlines.get(sent - 1).copied(),
                    "{}",
                    world.name
                );
                assert!(run.stalled && run.unknown == 0);
            }
        }
    }

    #[test]
    fn a_death_is_told_once_after_the_span_of_the_promise() {
        let world = &WORLDS[3];
        let trace = Trace::new(world, 5, 60 * SECOND, vec![]);
        let last = trace.beats.last().copied().unwrap();
        let run = run(world, &trace, &Stalls::default(), 120 * SECOND).unwrap();
        assert!(run.stalled);
        let [(told, _)] = run.stalls[..] else { panic!("{:?}", run.stalls) };
        let silence = told - last.sent;
        assert!((450 * MILLI..452 * MILLI).contains(&silence), "{silence}");
    }
}
