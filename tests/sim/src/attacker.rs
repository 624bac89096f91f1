//! Someone on the way who keeps everything, and sends whatever he likes to whomever he likes. He has no key.

use std::rc::Rc;

use crate::rng::Rng;

/// What the attacker has.
#[derive(Default)]
pub struct Attacker {
    /// Datagrams that he took from the way and nobody else has seen.
    pub held: Vec<usize>,
    /// Processes whose datagrams he takes, all of them.
    pub takes_from: Vec<usize>,
}

/// A genuine datagram with something changed.
#[must_use]
pub fn mutated(bytes: &[u8], rng: &mut Rng) -> Rc<[u8]> {
    let mut changed = bytes.to_vec();
    match rng.below(8) {
        // The fields of the clear header, one of them.
        0 => put(&mut changed, 20, &u64::MAX.to_le_bytes()),
        1 => put(&mut changed, 36, &rng.next().to_le_bytes()),
        2 => put(&mut changed, 16, &u32::try_from(rng.below(4)).unwrap_or(0).to_le_bytes()),
        3 => put(&mut changed, 8, &rng.next().to_le_bytes()),
        4 => changed.truncate(usize::try_from(rng.below(changed.len() as u64)).unwrap_or(0)),
        5 => changed.extend((0..rng.range(1, 1200)).map(|place| u8::try_from(place & 0xff).unwrap_or(0))),
        _ => {
            let place = rng.place(changed.len()).unwrap_or(0);
            changed[place] ^= 1 << rng.below(8);
        }
    }
    changed.into()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Noise, some of it with a right beginning.
#[must_use]
pub fn garbage(rng: &mut Rng) -> Rc<[u8]> {
    let len = if rng.often(500) { 124 } else { rng.below(1300) };
    let mut bytes: Vec<u8> = (0..len).map(|_| rng.next().to_le_bytes()[0]).collect();
    if rng.often(700) && bytes.len() >= 4 {
        put(&mut bytes, 0, &[b'V', b'S', 1, 1]);
    }
    bytes.into()
}
