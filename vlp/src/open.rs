//! Opening: SPEC, "Acceptance", step 7.

use crate::{
    aead,
    key::AgentSecret,
    reject::Reject,
    sealed::{BODY_LEN, HEADER_LEN, Header, TAG_LEN},
};

/// The authenticated inside of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The fixed plaintext.
    pub body: &'a [u8; BODY_LEN],
    /// What follows it: empty for a beat.
    pub metadata: &'a [u8],
}

/// The authentication tag a datagram carries, or `None` if it is too short to carry one.
#[must_use]
pub fn tag(datagram: &[u8]) -> Option<&[u8; TAG_LEN]> {
    datagram.last_chunk()
}

/// Verifies and decrypts a datagram in place.
///
/// # Errors
/// [`Reject::AuthFailure`] if the tag does not verify, after which the ciphertext's bytes mean nothing;
/// [`Reject::BadLength`] if there is no room for a header, a body and a tag.
pub fn open<'a>(secret: &AgentSecret, datagram: &'a mut [u8]) -> Result<Opened<'a>, Reject> {
    open_by(datagram, |nonce, aad, text, tag| aead::open(secret.expose(), nonce, aad, text, tag))
}

/// Takes a datagram apart, and has it verified and decrypted: nonce, authenticated header, text, tag.
pub(crate) fn open_by(
    datagram: &mut [u8],
    open: impl FnOnce(&[u8; 24], &[u8; HEADER_LEN], &mut [u8], &[u8; TAG_LEN]) -> Result<(), aead::Forged>,
) -> Result<Opened<'_>, Reject> {
    let (aad, rest) = datagram.split_first_chunk_mut::<HEADER_LEN>().ok_or(Reject::BadLength)?;
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Reject::BadLength)?;
    if text.len() < BODY_LEN {
        return Err(Reject::BadLength);
    }
    open(&Header::nonce_of(aad), aad, text, tag).map_err(|_| Reject::AuthFailure)?;
    let (body, metadata) = text.split_first_chunk().ok_or(Reject::BadLength)?;
    Ok(Opened { body, metadata })
}
