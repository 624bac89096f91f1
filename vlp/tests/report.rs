//! What an observer and a relay say to each other: there and back, cut short, and bent.

mod cases;

use std::net::IpAddr;

use cases::cases;
use proptest::prelude::*;
use varta_vlp::{
    AgentId, Status, UnitId,
    key::Name,
    report::{
        Draft, Entry, FromObserver, FromRelay, Hello, Item, MESSAGE_MAX_LEN, REASONS_MAX, Reasons, ReportError,
        Status as Report, Touch, WHY_MAX_LEN, Welcome, message_len,
    },
    sealed::{METADATA_MAX_LEN, Metadata},
    subject::{Class, Owner, Verdict},
};

fn obs() -> Name<'static> {
    Name::new("obs-1").expect("a name")
}

/// A message's bytes without their length, which is checked.
fn framed(room: &[u8], len: usize) -> &[u8] {
    let prefix = *room.first_chunk().expect("four bytes");
    assert_eq!(message_len(prefix), Ok(len - 4));
    &room[4..len]
}

fn hello() -> Vec<u8> {
    let hello = Hello { observer: obs(), boot: 7, acked: 9, version: "0.3.0" };
    let mut room = [0; 128];
    let len = FromObserver::Hello(hello).write(&mut room).expect("room");
    framed(&room, len).to_vec()
}

#[test]
fn bytes_are_as_specified() {
    let mut expected = b"\x01\x01\x05obs-1".to_vec();
    expected.extend_from_slice(&7_u64.to_le_bytes());
    expected.extend_from_slice(&9_u64.to_le_bytes());
    expected.extend_from_slice(b"\x050.3.0");
    assert_eq!(hello(), expected);
    let mut room = [0; 64];
    let len = FromRelay::Ack { seq: 3 }.write(&mut room).expect("room");
    assert_eq!(room[..len], *b"\x0a\0\0\0\x01\x82\x03\0\0\0\0\0\0\0");
    let len = FromRelay::Resync.write(&mut room).expect("room");
    assert_eq!(room[..len], *b"\x02\0\0\0\x01\x83");
    let mut room = vec![0; Draft::ROOM];
    let mut draft = Draft::new(&mut room, 5).expect("room");
    draft.push(&Item::Gone(0x0102_0304)).expect("room");
    let len = draft.finish();
    assert_eq!(framed(&room, len), *b"\x01\x03\x05\0\0\0\0\0\0\0\x03\x04\x03\x02\x01");
}

#[test]
fn lengths_have_bounds() {
    for (len, legal) in [(0, false), (1, true), (65_536, true), (65_537, false), (u32::MAX, false)] {
        assert_eq!(message_len(len.to_le_bytes()).is_ok(), legal, "{len}");
    }
    assert_eq!(MESSAGE_MAX_LEN, 65_536);
}

#[test]
fn what_is_not_known_is_told() {
    let bent = |place: usize, value: u8| {
        let mut bytes = hello();
        bytes[place] = value;
        FromObserver::parse(&bytes).map(drop)
    };
    assert_eq!(bent(0, 2), Err(ReportError::BadVersion(2)));
    assert_eq!(bent(1, 0), Err(ReportError::BadKind(0)));
    assert_eq!(bent(1, 129), Err(ReportError::BadKind(129)), "a relay's message");
    assert_eq!(bent(3, b' '), Err(ReportError::BadName));
    assert_eq!(bent(25, 0x1b), Err(ReportError::BadText));
    let mut longer = hello();
    longer.push(0);
    assert_eq!(FromObserver::parse(&longer), Err(ReportError::Trailing));
    assert_eq!(FromRelay::parse(&hello()), Err(ReportError::BadKind(1)), "an observer's message");
    assert_eq!(FromObserver::parse(&[]), Err(ReportError::Truncated));
}

fn entry() -> Entry<'static> {
    Entry {
        handle: 5,
        owner: Owner::Agent(Name::new("web-1").expect("a name").agent_id()),
        unit: Name::new("api").expect("a name").unit_id(),
        pid: 42,
        verdict: Verdict::Stalled,
        status: Status::Degraded,
        class: Class::NetworkVerified,
        ended: false,
        payload: 1,
        age_ms: Some(2),
        span_ms: None,
        since_ms: Some(0),
        session: 3,
        restarts: 4,
        stalls: 5,
        beats: 6,
        lag_us: 7,
        agent_name: Name::new("web-1").ok(),
        unit_name: Name::new("api").ok(),
        why: "silent",
        labels: None,
    }
}

