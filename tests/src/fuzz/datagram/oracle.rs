//! A sealed datagram, and the rules of steps 1, 2, 7 and 8 read slowly from its bytes.

use varta_vlp::{AgentId, Reject, UnitId};

use crate::fuzz::{
    base_frame::first_broken,
    input::Input,
    metadata::{names_agree, pairs},
};

/// A datagram and what lies in it.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    /// Body and metadata.
    pub(super) text: Vec<u8>,
    /// Whether it was sealed with the key of the agent and generation in its header, and left as it was.
    pub(super) opens: bool,
}

/// What a legal datagram says.
pub(super) struct Legal {
    pub(super) agent: u64,
    pub(super) session_start: u64,
    pub(super) counter: u64,
    pub(super) sent_at: u64,
    pub(super) unit: u32,
    pub(super) pid: u32,
    pub(super) nonce: u64,
    pub(super) payload: u32,
}

fn word(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(bytes[place..place + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(bytes[place..place + 8].try_into().expect("eight bytes"))
}

impl Sealed {
    pub(super) fn garbage(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), text: Vec::new(), opens: false }
    }

    /// With a bit turned over, cut off, grown, or with another's header.
    pub(super) fn damaged(mut self, input: &mut Input<'_>) -> Self {
        let before = self.bytes.clone();
        match input.byte() % 8 {
            0 => self.bytes.truncate(input.below(self.bytes.len() + 1)),
            1 => self.bytes.extend(input.bytes(20)),
            2 => {
                let place = input.below(44);
                let with = input.array::<8>();
                for (byte, with) in self.bytes.iter_mut().skip(place).zip(with) {
                    *byte = with;
                }
            }
            _ => {
                let bit = input.below(self.bytes.len() * 8);
                if let Some(byte) = self.bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        self.opens &= self.bytes == before;
        self
    }

    /// What it says, if steps 1, 2 and 8 let it pass.
    pub(super) fn legal(&self) -> Option<Legal> {
        if self.refusal().is_some() {
            return None;
        }
        Some(Legal {
            agent: long(&self.bytes, 8),
            session_start: long(&self.bytes, 20),
            counter: long(&self.bytes, 36),
            sent_at: long(&self.text, 32),
            unit: word(&self.text, 48),
            pid: word(&self.text, 4),
            nonce: long(&self.text, 16),
            payload: word(&self.text, 24),
        })
    }

    /// The first rule of steps 1, 2 and 8 that it breaks.
    pub(super) fn refusal(&self) -> Option<Reject> {
        let bytes = &self.bytes;
        if !(124..=1200).contains(&bytes.len()) {
            return Some(Reject::BadLength);
        }
        let clear = [
            (bytes[..2] != *b"VS", Reject::BadMagic),
            (bytes[2] != 1, Reject::BadVersion),
            (!matches!(bytes[3], 1 | 2), Reject::BadKind),
            ((bytes.len() == 124) != (bytes[3] == 1), Reject::BadLength),
        ];
        if let Some((_, reject)) = clear.into_iter().find(|(broken, _)| *broken) {
            return Some(reject);
        }
        if !self.opens {
            return None;
        }
        let (body, metadata) = self.text.split_at(64);
        if let Some(error) = first_broken(body[..32].try_into().expect("32 bytes")) {
            return Some(Reject::Decode(error));
        }
        let (due, unit, flags) = (word(body, 40), word(body, 48), word(body, 52));
        let (ends, holds) = (flags & 2 != 0, flags & 16 != 0);
        let unnamed_init = word(body, 4) == u32::MAX && unit == 0;
        if flags & !0b1_0111 != 0 || holds && (ends || due == 0) || unnamed_init || word(bytes, 16) == 0 {
            return Some(Reject::BadFlags);
        }
        if bytes[3] == 2 {
            match pairs(metadata) {
                None => return Some(Reject::BadMetadata),
                Some(pairs) if !names_agree(&pairs, AgentId(long(bytes, 8)), UnitId(unit)) => {
                    return Some(Reject::NameMismatch);
                }
                Some(_) => {}
            }
        }
        (long(bytes, 20) > long(body, 32)).then_some(Reject::BadTimes)
    }
}
