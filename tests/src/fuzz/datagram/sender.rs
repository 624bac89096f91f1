//! An agent that seals what a case asks for: an honest next frame, one with fields bent, or any bytes.

use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305, aead::inout::InOutBuf};
use varta_core::{MILLI, SECOND};
use varta_vlp::{
    Frame, Generation, Status, UnitId,
    key::Name,
    seal,
    sealed::{ANNOUNCE_MAX_LEN, Body, Flags, Header, Kind},
};

use super::oracle::Sealed;
use crate::fuzz::{input::Input, watch::audience_key};

/// One more than the core has room for.
pub(super) const AGENTS: [&str; 5] = ["web-1", "web-2", "db-1", "db-2", "one-too-many"];
const UNITS: [&str; 5] = ["", "api", "worker", "batch", "cron"];

const METADATA: [&[u8]; 6] = [
    b"\x04site\x03ams",
    b"\x05agent\x05web-1",
    b"\x05agent\x05web-1\x04unit\x03api",
    b"\x04unit\x06worker\x07version\x011",
    b"\x04unit\x03api",
    b"\x04role\x02db\x04site\x03ams",
];

pub(super) struct Sender {
    name: &'static str,
    pid: u32,
    start: u64,
    began: u64,
    counter: u64,
    sent_at: u64,
    nonce: u64,
    connected: u64,
    salt: u64,
}

impl Sender {
    pub(super) const fn new(name: &'static str, number: usize) -> Self {
        let pid = 100 + number as u32;
        Self { name, pid, start: 0, began: 0, counter: 0, sent_at: 0, nonce: 0, connected: 0, salt: 1 }
    }

    fn begin(&mut self, wall: u64, mono: u64) {
        self.start = if wall > self.start { wall } else { self.start + 1 };
        (self.began, self.counter, self.sent_at) = (mono, 0, self.start - 1);
    }

    /// The next frame, which leaves now; with fields that the case chooses where it is `bent`.
    pub(super) fn compose(&mut self, input: &mut Input<'_>, wall: u64, mono: u64, bent: bool) -> Sealed {
        if self.start == 0 {
            self.connected = mono;
            self.begin(wall, mono);
        }
        let choice = input.byte();
        if choice & 0xF0 == 0xF0 {
            self.begin(wall, mono);
        }
        self.sent_at = (self.sent_at + 1).max(self.start + (mono - self.began));
        self.nonce = Frame::next_nonce(self.nonce);
        self.salt += 1;
        let mut header = Header {
            kind: Kind::Beat,
            audience: audience_key("obs-1").0,
            agent: Name::new(self.name).expect("a name").agent_id(),
            generation: Generation(1),
            session_start: self.start,
            salt: self.salt.to_le_bytes(),
            counter: self.counter,
        };
        self.counter += 1;
        let unit = UNITS[usize::from(choice & 3)];
        let mut body = Body {
            frame: Frame {
                status: Status::Ok,
                pid: self.pid,
                timestamp: mono - self.connected,
                nonce: self.nonce,
                payload: self.salt as u32,
            },
            sent_at: self.sent_at,
            next_due_ms: [0, 1000, 10_000, 60_000][usize::from(choice >> 2 & 3)],
            lag_us: 0,
            unit: if unit.is_empty() { UnitId::NONE } else { Name::new(unit).expect("a name").unit_id() },
            flags: Flags::default(),
            boot: 77,
        };
        if bent {
            self.bend(input, &mut header, &mut body);
        }
        let seals = if bent { input.byte() } else { 0 };
        if seals & 0xC0 == 0xC0 { any_text(input, &header, &body, seals) } else { whole(input, &header, &body, seals) }
    }

