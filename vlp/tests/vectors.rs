//! The test vectors of `SPEC.md`, read out of it, in both directions.

use std::collections::BTreeMap;

use varta_vlp::{
    Frame, Generation, Status,
    crc::crc32c,
    key::{AgentSecret, AudienceKey, AudienceSecret, IdentitySecret, Name, RootSecret},
    open, seal,
    sealed::{
        ANNOUNCE_MAX_LEN, BODY_LEN, Body, Flags, HEADER_LEN, Header, Kind, METADATA_MAX_LEN, Message, Metadata, TAG_LEN,
    },
};

const SPEC: &str = include_str!("../SPEC.md");

const BYTES: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31,
];

/// The text under the heading `### Vectors: {title}`.
fn section(title: &str) -> &'static str {
    let heading = format!("\n### Vectors: {title}\n");
    let (_, rest) = SPEC.split_once(&heading).expect("the heading is in the specification");
    rest.split_once("\n### ").map_or(rest, |(section, _)| section)
}

/// The cells of a section's table, row by row, without heading and backticks.
fn table<const COLUMNS: usize>(title: &str, rows: usize) -> Vec<[&'static str; COLUMNS]> {
    let lines = section(title).lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &'static str| -> [&'static str; COLUMNS] {
        let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
        cells.collect::<Vec<_>>().try_into().expect("every row has all columns")
    };
    let table: Vec<_> = lines.map(cells).collect();
    assert_eq!(table.len(), rows, "rows of {title:?}");
    table
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex")
}

