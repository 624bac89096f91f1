//! What is told of each change: the exact event, its log line, its row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_world {
    #![expect(dead_code, reason = "each test binary uses its part")]
    pub(crate) mod world;
    pub(crate) use world::*;
}

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use export_world::{START, Says, World};
use serde_json::{Value, json};
use varta_core::{
    AgentChange, Cause, Change, Class, MILLI, Now, ObserverChange, Outcome, Reject, SECOND, Sender, SlotChange, SlotId,
    Subject, Verdict,
};
use varta_daemon::http::Ring;
use varta_vlp::{
    AgentId, DecodeError, Frame, Generation, Status, UnitId,
    key::Name,
    sealed::{Flags, INIT_PID},
};
use varta_watch::{
    export::tsv,
    journal::{self, Offence, Refusal},
};

const FIRST: u64 = 1_767_225_600_000_001;
const WEB: &str = "web-1";

/// A log that can be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was told of some changes, in each form.
struct Told {
    events: Vec<Value>,
    log: Vec<String>,
    rows: Vec<String>,
}

/// Lets `act` happen in a world whose journal writes events, rows (with beats) and log lines.
fn told(mut world: World, act: impl FnOnce(&mut World)) -> Told {
    while world.core.poll_change().is_some() {}
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.tsv");
    let (export, writer) = tsv::open(&path).unwrap();
    let ring = Ring::default();
    let (journal, teller) = journal::channel(START, Some(ring.clone()), Some(export), true);
    world.journal = Some(journal);
    let log = Log::default();
    let made = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || made.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    act(&mut world);
    drop(world.journal.take());
    tracing::subscriber::with_default(subscriber, || teller.run());
    assert!(writer.finish(Duration::from_secs(30)));
    let lines = |text: &[u8]| std::str::from_utf8(text).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let log = lines(&log.0.lock().unwrap());
    Told { events: events(&ring), log, rows: lines(&std::fs::read(path).unwrap()) }
}

fn events(ring: &Ring) -> Vec<Value> {
    let entries = ring.after(None, usize::MAX);
    entries
        .iter()
        .map(|entry| {
            let event: Value = serde_json::from_str(&entry.json).unwrap();
            assert_eq!((&event["id"], &event["kind"]), (&json!(entry.id), &json!(entry.kind)));
            event
        })
        .collect()
}

