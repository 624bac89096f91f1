//! The sealed datagram: what goes in comes out, and any change is refused for its documented reason.

use varta_vlp::{
    AgentId, AudienceId, Frame, Generation, Reject, Status, UnitId,
    key::AgentSecret,
    open, seal,
    sealed::{
        ANNOUNCE_MAX_LEN, BEAT_LEN, Body, Flags, HEADER_LEN, Header, Kind, MAX_LEN, METADATA_MAX_LEN, Message,
        Metadata, TAG_LEN,
    },
};

const HEADER: Header = Header {
    kind: Kind::Beat,
    audience: AudienceId(0x646b_cdd5),
    agent: AgentId(0x8279_14d2_2a55_4017),
    generation: Generation(3),
    session_start: 1_767_225_600_000_000_000,
    salt: [9, 8, 7, 6, 5, 4, 3, 2],
    counter: 77,
};

const BODY: Body = Body {
    frame: Frame { status: Status::Degraded, pid: 4242, timestamp: 5_000_000_000, nonce: 78, payload: 1 },
    sent_at: 1_767_225_605_000_000_000,
    next_due_ms: 1000,
    lag_us: 250,
    unit: UnitId::NONE,
    flags: Flags::CONTINUES,
    boot: 42,
};

fn secret() -> AgentSecret {
    AgentSecret::from_bytes([0x5A; 32])
}

fn announce(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut room = [0; METADATA_MAX_LEN];
    let metadata = Metadata::write(pairs.iter().copied(), &mut room).expect("legal metadata");
    let mut datagram = [0; ANNOUNCE_MAX_LEN];
    let len = seal::announce(&secret(), &HEADER, &BODY, metadata.bytes(), &mut datagram).expect("it fits");
    datagram[..len].to_vec()
}

/// Steps 1, 2, 7 and 8 with the sender's own key.
fn accept(datagram: &[u8]) -> Result<Body, Reject> {
    let header = Header::parse(datagram)?;
    let mut datagram = datagram.to_vec();
    let opened = open::open(&secret(), &mut datagram)?;
    Message::parse(&header, opened).map(|message| message.body)
}

/// What every single flipped bit of a whole datagram gives.
fn reason_of_flip(byte: usize) -> Reject {
    match byte {
        0 | 1 => Reject::BadMagic,
        2 => Reject::BadVersion,
        3 => Reject::BadKind,
        _ => Reject::AuthFailure,
    }
}

#[test]
fn a_beat_opens_to_what_was_sealed() {
    let mut datagram = seal::beat(&secret(), &HEADER, &BODY);
    let header = Header::parse(&datagram).expect("a legal header");
    assert_eq!(header, HEADER);
    assert_eq!(header.encode()[..], datagram[..HEADER_LEN]);
    let carried: [u8; TAG_LEN] = *open::tag(&datagram).expect("a tag");
    assert_eq!(carried[..], datagram[BEAT_LEN - TAG_LEN..]);
    let opened = open::open(&secret(), &mut datagram).expect("the right key");
    let message = Message::parse(&header, opened).expect("a legal message");
    assert_eq!(message.body, BODY);
    assert!(message.metadata.is_none());
}

#[test]
fn an_announce_opens_to_what_was_sealed() {
    let pairs = [("host", "node-7"), ("site", "Zürich"), ("version", "")];
    let mut datagram = announce(&pairs);
    let header = Header::parse(&datagram).expect("a legal header");
    assert_eq!(header.kind, Kind::Announce);
    let opened = open::open(&secret(), &mut datagram).expect("the right key");
    let message = Message::parse(&header, opened).expect("a legal message");
    assert_eq!(message.body, BODY);
    let metadata = message.metadata.expect("an announce has metadata");
    assert_eq!(metadata.iter().collect::<Vec<_>>(), pairs);
}

#[test]
fn sealing_sets_the_kind() {
    let header = Header { kind: Kind::Announce, ..HEADER };
    assert_eq!(seal::beat(&secret(), &header, &BODY)[3], 1);
    assert_eq!(announce(&[("a", "b")])[3], 2);
}

#[test]
fn every_flipped_bit_of_a_beat_is_refused() {
    let datagram = seal::beat(&secret(), &HEADER, &BODY);
    for bit in bits(&datagram) {
        let mut flipped = datagram;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(accept(&flipped), Err(reason_of_flip(bit / 8)), "bit {bit}");
    }
    assert_eq!(accept(&datagram), Ok(BODY));
}

#[test]
fn every_flipped_bit_of_an_announce_is_refused() {
    let datagram = announce(&[("host", "node-7"), ("version", "1")]);
    for bit in bits(&datagram) {
        let mut flipped = datagram.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(accept(&flipped), Err(reason_of_flip(bit / 8)), "bit {bit}");
    }
    assert_eq!(accept(&datagram), Ok(BODY));
}

/// No single bit turns one kind into the other; two bits do, and the length tells.
#[test]
fn one_kind_in_the_length_of_the_other() {
    let mut datagram = seal::beat(&secret(), &HEADER, &BODY).to_vec();
    datagram[3] = 2;
    assert_eq!(accept(&datagram), Err(Reject::BadLength));
    let mut datagram = announce(&[("a", "b")]);
    datagram[3] = 1;
    assert_eq!(accept(&datagram), Err(Reject::BadLength));
}

#[test]
fn every_other_length_of_a_beat_is_refused() {
    let mut datagram = seal::beat(&secret(), &HEADER, &BODY).to_vec();
    datagram.resize(MAX_LEN + 1, 0);
    for len in 0..=MAX_LEN + 1 {
        let wanted = if len == BEAT_LEN { Ok(BODY) } else { Err(Reject::BadLength) };
        assert_eq!(accept(&datagram[..len]), wanted, "{len} bytes");
    }
}

