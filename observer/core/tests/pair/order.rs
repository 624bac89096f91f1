//! A datagram that is wrong in two ways is refused for the earlier one. Each case is wrong at two steps that follow
//! each other, or at the nearest two that one datagram can fail: what is too early is not too old, and a frame without a
//! slot has no session.

use varta_core::{Limits, MILLI, Outcome, Reject, Roster, RosterEntry, SECOND, Settings, WallNs};
use varta_vlp::{
    AgentId, Generation,
    key::Name,
    sealed::{Body, COUNTER_END, Flags, Header},
};

use crate::{
    sender::{Say, Sender, other_audience, seal_announce, seal_beat},
    world::Pair,
};

const GEN_1: Generation = Generation(1);

fn id(name: &str) -> AgentId {
    Name::new(name).unwrap().agent_id()
}

/// A world whose roster knows web-1 as `entry` says, and in which web-1 was heard in `generation`.
fn world(entry: RosterEntry, generation: u32, limits: Limits) -> (Pair, Sender) {
    let settings = Settings { generation_overlap: 0, ..Settings::default() };
    let mut pair = Pair::with(settings, limits);
    let mut sender = Sender::new("web-1", "api", 4242).generation(generation);
    pair.run(&mut sender, Say::due(1000), SECOND, 5);
    let now = pair.now();
    pair.core.set_roster(now, Some(Roster::new([(id("web-1"), RosterEntry { name: "web-1".into(), ..entry })])));
    (pair, sender)
}

fn plain() -> (Pair, Sender) {
    world(RosterEntry::default(), 1, Limits::default())
}

/// A sealed beat with its header and body changed, and then its bytes.
fn made(
    (pair, mut sender): (Pair, Sender),
    change: impl FnOnce(&mut Header, &mut Body),
    bend: impl FnOnce(&mut Vec<u8>),
) -> (Pair, Vec<u8>) {
    let (mut header, mut body) = sender.compose(pair.t, Say::due(1000));
    change(&mut header, &mut body);
    let mut bytes = seal_beat(&header, &body);
    bend(&mut bytes);
    (pair, bytes)
}

fn announced(
    (pair, mut sender): (Pair, Sender),
    change: impl FnOnce(&mut Header, &mut Body),
    metadata: &[u8],
) -> (Pair, Vec<u8>) {
    let (mut header, mut body) = sender.compose(pair.t, Say::due(1000));
    change(&mut header, &mut body);
    (pair, seal_announce(&header, &body, metadata))
}

fn tampered(bytes: &mut [u8]) {
    bytes[60] ^= 1;
}

fn intact(_: &mut Vec<u8>) {}

/// The observer was started again with a barrier far ahead.
fn barred() -> (Pair, Sender) {
    let (mut pair, sender) = plain();
    let now = pair.now();
    let barrier = now.wall.after(100 * SECOND);
    pair.core.start(now, varta_core::Start::Clean { stopped: now.mono, away: 0, barrier }, 0);
    (pair, sender)
}

