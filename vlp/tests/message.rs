//! Step 8 of acceptance: every rejection of what an authentic datagram says, and their order.

use varta_vlp::{
    AgentId, AudienceId, DecodeError, Frame, Generation, Reject, Status, UnitId,
    crc::crc32c,
    key::{AgentSecret, Name},
    open::{self, Opened},
    seal,
    sealed::{BODY_LEN, Body, Flags, Header, INIT_PID, Kind, Message, shown_pid},
};

const START: u64 = 1_767_225_600_000_000_000;

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a legal name")
}

fn header(kind: Kind) -> Header {
    Header {
        kind,
        audience: AudienceId(1),
        agent: name("web-1").agent_id(),
        generation: Generation(1),
        session_start: START,
        salt: [0; 8],
        counter: 0,
    }
}

fn body() -> Body {
    Body {
        frame: Frame { status: Status::Ok, pid: 4242, timestamp: 0, nonce: 1, payload: 0 },
        sent_at: START,
        next_due_ms: 1000,
        lag_us: 0,
        unit: UnitId::NONE,
        flags: Flags::default(),
        boot: 0,
    }
}

/// Parses the inside of a beat.
fn beat(header: &Header, body: &Body) -> Result<(), Reject> {
    let opened = Opened { body: &body.encode(), metadata: &[] };
    let message = Message::parse(header, opened)?;
    assert_eq!(message.body, *body);
    assert!(message.metadata.is_none());
    Ok(())
}

/// Parses the inside of an announce.
fn announce(header: &Header, body: &[u8; BODY_LEN], metadata: &[u8]) -> Result<(), Reject> {
    Message::parse(header, Opened { body, metadata }).map(|_| ())
}

fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in [key, value] {
        bytes.push(u8::try_from(text.len()).expect("short"));
        bytes.extend_from_slice(text);
    }
    bytes
}

