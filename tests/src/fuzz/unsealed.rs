//! Datagrams without a seal before a live core: from local processes that live, end and use each other's pids, and from
//! addresses; clocks that move, restarts in between.

use std::{collections::BTreeMap, net::IpAddr};

use varta_core::{
    Core, Exit, Limits, MILLI, MonoNs, Now, Outcome, Owner, Reject, SECOND, Sender, Settings, Start, WallNs,
};
use varta_vlp::UnitId;

use super::{
    base_frame::{crc, first_broken},
    input::Input,
    watch::{assert_kept, assert_sane, core, saved, turn},
};

const LOCAL: usize = 0;
const PLAIN: usize = 1;
const STEPS: usize = 96;
/// Beyond every promise and every hour that an end is remembered.
const LONG: u64 = 5 * 3600 * SECOND;

fn limits() -> Limits {
    Limits { processes: 3, addresses: 2, slots_per_agent: 2, changes: 32, ..Limits::default() }
}

struct World {
    core: Core,
    now: Now,
    /// By pid of a local process: the newest nonce accepted, and of which process.
    heard: BTreeMap<u32, (u64, u64)>,
    accepted: u64,
}

/// What a datagram is made of: honest, bent, or anything.
fn datagram(input: &mut Input<'_>, pid: u32) -> Vec<u8> {
    let long = input.flag();
    let mut bytes = vec![0; if long { 64 } else { 32 }];
    bytes[..4].copy_from_slice(&[b'V', b'A', 2, input.byte() % 3]);
    bytes[4..8].copy_from_slice(&pid.to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(input.word()).to_le_bytes());
    let nonce = match input.byte() % 8 {
        0 => u64::MAX,
        1 => u64::MAX - 1,
        _ => u64::from(input.byte() % 6),
    };
    bytes[16..24].copy_from_slice(&nonce.to_le_bytes());
    if nonce == u64::MAX {
        bytes[3] = 2;
    }
    if long {
        bytes[40..44].copy_from_slice(&(input.word() % 20_000).to_le_bytes());
        bytes[52] = input.pick(&[0, 0, 0b10, 0b10000, 0b10010, 1, 0xff]);
    }
    for _ in 0..input.byte() % 4 {
        let place = input.below(bytes.len());
        bytes[place] ^= input.byte();
    }
    if !input.byte().is_multiple_of(16) {
        let sum = crc(&bytes[..28]).to_le_bytes();
        bytes[28..32].copy_from_slice(&sum);
    }
    match input.byte() % 32 {
        0 => bytes.truncate(input.below(64)),
        1 => bytes.extend(input.bytes(64)),
        _ => {}
    }
    bytes
}

/// Why a datagram is refused whoever sent it, by a slow reading of the rules.
fn refused(bytes: &[u8], local: bool) -> Option<Reject> {
    if bytes.len() != 32 && !(local && bytes.len() == 64) {
        return Some(Reject::BadLength);
    }
    let frame = bytes[..32].try_into().expect("it is as long");
    if let Some(error) = first_broken(frame) {
        return Some(Reject::Decode(error));
    }
    let word = |place: usize| u32::from_le_bytes(bytes[place..place + 4].try_into().expect("four bytes"));
    let legal = bytes.len() == 32 || word(48) == 0 && matches!((word(52), word(40)), (0 | 0b10, _) | (0b10000, 1..));
    (!legal).then_some(Reject::BadFlags)
}

impl World {
    fn new() -> Self {
        let now = Now { mono: MonoNs(1_000 * SECOND), wall: WallNs(2_000_000 * SECOND) };
        let mut core = core(Settings::default(), limits());
        core.start(now, Start::First, 0);
        core.watch_down();
        Self { core, now, heard: BTreeMap::new(), accepted: 0 }
    }

