//! Events of a real core under a simulated clock.

use varta_core::{Limits, MILLI, Outcome, SECOND, Sender, Settings, Start, WallNs};
use varta_vlp::{DecodeError, Frame, Status};

use super::*;

const START: Now = Now { mono: MonoNs(1_000 * SECOND), wall: WallNs(2_000_000 * SECOND) };
const PID: u32 = 4242;
/// The inode of the observer's PID namespace.
const OWN: u64 = 99;

struct World {
    core: Core,
    now: Now,
    tap: Tap,
}

impl World {
    fn new() -> Self {
        let mut core = Core::new(Settings::default(), Limits::default(), Vec::new(), 1, 7);
        core.start(START, Start::First, 0);
        Self { core, now: START, tap: Tap::new(START.mono) }
    }

    fn pass(&mut self, ns: u64) {
        self.now = Now { mono: self.now.mono.after(ns), wall: self.now.wall.after(ns) };
        self.core.begin_turn(false);
        self.core.handle_timeout(self.now);
    }

    fn beat(&mut self, process: u64, ours: bool, nonce: u64, status: Status) {
        let frame = Frame { status, pid: PID, timestamp: nonce, nonce, payload: 17 };
        let sender = Sender::Local { pid: PID, process, ours };
        let outcome = self.core.handle_unsealed(self.now, 0, Ok(sender), &frame.encode());
        let Outcome::Accepted(beat) = outcome else { panic!("{outcome:?}") };
        self.tap.beat(self.now, &beat, Class::KernelAttested, ours.then_some(OWN));
    }

    /// All events, once the changes were made some.
    fn events(&mut self) -> Vec<Event> {
        while let Some(change) = self.core.poll_change() {
            self.tap.change(&self.core, self.now, Some(OWN), &change);
        }
        std::iter::from_fn(|| self.tap.pop()).map(|(event, _)| event).collect()
    }

    fn kinds(&mut self) -> Vec<&'static str> {
        self.events().iter().map(Event::kind).collect()
    }
}