/// The body with `field` written into the base frame and the checksum made right.
fn with_frame_field(offset: usize, field: &[u8]) -> [u8; BODY_LEN] {
    let mut bytes = body().encode();
    bytes[offset..offset + field.len()].copy_from_slice(field);
    let crc = crc32c(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    bytes
}

#[test]
fn each_base_frame_error_inside() {
    let cases: [(usize, &[u8], DecodeError); 7] = [
        (1, b"S", DecodeError::BadMagic),
        (2, &[1], DecodeError::BadVersion),
        (3, &[7], DecodeError::BadStatus(7)),
        (3, &[3], DecodeError::StallOnWire),
        (4, &[1, 0, 0, 0], DecodeError::BadPid(1)),
        (8, &[255; 8], DecodeError::BadTimestamp),
        (16, &[255; 8], DecodeError::BadNonce),
    ];
    for (offset, field, error) in cases {
        let body = with_frame_field(offset, field);
        let wanted = Err(Reject::Decode(error));
        let opened = Opened { body: &body, metadata: &[] };
        assert_eq!(Message::parse(&header(Kind::Beat), opened).map(|_| ()), wanted);
        assert_eq!(announce(&header(Kind::Announce), &body, &pair(b"k", b"v")), wanted);
    }
    let mut body = body().encode();
    body[31] ^= 0x80;
    let expected = crc32c(&body[..28]);
    let error = DecodeError::BadCrc { expected, actual: expected ^ 0x8000_0000 };
    let wanted = Err(Reject::Decode(error));
    assert_eq!(announce(&header(Kind::Announce), &body, &pair(b"k", b"v")), wanted);
}

#[test]
fn errors_that_a_sender_can_seal_are_refused_behind_the_tag() {
    let frames = [
        (Frame { status: Status::Stall, ..body().frame }, DecodeError::StallOnWire),
        (Frame { pid: 0, ..body().frame }, DecodeError::BadPid(0)),
        (Frame { timestamp: u64::MAX, ..body().frame }, DecodeError::BadTimestamp),
        (Frame { nonce: u64::MAX, ..body().frame }, DecodeError::BadNonce),
    ];
    let secret = AgentSecret::from_bytes([1; 32]);
    for (frame, error) in frames {
        let wrong = Body { frame, ..body() };
        let mut datagram = seal::beat(&secret, &header(Kind::Beat), &wrong);
        let header = Header::parse(&datagram).expect("the header is legal");
        let opened = open::open(&secret, &mut datagram).expect("the tag verifies");
        assert_eq!(Message::parse(&header, opened).err(), Some(Reject::Decode(error)));
    }
}

#[test]
fn flags() {
    let all = Flags::CONTINUES.with(Flags::STEPPED);
    let cases = [
        (0, 0, Ok(())),
        (all.0, 0, Ok(())),
        (all.with(Flags::FINAL).0, 0, Ok(())),
        (all.with(Flags::HOLD).0, 1, Ok(())),
        (Flags::HOLD.0, 0, Err(Reject::BadFlags)),
        (all.with(Flags::HOLD).0, 0, Err(Reject::BadFlags)),
        (Flags::FINAL.with(Flags::HOLD).0, 1000, Err(Reject::BadFlags)),
        (Flags::FINAL.with(Flags::HOLD).0, 0, Err(Reject::BadFlags)),
        (1 << 3, 1000, Err(Reject::BadFlags)),
    ];
    for (flags, next_due_ms, wanted) in cases {
        let body = Body { flags: Flags(flags), next_due_ms, ..body() };
        assert_eq!(beat(&header(Kind::Beat), &body), wanted, "flags {flags:#b}, due {next_due_ms}");
    }
    for bit in 0..32 {
        let body = Body { flags: Flags(1 << bit), ..body() };
        let wanted = if matches!(bit, 0 | 1 | 2 | 4) { Ok(()) } else { Err(Reject::BadFlags) };
        assert_eq!(beat(&header(Kind::Beat), &body), wanted, "bit {bit}");
    }
}

#[test]
fn a_sender_that_is_pid_1_names_its_unit() {
    let frame = Frame { pid: INIT_PID, ..body().frame };
    let nameless = Body { frame, ..body() };
    assert_eq!(beat(&header(Kind::Beat), &nameless), Err(Reject::BadFlags));
    let named = Body { unit: name("api").unit_id(), ..nameless };
    assert_eq!(beat(&header(Kind::Beat), &named), Ok(()));
    assert_eq!(named.shown_pid(), 1);
    assert_eq!(shown_pid(INIT_PID - 1), INIT_PID - 1);
}

#[test]
fn generation_0_is_refused() {
    let header = Header { generation: Generation(0), ..header(Kind::Beat) };
    assert_eq!(beat(&header, &body()), Err(Reject::BadFlags));
}

#[test]
fn metadata_of_bad_form() {
    let long = [b'x'; 255];
    let twice = [pair(b"k", b"1"), pair(b"k", b"2")].concat();
    let descending = [pair(b"l", b"1"), pair(b"k", b"2")].concat();
    let too_much = (0..4).flat_map(|i| pair(format!("key{i}").as_bytes(), &long)).collect::<Vec<_>>();
    assert!(too_much.len() > 1024);
    let cases: [(&str, &[u8]); 18] = [
        ("empty", b""),
        ("a key's length alone", &[1]),
        ("a key alone", &[1, b'k']),
        ("a key cut short", &[2, b'k']),
        ("a value cut short", &[1, b'k', 2, b'v']),
        ("a byte too many", &[1, b'k', 1, b'v', 1]),
        ("an empty key", &pair(b"", b"v")),
        ("a key of 33 bytes", &pair(&long[..33], b"v")),
        ("a key twice", &twice),
        ("keys descending", &descending),
        ("more than 1024 bytes", &too_much),
        ("a key that is not UTF-8", &pair(&[0xFF], b"v")),
        ("a value that is not UTF-8", &pair(b"k", &[0xC3])),
        ("a control character in a value", &pair(b"k", b"a\nb")),
        ("a delete character in a value", &pair(b"k", b"\x7F")),
        ("a C1 control character in a value", &pair(b"k", "\u{85}".as_bytes())),
        ("a control character in a key", &pair(b"k\0", b"v")),
        ("an agent name of bad form", &pair(b"agent", b"web 1")),
    ];
    for (what, metadata) in cases {
        let refused = announce(&header(Kind::Announce), &body().encode(), metadata);
        assert_eq!(refused, Err(Reject::BadMetadata), "{what}");
    }
    for bad in ["", "-api", "a/b", &"a".repeat(65)] {
        let metadata = pair(b"unit", bad.as_bytes());
        let refused = announce(&header(Kind::Announce), &body().encode(), &metadata);
        assert_eq!(refused, Err(Reject::BadMetadata), "unit {bad:?}");
    }
}

#[test]
fn metadata_of_good_form() {
    let long = [b'x'; 255];
    let cases: [(&str, &[u8]); 5] = [
        ("an empty value", &pair(b"k", b"")),
        ("a key of 32 bytes and a value of 255", &pair(&long[..32], &long)),
        ("its own name", &pair(b"agent", b"web-1")),
        ("no control characters", &pair("clé".as_bytes(), "\u{A0}€ \u{1F980}".as_bytes())),
        ("keys ascending by bytes", &[pair(b"B", b""), pair(b"a", b""), pair(b"aa", b"")].concat()),
    ];
    for (what, metadata) in cases {
        let accepted = announce(&header(Kind::Announce), &body().encode(), metadata);
        assert_eq!(accepted, Ok(()), "{what}");
    }
}

#[test]
fn names_must_hash_to_their_ids() {
    let api = name("api").unit_id();
    let cases = [
        ("agent", "web-1", UnitId::NONE, Ok(())),
        ("agent", "web-2", UnitId::NONE, Err(Reject::NameMismatch)),
        ("agent", "Web-1", UnitId::NONE, Err(Reject::NameMismatch)),
        ("unit", "api", api, Ok(())),
        ("unit", "web", api, Err(Reject::NameMismatch)),
        ("unit", "api", UnitId(api.0 ^ 1), Err(Reject::NameMismatch)),
        ("unit", "api", UnitId::NONE, Err(Reject::NameMismatch)),
        ("host", "web-2", api, Ok(())),
    ];
    for (key, value, unit, wanted) in cases {
        let body = Body { unit, ..body() }.encode();
        let metadata = pair(key.as_bytes(), value.as_bytes());
        assert_eq!(announce(&header(Kind::Announce), &body, &metadata), wanted, "{key} = {value}, {unit}");
    }
    let both = [pair(b"agent", b"web-1"), pair(b"unit", b"web")].concat();
    let body = Body { unit: api, ..body() }.encode();
    assert_eq!(announce(&header(Kind::Announce), &body, &both), Err(Reject::NameMismatch));
    let other = Header { agent: AgentId(7), ..header(Kind::Announce) };
    assert_eq!(announce(&other, &body, &pair(b"agent", b"web-1")), Err(Reject::NameMismatch));
}

#[test]
fn nothing_is_sent_before_its_session_began() {
    for (sent_at, wanted) in
        [(START, Ok(())), (u64::MAX, Ok(())), (START - 1, Err(Reject::BadTimes)), (0, Err(Reject::BadTimes))]
    {
        assert_eq!(beat(&header(Kind::Beat), &Body { sent_at, ..body() }), wanted, "{sent_at}");
    }
}

#[test]
fn a_message_wrong_in_several_ways_reports_the_first() {
    for faults in 0..1u32 << 5 {
        let fault = |bit: u32| faults >> bit & 1 == 1;
        let mut wrong = body();
        if fault(1) {
            wrong.flags = Flags(1 << 3);
        }
        if fault(4) {
            wrong.sent_at = START - 1;
        }
        let mut bytes = wrong.encode();
        if fault(0) {
            bytes[0] = 0;
        }
        let mut metadata = pair(b"agent", if fault(3) { b"web-2" } else { b"web-1" });
        if fault(2) {
            metadata.push(0);
        }
        let wanted = [
            (fault(0), Reject::Decode(DecodeError::BadMagic)),
            (fault(1), Reject::BadFlags),
            (fault(2), Reject::BadMetadata),
            (fault(3), Reject::NameMismatch),
            (fault(4), Reject::BadTimes),
        ];
        let wanted = wanted.into_iter().find_map(|(wrong, reject)| wrong.then_some(reject));
        let found = announce(&header(Kind::Announce), &bytes, &metadata).err();
        assert_eq!(found, wanted, "faults {faults:05b}");
    }
}
