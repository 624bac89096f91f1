//! Base frames without a seal, on a simulated clock: who is heard, what is life, and what an end is.

mod down;

use std::net::{IpAddr, Ipv4Addr};

use varta_core::{
    Change, Core, Cursor, Exit, Limits, MILLI, MonoNs, Now, Outcome, Owner, Phase, Reject, SECOND, Saved, Sender,
    Settings, SlotChange, Start, Verdict, WallNs,
};
use varta_vlp::{
    Frame, Status, UnitId,
    sealed::{Body, Flags},
};

const LOCAL: usize = 0;
const PLAIN: usize = 1;
const PID: u32 = 4242;
const HOUR: u64 = 3600 * SECOND;

struct World {
    core: Core,
    now: Now,
}

fn limits() -> Limits {
    Limits { processes: 3, addresses: 2, slots_per_agent: 2, ..Limits::default() }
}

impl World {
    fn new() -> Self {
        let now = Now { mono: MonoNs(1_000 * SECOND), wall: WallNs(2_000_000 * SECOND) };
        let mut core = Core::new(Settings::default(), limits(), Vec::new(), 2, 7);
        core.start(now, Start::First, 0);
        let mut world = Self { core, now };
        world.pass(0);
        world
    }

    /// So many nanoseconds go by.
    fn pass(&mut self, ns: u64) {
        self.now = Now { mono: self.now.mono.after(ns), wall: self.now.wall.after(ns) };
        self.core.begin_turn(false);
        self.core.handle_timeout(self.now);
    }

    fn local(&mut self, process: u64, bytes: &[u8]) -> Outcome {
        self.core.handle_unsealed(self.now, LOCAL, Ok(Sender::Local { pid: PID, process, ours: true }), bytes)
    }

    fn beat(&mut self, nonce: u64) -> Result<(), Reject> {
        accepted(self.local(5, &frame(nonce).encode()))
    }

    fn verdict(&self, owner: Owner, pid: u32) -> Option<Verdict> {
        let id = self.core.find(owner, UnitId::NONE, pid)?;
        self.core.view(self.now, id).map(|view| view.verdict)
    }

    fn is(&self, verdict: Verdict) {
        assert_eq!(self.verdict(Owner::Local, PID), Some(verdict));
    }

    fn why(&self) -> String {
        self.core.why(self.now, self.core.find(Owner::Local, UnitId::NONE, PID).expect("a slot"))
    }

    fn told(&mut self) -> Vec<SlotChange> {
        std::iter::from_fn(|| self.core.poll_change())
            .filter_map(|change| match change {
                Change::Slot { what, .. } => Some(what),
                _ => None,
            })
            .collect()
    }

    fn conserves(&self) {
        let counters = self.core.counters();
        for listener in &counters.listeners {
            assert_eq!(listener.received, listener.accepted + listener.accepted_late + listener.rejected_total());
        }
        let mut counts = [0; Verdict::ALL.len()];
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = self.core.page(self.now, from, 10, |row| counts[row.verdict as usize] += 1);
        }
        assert_eq!(self.core.verdict_counts(), counts);
    }
}

fn accepted(outcome: Outcome) -> Result<(), Reject> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(reject) => Err(reject),
        other => panic!("{other:?}"),
    }
}

fn frame_of(pid: u32, nonce: u64) -> Frame {
    let status = if nonce == Frame::TERMINAL { Status::Critical } else { Status::Ok };
    Frame { status, pid, timestamp: nonce.min(u64::MAX - 1), nonce, payload: 3 }
}

fn frame(nonce: u64) -> Frame {
    frame_of(PID, nonce)
}

fn body(nonce: u64, next_due_ms: u32, flags: Flags) -> [u8; 64] {
    let frame = frame(nonce);
    Body { frame, sent_at: 0, next_due_ms, lag_us: 0, unit: UnitId::NONE, flags, boot: 0 }.encode()
}

fn stalls(told: &[SlotChange]) -> usize {
    let stalled = |what: &&SlotChange| matches!(what, SlotChange::Verdict { to: Verdict::Stalled, .. });
    told.iter().filter(stalled).count()
}

#[test]
fn nonces_rise_and_a_first_one_begins_anew() {
    let mut world = World::new();
    assert_eq!(world.beat(1), Ok(()));
    assert_eq!(world.told(), [SlotChange::New(Verdict::Up)]);
    for nonce in [2, 3, 9] {
        assert_eq!(world.beat(nonce), Ok(()));
    }
    for nonce in [9, 8, 2, 0] {
        assert_eq!(world.beat(nonce), Err(Reject::OutOfOrder), "{nonce}");
    }
    assert_eq!(world.told(), []);
    assert_eq!(world.beat(1), Ok(()), "connected anew");
    assert_eq!(world.told(), [SlotChange::Restarted { old_pid: PID }]);
    assert_eq!(world.beat(2), Ok(()));
    assert_eq!(world.beat(u64::MAX - 1), Ok(()));
    assert_eq!(world.beat(0), Ok(()), "after the last comes 0");
    assert_eq!(world.beat(1), Ok(()), "and no restart");
    assert_eq!(world.told(), []);
    world.conserves();
}

