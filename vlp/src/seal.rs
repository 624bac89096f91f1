//! Sealing: SPEC, "Sealed datagram".

use crate::{
    aead,
    key::AgentSecret,
    sealed::{ANNOUNCE_MAX_LEN, BEAT_LEN, BODY_LEN, Body, HEADER_LEN, Header, Kind, METADATA_MAX_LEN, TAG_LEN},
};

/// Seals one beat. The header's kind is set to [`Kind::Beat`].
///
/// The caller never seals twice under one nonce: the counter is taken before sealing and the salt is fresh for every frame.
#[must_use]
pub fn beat(secret: &AgentSecret, header: &Header, body: &Body) -> [u8; BEAT_LEN] {
    let mut datagram = [0; BEAT_LEN];
    write(secret, &Header { kind: Kind::Beat, ..*header }, body, &[], &mut datagram);
    datagram
}

/// Seals one announce into `datagram` and returns its length. The header's kind is set to [`Kind::Announce`].
///
/// # Errors
/// `None` if `metadata` is empty or longer than [`METADATA_MAX_LEN`].
#[must_use]
pub fn announce(
    secret: &AgentSecret,
    header: &Header,
    body: &Body,
    metadata: &[u8],
    datagram: &mut [u8; ANNOUNCE_MAX_LEN],
) -> Option<usize> {
    if metadata.is_empty() || metadata.len() > METADATA_MAX_LEN {
        return None;
    }
    let len = BEAT_LEN + metadata.len();
    write(secret, &Header { kind: Kind::Announce, ..*header }, body, metadata, datagram.get_mut(..len)?);
    Some(len)
}

#[expect(clippy::expect_used, reason = "both callers hand in a buffer of the exact length")]
fn write(secret: &AgentSecret, header: &Header, body: &Body, metadata: &[u8], datagram: &mut [u8]) {
    let (aad, rest) = datagram.split_first_chunk_mut::<HEADER_LEN>().expect("a header fits");
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().expect("a tag fits");
    *aad = header.encode();
    let (fixed, tail) = text.split_first_chunk_mut::<BODY_LEN>().expect("a body fits");
    *fixed = body.encode();
    tail.copy_from_slice(metadata);
    *tag = aead::seal(secret.expose(), &header.nonce(), aad, text);
}
