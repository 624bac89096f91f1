//! Announce metadata: against a slow reading of the rules, there and back, and with the names of a header.

use std::collections::BTreeMap;

use varta_vlp::{
    Frame, Generation, Reject, Status, UnitId,
    key::{AudienceKey, AudienceSecret, Name},
    open, seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind, METADATA_MAX_LEN, Message, Metadata},
};

use super::input::Input;

fn is_name(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@+-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(sign) && text.as_bytes()[0].is_ascii_alphanumeric()
}

/// The pairs in `bytes`, if SPEC, "Announce", allows them.
pub(super) fn pairs(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut texts = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let end = place + 1 + usize::from(bytes[place]);
        texts.push(String::from_utf8(bytes.get(place + 1..end)?.to_vec()).ok()?);
        place = end;
    }
    let pairs: Vec<_> = texts.chunks(2).map(|pair| Some((pair[0].clone(), pair.get(1)?.clone()))).collect();
    let pairs: Vec<(String, String)> = pairs.into_iter().collect::<Option<_>>()?;
    let legal = !bytes.is_empty()
        && bytes.len() <= 1024
        && pairs.is_sorted_by(|a, b| a.0 < b.0)
        && pairs.iter().all(|(key, value)| {
            (1..=32).contains(&key.len())
                && !key.chars().chain(value.chars()).any(char::is_control)
                && (!matches!(key.as_str(), "agent" | "unit") || is_name(value))
        });
    legal.then_some(pairs)
}

fn check(bytes: &[u8]) {
    let wanted = pairs(bytes);
    match (Metadata::parse(bytes), &wanted) {
        (Ok(metadata), Some(wanted)) => {
            assert_eq!(metadata.bytes(), bytes);
            let found: Vec<_> = metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            assert_eq!(found, *wanted);
            for (key, value) in wanted {
                assert_eq!(metadata.get(key), Some(value.as_str()));
            }
            assert_eq!(metadata.get("no such key, nor any as long as this"), None);
            let mut room = [0; METADATA_MAX_LEN];
            let again = Metadata::write(metadata.iter(), &mut room).expect("what was read can be written");
            assert_eq!(again.bytes(), bytes, "metadata has one form");
        }
        (Err(error), None) => assert!(!error.to_string().is_empty()),
        (parsed, _) => panic!("parsed to {parsed:?}, where the rules say {wanted:?}"),
    }
}

/// Whether the names in `pairs` are those of the agent and the unit.
pub(super) fn names_agree(pairs: &[(String, String)], agent: varta_vlp::AgentId, unit: UnitId) -> bool {
    pairs.iter().all(|(key, value)| match (key.as_str(), Name::new(value)) {
        ("agent", Ok(name)) => name.agent_id() == agent,
        ("unit", Ok(name)) => unit != UnitId::NONE && name.unit_id() == unit,
        ("agent" | "unit", Err(_)) => false,
        _ => true,
    })
}

fn check_sealed(input: &mut Input<'_>, bytes: &[u8]) {
    let (agent, audience) = (Name::new("web-1").expect("a name"), Name::new("obs-1").expect("a name"));
    let units = [UnitId::NONE, Name::new("api").expect("a name").unit_id(), UnitId(1)];
    let unit = input.pick(&units);
    let secret = AudienceKey::new(&AudienceSecret::from_bytes([5; 32])).agent(agent.agent_id(), Generation(1));
    let header = Header {
        kind: Kind::Announce,
        audience: audience.audience_id(),
        agent: agent.agent_id(),
        generation: Generation(1),
        session_start: 7,
        salt: [3; 8],
        counter: 0,
    };
    let frame = Frame { status: Status::Ok, pid: 9, timestamp: 0, nonce: 1, payload: 0 };
    let body = Body { frame, sent_at: 7, next_due_ms: 0, lag_us: 0, unit, flags: Flags::default(), boot: 0 };
    let mut datagram = [0; ANNOUNCE_MAX_LEN];
    let Some(len) = seal::announce(&secret, &header, &body, bytes, &mut datagram) else {
        assert!(bytes.is_empty() || bytes.len() > METADATA_MAX_LEN, "{} bytes were not sealed", bytes.len());
        return;
    };
    assert_eq!(Header::parse(&datagram[..len]), Ok(header));
    let opened = open::open(&secret, &mut datagram[..len]).expect("what was sealed opens");
    assert_eq!(opened.metadata, bytes);
    let wanted = match pairs(bytes) {
        None => Err(Reject::BadMetadata),
        Some(pairs) if !names_agree(&pairs, header.agent, unit) => Err(Reject::NameMismatch),
        Some(_) => Ok(body),
    };
    assert_eq!(Message::parse(&header, opened).map(|message| message.body), wanted);
}

/// Judges bytes as they are, and pairs that they choose.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, unit) = (input.byte(), data.get(1).copied().unwrap_or(0));
    let bytes = match mode % 3 {
        0 => {
            input.byte();
            input.rest().to_vec()
        }
        1 => pieces(&mut input),
        _ => written(&mut input),
    };
    check(&bytes);
    check_sealed(&mut Input::new(&[unit]), &bytes);
}

const TEXTS: [&str; 14] =
    ["agent", "unit", "host", "version", "site", "role", "web-1", "api", "", "a", "zz", "\u{7f}", "caf\u{e9}", "-no"];

/// Texts with lengths that need not be theirs.
fn pieces(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    input.byte();
    while !input.is_empty() && out.len() < 1100 {
        let text = match input.byte() {
            length @ 0..128 => input.bytes(usize::from(length)),
            _ => input.pick(&TEXTS).as_bytes(),
        };
        let wrong = input.byte();
        let length = u8::try_from(text.len()).expect("short");
        out.push(if wrong < 250 { length } else { length.wrapping_add(wrong.wrapping_sub(252)) });
        out.extend_from_slice(text);
    }
    out
}

/// Pairs in order, as an agent writes them: what the writer refuses, the rules refuse.
fn written(input: &mut Input<'_>) -> Vec<u8> {
    let mut pairs = BTreeMap::new();
    input.byte();
    while !input.is_empty() && pairs.len() < 40 {
        let text = |input: &mut Input<'_>| match input.byte() {
            length @ 0..=255 if length % 3 == 0 => {
                let length = usize::from(length);
                let scrap = String::from_utf8_lossy(input.bytes(length / 8)).into_owned();
                if length > 200 { scrap.repeat(10) } else { scrap }
            }
            _ => input.pick(&TEXTS).to_owned(),
        };
        pairs.insert(text(input), text(input));
    }
    let mut room = [0; METADATA_MAX_LEN];
    let flat: Vec<u8> = pairs
        .iter()
        .flat_map(|(key, value)| [key, value])
        .flat_map(|text| [u8::try_from(text.len()).unwrap_or(255)].into_iter().chain(text.bytes()).collect::<Vec<_>>())
        .collect();
    let long = pairs.iter().any(|(key, value)| key.len().max(value.len()) > 255);
    let legal = !long && self::pairs(&flat).is_some();
    let result = Metadata::write(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())), &mut room);
    match result {
        Ok(metadata) => {
            assert!(legal, "written against the rules: {pairs:?}");
            assert_eq!(metadata.bytes(), flat);
        }
        Err(error) => assert!(!legal, "{error}: {pairs:?}"),
    }
    flat
}