#[test]
fn another_process_of_the_same_pid_is_a_restart_whatever_its_nonce() {
    let mut world = World::new();
    assert_eq!(accepted(world.local(5, &frame(40).encode())), Ok(()));
    assert_eq!(accepted(world.local(0, &frame(41).encode())), Ok(()), "not known is no other");
    assert_eq!(accepted(world.local(6, &frame(7).encode())), Ok(()));
    assert_eq!(world.told(), [SlotChange::New(Verdict::Up), SlotChange::Restarted { old_pid: PID }]);
    assert_eq!(accepted(world.local(6, &frame(7).encode())), Err(Reject::OutOfOrder));
    world.is(Verdict::Up);
}

#[test]
fn silence_is_a_stall_at_the_threshold_and_life_takes_it_back() {
    let mut world = World::new();
    world.beat(1).unwrap();
    world.told();
    world.pass(2 * SECOND - MILLI);
    world.is(Verdict::Up);
    assert_eq!(world.core.poll_timeout(), world.now.mono.after(MILLI));
    world.pass(MILLI);
    world.is(Verdict::Stalled);
    assert_eq!(stalls(&world.told()), 1);
    assert_eq!(world.beat(1), Ok(()), "restarted");
    world.is(Verdict::Up);
    world.conserves();
}

#[test]
fn a_terminal_beat_ends_and_life_after_it_counts() {
    let mut world = World::new();
    world.beat(7).unwrap();
    world.beat(Frame::TERMINAL).unwrap();
    world.is(Verdict::Critical);
    assert!(world.why().starts_with("ended: exit 3"), "{}", world.why());
    world.beat(Frame::TERMINAL).unwrap();
    assert_eq!(world.beat(7), Err(Reject::OutOfOrder), "it moved nothing");
    world.beat(8).unwrap();
    world.is(Verdict::Up);
    world.told();
    world.beat(Frame::TERMINAL).unwrap();
    world.core.handle_exit(world.now, PID, 5, Exit::Signal(6));
    world.is(Verdict::Critical);
    world.pass(10 * SECOND);
    assert_eq!(stalls(&world.told()), 0, "already told");
}

#[test]
fn promises_absences_and_goodbyes_are_heard_locally() {
    let mut world = World::new();
    accepted(world.local(5, &body(1, 500, Flags(0)))).unwrap();
    world.pass(1_250 * MILLI - 1);
    world.is(Verdict::Up);
    world.pass(1);
    world.is(Verdict::Stalled);
    accepted(world.local(5, &body(2, 60_000, Flags::HOLD))).unwrap();
    world.is(Verdict::Held);
    world.pass(59 * SECOND);
    world.is(Verdict::Held);
    accepted(world.local(5, &body(3, 0, Flags::FINAL))).unwrap();
    world.is(Verdict::Departed);
    world.told();
    world.core.handle_exit(world.now, PID, 5, Exit::Status(0));
    world.pass(10 * SECOND);
    world.is(Verdict::Departed);
    assert_eq!(world.told(), [], "an exit after a goodbye is no news");
    accepted(world.local(5, &body(4, u32::MAX, Flags(0)))).unwrap();
    world.is(Verdict::Up);
    let clamped = SlotChange::PromiseClamped { asked: u32::MAX, held: 3_600_000 };
    assert!(world.told().contains(&clamped));
    world.conserves();
}

#[test]
fn an_end_without_a_word_is_a_stall_at_once_and_forgotten_in_time() {
    for (exit, said) in
        [(Exit::Unknown, "how is not known"), (Exit::Status(0), "exit 0"), (Exit::Signal(9), "signal 9")]
    {
        let mut world = World::new();
        world.beat(1).unwrap();
        world.told();
        world.core.handle_exit(world.now, PID, 4, exit);
        world.is(Verdict::Up);
        world.core.handle_exit(world.now, PID, 5, exit);
        world.is(Verdict::Stalled);
        assert!(world.why().contains(said), "{}", world.why());
        assert_eq!(stalls(&world.told()), 1);
        assert_eq!(world.core.counters().stalls, 1);
        world.core.handle_exit(world.now, PID, 5, exit);
        world.pass(HOUR - 1);
        assert_eq!(world.told(), [], "told once");
        world.is(Verdict::Stalled);
        world.pass(1);
        assert_eq!(world.told(), [SlotChange::Evicted(Verdict::Stalled)]);
        assert_eq!(world.verdict(Owner::Local, PID), None);
        assert_eq!(world.core.sizes(), (0, 0));
        world.conserves();
    }
}