#[test]
fn every_beat_is_an_event_and_a_change_comes_after_it() {
    let mut world = World::new();
    world.pass(MILLI);
    world.beat(5, true, 1, Status::Ok);
    world.beat(5, true, 2, Status::Critical);
    let events = world.events();
    assert!(
        matches!(
            events[..],
            [
                Event::Beat {
                    pid: PID,
                    status: Status::Ok,
                    payload: 17,
                    nonce: 1,
                    origin: Class::KernelAttested,
                    pid_ns_inode: Some(OWN),
                    observer_ns: MILLI,
                },
                Event::Beat { status: Status::Critical, nonce: 2, .. },
                Event::New { pid: PID, to: Verdict::Up, observer_ns: MILLI },
                Event::Verdict { pid: PID, from: Verdict::Up, to: Verdict::Critical, observer_ns: MILLI },
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn a_stall_says_what_was_last_heard() {
    let mut world = World::new();
    world.pass(SECOND);
    world.beat(5, true, 7, Status::Ok);
    assert_eq!(world.kinds(), ["beat", "new"]);
    world.pass(2 * SECOND + MILLI);
    let events = world.events();
    const NOTICED: u64 = 3 * SECOND + MILLI;
    assert!(
        matches!(
            events[..],
            [Event::Stall {
                pid: PID,
                last_nonce: 7,
                last_ns: SECOND,
                origin: Class::KernelAttested,
                pid_ns_inode: Some(OWN),
                observer_ns: NOTICED,
            }]
        ),
        "{events:?}"
    );
    world.beat(5, false, 8, Status::Ok);
    assert_eq!(world.kinds(), ["beat", "verdict"], "life takes it back");
    world.pass(3 * SECOND);
    assert_eq!(world.kinds(), ["stall"], "each silence has its own");
}

#[test]
fn a_namespace_that_was_not_read_is_not_told() {
    let mut world = World::new();
    world.beat(5, false, 1, Status::Ok);
    world.pass(3 * SECOND);
    let events = world.events();
    assert!(matches!(events[0], Event::Beat { pid_ns_inode: None, .. }), "{events:?}");
    assert!(matches!(events[2], Event::Stall { pid_ns_inode: None, .. }), "{events:?}");
}

#[test]
fn the_end_of_a_process_comes_before_its_stall() {
    let mut world = World::new();
    world.beat(5, true, 1, Status::Ok);
    for pid in [PID, PID + 1] {
        world.tap.end(&world.core, world.now, pid, Exit::Signal(9));
        world.core.handle_exit(world.now, pid, 5, Exit::Signal(9));
    }
    let events = world.events();
    assert!(
        matches!(
            events[..],
            [
                Event::Beat { .. },
                Event::Exit { pid: PID, exit: Exit::Signal(9), observer_ns: 0 },
                Event::New { .. },
                Event::Stall { last_nonce: 1, .. },
            ]
        ),
        "{events:?}"
    );
    world.beat(6, true, 1, Status::Ok);
    let events = world.events();
    let restarted = |event: &Event| matches!(event, Event::Restarted { pid: PID, old_pid: PID, .. });
    assert!(events.iter().any(restarted), "{events:?}");
}

#[test]
fn what_was_refused_is_told_with_what_is_known_of_it() {
    let mut tap = Tap::new(START.mono);
    let now = Now { mono: START.mono.after(5), ..START };
    let refusal =
        |offence| Some(Refusal { offence, claimed: 88, pid: 77, uid: Some(1000), namespace: Some(9), own: Some(OWN) });
    tap.rejected(now, Reject::Decode(DecodeError::BadPid(1)), None);
    tap.rejected(now, Reject::BadLength, None);
    tap.rejected(now, Reject::PidMismatch, refusal(Offence::AuthFailure));
    tap.rejected(now, Reject::NamespaceConflict, refusal(Offence::NamespaceConflict));
    tap.rejected(now, Reject::CtrlTruncated, refusal(Offence::CtrlTruncated));
    let events: Vec<_> = std::iter::from_fn(|| tap.pop()).map(|(event, _)| event).collect();
    assert!(
        matches!(
            events[..],
            [
                Event::Decode(DecodeError::BadPid(1), 5),
                Event::Refused(Reject::BadLength, 5),
                Event::AuthFailure { claimed_pid: 88, observer_ns: 5 },
                Event::NamespaceConflict {
                    claimed_pid: 88,
                    observed_ns_inode: Some(9),
                    observer_ns_inode: Some(OWN),
                    observer_ns: 5,
                },
                Event::CtrlTruncated(_, 5),
            ]
        ),
        "{events:?}"
    );
    assert!(events.iter().all(|event| event.observer_ns() == 5));
}

#[test]
fn an_error_of_the_system_is_handed_out_as_it_was() {
    let mut tap = Tap::new(START.mono);
    tap.io(START, &io::Error::from_raw_os_error(105));
    tap.io(START, &io::Error::other("odd"));
    let mut next = || match tap.pop() {
        Some((Event::Io(error, 0), None)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(next().raw_os_error(), Some(105));
    assert_eq!(next().to_string(), "odd");
}

#[test]
fn what_has_no_variant_of_its_own_is_told_as_it_is() {
    let mut world = World::new();
    world.beat(5, true, 1, Status::Ok);
    world.events();
    let subject = Subject { agent: Owner::Local, unit: UnitId::NONE, pid: PID };
    let slot = world.core.find(Owner::Local, UnitId::NONE, PID).unwrap();
    let slot_change = |what| Change::Slot { slot, subject, at: START.mono.after(3), what };
    let conflict = SlotChange::OriginConflict { observed: Class::NetworkVerified, pinned: Class::OperatorAttested };
    for what in [conflict, SlotChange::CloneSuspected] {
        world.tap.change(&world.core, world.now, None, &slot_change(what));
    }
    let at = START.mono.after(4);
    let limit = Change::Observer { at, what: varta_core::ObserverChange::BlindLimit };
    world.tap.change(&world.core, world.now, None, &limit);
    let events = world.events();
    assert!(
        matches!(
            events[..],
            [
                Event::OriginConflict {
                    claimed_pid: PID,
                    observed_origin: Class::NetworkVerified,
                    slot_origin: Class::OperatorAttested,
                    observer_ns: 3,
                },
                Event::Changed(Change::Slot { what: SlotChange::CloneSuspected, .. }, 3),
                Event::Changed(Change::Observer { .. }, 4),
            ]
        ),
        "{events:?}"
    );
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["origin_conflict", "clone_suspected", "blind_limit"]);
}
