//! A storm of forks before a live observer: no nonce twice, and every process told apart.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unsafe_code, reason = "fork, clone and _exit are unsafe to call; a child here only beats, forks and ends")]

mod observer;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::{
    libc,
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};
use varta_client::{BeatError, BeatFault, BeatOutcome, SealedTransport, Status, Varta, keyfile::AgentKeyFile};
use varta_vlp::{UnitId, key::Name};

use observer::{Observer, Row, Turns};

type Handle = Varta<SealedTransport>;

/// Children of one process are waited for together; more than any process here has.
const SIBLINGS: usize = 16;

fn connect(key: AgentKeyFile, unit: &str) -> Handle {
    Varta::builder().key(key).unit(unit).every(Duration::from_secs(60)).connect().unwrap()
}

fn unit(name: &str) -> UnitId {
    Name::new(name).unwrap().unit_id()
}

/// Ends a child with what its body said.
fn end(held: bool) -> ! {
    // SAFETY: ends the process; no destructor or handler of the parent's runs in it.
    unsafe { libc::_exit(if held { 0 } else { 1 }) }
}

/// Runs `body` in a forked child, which ends with status 0 if it holds.
fn in_child(body: impl FnOnce() -> bool) -> Pid {
    // SAFETY: the child runs `body`, which beats, forks and waits, allocates nothing, and ends without running anything
    // of the parent's.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => child,
        Ok(ForkResult::Child) => end(body()),
        Err(_) => end(false),
    }
}

fn held(child: Pid) -> bool {
    waitpid(child, None) == Ok(WaitStatus::Exited(child, 0))
}

fn say(varta: &mut Handle, turns: &Turns, count: u32) -> bool {
    (0..count).all(|payload| turns.take() && varta.beat(Status::Ok, payload) == BeatOutcome::Sent)
}

/// Beats, has as many children as `plan` says, each with the rest of it, all at once, and beats again.
fn generation(varta: &mut Handle, turns: &Turns, plan: &[usize], beats: u32) -> bool {
    let first = beats / 2;
    if !say(varta, turns, first) {
        return false;
    }
    if let [count, rest @ ..] = plan {
        let mut children = [None; SIBLINGS];
        for child in children.iter_mut().take(*count) {
            *child = Some(in_child(|| generation(varta, turns, rest, beats)));
        }
        let mut all = true;
        for child in children.into_iter().flatten() {
            all &= held(child);
        }
        if !all {
            return false;
        }
    }
    say(varta, turns, beats - first)
}

/// How many processes a plan makes, the first apart.
fn family(plan: &[usize]) -> u64 {
    plan.split_first().map_or(0, |(count, rest)| *count as u64 * (1 + family(rest)))
}

fn storm(unit: &str, plan: &'static [usize], beats: u32) {
    let (mut observer, key, turns) = Observer::start();
    let mut varta = connect(key, unit);
    let processes = 1 + family(plan);
    let total = processes * u64::from(beats);
    // What has taken its last turn keeps its end of the pipe until the observer is through.
    let root = thread::spawn(move || (generation(&mut varta, &turns, plan, beats), varta.fork_recoveries(), turns));
    observer.hear(total);
    let (all, recoveries, _turns) = root.join().unwrap();
    assert_eq!((all, recoveries), (true, 0), "an expectation of some child failed");
    observer.assert_quiet();
    let rows = observer.rows();
    assert_eq!(observer.nonces() as u64, total);
    assert_eq!(rows.len() as u64, processes, "each process has its slot");
    assert!(rows.iter().all(|row| row.beats == u64::from(beats)));
    assert_eq!(rows.iter().filter(|row| row.unit == UnitId::NONE).count() as u64, processes - 1);
}

#[test]
fn a_storm_of_three_generations_repeats_no_nonce() {
    storm("short", &[3, 3, 4], 40);
}

#[test]
#[ignore = "a thousand processes and a million beats take a minute"]
fn a_thousand_children_by_a_thousand_beats_repeat_no_nonce() {
    storm("long", &[10, 9, 10], 1000);
}