#[test]
fn what_is_read_of_a_slot_has_its_newest_nonce() {
    let mut world = World::new();
    world.beat(7).unwrap();
    let heard = world.now.mono;
    let id = world.core.find(Owner::Local, UnitId::NONE, PID).expect("a slot");
    world.pass(SECOND);
    let view = world.core.view(world.now, id).expect("a slot");
    assert_eq!((view.nonce, view.arrival, view.ours), (Some(7), Some(heard), true));
    world.beat(Frame::TERMINAL).unwrap();
    assert_eq!(world.core.view(world.now, id).map(|view| view.nonce), Some(Some(7)));
}

#[test]
fn a_pid_that_is_used_again_is_another_process_and_the_old_ones_end_is_not_its() {
    let mut world = World::new();
    world.beat(1).unwrap();
    accepted(world.local(6, &frame(1).encode())).unwrap();
    world.core.handle_exit(world.now, PID, 5, Exit::Unknown);
    world.is(Verdict::Up);
    assert_eq!(world.core.local_processes(), [(PID, 6)]);
    world.core.handle_exit(world.now, PID, 6, Exit::Unknown);
    world.is(Verdict::Stalled);
    assert_eq!(world.core.local_processes(), []);
    accepted(world.local(7, &frame(1).encode())).unwrap();
    world.is(Verdict::Up);
    assert!(world.why().starts_with("last beat"), "{}", world.why());
    world.pass(HOUR);
    assert_ne!(world.verdict(Owner::Local, PID), None, "it is not the one that ended");
}

#[test]
fn nobody_is_heard_for_another() {
    let mut world = World::new();
    let foreign = frame_of(77, 1).encode();
    assert_eq!(accepted(world.local(5, &foreign)), Err(Reject::PidMismatch));
    for reject in [Reject::NamespaceConflict, Reject::NoCredentials, Reject::CtrlTruncated] {
        let outcome = world.core.handle_unsealed(world.now, LOCAL, Err(reject), &frame(1).encode());
        assert_eq!(outcome, Outcome::Rejected(reject));
    }
    assert_eq!(accepted(world.local(5, &frame(1).encode()[..31])), Err(Reject::BadLength));
    let mut broken = frame(1).encode();
    broken[0] = 0;
    assert!(matches!(accepted(world.local(5, &broken)), Err(Reject::Decode(_))));
    assert_eq!(accepted(world.local(5, &body(1, 0, Flags::CONTINUES))), Err(Reject::BadFlags));
    assert_eq!(world.core.sizes(), (0, 0));
    assert_eq!(world.told(), []);
    world.conserves();
}

#[test]
fn the_same_pid_from_elsewhere_is_another_slot() {
    let mut world = World::new();
    let hosts = [1, 2].map(|host| IpAddr::from(Ipv4Addr::new(10, 0, 0, host)));
    world.beat(5).unwrap();
    for host in hosts {
        let outcome = world.core.handle_unsealed(world.now, PLAIN, Ok(Sender::Plain(host)), &frame(3).encode());
        assert_eq!(accepted(outcome), Ok(()));
    }
    let mut rows = Vec::new();
    world
        .core
        .page(world.now, Cursor::default(), 100, |row| rows.push((row.agent.to_string(), row.pid, row.class.name())));
    assert_eq!(
        rows,
        [
            ("local".to_owned(), PID, "KernelAttested"),
            ("udp~10.0.0.1".to_owned(), PID, "NetworkUnverified"),
            ("udp~10.0.0.2".to_owned(), PID, "NetworkUnverified"),
        ]
    );
    let long = world.core.handle_unsealed(world.now, PLAIN, Ok(Sender::Plain(hosts[0])), &body(4, 1, Flags(0)));
    assert_eq!(accepted(long), Err(Reject::BadLength), "from a network base frames only");
    world.core.handle_exit(world.now, PID, 0, Exit::Unknown);
    world.is(Verdict::Stalled);
    assert_eq!(world.verdict(Owner::Plain(hosts[0]), PID), Some(Verdict::Up));
    world.conserves();
}

