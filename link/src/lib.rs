//! The link between an observer and a relay: QUIC, raw public keys pinned both ways, and one ordered stream of messages.
//!
//! The observer [`dial`]s, and takes nobody for its relay but the holder of the pinned key. The relay's [`Listener`] takes
//! nobody who is not [`Allowed`]. Neither side keeps anything of a handshake for the next one: no tickets, no early data,
//! so that a key that is removed is out at once. What is said on the stream is [`varta_vlp::report`]'s affair.

#![forbid(unsafe_code)]

mod allowed;
mod dial;
mod error;
mod identity;
mod limits;
mod listener;
mod stream;
mod tls;

pub use allowed::Allowed;
pub use dial::dial;
pub use error::LinkError;
pub use identity::Identity;
pub use limits::Limits;
pub use listener::{Arrived, Listener, Place, Refusal, Refusals};
pub use stream::{Closer, Link, Receiver, Sender};
