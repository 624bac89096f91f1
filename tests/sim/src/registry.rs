//! Everything that was ever sealed, and which of it was accepted: the truth that the invariants are held against.

use std::collections::{HashMap, HashSet};

use crate::{
    process::Sealed,
    rules::{Breach, Rule},
};

/// All genuine datagrams of a world, by number.
#[derive(Default)]
pub struct Registry {
    frames: Vec<Sealed>,
    accepted: Vec<bool>,
    by_tag: HashMap<[u8; 16], usize>,
    nonces: HashSet<(u64, u32, u32, [u8; 24])>,
}

impl Registry {
    /// Notes what was sealed, and gives it a number.
    ///
    /// # Errors
    /// Its nonce was used before under the same key.
    pub fn add(&mut self, sealed: Sealed) -> Result<usize, Breach> {
        let header = &sealed.header;
        if !self.nonces.insert((header.agent.0, header.generation.0, header.audience.0, header.nonce())) {
            let what = format!(
                "agent {} seals twice with session {} counter {} salt {:02x?}",
                header.agent, header.session_start, header.counter, header.salt
            );
            return Err(Breach::new(Rule::FrameSalt, what));
        }
        let mut tag = [0; 16];
        tag.copy_from_slice(&sealed.bytes[sealed.bytes.len() - 16..]);
        self.by_tag.insert(tag, self.frames.len());
        self.frames.push(sealed);
        self.accepted.push(false);
        Ok(self.frames.len() - 1)
    }

    /// The number of what was sealed as exactly these bytes.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        let tag = bytes.last_chunk::<16>()?;
        self.by_tag.get(tag).copied().filter(|number| *self.frames[*number].bytes == *bytes)
    }

    /// What was sealed under that number.
    #[must_use]
    pub fn frame(&self, number: usize) -> &Sealed {
        &self.frames[number]
    }

    /// How many were sealed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing was sealed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// An observer accepted a datagram, `number` where it is genuine.
    ///
    /// # Errors
    /// It is forged, or was accepted before; then `rule` is to blame.
    pub fn accept(&mut self, number: Option<usize>, rule: Rule) -> Result<(), Breach> {
        let Some(number) = number else {
            return Err(Breach::new(Rule::Forgery, "a datagram that nobody sealed is accepted".into()));
        };
        if std::mem::replace(&mut self.accepted[number], true) {
            let header = &self.frames[number].header;
            let what = format!("session {} counter {} is accepted twice", header.session_start, header.counter);
            return Err(Breach::new(rule, what));
        }
        Ok(())
    }
}
