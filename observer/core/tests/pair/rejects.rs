//! One test for each reason to refuse, and that a refusal before step 7 leaves nothing behind.

use std::collections::{BTreeSet, HashMap};

use varta_core::{Limits, MILLI, Outcome, Reject, Roster, RosterEntry, SECOND, Settings, WallNs};
use varta_vlp::{
    AgentId, Generation, Status,
    frame::DecodeError,
    key::Name,
    sealed::{BODY_LEN, COUNTER_END, Flags, HEADER_LEN, Header, INIT_PID, TAG_LEN},
};

use crate::{
    sender::{Say, Sender, other_audience, seal_announce, seal_beat, secret_of},
    world::Pair,
};

/// A world, a datagram, whether it comes over the attested listener.
type Case = (Pair, Vec<u8>, bool);

fn agent(name: &str) -> AgentId {
    Name::new(name).unwrap().agent_id()
}

/// An agent that was heard ten times, the last time now.
fn heard() -> (Pair, Sender) {
    heard_in(Pair::new())
}

fn heard_in(mut pair: Pair) -> (Pair, Sender) {
    let mut sender = Sender::new("web-1", "api", 4242);
    pair.run(&mut sender, Say::due(1000), SECOND, 10);
    (pair, sender)
}

fn roster(entry: RosterEntry) -> Roster {
    Roster::new([(agent("web-1"), RosterEntry { name: "web-1".into(), ..entry })])
}

fn under(entry: RosterEntry) -> (Pair, Sender) {
    let (mut pair, sender) = heard();
    let now = pair.now();
    pair.core.set_roster(now, Some(roster(entry)));
    pair.told();
    (pair, sender)
}

/// A good beat with its bytes changed after sealing.
fn bent(bend: impl FnOnce(&mut Vec<u8>)) -> Case {
    let (pair, mut sender) = heard();
    let mut bytes = sender.beat(pair.t, Say::due(1000));
    bend(&mut bytes);
    (pair, bytes, false)
}

/// A beat whose header or body was changed before sealing.
fn forged(change: impl FnOnce(&mut Header, &mut varta_vlp::sealed::Body)) -> Case {
    let (pair, mut sender) = heard();
    let (mut header, mut body) = sender.compose(pair.t, Say::due(1000));
    change(&mut header, &mut body);
    (pair, seal_beat(&header, &body), false)
}

/// An authentic beat whose base frame has these bytes changed; the checksum is made right where `check` says so.
fn framed(check: bool, bend: impl FnOnce(&mut [u8])) -> Case {
    let (pair, mut sender) = heard();
    let (header, body) = sender.compose(pair.t, Say::due(1000));
    let mut text = body.encode();
    bend(&mut text[..32]);
    if check {
        let crc = varta_vlp::crc::crc32c(&text[..28]).to_le_bytes();
        text[28..32].copy_from_slice(&crc);
    }
    (pair, seal_raw(&header, &text), false)
}

/// Seals 64 bytes that are not a body.
fn seal_raw(header: &Header, text: &[u8; BODY_LEN]) -> Vec<u8> {
    use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::Aead as _, aead::Payload};
    let header = header.encode();
    let heard = Header::parse(&[&header[..], &[0; BODY_LEN + TAG_LEN]].concat()).unwrap();
    let cipher = XChaCha20Poly1305::new_from_slice(secret_of(&heard).expose()).unwrap();
    let nonce: [u8; 24] = header[20..HEADER_LEN].try_into().unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: text, aad: &header }).unwrap();
    [&header[..], &sealed].concat()
}

fn announced(metadata: &[u8]) -> Case {
    let (pair, mut sender) = heard();
    let (header, body) = sender.compose(pair.t, Say::due(1000));
    (pair, seal_announce(&header, &body, metadata), false)
}

fn retired() -> (Pair, Sender) {
    let (mut pair, mut old) =
        heard_in(Pair::with(Settings { generation_overlap: 60 * SECOND, ..Settings::default() }, Limits::default()));
    let mut new = Sender::new("web-1", "other", 4343).generation(2);
    pair.beat(&mut new, Say::due(1000));
    pair.run(&mut old, Say::due(1000), SECOND, 60);
    pair.wait(2 * SECOND);
    (pair, old)
}

