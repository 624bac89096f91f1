//! The subkeys of many datagrams at once: HChaCha20 of [`LANES`] of them side by side, which takes half the time of one
//! after another. Opening with them is [`crate::open::open`], and gives the same.

use zeroize::Zeroize as _;

use crate::{
    aead,
    key::AgentSecret,
    open::{Opened, open_by},
    reject::Reject,
    sealed::{HEADER_LEN, Header},
};

/// How many are derived at once.
pub const LANES: usize = 16;

/// One word of the state of each.
type Word = [u32; LANES];

/// The states of up to [`LANES`] datagrams. Wiped when dropped.
pub struct Subkeys([Word; 16]);

impl Default for Subkeys {
    fn default() -> Self {
        Self::new()
    }
}

impl Subkeys {
    const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

    /// Of no datagrams yet.
    #[must_use]
    pub const fn new() -> Self {
        Self([[0; LANES]; 16])
    }

    /// Puts a datagram's secret and nonce into a lane below [`LANES`]; what has no header is no datagram.
    pub fn put(&mut self, lane: usize, secret: &AgentSecret, datagram: &[u8]) {
        let Some(header) = datagram.first_chunk::<HEADER_LEN>() else { return };
        let nonce = Header::nonce_of(header);
        let [_, _, _, _, words @ ..] = &mut self.0;
        for (word, bytes) in words.iter_mut().zip(secret.expose().chunks_exact(4).chain(nonce.chunks_exact(4))) {
            if let (Some(place), Some(bytes)) = (word.get_mut(lane), bytes.first_chunk()) {
                *place = u32::from_le_bytes(*bytes);
            }
        }
    }

    /// Makes subkeys of what was put since the last time.
    pub fn derive(&mut self) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = &mut self.0;
        for (word, constant) in [&mut *a, &mut *b, &mut *c, &mut *d].into_iter().zip(Self::CONSTANTS) {
            *word = [constant; LANES];
        }
        for _ in 0..10 {
            quarter_round(a, e, i, m);
            quarter_round(b, f, j, n);
            quarter_round(c, g, k, o);
            quarter_round(d, h, l, p);
            quarter_round(a, f, k, p);
            quarter_round(b, g, l, m);
            quarter_round(c, h, i, n);
            quarter_round(d, e, j, o);
        }
    }

    fn subkey(&self, lane: usize) -> [u8; 32] {
        let [a, b, c, d, .., m, n, o, p] = &self.0;
        let mut subkey = [0; 32];
        for (bytes, word) in subkey.chunks_exact_mut(4).zip([a, b, c, d, m, n, o, p]) {
            bytes.copy_from_slice(&word.get(lane).copied().unwrap_or(0).to_le_bytes());
        }
        subkey
    }

    /// Verifies and decrypts the datagram that was put into a lane, in place.
    ///
    /// # Errors
    /// As [`crate::open::open`]'s; [`Reject::AuthFailure`] for any other datagram.
    pub fn open<'a>(&self, lane: usize, datagram: &'a mut [u8]) -> Result<Opened<'a>, Reject> {
        let mut subkey = self.subkey(lane);
        let opened = open_by(datagram, |nonce, aad, text, tag| aead::open_by_subkey(&subkey, nonce, aad, text, tag));
        subkey.zeroize();
        opened
    }
}

impl Drop for Subkeys {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Of all lanes. Not inlined, so that it stays a loop over lanes, which the compiler turns into vectors.
#[inline(never)]
fn quarter_round(a: &mut Word, b: &mut Word, c: &mut Word, d: &mut Word) {
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        *a = a.wrapping_add(*b);
        *d = (*d ^ *a).rotate_left(16);
        *c = c.wrapping_add(*d);
        *b = (*b ^ *c).rotate_left(12);
        *a = a.wrapping_add(*b);
        *d = (*d ^ *a).rotate_left(8);
        *c = c.wrapping_add(*d);
        *b = (*b ^ *c).rotate_left(7);
    }
}