    fn bend(&mut self, input: &mut Input<'_>, header: &mut Header, body: &mut Body) {
        let which = input.short();
        let has = |bit: u16| which >> bit & 1 == 1;
        if has(0) {
            header.counter = match input.byte() % 4 {
                0 => input.odd(),
                1 => header.counter.saturating_sub(input.byte().into()),
                _ => header.counter + u64::from(input.byte()),
            };
            self.counter = self.counter.max(header.counter.min((1 << 48) - 2) + 1);
        }
        if has(1) {
            let by = u64::from(input.short()) * [1000, MILLI, 10 * MILLI, SECOND][usize::from(input.byte() % 4)];
            let back = input.flag();
            body.sent_at = if back { body.sent_at.saturating_sub(by) } else { body.sent_at.saturating_add(by) };
        }
        if has(2) {
            header.session_start = match input.byte() % 4 {
                0 => input.odd(),
                1 => body.sent_at,
                2 => header.session_start.saturating_sub(input.short().into()),
                _ => header.session_start.saturating_add(input.short().into()),
            };
        }
        if has(3) {
            body.flags = Flags(input.byte().into());
        }
        if has(4) {
            body.flags = input.pick(&[Flags::CONTINUES, Flags::FINAL, Flags::STEPPED, Flags::HOLD, Flags(5)]);
        }
        if has(5) {
            body.frame.status = input.pick(&[Status::Ok, Status::Degraded, Status::Critical, Status::Stall]);
            body.frame.nonce = if input.flag() { Frame::TERMINAL } else { input.odd() };
        }
        if has(6) {
            body.frame.pid = input.pick(&[0, 1, 2, 101, 102, u32::MAX, u32::MAX - 1]);
        }
        if has(7) {
            body.next_due_ms = input.pick(&[0, 1, 3_600_000, 3_600_001, u32::MAX]);
        }
        if has(8) {
            body.unit = UnitId(input.byte().into());
        }
        if has(9) {
            header.generation = Generation(input.byte().into());
        }
        if has(10) {
            body.frame.timestamp = input.odd();
        }
        if has(11) {
            body.boot = input.byte().into();
        }
        if has(12) {
            body.sent_at = input.odd();
        }
        if has(13) {
            header.agent.0 = input.byte().into();
        }
        if has(14) {
            body.lag_us = input.word();
        }
        if has(15) {
            header.audience.0 = input.byte().into();
        }
    }
}

/// A beat or an announce as the library seals it, now and then with the key of another generation.
fn whole(input: &mut Input<'_>, header: &Header, body: &Body, seals: u8) -> Sealed {
    let (id, key) = audience_key("obs-1");
    let wrong = seals & 0x0F == 0x0F;
    let generation = if wrong { Generation(header.generation.0.wrapping_add(1)) } else { header.generation };
    let secret = key.agent(header.agent, generation);
    let mut text = body.encode().to_vec();
    let opens = !wrong && header.audience == id;
    if seals & 0x30 == 0x30 {
        let metadata = input.pick(&METADATA);
        let mut datagram = [0; ANNOUNCE_MAX_LEN];
        let length = seal::announce(&secret, header, body, metadata, &mut datagram).expect("metadata that fits");
        text.extend(metadata);
        Sealed { bytes: datagram[..length].to_vec(), text, opens }
    } else {
        Sealed { bytes: seal::beat(&secret, header, body).to_vec(), text, opens }
    }
}

/// A text that vlp would not write, sealed by another library.
fn any_text(input: &mut Input<'_>, header: &Header, body: &Body, seals: u8) -> Sealed {
    let mut text = body.encode().to_vec();
    for _ in 0..input.byte() % 8 {
        let place = input.below(64);
        text[place] ^= input.byte();
    }
    if seals & 1 == 1 {
        let sum = crate::fuzz::base_frame::crc(&text[..28]);
        text[28..32].copy_from_slice(&sum.to_le_bytes());
    }
    let mut header = *header;
    if seals & 2 == 2 {
        let length = input.below(1100);
        text.extend(input.bytes(length));
        header.kind = Kind::Announce;
    }
    let (id, key) = audience_key("obs-1");
    let secret = key.agent(header.agent, header.generation);
    let aad = header.encode();
    let cipher = XChaCha20Poly1305::new(secret.expose().into());
    let mut sealed = text.clone();
    let tag = cipher
        .encrypt_inout_detached(&header.nonce().into(), &aad, InOutBuf::from(sealed.as_mut_slice()))
        .expect("a text of this length can be sealed");
    let bytes = [&aad[..], &sealed, &tag].concat();
    Sealed { bytes, text, opens: header.audience == id }
}