    fn hear(&mut self, input: &mut Input<'_>) {
        let pid = u32::from(input.byte() % 5) + 2;
        let process = u64::from(input.byte() % 3);
        let sender = match input.byte() % 8 {
            0 => Err(input.pick(&[Reject::NamespaceConflict, Reject::NoCredentials, Reject::CtrlTruncated])),
            1 | 2 => Ok(Sender::Plain(IpAddr::from([10, 0, 0, input.byte() % 4]))),
            _ => Ok(Sender::Local { pid, process, ours: input.flag() }),
        };
        let said = if input.byte().is_multiple_of(16) { pid + 1 } else { pid };
        let bytes = datagram(input, said);
        let local = !matches!(sender, Ok(Sender::Plain(_)));
        let listener = if local { LOCAL } else { PLAIN };
        let before = saved(&self.core);
        let outcome = self.core.handle_unsealed(self.now, listener, sender, &bytes);
        let said = bytes.get(4..8).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
        let expected = refused(&bytes, local).or_else(|| match sender {
            Err(reject) => Some(reject),
            Ok(Sender::Local { pid, .. }) => (said != Some(pid)).then_some(Reject::PidMismatch),
            Ok(Sender::Plain(_)) => None,
        });
        match outcome {
            Outcome::Rejected(reject) => {
                assert!(
                    expected.is_none_or(|expected| expected == reject),
                    "{reject:?}, and by the rules {expected:?}"
                );
                assert!(
                    expected.is_some() || matches!(reject, Reject::OutOfOrder | Reject::SlotQuota),
                    "{reject:?} of what breaks no rule"
                );
                // Where there was no room some may have been made.
                if reject != Reject::SlotQuota {
                    assert_eq!(saved(&self.core), before, "{reject:?} changed what is kept");
                }
            }
            Outcome::Accepted(beat) => {
                assert_eq!(expected, None, "accepted against the rules");
                self.accepted += 1;
                let id = self.core.find(beat.subject.agent, UnitId::NONE, beat.subject.pid);
                assert_eq!(id, Some(beat.slot));
                if let Ok(Sender::Local { pid, process, .. }) = sender {
                    assert_eq!((beat.subject.agent, beat.subject.pid), (Owner::Local, pid));
                    self.check_order(pid, process, beat.nonce);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// No nonce is accepted twice of one life of a process.
    fn check_order(&mut self, pid: u32, process: u64, nonce: u64) {
        let (last, known) = self.heard.get(&pid).copied().unwrap_or_default();
        let heard = self.heard.contains_key(&pid);
        let same = process == 0 || known == 0 || process == known;
        let wrapped = nonce == 0 && last == u64::MAX - 1;
        assert!(!heard || !same || nonce > last || nonce == 1 || wrapped, "{nonce} after {last}");
        // The last word of a process moves nothing, but may be the first of another.
        let newest = match nonce {
            u64::MAX if same => last,
            u64::MAX => 0,
            _ => nonce,
        };
        self.heard.insert(pid, (newest, if process == 0 { known } else { process }));
    }

    fn pass(&mut self, ns: u64) {
        self.now = Now { mono: self.now.mono.after(ns), wall: self.now.wall.after(ns) };
        turn(&mut self.core, self.now);
        // Who was forgotten may begin with any nonce.
        self.forget();
    }

    fn forget(&mut self) {
        let core = &self.core;
        self.heard.retain(|pid, _| core.find(Owner::Local, UnitId::NONE, *pid).is_some());
    }

    /// Another observer takes up what was kept.
    fn restart(&mut self, same_boot: bool) {
        let kept = saved(&self.core);
        assert_kept(&kept);
        let stopped = self.now.mono;
        self.now = Now { mono: self.now.mono.after(SECOND), wall: self.now.wall.after(SECOND) };
        self.core = core(Settings::default(), limits());
        kept.into_iter().for_each(|record| self.core.restore(record, same_boot));
        self.core.start(self.now, Start::Clean { stopped, away: SECOND, barrier: WallNs(1) }, 0);
        self.core.watch_down();
        self.accepted = 0;
        turn(&mut self.core, self.now);
        self.forget();
    }

    fn check(&mut self) {
        assert_sane(&self.core, self.now);
        let counters = self.core.counters();
        assert_eq!(counters.listeners.iter().map(|listener| listener.accepted).sum::<u64>(), self.accepted);
        let (silent, slots) = self.core.silence();
        assert!(silent <= slots && slots as usize <= self.core.sizes().0, "{silent} of {slots}");
        assert!(self.core.local_processes().len() <= 3, "more processes than there may be");
        assert_eq!(self.core.sizes().1, 0, "nobody has a key");
    }
}

/// Up to 96 steps.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0..=9 => world.hear(&mut input),
            10 => {
                let exit = input.pick(&[Exit::Unknown, Exit::Status(0), Exit::Signal(9)]);
                let (pid, process) = (u32::from(input.byte() % 5) + 2, u64::from(input.byte() % 3));
                world.core.handle_exit(world.now, pid, process, exit);
            }
            11 => world.pass(u64::from(input.short()) * MILLI),
            12 => world.pass(LONG),
            13 => {
                let from = world.now.mono;
                let gap = u64::from(input.short()) * MILLI + 1;
                world.now = Now { mono: from.after(gap), wall: world.now.wall.after(gap) };
                world.core.handle_gap(from, world.now);
            }
            14 => while world.core.poll_down(world.now).is_some() {},
            _ => world.restart(input.flag()),
        }
        world.forget();
        world.check();
    }
    world.pass(LONG);
    world.check();
    let mut down = BTreeMap::new();
    while let Some((_, subject, state)) = world.core.poll_down(world.now) {
        down.insert((subject.agent.to_string(), subject.pid), state.is_some());
    }
    assert!(!world.core.has_down());
}