fn clear_of_bytes() -> Vec<(Reject, Reject, (Pair, Vec<u8>))> {
    use Reject::{
        AuthFailure, BadKind, BadLength, BadMagic, BadVersion, CounterRange, Expired, RetiredGeneration, Revoked, Shed,
        UnknownAgent, UnknownAudience, WrongShard,
    };
    let entry = RosterEntry::default;
    let sharded = Limits { shard: (id("web-1").0 as u32 % 2, 2), ..Limits::default() };
    let elsewhere = (0..).map(|n| id(&format!("web-{n}"))).find(|a| a.0 % 2 != id("web-1").0 % 2).unwrap();
    let revoked = RosterEntry { revoked: vec![GEN_1], ..entry() };
    let expired = RosterEntry { expires: Some(WallNs(1)), ..entry() };
    let gen_1 = |header: &mut Header| header.generation = GEN_1;
    let overloaded = || {
        let limits = Limits { strangers_per_turn: 0, ..Limits::default() };
        let mut pair = Pair::with(Settings::default(), limits);
        pair.core.begin_turn(true);
        (pair, Sender::new("web-3", "", 77))
    };
    vec![
        (
            BadLength,
            BadMagic,
            made(
                plain(),
                |_, _| (),
                |b| {
                    b.truncate(123);
                    b[0] = 0;
                },
            ),
        ),
        (BadMagic, BadVersion, made(plain(), |_, _| (), |b| (b[0], b[2]) = (0, 0))),
        (BadVersion, BadKind, made(plain(), |_, _| (), |b| (b[2], b[3]) = (0, 0))),
        (
            BadKind,
            BadLength,
            made(
                plain(),
                |_, _| (),
                |b| {
                    b.push(0);
                    b[3] = 9;
                },
            ),
        ),
        (BadLength, UnknownAudience, made(plain(), |h, _| h.audience = other_audience(), |b| b.push(0))),
        (
            UnknownAudience,
            WrongShard,
            made(world(entry(), 1, sharded), |h, _| (h.audience, h.agent) = (other_audience(), elsewhere), intact),
        ),
        (WrongShard, UnknownAgent, made(world(entry(), 1, sharded), |h, _| h.agent = elsewhere, intact)),
        (UnknownAgent, CounterRange, made(plain(), |h, _| (h.agent, h.counter) = (id("web-2"), COUNTER_END), intact)),
        (Revoked, RetiredGeneration, {
            let (mut pair, sender) = world(revoked, 2, Limits::default());
            pair.wait(2 * SECOND);
            made((pair, sender), |h, _| gen_1(h), intact)
        }),
        (RetiredGeneration, Expired, {
            let (mut pair, sender) = world(expired.clone(), 2, Limits::default());
            pair.wait(2 * SECOND);
            made((pair, sender), |h, _| gen_1(h), intact)
        }),
        (Expired, CounterRange, made(world(expired, 1, Limits::default()), |h, _| h.counter = COUNTER_END, intact)),
        (CounterRange, Shed, made(overloaded(), |h, _| h.counter = COUNTER_END, intact)),
        (Shed, AuthFailure, made(overloaded(), |_, _| (), |b| tampered(b))),
        (AuthFailure, Reject::BadFlags, made(plain(), |_, body| body.flags = Flags(8), |b| tampered(b))),
    ]
}

fn authentic() -> Vec<(Reject, Reject, (Pair, Vec<u8>))> {
    use Reject::{
        BadFlags, BadMetadata, BadTimes, BeforeBarrier, Decode, FromFuture, NameMismatch, SessionConflict, SlotQuota,
        Stale,
    };
    let pid_0 = Decode(varta_vlp::frame::DecodeError::BadPid(0));
    let bad_flags = |body: &mut Body| body.flags = Flags(8);
    let early = |header: &Header, body: &mut Body| body.sent_at = header.session_start - 1;
    let full = || {
        let limits = Limits { slots_per_agent: 1, ..Limits::default() };
        let (pair, sender) = world(RosterEntry::default(), 1, limits);
        (pair, sender.of_unit(9))
    };
    vec![
        (
            pid_0,
            BadFlags,
            made(
                plain(),
                |_, body| {
                    body.frame.pid = 0;
                    bad_flags(body);
                },
                intact,
            ),
        ),
        (BadFlags, BadMetadata, announced(plain(), |_, body| bad_flags(body), b"\x09")),
        (BadMetadata, NameMismatch, announced(plain(), |_, _| (), b"\x05agent\x05web-2\x01a\x01b")),
        (NameMismatch, BadTimes, announced(plain(), |h, body| early(h, body), b"\x05agent\x05web-2")),
        (
            BadTimes,
            FromFuture,
            made(
                plain(),
                |h, body| {
                    h.session_start += 100 * SECOND;
                    early(h, body);
                },
                intact,
            ),
        ),
        (FromFuture, BeforeBarrier, made(barred(), |_, body| body.sent_at += 6 * SECOND, intact)),
        (Stale, BeforeBarrier, {
            let (mut pair, bytes) = made(barred(), |_, _| (), intact);
            pair.wait(7 * SECOND);
            (pair, bytes)
        }),
        (BeforeBarrier, SlotQuota, made(full(), |_, _| (), intact)).pipe(|(a, b, (mut pair, bytes))| {
            let now = pair.now();
            let barrier = now.wall.after(SECOND);
            pair.core.start(now, varta_core::Start::Clean { stopped: now.mono, away: 0, barrier }, 0);
            (a, b, (pair, bytes))
        }),
        (BeforeBarrier, SessionConflict, made(barred(), |_, body| body.boot = 1, intact)),
    ]
}