fn show(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn frame_bytes(text: &str) -> [u8; Frame::LEN] {
    hex(text).try_into().expect("32 bytes")
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a legal name")
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().ok().expect("a number in range")
}

fn status(text: &str) -> Status {
    let all = [Status::Ok, Status::Degraded, Status::Critical];
    all.into_iter().find(|status| status.name() == text).expect("a status")
}

#[test]
fn ids() {
    for [what, text, id, wire] in table("ids", 8) {
        let (shown, bytes) = match what {
            "agent" => (name(text).agent_id().to_string(), name(text).agent_id().0.to_le_bytes().to_vec()),
            "unit" => (name(text).unit_id().to_string(), name(text).unit_id().0.to_le_bytes().to_vec()),
            "audience" => (name(text).audience_id().to_string(), name(text).audience_id().0.to_le_bytes().to_vec()),
            other => panic!("ids of {other:?}?"),
        };
        assert_eq!((shown.as_str(), show(&bytes).as_str()), (id, wire), "{what} {text}");
    }
    assert_eq!(name("unit-004m3i0vl").unit_id().0, 1, "a hash of 0 becomes 1");
}

#[test]
fn key_derivation() {
    for [what, audience, agent, generation, key] in table("key derivation", 7) {
        let secret = RootSecret::from_bytes(BYTES).audience(name(audience));
        let derived = match what {
            "K" => *secret.expose(),
            "P" => *AudienceKey::new(&secret).agent(name(agent).agent_id(), Generation(number(generation))).expose(),
            other => panic!("a key {other:?}?"),
        };
        assert_eq!(show(&derived), key, "{what} {audience} {agent} {generation}");
    }
}

#[test]
fn text_of_secrets() {
    for [prefix, text] in table("text of secrets", 4) {
        let (rendered, read) = match prefix {
            RootSecret::PREFIX => {
                (RootSecret::from_bytes(BYTES).to_text(), RootSecret::from_text(text).map(|secret| *secret.expose()))
            }
            AudienceSecret::PREFIX => (
                AudienceSecret::from_bytes(BYTES).to_text(),
                AudienceSecret::from_text(text).map(|secret| *secret.expose()),
            ),
            AgentSecret::PREFIX => {
                (AgentSecret::from_bytes(BYTES).to_text(), AgentSecret::from_text(text).map(|secret| *secret.expose()))
            }
            IdentitySecret::PREFIX => (
                IdentitySecret::from_bytes(BYTES).to_text(),
                IdentitySecret::from_text(text).map(|secret| *secret.expose()),
            ),
            other => panic!("a prefix {other:?}?"),
        };
        assert_eq!(rendered.as_str(), text);
        assert_eq!(read, Ok(BYTES));
    }
}

#[test]
fn base_frames() {
    for [bytes, name, pid, timestamp, nonce, payload] in table("base frames", 4) {
        let frame = Frame {
            status: status(name),
            pid: number(pid),
            timestamp: number(timestamp),
            nonce: number(nonce),
            payload: number(payload),
        };
        assert_eq!(show(&frame.encode()), bytes);
        assert_eq!(Frame::decode(&frame_bytes(bytes)), Ok(frame));
    }
    assert_eq!(crc32c(b"123456789").to_be_bytes()[..], hex("e3069283"));
}

#[test]
fn base_frames_refused() {
    use varta_vlp::DecodeError as E;

    let mut met = std::collections::BTreeSet::new();
    for [bytes, error] in table("base frames refused", 16) {
        let words: Vec<_> = error.split(' ').collect();
        let checksum = |text| u32::from_be_bytes(hex(text).try_into().expect("four bytes"));
        let wanted = match words[..] {
            ["BadMagic"] => E::BadMagic,
            ["BadVersion"] => E::BadVersion,
            ["BadCrc", "expected", expected, "actual", actual] => {
                E::BadCrc { expected: checksum(expected), actual: checksum(actual) }
            }
            ["BadStatus", status] => E::BadStatus(number(status)),
            ["StallOnWire"] => E::StallOnWire,
            ["BadPid", pid] => E::BadPid(number(pid)),
            ["BadTimestamp"] => E::BadTimestamp,
            ["BadNonce"] => E::BadNonce,
            _ => panic!("an error {error:?}?"),
        };
        assert_eq!(Frame::decode(&frame_bytes(bytes)), Err(wanted), "{bytes}");
        met.insert(wanted.name());
    }
    assert_eq!(met.len(), 8, "every error is met");
}

/// One sealed datagram of the specification.
struct Vector {
    fields: BTreeMap<&'static str, String>,
    metadata: Vec<(&'static str, String)>,
}

impl Vector {
    fn parse(block: &'static str) -> Self {
        let mut vector = Self { fields: BTreeMap::new(), metadata: Vec::new() };
        let mut current = "";
        for line in block.lines() {
            if let Some(more) = line.strip_prefix("  ") {
                vector.fields.get_mut(current).expect("a field to go on with").push_str(more);
                continue;
            }
            let (field, value) = line.split_once(" =").expect("field = value");
            let value = value.trim_start().to_owned();
            match field.strip_prefix("metadata ") {
                Some(key) => vector.metadata.push((key, value)),
                None => assert!(vector.fields.insert(field, value).is_none(), "{field} twice"),
            }
            current = field;
        }
        vector
    }

    fn all() -> Vec<Self> {
        let blocks = section("sealed datagrams").split("```vector\n").skip(1);
        let blocks = blocks.map(|rest| rest.split_once("```").expect("a block ends").0);
        let all: Vec<_> = blocks.map(Self::parse).collect();
        assert_eq!(all.len(), 3);
        all
    }

    fn get(&self, field: &str) -> &str {
        self.fields.get(field).unwrap_or_else(|| panic!("no {field}"))
    }

    fn number<N: std::str::FromStr>(&self, field: &str) -> N {
        number(self.get(field))
    }

    fn secret(&self) -> AgentSecret {
        let root = RootSecret::from_bytes(hex(self.get("root")).try_into().expect("32 bytes"));
        let audience = AudienceKey::new(&root.audience(name(self.get("audience"))));
        audience.agent(name(self.get("agent")).agent_id(), Generation(self.number("generation")))
    }

    fn header(&self) -> Header {
        Header {
            kind: if self.metadata.is_empty() { Kind::Beat } else { Kind::Announce },
            audience: name(self.get("audience")).audience_id(),
            agent: name(self.get("agent")).agent_id(),
            generation: Generation(self.number("generation")),
            session_start: self.number("session_start"),
            salt: hex(self.get("salt")).try_into().expect("8 bytes"),
            counter: self.number("counter"),
        }
    }

    fn body(&self) -> Body {
        let unit = self.get("unit");
        Body {
            frame: Frame {
                status: status(self.get("status")),
                pid: self.number("pid"),
                timestamp: self.number("timestamp"),
                nonce: self.number("nonce"),
                payload: self.number("payload"),
            },
            sent_at: self.number("sent_at"),
            next_due_ms: self.number("next_due_ms"),
            lag_us: self.number("lag_us"),
            unit: if unit.is_empty() { varta_vlp::UnitId::NONE } else { name(unit).unit_id() },
            flags: Flags(self.number("flags")),
            boot: u64::from_str_radix(self.get("boot"), 16).expect("hex"),
        }
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.metadata.iter().map(|(key, value)| (*key, value.as_str())).collect()
    }
}

#[test]
fn sealed_datagrams_are_sealed_as_specified() {
    for vector in Vector::all() {
        let (secret, header, body) = (vector.secret(), vector.header(), vector.body());
        assert_eq!(show(secret.expose()), vector.get("key"));
        assert_eq!(show(&header.encode()), vector.get("header"));
        let mut plaintext = body.encode().to_vec();
        let datagram = if vector.metadata.is_empty() {
            seal::beat(&secret, &header, &body).to_vec()
        } else {
            let mut room = [0; METADATA_MAX_LEN];
            let metadata = Metadata::write(vector.pairs(), &mut room).expect("legal metadata");
            plaintext.extend_from_slice(metadata.bytes());
            let mut datagram = [0; ANNOUNCE_MAX_LEN];
            let len = seal::announce(&secret, &header, &body, metadata.bytes(), &mut datagram).expect("it fits");
            datagram[..len].to_vec()
        };
        assert_eq!(show(&plaintext), vector.get("plaintext"));
        assert_eq!(show(&datagram), vector.get("datagram"));
    }
}

#[test]
fn sealed_datagrams_open_as_specified() {
    for vector in Vector::all() {
        let mut datagram = hex(vector.get("datagram"));
        assert_eq!(show(&datagram[..HEADER_LEN]), vector.get("header"));
        let header = Header::parse(&datagram).expect("a legal header");
        assert_eq!(header, vector.header());
        let secret = AgentSecret::from_bytes(hex(vector.get("key")).try_into().expect("32 bytes"));
        let opened = open::open(&secret, &mut datagram).expect("the right key");
        let message = Message::parse(&header, opened).expect("a legal message");
        assert_eq!(message.body, vector.body());
        let pairs: Vec<_> = message.metadata.iter().flat_map(Metadata::iter).collect();
        assert_eq!(pairs, vector.pairs());
        let plaintext = hex(vector.get("plaintext"));
        assert_eq!(datagram[HEADER_LEN..datagram.len() - TAG_LEN], plaintext);
        assert_eq!(message_fixed_part(&plaintext), vector.body().encode());
    }
}

fn message_fixed_part(plaintext: &[u8]) -> [u8; BODY_LEN] {
    *plaintext.first_chunk().expect("a body")
}