fn items_of(seq: u64, items: &[Item<'_>]) -> Vec<u8> {
    let mut room = vec![0; Draft::ROOM];
    let mut draft = Draft::new(&mut room, seq).expect("room");
    items.iter().for_each(|item| draft.push(item).expect("room"));
    assert_eq!(draft.count() as usize, items.len());
    let len = draft.finish();
    framed(&room, len).to_vec()
}

fn read(message: &[u8]) -> Result<Vec<Item<'_>>, ReportError> {
    match FromObserver::parse(message)? {
        FromObserver::Items { items, .. } => items.iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_those_of_the_ids_beside_them() {
    let refused = |entry: Entry<'_>| read(&items_of(1, &[Item::Entry(entry)])).map(drop);
    assert_eq!(refused(entry()), Ok(()));
    for wrong in [
        Entry { owner: Owner::Agent(AgentId(1)), ..entry() },
        Entry { owner: Owner::Local, ..entry() },
        Entry { unit: UnitId(1), ..entry() },
        Entry { unit: UnitId::NONE, ..entry() },
    ] {
        assert_eq!(refused(wrong), Err(ReportError::NameMismatch), "{wrong:?}");
    }
    let nameless = Entry { agent_name: None, unit_name: None, unit: UnitId(1), owner: Owner::Local, ..entry() };
    assert_eq!(refused(nameless), Ok(()));
}

#[test]
fn a_draft_takes_what_fits_and_stays_whole() {
    let why = "x".repeat(WHY_MAX_LEN);
    let long = Entry { why: &why, ..entry() };
    let mut room = vec![0; Draft::ROOM];
    let mut draft = Draft::new(&mut room, 1).expect("room");
    let mut pushed = 0;
    while draft.push(&Item::Entry(long)).is_ok() {
        pushed += 1;
    }
    assert_eq!(draft.push(&Item::Entry(long)), Err(ReportError::Full));
    draft.push(&Item::Gone(1)).expect("a small one still fits");
    let too_long = "x".repeat(WHY_MAX_LEN + 1);
    assert_eq!(draft.push(&Item::Entry(Entry { why: &too_long, ..entry() })), Err(ReportError::TooLong));
    let len = draft.finish();
    assert!(len > MESSAGE_MAX_LEN - 1200 && len <= Draft::ROOM, "{len}");
    let items = read(framed(&room, len)).expect("all of them are whole");
    assert_eq!((items.len(), items.last()), (pushed + 1, Some(&Item::Gone(1))));
}

#[test]
fn reasons_have_a_bound() {
    let names: Vec<_> = (0..=REASONS_MAX).map(|number| format!("reason_{number}")).collect();
    let pairs = |count: usize| names.iter().take(count).map(|name| (&**name, 1));
    let mut room = vec![0; 4096];
    assert_eq!(Reasons::write(pairs(REASONS_MAX), &mut room).expect("room").iter().count(), REASONS_MAX);
    assert_eq!(Reasons::write(pairs(REASONS_MAX + 1), &mut room), Err(ReportError::Full));
    let with_none = Reasons::write([("a", 0), ("b", 2)], &mut room).expect("room");
    assert_eq!(with_none.iter().collect::<Vec<_>>(), [("b", 2)]);
}

fn owners() -> impl Strategy<Value = Owner> {
    prop_oneof![
        any::<u64>().prop_map(|id| Owner::Agent(AgentId(id))),
        Just(Owner::Local),
        any::<IpAddr>().prop_map(|address| Owner::Plain(address.to_canonical())),
    ]
}

fn number() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(0..u32::MAX)
}

#[derive(Clone, Debug)]
struct Made {
    name: Option<String>,
    unit: Option<String>,
    why: String,
    labels: Vec<(String, String)>,
    numbers: (u32, u32, u32, u32, u32, u64, u64),
    times: (Option<u32>, Option<u32>, Option<u32>),
    kinds: (usize, usize, usize, bool),
    owner: Owner,
}

impl Made {
    fn with<T>(&self, with: impl FnOnce(Entry<'_>) -> T) -> T {
        let name = self.name.as_deref().and_then(|name| Name::new(name).ok());
        let unit = self.unit.as_deref().and_then(|name| Name::new(name).ok());
        let mut room = [0; METADATA_MAX_LEN];
        let labels = self.labels.iter().map(|(key, value)| (&**key, &**value));
        let labels = (!self.labels.is_empty()).then(|| Metadata::write(labels, &mut room).expect("legal labels"));
        let (handle, pid, payload, restarts, stalls, session, beats) = self.numbers;
        with(Entry {
            handle,
            owner: name.map_or(self.owner, |name| Owner::Agent(name.agent_id())),
            unit: unit.map_or(UnitId::NONE, Name::unit_id),
            pid,
            verdict: Verdict::ALL[self.kinds.0],
            status: [Status::Ok, Status::Degraded, Status::Critical][self.kinds.1],
            class: Class::ALL[self.kinds.2],
            ended: self.kinds.3,
            payload,
            age_ms: self.times.0,
            span_ms: self.times.1,
            since_ms: self.times.2,
            session,
            restarts,
            stalls,
            beats,
            lag_us: handle,
            agent_name: name,
            unit_name: unit,
            why: &self.why,
            labels,
        })
    }
}

prop_compose! {
    fn made()(
        name in prop::option::of("[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}"),
        unit in prop::option::of("[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}"),
        why in "[^\\p{Cc}]{0,60}",
        labels in prop::collection::btree_map("[a-z]{1,8}x", "[^\\p{Cc}]{0,8}", 0..4),
        numbers in any::<(u32, u32, u32, u32, u32, u64, u64)>(),
        times in (number(), number(), number()),
        kinds in (0..8_usize, 0..3_usize, 0..5_usize, any::<bool>()),
        owner in owners(),
    ) -> Made {
        Made { name, unit, why, labels: labels.into_iter().collect(), numbers, times, kinds, owner }
    }
}

proptest! {
    #![proptest_config(cases(128, 2))]

    #[test]
    fn entries_read_back(made in prop::collection::vec(made(), 1..5), touch in any::<(u32, u32, u32)>(), times in (number(), number())) {
        let mut room = vec![0; Draft::ROOM];
        let mut draft = Draft::new(&mut room, 77).expect("room");
        for one in &made {
            one.with(|entry| draft.push(&Item::Entry(entry))).expect("room");
        }
        let touch = Touch { handle: touch.0, age_ms: times.0, span_ms: times.1, payload: touch.1, lag_us: touch.2 };
        draft.push(&Item::Touch(touch)).expect("room");
        let len = draft.finish();
        let message = framed(&room, len);
        let items = read(message).expect("our own");
        prop_assert_eq!(items.len(), made.len() + 1);
        for (item, made) in items.iter().zip(&made) {
            made.with(|entry| assert_eq!(*item, Item::Entry(entry)));
        }
        prop_assert_eq!(items.last(), Some(&Item::Touch(touch)));
        for cut in 0..message.len() {
            // Between two items a message may end; elsewhere it may not.
            let read = read(&message[..cut]).map(|items| items.len());
            prop_assert!(read.is_err() || read.is_ok_and(|count| count < items.len()), "{}", cut);
        }
    }

    #[test]
    fn other_messages_read_back(seq: u64, boot: u64, numbers: [u32; 8], counts: [u64; 5], critical: bool) {
        let mut room = [0; 1024];
        let rejects = Reasons::write([("auth_failure", counts[4]), ("stale", 1)], &mut room).expect("room");
        let status = Report {
            verdicts: numbers,
            blind: if critical { "gap" } else { "" },
            critical,
            blind_ms: counts[0],
            datagrams: [counts[1], counts[2], counts[3]],
            stalls: counts[0],
            rejects,
        };
        let messages = [
            FromObserver::Hello(Hello { observer: obs(), boot, acked: seq, version: "v" }),
            FromObserver::Snapshot { seq },
            FromObserver::End { seq },
            FromObserver::Status(status),
        ];
        for message in messages {
            let mut room = vec![0; 4096];
            let len = message.write(&mut room).expect("room");
            let bytes = framed(&room, len);
            prop_assert_eq!(FromObserver::parse(bytes), Ok(message));
            for cut in 0..bytes.len() {
                prop_assert!(FromObserver::parse(&bytes[..cut]).is_err());
            }
            let mut small = vec![0; len - 1];
            prop_assert_eq!(message.write(&mut small), Err(ReportError::Full));
        }
        for message in [
            FromRelay::Welcome(Welcome { relay: obs(), held: seq }), FromRelay::Ack { seq }, FromRelay::Resync,
        ] {
            let mut room = [0; 256];
            let len = message.write(&mut room).expect("room");
            let bytes = framed(&room, len);
            prop_assert_eq!(FromRelay::parse(bytes), Ok(message));
            for cut in 0..bytes.len() {
                prop_assert!(FromRelay::parse(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, kind in 0..6_u8) {
        let message = [&[1, kind][..], &bytes].concat();
        if let Ok(FromObserver::Items { items, .. }) = FromObserver::parse(&message) {
            // It ends, and nothing comes after what is no item.
            let read: Vec<_> = items.iter().collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
        let _ = FromRelay::parse(&message);
    }
}