trait Pipe: Sized {
    fn pipe<T>(self, through: impl FnOnce(Self) -> T) -> T {
        through(self)
    }
}

impl<T> Pipe for T {}

fn of_a_slot() -> Vec<(Reject, Reject, (Pair, Vec<u8>))> {
    use Reject::{
        AfterFinal, CloneSuspected, CounterTooOld, Delayed, OriginConflict, Replayed, SessionConflict,
        SessionSuperseded, SlotQuota, TimeRegressed,
    };
    // Each has a counter accepted before, or one below the window, beside what is wrong with it first.
    let newest = |header: &mut Header| header.counter -= 1;
    let ancient = |mut world: (Pair, Sender)| {
        world.1.skip_counters(200);
        world.0.beat(&mut world.1, Say::due(1000));
        world
    };
    let far = |(mut pair, bytes): (Pair, Vec<u8>)| {
        pair.wait(1500 * MILLI);
        (pair, bytes)
    };
    let gone = || {
        let (mut pair, mut sender) = plain();
        pair.beat(&mut sender, Say::goodbye());
        (pair, sender)
    };
    let pinned = || {
        let mut pair = Pair::new();
        let now = pair.now();
        let entry = RosterEntry { name: "web-1".into(), recovery: true, ..RosterEntry::default() };
        pair.core.set_roster(now, Some(Roster::new([(id("web-1"), entry)])));
        let mut sender = Sender::new("web-1", "api", 4242);
        let bytes = sender.beat(pair.t, Say::due(1000));
        assert!(matches!(pair.deliver_on(true, &bytes), Outcome::Accepted(_)));
        (pair, sender)
    };
    let full = || {
        let limits = Limits { slots_per_agent: 1, ..Limits::default() };
        let (pair, sender) = world(RosterEntry::default(), 1, limits);
        (pair, sender.of_unit(9))
    };
    vec![
        (SlotQuota, Delayed, far(made(full(), |_, _| (), intact))),
        (
            SessionSuperseded,
            CounterTooOld,
            made(ancient(plain()), |h, _| (h.session_start, h.counter) = (5, 0), intact),
        ),
        (SessionConflict, Replayed, made(plain(), |h, body| (h.counter, body.boot) = (h.counter - 1, 1), intact)),
        (SessionConflict, AfterFinal, made(gone(), |_, body| body.boot = 1, intact)),
        (AfterFinal, TimeRegressed, made(gone(), |h, body| body.sent_at = h.session_start, intact)),
        (CounterTooOld, Delayed, far(made(ancient(plain()), |h, _| h.counter = 1, intact))),
        (
            CloneSuspected,
            TimeRegressed,
            made(
                plain(),
                |h, body| {
                    newest(h);
                    body.sent_at = h.session_start;
                },
                intact,
            ),
        ),
        (CloneSuspected, Delayed, far(made(plain(), |h, _| newest(h), intact))),
        (Replayed, Delayed, {
            let (mut pair, mut sender) = plain();
            let bytes = sender.beat(pair.t, Say::due(1000));
            pair.deliver(&bytes);
            far((pair, bytes))
        }),
        (TimeRegressed, Delayed, far(made(plain(), |_, body| body.sent_at -= 1200 * MILLI, intact))),
        (Delayed, OriginConflict, far(made(pinned(), |_, _| (), intact))),
        (OriginConflict, OriginConflict, {
            let (mut pair, mut sender) = pinned();
            pair.core.set_horizon(WallNs(0));
            pair.wait(MILLI);
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes)
        }),
    ]
}

#[test]
fn the_earlier_step_gives_the_reason() {
    let cases = clear_of_bytes().into_iter().chain(authentic()).chain(of_a_slot());
    for (place, (first, second, (mut pair, bytes))) in cases.enumerate() {
        let outcome = pair.deliver(&bytes);
        let Outcome::Rejected(found) = outcome else { panic!("case {place} was {outcome:?}") };
        assert_eq!(found.reason(), first.reason(), "case {place}, wrong by {} too", second.reason());
        pair.assert_conserved();
    }
}