#[test]
fn every_other_length_of_an_announce_is_refused() {
    let mut datagram = announce(&[("host", "node-7"), ("version", "1")]);
    let whole = datagram.len();
    datagram.resize(MAX_LEN + 1, 0);
    for len in lengths(0, MAX_LEN + 1, &[BEAT_LEN, BEAT_LEN + 1, whole, MAX_LEN]) {
        let wanted = if len == whole {
            Ok(BODY)
        } else if len <= BEAT_LEN || len > MAX_LEN {
            Err(Reject::BadLength)
        } else {
            Err(Reject::AuthFailure)
        };
        assert_eq!(accept(&datagram[..len]), wanted, "{len} bytes");
    }
}

#[test]
fn open_alone_bears_any_length() {
    let mut datagram = announce(&[("host", "node-7")]);
    let whole = datagram.len();
    datagram.resize(MAX_LEN, 0);
    for len in lengths(0, MAX_LEN, &[BEAT_LEN - 1, BEAT_LEN, whole]) {
        let wanted = if len == whole {
            None
        } else if len < BEAT_LEN {
            Some(Reject::BadLength)
        } else {
            Some(Reject::AuthFailure)
        };
        let opened = open::open(&secret(), &mut datagram[..len].to_vec()).err();
        assert_eq!(opened, wanted, "{len} bytes");
        assert_eq!(open::tag(&datagram[..len]).is_some(), len >= TAG_LEN, "{len} bytes");
    }
}

#[test]
fn announces_of_every_length() {
    let metadata = [b'x'; METADATA_MAX_LEN + 1];
    let mut datagram = [0; ANNOUNCE_MAX_LEN];
    let mut room = |len| seal::announce(&secret(), &HEADER, &BODY, &metadata[..len], &mut datagram);
    assert_eq!(room(0), None);
    assert_eq!(room(METADATA_MAX_LEN + 1), None);
    for len in lengths(1, METADATA_MAX_LEN, &[2, METADATA_MAX_LEN - 1]) {
        let mut datagram = [0; ANNOUNCE_MAX_LEN];
        let sealed = seal::announce(&secret(), &HEADER, &BODY, &metadata[..len], &mut datagram);
        assert_eq!(sealed, Some(BEAT_LEN + len));
        let datagram = &mut datagram[..BEAT_LEN + len];
        assert_eq!(Header::parse(datagram).map(|header| header.kind), Ok(Kind::Announce));
        let opened = open::open(&secret(), datagram).expect("the right key");
        assert_eq!(opened.metadata, &metadata[..len]);
    }
}

#[test]
fn another_key_opens_nothing() {
    let mut datagram = seal::beat(&secret(), &HEADER, &BODY);
    let other = AgentSecret::from_bytes([0x5B; 32]);
    assert_eq!(open::open(&other, &mut datagram).err(), Some(Reject::AuthFailure));
}

/// A header wrong in several ways reports the first, in the order of steps 1 and 2.
#[test]
fn a_header_wrong_in_several_ways() {
    let legal = seal::beat(&secret(), &HEADER, &BODY);
    for faults in 1..1u32 << 5 {
        let fault = |bit: u32| faults >> bit & 1 == 1;
        for short in [true, false] {
            let kind_len = if fault(4) { BEAT_LEN + 1 } else { BEAT_LEN };
            let len = match (fault(0), short) {
                (true, true) => BEAT_LEN - 1,
                (true, false) => MAX_LEN + 1,
                (false, _) => kind_len,
            };
            let mut datagram = legal.to_vec();
            datagram.resize(len, 0);
            if fault(1) {
                datagram[1] = b'A';
            }
            if fault(2) {
                datagram[2] = 2;
            }
            if fault(3) {
                datagram[3] = 0;
            }
            let wanted = [
                (fault(0), Reject::BadLength),
                (fault(1), Reject::BadMagic),
                (fault(2), Reject::BadVersion),
                (fault(3), Reject::BadKind),
                (fault(4), Reject::BadLength),
            ];
            let wanted = wanted.into_iter().find_map(|(wrong, reject)| wrong.then_some(reject));
            assert_eq!(Header::parse(&datagram).err(), wanted, "faults {faults:05b}");
        }
    }
}

#[test]
fn every_version_and_kind_but_ours_is_refused() {
    let legal = seal::beat(&secret(), &HEADER, &BODY);
    for byte in 0..=255 {
        let mut datagram = legal;
        datagram[2] = byte;
        assert_eq!(Header::parse(&datagram).err(), (byte != 1).then_some(Reject::BadVersion));
        let mut datagram = legal;
        datagram[3] = byte;
        let wanted = match byte {
            1 => None,
            2 => Some(Reject::BadLength),
            _ => Some(Reject::BadKind),
        };
        assert_eq!(Header::parse(&datagram).err(), wanted, "kind {byte}");
    }
}

/// All bits of a datagram; where every step is slow, some of the header and of the rest.
fn bits(datagram: &[u8]) -> Vec<usize> {
    let step = if cfg!(miri) { 83 } else { 1 };
    let magic_to_kind = 0..32;
    magic_to_kind.chain((32..datagram.len() * 8).step_by(step)).collect()
}

/// All lengths in the range; where every step is slow, the named ones and some between.
fn lengths(first: usize, last: usize, named: &[usize]) -> Vec<usize> {
    let step = if cfg!(miri) { 599 } else { 1 };
    let mut all: Vec<usize> = (first..=last).step_by(step).collect();
    all.extend(named.iter().copied().chain([first, last]));
    all
}