fn accepted(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// One unit of web-1, heard once.
fn one_unit() -> World {
    let mut world = World::new(1);
    accepted(world.beat(Says::default()));
    world
}

fn web() -> AgentId {
    Name::new(WEB).unwrap().agent_id()
}

/// A change of the slot of [`one_unit`], now.
fn slot_change(world: &World, what: SlotChange) -> Change {
    let unit = Name::new("api").unwrap().unit_id();
    let slot = world.core.find(web(), unit, 0).unwrap();
    Change::Slot { slot, subject: Subject { agent: web().into(), unit, pid: 4242 }, at: world.now.mono, what }
}

fn of_slot(what: SlotChange) -> Told {
    told(one_unit(), |world| {
        let change = slot_change(world, what);
        world.told(&change);
    })
}

fn of_agent(what: AgentChange) -> Told {
    told(one_unit(), |world| world.told(&Change::Agent { agent: web().into(), at: world.now.mono, what }))
}

fn of_observer(what: ObserverChange) -> Told {
    told(one_unit(), |world| world.told(&Change::Observer { at: world.now.mono, what }))
}

/// Checks the one event told, its level and message, and its row.
fn check(told: &Told, event: &Value, level_and_message: &str, row: &str) {
    assert_eq!(told.events.len(), 1);
    let mut expected = json!({
        "id": FIRST, "at": "2026-01-01T00:00:00.001000Z", "agent": null, "unit": null, "pid": null,
        "origin": null, "from": null, "to": null,
    });
    for (key, value) in event.as_object().unwrap() {
        expected[key] = value.clone();
    }
    assert_eq!(told.events[0], expected);
    assert_eq!(told.log.len(), 1, "{:?}", told.log);
    let line = told.log[0].trim_start();
    assert!(line.starts_with(&format!("{level_and_message} id={FIRST} ")), "{line}");
    let why = event["why"].as_str().unwrap();
    assert!(line.ends_with(&format!("why={why:?}")), "{line}");
    assert_eq!(told.rows, [row]);
}

const WHY_LIVE: &str = "last beat 0 ms ago; promised the next within 1000 ms, so the deadline is 2250 ms after it \
    (promise, 1 more that may be lost, margin of 250 ms); due within 2250 ms";

fn of_api(mut event: Value) -> Value {
    event["agent"] = json!(WEB);
    event["unit"] = json!("api");
    event["pid"] = json!(4242);
    event["origin"] = json!("NetworkVerified");
    event
}

#[test]
fn new() {
    let event = of_api(json!({"kind": "new", "to": "up", "why": WHY_LIVE}));
    check(&of_slot(SlotChange::New(Verdict::Up)), &event, "INFO first heard", "1000000\tnew\t4242\t-\tup\t7");
}

#[test]
fn verdict() {
    let what = SlotChange::Verdict { from: Verdict::Stalled, to: Verdict::Up, deadline: None };
    let event = of_api(json!({"kind": "verdict", "from": "stalled", "to": "up", "why": WHY_LIVE}));
    check(&of_slot(what), &event, "INFO up", "1000000\tverdict\t4242\t-\tup\t7");
}

#[test]
fn stall() {
    let told = told(one_unit(), |world| world.advance(2_253 * MILLI));
    let event = of_api(json!({
        "kind": "verdict", "at": "2026-01-01T00:00:02.254000Z", "from": "up", "to": "stalled",
        "deadline": "2026-01-01T00:00:02.251000Z", "late_us": 3_000,
        "why": "silent: last beat 2253 ms ago; promised the next within 1000 ms, so the deadline is 2250 ms after it \
            (promise, 1 more that may be lost, margin of 250 ms); overdue by 3 ms",
    }));
    check(&told, &event, "WARN stalled", "2254000000\tstall\t4242\t-\tstall\t7");
}

#[test]
fn an_end_is_worth_waking_someone() {
    let ended = Says { status: varta_vlp::Status::Critical, nonce: u64::MAX, payload: 3, ..Says::default() };
    let told = told(one_unit(), |world| {
        world.now = Now { mono: world.now.mono.after(MILLI), wall: world.now.wall.after(MILLI) };
        accepted(world.beat(ended));
    });
    assert_eq!(
        (&told.events[0]["to"], &told.events[0]["why"]),
        (&json!("critical"), &json!("ended: exit 3, 0 ms ago"))
    );
    assert!(told.log[0].trim_start().starts_with("WARN critical "), "{:?}", told.log);
    assert_eq!(
        told.rows,
        [
            format!("2000000\tbeat\t4242\t{}\tcritical\t3", u64::MAX),
            "2000000\tverdict\t4242\t-\tcritical\t3".to_owned()
        ]
    );
}

#[test]
fn a_stall_of_a_process_without_a_key_has_its_newest_nonce() {
    let told = told(World::new(1), |world| {
        let sender = Sender::Local { pid: 4242, process: 5, ours: true };
        for nonce in [1, 2] {
            let frame = Frame { status: Status::Ok, pid: 4242, timestamp: nonce, nonce, payload: 7 }.encode();
            accepted(world.core.handle_unsealed(world.now, 0, Ok(sender), &frame));
        }
        world.advance(2_003 * MILLI);
    });
    assert_eq!(told.rows, ["1000000\tnew\t4242\t-\tup\t7", "2004000000\tstall\t4242\t2\tstall\t7"]);
}

#[test]
fn restarted() {
    let event = of_api(json!({"kind": "restarted", "old_pid": 1, "why": WHY_LIVE}));
    let told = of_slot(SlotChange::Restarted { old_pid: INIT_PID });
    check(&told, &event, "INFO restarted", "1000000\trestarted\t4242\t-\t-\t7");
}

#[test]
fn unit_conflict() {
    let told = of_slot(SlotChange::UnitConflict { known: (4242, 0xb007), other: (INIT_PID, 0) });
    let event = of_api(json!({
        "kind": "unit_conflict", "why": WHY_LIVE,
        "known": {"pid": 4242, "boot": "000000000000b007"}, "other": {"pid": 1, "boot": "0000000000000000"},
    }));
    check(&told, &event, "WARN two live processes speak for one slot", "1000000\tunit_conflict\t4242\t-\t-\t7");
}

#[test]
fn clone_suspected() {
    let why = format!("its newest counter came again under another tag; {WHY_LIVE}");
    let event = of_api(json!({"kind": "clone_suspected", "why": why}));
    let told = of_slot(SlotChange::CloneSuspected);
    check(&told, &event, "WARN two copies of one process are suspected", "1000000\tclone_suspected\t4242\t-\t-\t7");
}

#[test]
fn offset_relearned() {
    let event = of_api(json!({
        "kind": "offset_relearned", "by_ms": 1_500,
        "why": "nothing but frames held back came for so long that 1500 ms more are taken as the path's",
    }));
    let told = of_slot(SlotChange::OffsetRelearned(1_500 * MILLI));
    check(&told, &event, "INFO the path from the agent has become longer", "1000000\toffset_relearned\t4242\t-\t-\t7");
}

#[test]
fn promise_clamped() {
    let event = of_api(json!({
        "kind": "promise_clamped", "asked_ms": 7_200_000, "held_ms": 3_600_000,
        "why": "promised a beat within 7200000 ms, held to the ceiling of 3600000 ms",
    }));
    let told = of_slot(SlotChange::PromiseClamped { asked: 7_200_000, held: 3_600_000 });
    check(&told, &event, "INFO a promise is longer than allowed", "1000000\tpromise_clamped\t4242\t-\t-\t7");
}

#[test]
fn origin_conflict() {
    let what = SlotChange::OriginConflict { observed: Class::NetworkVerified, pinned: Class::OperatorAttested };
    let event = of_api(json!({
        "kind": "origin_conflict", "observed": "NetworkVerified", "pinned": "OperatorAttested",
        "why": "the frame came as NetworkVerified, the slot is OperatorAttested",
    }));
    let row = "1000000\torigin_conflict\t4242\t-\t-\t7";
    check(&of_slot(what), &event, "WARN a frame of a less trusted origin was refused", row);
}

#[test]
fn evicted_is_told_by_what_is_still_known() {
    let told = told(World::new(1), |world| {
        let subject = Subject { agent: AgentId(0xabc).into(), unit: UnitId(0x1f), pid: 4242 };
        let what = SlotChange::Evicted(Verdict::Stalled);
        world.told(&Change::Slot { slot: SlotId(9), subject, at: world.now.mono, what });
    });
    let event = json!({
        "kind": "evicted", "agent": "0000000000000abc", "unit": "0000001f", "pid": 4242, "from": "stalled",
        "why": "idle while stalled: it gave way to another slot of its agent, or was revoked",
    });
    check(&told, &event, "INFO its place was taken back", "1000000\tevicted\t4242\t-\t-\t-");
}

#[test]
fn a_number_that_is_anothers_by_now_gives_no_names_but_the_agents() {
    let told = told(one_unit(), |world| {
        let Change::Slot { slot, at, .. } = slot_change(world, SlotChange::Revoked) else { unreachable!() };
        let what = SlotChange::Evicted(Verdict::Departed);
        let earlier = Subject { agent: web().into(), unit: UnitId::NONE, pid: 5 };
        world.told(&Change::Slot { slot, subject: earlier, at, what });
        let stranger = Subject { agent: AgentId(1).into(), unit: UnitId::NONE, pid: 5 };
        world.told(&Change::Slot { slot, subject: stranger, at, what });
    });
    let named = |event: &Value| (event["agent"].clone(), event["unit"].clone(), event["pid"].clone());
    assert_eq!(named(&told.events[0]), (json!(WEB), json!(""), json!(5)));
    assert_eq!(named(&told.events[1]), (json!("0000000000000001"), json!(""), json!(5)));
}

#[test]
fn revoked() {
    let event = of_api(json!({
        "kind": "revoked", "why": "its generation is revoked, or its agent is no longer in the roster",
    }));
    check(&of_slot(SlotChange::Revoked), &event, "INFO revoked", "1000000\trevoked\t4242\t-\t-\t7");
}

fn of_web(mut event: Value) -> Value {
    event["agent"] = json!(web().to_string());
    event
}

#[test]
fn generation() {
    let event = of_web(json!({
        "kind": "generation", "generation": 2,
        "why": "generation 2 authenticated for the first time; lower ones retire after the overlap",
    }));
    let told = of_agent(AgentChange::Generation(Generation(2)));
    check(&told, &event, "INFO a new key generation is in use", "1000000\tgeneration\t-\t-\t-\t-");
}

#[test]
fn missing() {
    let mut world = World::new(1);
    world.roster(&[WEB]);
    let told = told(world, |world| {
        world.told(&Change::Agent { agent: web().into(), at: world.now.mono, what: AgentChange::Missing })
    });
    let event = json!({
        "kind": "missing", "agent": WEB, "to": "missing",
        "why": "required by the roster, and not heard within its return_within",
    });
    let message = "WARN missing: required, and none of its units is heard";
    check(&told, &event, message, "1000000\tmissing\t-\t-\tmissing\t-");
}

#[test]
fn returned() {
    let event = of_web(json!({"kind": "returned", "from": "missing", "why": "one of its units was heard"}));
    let told = of_agent(AgentChange::Returned);
    check(&told, &event, "INFO heard again after it was missing", "1000000\treturned\t-\t-\t-\t-");
}

#[test]
fn flapping() {
    let event = of_web(json!({"kind": "flapping", "untold": 12, "why": "12 changes were not told"}));
    let message = "WARN flapping: changes came faster than they are told";
    check(&of_agent(AgentChange::Flapping(12)), &event, message, "1000000\tflapping\t-\t-\t-\t-");
}

#[test]
fn blind() {
    let to = Some(START.mono.after(MILLI));
    let what = ObserverChange::Blind { cause: Cause::Gap, from: START.mono, to, slots: 3 };
    let event = json!({
        "kind": "blind", "cause": "gap", "since": "2026-01-01T00:00:00.000000Z",
        "until": "2026-01-01T00:00:00.001000Z", "slots": 3,
        "why": "a turn of the observer's loop took too long for 1 ms; slots unknown for it: 3",
    });
    check(&of_observer(what), &event, "WARN the observer could not see", "1000000\tblind\t-\t-\t-\t-");
}

#[test]
fn blind_without_an_end_in_sight() {
    let what = ObserverChange::Blind { cause: Cause::Clock, from: START.mono, to: None, slots: 0 };
    let event = json!({
        "kind": "blind", "cause": "clock", "since": "2026-01-01T00:00:00.000000Z", "until": null, "slots": 0,
        "why": "the observer's own clock is suspect; slots unknown for it: 0",
    });
    check(&of_observer(what), &event, "WARN the observer could not see", "1000000\tblind\t-\t-\t-\t-");
}

#[test]
fn sighted() {
    let event = json!({
        "kind": "sighted", "cause": "restart",
        "why": "no longer: the observer was not running, or waits out the barrier of its restart",
    });
    let told = of_observer(ObserverChange::Sighted(Cause::Restart));
    check(&told, &event, "INFO the observer sees again", "1000000\tsighted\t-\t-\t-\t-");
}

#[test]
fn blind_limit() {
    let event = json!({
        "kind": "blind_limit", "limit_ms": 60_000,
        "why": "blind for more than 60000 ms without one turn of sight between",
    });
    let message = "WARN the observer has been blind for longer than the limit";
    check(&of_observer(ObserverChange::BlindLimit), &event, message, "1000000\tblind_limit\t-\t-\t-\t-");
}

#[test]
fn clock_suspect() {
    let event = json!({
        "kind": "clock_suspect", "witnesses": 4, "active": 5, "sign": "future",
        "why": "4 of 5 active agents send times ahead of this host's clock",
    });
    let told = of_observer(ObserverChange::ClockSuspect { witnesses: 4, active: 5, future: true });
    check(&told, &event, "WARN the observer's own clock is suspect", "1000000\tclock_suspect\t-\t-\t-\t-");
}

fn of_refusal(offence: Offence, pid: u32, namespace: Option<u64>) -> Told {
    let refusal = Refusal { offence, claimed: 88, pid, uid: Some(1000), namespace, own: Some(4) };
    told(one_unit(), |world| {
        let journal = world.journal.as_mut().unwrap();
        journal.refusal(world.now, refusal);
    })
}

fn of_sender(pid: u32, namespace: Option<u64>, kind: &str, why: &str) -> Value {
    json!({
        "kind": kind, "pid": 88, "why": why, "sender_pid": pid, "sender_uid": 1000, "namespace": namespace,
        "observer_namespace": 4,
    })
}

#[test]
fn auth_failure() {
    let why = "process 77 of user 1000 sent a frame that names pid 88";
    let event = of_sender(77, Some(4), "auth_failure", why);
    let told = of_refusal(Offence::AuthFailure, 77, Some(4));
    check(&told, &event, "WARN a local process spoke for another", "1000000\tauth_failure\t88\t-\t-\t-");
}

#[test]
fn namespace_conflict() {
    let (message, row) =
        ("WARN a process of another PID namespace was refused", "1000000\tnamespace_conflict\t88\t-\t-\t-");
    let why = "process 77 of user 1000 lives in pid:[9] and this observer in pid:[4]; its frame names pid 88";
    let event = of_sender(77, Some(9), "namespace_conflict", why);
    check(&of_refusal(Offence::NamespaceConflict, 77, Some(9)), &event, message, row);
    let why = "a process that has no pid here of user 1000 lives in another PID namespace; its frame names pid 88";
    let event = of_sender(0, None, "namespace_conflict", why);
    check(&of_refusal(Offence::NamespaceConflict, 0, None), &event, message, row);
}

#[test]
fn ctrl_truncated() {
    let why = "process 77 of user 1000 sent more with its frame, such as descriptors; nothing of that was received";
    let event = of_sender(77, None, "ctrl_truncated", why);
    let told = of_refusal(Offence::CtrlTruncated, 77, None);
    let message = "WARN a local process sent more than a datagram";
    check(&told, &event, message, "1000000\tctrl_truncated\t88\t-\t-\t-");
}

#[test]
fn what_datagrams_became_is_a_row_where_it_should_be() {
    let told = told(one_unit(), |world| {
        world.now = Now { mono: world.now.mono.after(MILLI), wall: world.now.wall.after(MILLI) };
        accepted(world.beat(Says { nonce: 2, payload: 8, ..Says::default() }));
        let journal = world.journal.as_mut().unwrap();
        journal.outcome(world.now, &Outcome::Rejected(Reject::AuthFailure));
        let crc = DecodeError::BadCrc { expected: 1, actual: 2 };
        journal.outcome(world.now, &Outcome::Rejected(Reject::Decode(crc)));
        journal.io_error(world.now, "127.0.0.1:9900", &std::io::Error::other("no\tbuffer\nspace"));
        world.journal.as_mut().unwrap().set_beats(false);
        world.now = Now { mono: world.now.mono.after(MILLI), wall: world.now.wall.after(MILLI) };
        accepted(world.beat(Says { nonce: 3, ..Says::default() }));
    });
    assert_eq!(
        told.rows,
        [
            "2000000\tbeat\t4242\t2\tok\t8",
            "2000000\tdecode\t-\t-\t-\tBadCrc { expected: 1, actual: 2 }",
            "2000000\tio\t-\t-\t-\tno buffer space",
        ]
    );
    assert_eq!(told.events, [] as [Value; 0]);
    assert!(told.log[0].contains("WARN cannot receive: no"), "{:?}", told.log);
}

#[test]
fn ids_rise_by_one_from_change_to_change() {
    let told = told(one_unit(), |world| {
        world.advance(3 * SECOND);
        accepted(world.beat(Says { flags: Flags::FINAL, ..Says::default() }));
    });
    let heard: Vec<_> = told.events.iter().map(|event| (event["id"].clone(), event["to"].clone())).collect();
    assert_eq!(heard, [(json!(FIRST), json!("stalled")), (json!(FIRST + 1), json!("departed"))]);
}