/// Says that all is over, also where a thread panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The others go on beating with handles of their own, and allocate, while one thread forks.
#[test]
fn children_of_a_threaded_parent_are_told_apart() {
    const UNITS: [&str; 4] = ["a", "b", "c", "d"];
    const CHILDREN: u64 = 40;
    const BEATS: u32 = 25;
    let (observer, key, turns) = Observer::start();
    let again = |key: &AgentKeyFile| AgentKeyFile::parse(&key.render(), std::path::Path::new("storm.key")).unwrap();
    let mut handles: Vec<_> = UNITS.iter().map(|unit| connect(again(&key), unit)).collect();
    let mut varta = connect(key, "forks");
    let over = AtomicBool::new(false);
    let observer = thread::scope(|scope| {
        // Should it panic it is gone, and nobody waits for a turn any more.
        let mut observer = observer;
        let (turns, over) = (&turns, &over);
        for handle in &mut handles {
            scope.spawn(move || {
                assert!(say(handle, turns, 400));
                // Forks must find threads that hold the allocator's locks until the last one.
                while !over.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![0_u8; 4096]));
                }
                assert_eq!(handle.fork_recoveries(), 0);
            });
        }
        scope.spawn(move || {
            let _over = Over(over);
            for _ in 0..CHILDREN {
                let child = in_child(|| say(&mut varta, turns, BEATS) && varta.fork_recoveries() == 1);
                assert!(say(&mut varta, turns, 1));
                assert!(held(child));
            }
        });
        observer.hear(4 * 400 + CHILDREN * u64::from(BEATS) + CHILDREN);
        observer
    });
    observer.assert_quiet();
    let rows = observer.rows();
    assert_eq!(rows.len() as u64, 5 + CHILDREN);
    let children = rows.iter().filter(|row| row.unit == UnitId::NONE);
    assert!(children.clone().count() as u64 == CHILDREN && children.clone().all(|row| row.beats == u64::from(BEATS)));
}

/// `clone` as the kernel has it, into a new PID namespace: no handler of any library runs, and the child is pid 1.
fn cloned(body: impl FnOnce() -> bool) -> Pid {
    let flags = libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a stack the child goes on here in a copy of the memory, as after a fork; it
    // runs `body` only, and ends.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match child {
        0 => end(body()),
        child => Pid::from_raw(i32::try_from(child).unwrap_or(-1)),
    }
}

fn unit_is_required(outcome: BeatOutcome) -> bool {
    matches!(outcome, BeatOutcome::Failed(BeatError { fault: BeatFault::UnitRequired, .. }))
}

/// Within a new PID namespace, the first processes: `forget` is how often the handle was handed down before.
fn init(varta: &mut Handle, turns: &Turns) -> bool {
    // Pid 1: a child of another that is not, and known by no unit.
    let named = std::process::id() == 1
        && unit_is_required(varta.beat(Status::Ok, 0))
        && varta.name_unit("init").is_ok()
        && say(varta, turns, 3)
        && varta.fork_recoveries() == 1;
    // Its clone has its number, and notices that it is another: the unit is gone.
    let twin = cloned(|| {
        std::process::id() == 1
            && unit_is_required(varta.beat(Status::Ok, 0))
            && varta.fork_recoveries() == 2
            && varta.name_unit("twin").is_ok()
            && say(varta, turns, 3)
    });
    let twins = held(twin) && say(varta, turns, 3);
    let numbered = in_child(|| {
        let own = std::process::id();
        varta.name_unit("numbered").is_ok() && say(varta, turns, 3) && unshare(CloneFlags::CLONE_NEWPID).is_ok() && {
            // The second child of a namespace's first process, and so on, until one has this process's own number.
            let inner = in_child(|| {
                (0..SIBLINGS).any(|_| {
                    let child =
                        in_child(|| std::process::id() == own && say(varta, turns, 3) && varta.fork_recoveries() == 3);
                    held(child)
                })
            });
            held(inner) && say(varta, turns, 3)
        }
    });
    named && twins && held(numbered)
}

#[test]
#[ignore = "makes PID namespaces, which root may"]
fn a_clone_with_an_equal_number_is_told_apart() {
    let (mut observer, key, turns) = Observer::start();
    let mut varta = connect(key, "cloned");
    let root = thread::spawn(move || {
        let child =
            in_child(|| unshare(CloneFlags::CLONE_NEWPID).is_ok() && held(in_child(|| init(&mut varta, &turns))));
        let all = say(&mut varta, &turns, 3) && held(child) && say(&mut varta, &turns, 3);
        (all && varta.fork_recoveries() == 0, turns)
    });
    observer.hear(6 + 6 + 3 + 6 + 3);
    let (all, _turns) = root.join().unwrap();
    assert!(all, "an expectation of some child failed");
    observer.assert_quiet();
    let rows = observer.rows();
    let beats = |name: &str| rows.iter().find(|row| row.unit == unit(name)).map(|row| row.beats);
    assert_eq!([beats("cloned"), beats("init"), beats("twin"), beats("numbered")], [6, 6, 3, 6].map(Some));
    let numbered = rows.iter().find(|row| row.unit == unit("numbered")).map(|row| row.pid).unwrap();
    let unnamed: Vec<&Row> = rows.iter().filter(|row| row.unit == UnitId::NONE).collect();
    assert_eq!(unnamed, [&Row { unit: UnitId::NONE, pid: numbered, beats: 3 }], "the one with an equal number");
    assert_eq!(rows.len(), 5);
}