/// The subkey of one nonce, as its lane.
#[cfg(test)]
pub(crate) fn one(key: &[u8; 32], nonce: &[u8; 24]) -> [u8; 32] {
    let mut header = [0; HEADER_LEN];
    header[20..].copy_from_slice(nonce);
    let mut subkeys = Subkeys::new();
    subkeys.put(LANES - 1, &AgentSecret::from_bytes(*key), &header);
    subkeys.derive();
    subkeys.subkey(LANES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "ring")]
    /// Bytes that differ from lane to lane.
    fn bytes<const N: usize>(lane: usize, from: u8) -> [u8; N] {
        core::array::from_fn(|at| (at * 7 + lane * 31) as u8 ^ from)
    }

    #[test]
    #[cfg(feature = "ring")]
    fn every_lane_is_hchacha20_of_its_own() {
        use chacha20::{R20, hchacha};
        let mut subkeys = Subkeys::new();
        for round in 0..3 {
            for lane in 0..LANES {
                let secret = AgentSecret::from_bytes(bytes(lane, round));
                subkeys.put(lane, &secret, &bytes::<HEADER_LEN>(lane, 0x99 ^ round));
            }
            subkeys.derive();
            for lane in 0..LANES {
                let key: [u8; 32] = bytes(lane, round);
                let header: [u8; HEADER_LEN] = bytes(lane, 0x99 ^ round);
                let input: [u8; 16] = *header[20..].first_chunk().unwrap();
                assert_eq!(subkeys.subkey(lane), *hchacha::<R20>(&key.into(), &input.into()).as_slice(), "{lane}");
            }
        }
    }

    /// draft-irtf-cfrg-xchacha-03, section 2.2.1.
    #[test]
    fn the_published_vector() {
        let key = core::array::from_fn(|at| at as u8);
        let mut header = [0; HEADER_LEN];
        header[20..36].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27]);
        let mut subkeys = Subkeys::new();
        subkeys.put(5, &AgentSecret::from_bytes(key), &header);
        subkeys.derive();
        let expected = [
            0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe, 0xd3, 0x0e, 0x42, 0x50, 0x8a, 0x87, 0x7d, 0x73, 0xa0, 0xf9,
            0xe4, 0xd5, 0x8a, 0x74, 0xa8, 0x53, 0xc1, 0x2e, 0xc4, 0x13, 0x26, 0xd3, 0xec, 0xdc,
        ];
        assert_eq!(subkeys.subkey(5), expected);
    }

    #[test]
    fn a_lane_opens_its_datagram_and_no_other() {
        use crate::{AgentId, AudienceId, Frame, Generation, Status, UnitId, open, seal, sealed};
        let beat = |lane: u8| {
            let header = Header {
                kind: sealed::Kind::Beat,
                audience: AudienceId(1),
                agent: AgentId(2),
                generation: Generation(1),
                session_start: 5,
                salt: [lane; 8],
                counter: 3,
            };
            let frame = Frame { status: Status::Ok, pid: 7, timestamp: 0, nonce: 1, payload: u32::from(lane) };
            let (unit, flags) = (UnitId::NONE, sealed::Flags::default());
            let body = sealed::Body { frame, sent_at: 6, next_due_ms: 0, lag_us: 0, unit, flags, boot: 0 };
            seal::beat(&AgentSecret::from_bytes([lane; 32]), &header, &body)
        };
        let mut subkeys = Subkeys::new();
        for lane in 0..LANES as u8 {
            subkeys.put(usize::from(lane), &AgentSecret::from_bytes([lane; 32]), &beat(lane));
        }
        subkeys.derive();
        for lane in 0..LANES as u8 {
            let (mut one, mut other, mut bent) = (beat(lane), beat(lane), beat(lane));
            let opened = subkeys.open(usize::from(lane), &mut one).unwrap();
            let plainly = open::open(&AgentSecret::from_bytes([lane; 32]), &mut other).unwrap();
            assert_eq!((opened.body, opened.metadata), (plainly.body, plainly.metadata));
            bent[60] ^= 1;
            assert_eq!(subkeys.open(usize::from(lane), &mut bent).err(), Some(Reject::AuthFailure));
            let mut another = beat(lane ^ 1);
            assert_eq!(subkeys.open(usize::from(lane), &mut another).err(), Some(Reject::AuthFailure));
        }
        assert_eq!(subkeys.open(LANES, &mut beat(0)).err(), Some(Reject::AuthFailure));
        assert_eq!(subkeys.open(0, &mut [0; 100]).err(), Some(Reject::BadLength));
    }
}