#[test]
fn room_is_bounded_and_taken_from_those_who_are_gone() {
    let mut world = World::new();
    let send = |world: &mut World, pid: u32| {
        let sender = Sender::Local { pid, process: u64::from(pid), ours: true };
        accepted(world.core.handle_unsealed(world.now, LOCAL, Ok(sender), &frame_of(pid, 1).encode()))
    };
    for pid in 10..13 {
        assert_eq!(send(&mut world, pid), Ok(()));
    }
    assert_eq!(send(&mut world, 13), Err(Reject::SlotQuota));
    world.core.handle_exit(world.now, 11, 11, Exit::Unknown);
    assert_eq!(send(&mut world, 13), Err(Reject::SlotQuota), "room is looked for once a second");
    world.pass(SECOND);
    assert_eq!(send(&mut world, 13), Ok(()));
    assert_eq!(world.verdict(Owner::Local, 11), None);
    assert_eq!(world.verdict(Owner::Local, 10), Some(Verdict::Up));
    // Silent for long past their deadlines.
    world.pass(20 * SECOND);
    for pid in 14..17 {
        assert_eq!(send(&mut world, pid), Ok(()));
    }
    let plain = |world: &mut World, host: u8, pid: u32| {
        let from = Sender::Plain(IpAddr::from([10, 0, 0, host]));
        accepted(world.core.handle_unsealed(world.now, PLAIN, Ok(from), &frame_of(pid, 1).encode()))
    };
    for (host, pid) in [(1, 50), (1, 51), (2, 50)] {
        assert_eq!(plain(&mut world, host, pid), Ok(()));
    }
    assert_eq!(plain(&mut world, 1, 52), Err(Reject::SlotQuota), "of one address");
    assert_eq!(plain(&mut world, 3, 50), Err(Reject::SlotQuota), "of addresses");
    world.pass(20 * SECOND);
    assert_eq!(plain(&mut world, 3, 50), Ok(()));
    world.conserves();
}

#[test]
fn drops_on_a_network_excuse_nobody_local() {
    let mut world = World::new();
    world.beat(1).unwrap();
    let plain = |world: &mut World, nonce| {
        let from = Sender::Plain(IpAddr::from([10, 0, 0, 1]));
        accepted(world.core.handle_unsealed(world.now, PLAIN, Ok(from), &frame(nonce).encode()))
    };
    plain(&mut world, 1).unwrap();
    world.core.handle_drops(world.now, 1_000);
    world.pass(2 * SECOND);
    world.is(Verdict::Stalled);
    assert_eq!(world.verdict(Owner::Plain([10, 0, 0, 1].into()), PID), Some(Verdict::Unknown));
}

#[test]
fn what_is_said_without_a_key_moves_no_barrier_and_no_horizon() {
    let mut world = World::new();
    let before = (world.core.barrier(), world.core.newest_sent());
    world.beat(1).unwrap();
    world.pass(HOUR);
    world.core.handle_exit(world.now, PID, 5, Exit::Unknown);
    world.pass(HOUR);
    assert_eq!(world.core.sizes(), (0, 0));
    assert_eq!((world.core.barrier(), world.core.newest_sent()), before);
}

#[test]
fn local_slots_outlive_the_observer_under_one_boot() {
    for same_boot in [true, false] {
        let mut world = World::new();
        world.beat(5).unwrap();
        let from = Sender::Plain(IpAddr::from([10, 0, 0, 1]));
        accepted(world.core.handle_unsealed(world.now, PLAIN, Ok(from), &frame(1).encode())).unwrap();
        let mut kept = Vec::new();
        while world.core.take_dirty(100, |saved| kept.push(saved)) {}
        let slots: Vec<_> = kept.iter().filter(|saved| matches!(saved, Saved::Slot(_))).collect();
        assert_eq!(slots.len(), 1, "nothing of plaintext is kept");
        let mut core = Core::new(Settings::default(), limits(), Vec::new(), 2, 8);
        for saved in kept.iter().chain(&kept).cloned() {
            core.restore(saved, same_boot);
        }
        let stopped = world.now.mono;
        world.now = Now { mono: stopped.after(SECOND), wall: world.now.wall.after(SECOND) };
        core.start(world.now, Start::Clean { stopped, away: SECOND, barrier: WallNs(1) }, 0);
        world.core = core;
        if !same_boot {
            assert_eq!(world.core.sizes(), (0, 0), "processes end with their host");
            continue;
        }
        world.is(Verdict::Unknown);
        assert_eq!(world.core.local_processes(), [(PID, 5)]);
        assert_eq!(world.beat(5), Err(Reject::OutOfOrder), "what was accepted is not accepted again");
        assert_eq!(world.beat(6), Ok(()));
        world.is(Verdict::Up);
        world.conserves();
    }
}

#[test]
fn the_phase_of_a_slot_is_saved_with_its_end() {
    let mut world = World::new();
    world.beat(1).unwrap();
    world.core.handle_exit(world.now, PID, 5, Exit::Unknown);
    let mut phases = Vec::new();
    while world.core.take_dirty(100, |saved| {
        if let Saved::Slot(slot) = saved {
            phases.push(slot.phase);
        }
    }) {}
    assert_eq!(phases, [Phase::Stalled]);
}