fn superseded() -> Case {
    let (mut pair, mut sender) = heard();
    let before = sender.beat(pair.t, Say::due(1000));
    for _ in 0..2 {
        pair.wait(10 * MILLI);
        sender.renew(pair.t);
        pair.beat(&mut sender, Say::due(1000));
    }
    (pair, before, false)
}

fn conflicting() -> Case {
    let (mut pair, mut sender) = heard();
    pair.run(&mut sender, Say::due(1000), SECOND, 10);
    let mut twin = sender.successor(5555);
    pair.run(&mut twin, Say::due(1000), SECOND, 12);
    let bytes = sender.beat(pair.t, Say::due(1000));
    (pair, bytes, false)
}

fn cases() -> Vec<(Reject, Case)> {
    let entry = RosterEntry::default;
    let stranger = |name: &str, t| Sender::new(name, "", 99).beat(t, Say::due(1000));
    let sized = |len: usize| Limits { slots_per_agent: len as u16, ..Limits::default() };
    vec![
        (Reject::BadLength, bent(|bytes| bytes.truncate(123))),
        (Reject::BadLength, bent(|bytes| bytes.resize(1201, 0))),
        (Reject::BadLength, bent(|bytes| bytes.push(0))),
        (Reject::BadLength, bent(|bytes| bytes[3] = 2)),
        (Reject::BadMagic, bent(|bytes| bytes[1] = b'A')),
        (Reject::BadVersion, bent(|bytes| bytes[2] = 2)),
        (Reject::BadKind, bent(|bytes| bytes[3] = 3)),
        (Reject::UnknownAudience, forged(|header, _| header.audience = other_audience())),
        (Reject::WrongShard, {
            let shard = ((agent("web-1").0 + 1) % 2) as u32;
            let pair = Pair::with(Settings::default(), Limits { shard: (shard, 2), ..Limits::default() });
            let bytes = stranger("web-1", pair.t);
            (pair, bytes, false)
        }),
        (Reject::UnknownAgent, {
            let (pair, _) = under(entry());
            let bytes = stranger("web-2", pair.t);
            (pair, bytes, false)
        }),
        (Reject::Revoked, {
            let (pair, mut sender) = under(RosterEntry { revoked: vec![Generation(1)], ..entry() });
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::RetiredGeneration, {
            let (pair, mut sender) = retired();
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::Expired, {
            let (pair, mut sender) = under(RosterEntry { expires: Some(WallNs(1)), ..entry() });
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::CounterRange, forged(|header, _| header.counter = COUNTER_END)),
        (Reject::Shed, {
            let limits = Limits { strangers_per_turn: 0, ..Limits::default() };
            let mut pair = Pair::with(Settings::default(), limits);
            pair.core.begin_turn(true);
            let bytes = stranger("web-9", pair.t);
            (pair, bytes, false)
        }),
        (Reject::AuthFailure, bent(|bytes| bytes[123] ^= 1)),
        (Reject::AuthFailure, bent(|bytes| bytes[50] ^= 1)),
        (Reject::BadFlags, forged(|_, body| body.flags = Flags(1 << 3))),
        (Reject::BadFlags, forged(|_, body| body.flags = Flags(1 << 31))),
        (Reject::BadFlags, forged(|_, body| body.flags = Flags::FINAL.with(Flags::HOLD))),
        (Reject::BadFlags, forged(|_, body| (body.flags, body.next_due_ms) = (Flags::HOLD, 0))),
        (Reject::BadFlags, forged(|_, body| (body.frame.pid, body.unit.0) = (INIT_PID, 0))),
        (Reject::BadFlags, forged(|header, _| header.generation = Generation(0))),
        (Reject::BadMetadata, announced(b"\x04")),
        (Reject::NameMismatch, announced(b"\x05agent\x05web-2")),
        (Reject::BadTimes, forged(|header, body| body.sent_at = header.session_start - 1)),
        (Reject::FromFuture, {
            let (pair, mut sender) = heard();
            sender.skew = 5 * SECOND as i64 + 1;
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::Stale, {
            let (mut pair, mut sender) = heard();
            let bytes = sender.beat(pair.t, Say::due(1000));
            pair.wait(6 * SECOND + 1);
            (pair, bytes, false)
        }),
        (Reject::BeforeBarrier, {
            let pair = Pair::new();
            let mut sender = Sender::new("web-1", "", 99);
            let bytes = sender.beat(100 * SECOND, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::SlotQuota, {
            let mut pair = Pair::with(Settings::default(), sized(2));
            for pid in 10..12 {
                pair.beat(&mut Sender::new("web-1", "", pid), Say::due(1000));
            }
            let bytes = stranger("web-1", pair.t);
            (pair, bytes, false)
        }),
        (Reject::SlotQuota, {
            let mut pair = Pair::with(Settings::default(), Limits { agents: 1, ..Limits::default() });
            pair.beat(&mut Sender::new("web-1", "", 10), Say::due(1000));
            let bytes = stranger("web-2", pair.t);
            (pair, bytes, false)
        }),
        (Reject::SessionSuperseded, superseded()),
        (Reject::SessionConflict, conflicting()),
        (Reject::SessionConflict, forged(|_, body| body.boot = 78)),
        (Reject::SessionConflict, forged(|_, body| body.frame.pid = 4243)),
        (Reject::AfterFinal, {
            let (mut pair, mut sender) = heard();
            pair.beat(&mut sender, Say::goodbye());
            pair.wait(MILLI);
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::CounterTooOld, {
            let (mut pair, mut sender) = heard();
            let bytes = sender.beat(pair.t, Say::due(1000));
            sender.skip_counters(127);
            pair.wait(MILLI);
            pair.beat(&mut sender, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::Replayed, {
            let (mut pair, mut sender) = heard();
            let bytes = sender.beat(pair.t, Say::due(1000));
            pair.deliver(&bytes);
            (pair, bytes, false)
        }),
        (Reject::CloneSuspected, {
            let (mut pair, mut sender) = heard();
            let mut copy = sender.clone();
            pair.beat(&mut sender, Say::due(1000));
            pair.wait(MILLI);
            let bytes = copy.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::TimeRegressed, {
            let (mut pair, mut sender) = heard();
            let (header, body) = sender.compose(pair.t, Say::due(1000));
            pair.wait(MILLI);
            pair.beat(&mut sender, Say::due(1000));
            let counter = sender.next_counter();
            (pair, seal_beat(&Header { counter, ..header }, &body), false)
        }),
        (Reject::Delayed, {
            let (mut pair, mut sender) = heard();
            let bytes = sender.beat(pair.t, Say::due(1000));
            pair.wait(SECOND + 10 * MILLI);
            (pair, bytes, false)
        }),
        (Reject::OriginConflict, {
            let mut pair = Pair::new();
            let now = pair.now();
            pair.core.set_roster(now, Some(roster(RosterEntry { recovery: true, ..entry() })));
            let mut sender = Sender::new("web-1", "api", 4242);
            let first = sender.beat(pair.t, Say::due(1000));
            assert!(matches!(pair.deliver_on(true, &first), Outcome::Accepted(_)));
            pair.wait(SECOND);
            let bytes = sender.beat(pair.t, Say::due(1000));
            (pair, bytes, false)
        }),
        (Reject::Decode(DecodeError::BadMagic), framed(true, |frame| frame[0] = 0)),
        (Reject::Decode(DecodeError::BadVersion), framed(true, |frame| frame[2] = 1)),
        (Reject::Decode(DecodeError::BadCrc { expected: 0, actual: 0 }), framed(false, |frame| frame[28] ^= 1)),
        (Reject::Decode(DecodeError::BadStatus(4)), framed(true, |frame| frame[3] = 4)),
        (Reject::Decode(DecodeError::StallOnWire), framed(true, |frame| frame[3] = 3)),
        (Reject::Decode(DecodeError::BadPid(1)), forged(|_, body| body.frame.pid = 1)),
        (Reject::Decode(DecodeError::BadTimestamp), forged(|_, body| body.frame.timestamp = u64::MAX)),
        (Reject::Decode(DecodeError::BadNonce), forged(|_, body| body.frame.nonce = u64::MAX)),
    ]
}

#[test]
fn every_reason_has_its_case_and_leaves_what_it_should() {
    let mut met = BTreeSet::new();
    for (place, (reject, (mut pair, bytes, attested))) in cases().into_iter().enumerate() {
        let what = format!("case {place}: {}", reject.reason());
        let (picture, saved, counters) = (pair.picture(), pair.saved_picture(), pair.counters_but(reject));
        let before = pair.rejected(reject);
        pair.told();
        let Outcome::Rejected(found) = pair.deliver_on(attested, &bytes) else {
            panic!("{what} was not refused");
        };
        assert_eq!(found.reason(), reject.reason(), "{what}");
        assert_eq!(pair.rejected(reject), before + 1, "{what}");
        pair.assert_conserved();
        if reject.index() <= Reject::AuthFailure.index() {
            assert_eq!(pair.picture(), picture, "{what}");
            assert_eq!(pair.counters_but(reject), counters, "{what}");
            assert_eq!(pair.told(), [], "{what}");
        } else if !matches!(reject, Reject::SessionConflict | Reject::CloneSuspected) {
            assert_eq!(pair.saved_picture(), saved, "{what}");
        }
        met.insert(reject.index());
    }
    let missing: Vec<_> = (0..Reject::REASONS.len()).filter(|index| !met.contains(index)).collect();
    let unsealed = [
        Reject::OutOfOrder,
        Reject::PidMismatch,
        Reject::NamespaceConflict,
        Reject::NoCredentials,
        Reject::CtrlTruncated,
    ];
    assert_eq!(missing, unsealed.map(Reject::index), "reasons without a case");
}

#[test]
fn every_bit_of_a_beat_matters_and_a_flip_changes_nothing() {
    let (mut pair, mut sender) = heard();
    let good = sender.beat(pair.t, Say::due(1000));
    let picture = pair.picture();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Outcome::Rejected(reject) = pair.deliver(&bytes) else { panic!("bit {bit} was accepted") };
        assert!(reject.index() <= Reject::AuthFailure.index(), "bit {bit}: {reject:?}");
    }
    assert_eq!(pair.picture(), picture);
    assert!(matches!(pair.deliver(&good), Outcome::Accepted(_)));
    pair.assert_conserved();
}

/// Two names whose unit ids agree.
fn colliding_names() -> (String, String) {
    let mut known = HashMap::new();
    for number in 0..2_000_000_u32 {
        let name = format!("unit-{number}");
        let id = Name::new(&name).unwrap().unit_id();
        if let Some(other) = known.insert(id, name.clone()) {
            return (other, name);
        }
    }
    unreachable!("among so many names two agree in 32 bits")
}

#[test]
fn a_second_name_for_a_unit_id_is_refused_and_the_first_stays() {
    let (first, second) = colliding_names();
    let mut pair = Pair::new();
    let mut sender = Sender::new("web-1", &first, 4242);
    let bytes = sender.announce(pair.t, Say::due(1000), &[("site", "a"), ("unit", &first)]);
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
    pair.wait(SECOND);
    let bytes = sender.announce(pair.t, Say::due(1000), &[("unit", &second)]);
    assert_eq!(pair.deliver(&bytes), Outcome::Rejected(Reject::NameMismatch));
    let bytes = sender.announce(pair.t, Say::due(1000), &[("role", "b"), ("zone", "c")]);
    assert!(matches!(pair.deliver(&bytes), Outcome::Accepted(_)));
    let view = pair.core.view(pair.now(), pair.slot(&sender)).unwrap();
    assert_eq!(view.unit_name, Some(&*first), "a name stays though a later announce leaves it out");
    assert_eq!(view.labels().collect::<Vec<_>>(), [("role", "b"), ("zone", "c")]);
    pair.wait(SECOND);
    let bytes = sender.announce(pair.t, Say::due(1000), &[("unit", &second)]);
    assert_eq!(pair.deliver(&bytes), Outcome::Rejected(Reject::NameMismatch));
}

#[test]
fn refusals_of_authentic_newer_frames_are_told_in_why() {
    let (mut pair, mut sender) = heard();
    for _ in 0..2 {
        let (header, mut body) = sender.compose(pair.t, Say::due(1000));
        body.flags = Flags(1 << 3);
        assert_eq!(pair.deliver(&seal_beat(&header, &body)), Outcome::Rejected(Reject::BadFlags));
        pair.wait(MILLI);
    }
    crate::world::assert_once(&pair.why(&sender), "2 authentic newer frames refused since, the last as bad_flags");
    pair.beat(&mut sender, Say::due(1000).status(Status::Ok));
    assert!(!pair.why(&sender).contains("refused"));
    let unauthentic = {
        let mut bytes = sender.beat(pair.t + MILLI, Say::due(1000));
        bytes[60] ^= 1;
        bytes
    };
    assert_eq!(pair.deliver(&unauthentic), Outcome::Rejected(Reject::AuthFailure));
    assert!(!pair.why(&sender).contains("refused"));
}
