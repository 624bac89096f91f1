//! The Varta Lifeline Protocol: bytes to meaning and back, and nothing else.
//!
//! No I/O, no clock, no randomness of its own and no allocation: whatever a function needs comes in as an argument.
//! `vlp/SPEC.md` is the specification; its section names are cited here.
//!
//! * [`frame`]: the 32-byte base frame, bit-compatible with VLP 0.2.
//! * [`sealed`]: layout of the sealed datagram: [`sealed::Header`], [`sealed::Body`], [`sealed::Metadata`].
//! * [`seal`] and [`open`]: the only places that touch the AEAD, with [`subkeys`], which opens many at once.
//! * [`key`]: ids, the key hierarchy and the typed text form of secrets.
//! * [`replay`]: the window of 128 over a session's counter.
//! * [`reject`]: every reason for which a datagram is refused.
//! * [`report`]: what an observer tells a relay, and what it is answered.
//! * [`subject`]: whom an observer knows, and the verdicts.
//! * [`time`]: instants, as arguments.
//!
//! A beat from end to end, with the key each side really holds:
//!
//! ```
//! use varta_vlp::{
//!     Frame, Generation, Status, UnitId,
//!     key::{AudienceKey, Name, RootSecret},
//!     open, seal,
//!     sealed::{Body, Flags, Header, Kind, Message},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The vault derives the observer's secret, and from it the agent's.
//! let (observer, agent) = (Name::new("obs-1")?, Name::new("web-1")?);
//! let audience = AudienceKey::new(&RootSecret::from_bytes([7; 32]).audience(observer));
//! let secret = audience.agent(agent.agent_id(), Generation(1));
//!
//! // The agent seals 124 bytes. Time and randomness are its caller's.
//! let header = Header {
//!     kind: Kind::Beat,
//!     audience: observer.audience_id(),
//!     agent: agent.agent_id(),
//!     generation: Generation(1),
//!     session_start: 1_767_225_600_000_000_000,
//!     salt: *b"8 random",
//!     counter: 0,
//! };
//! let body = Body {
//!     frame: Frame { status: Status::Ok, pid: 4242, timestamp: 0, nonce: 1, payload: 0 },
//!     sent_at: header.session_start,
//!     next_due_ms: 1000,
//!     lag_us: 0,
//!     unit: UnitId::NONE,
//!     flags: Flags::default(),
//!     boot: 0,
//! };
//! let mut datagram = seal::beat(&secret, &header, &body);
//!
//! // The observer knows the agent by the header alone, derives the same secret, and opens in place.
//! let heard = Header::parse(&datagram)?;
//! let derived = audience.agent(heard.agent, heard.generation);
//! let message = Message::parse(&heard, open::open(&derived, &mut datagram)?)?;
//! assert_eq!(message.body, body);
//! # Ok(())
//! # }
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod crc;
pub mod frame;
pub mod key;
pub mod local;
pub mod open;
pub mod reject;
pub mod replay;
pub mod report;
pub mod seal;
pub mod sealed;
pub mod subject;
pub mod subkeys;
pub mod time;

mod aead;

pub use frame::{DecodeError, Frame, Status};
pub use key::{AgentId, AudienceId, Generation, UnitId};
pub use reject::Reject;
