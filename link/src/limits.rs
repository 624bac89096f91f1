//! What a peer can make the other side hold.

use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// Limits of one listener, and of each of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most links at once; a further one is refused.
    pub links: usize,
    /// Half-open handshakes above which a peer has to show that it is where it says to be (RFC 9000, section 8.1.2).
    pub retry_above: usize,
    /// Most half-open handshakes at once; a further one is refused.
    pub half_open: usize,
    /// How long a peer may take to finish the handshake and to open its stream.
    pub handshake: Duration,
    /// A link on which nothing was heard for so long is lost.
    pub idle: Duration,
    /// How often something is said where there is nothing to say.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            links: 1000,
            retry_above: 64,
            half_open: 1024,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(3),
            keep_alive: Duration::from_millis(750),
        }
    }
}

/// Bytes that a relay holds of one observer before they are taken in.
const RELAY_WINDOW: u32 = 1 << 20;
/// Bytes that an observer holds of its relay, and a relay of what it has said to an observer.
const ANSWER_WINDOW: u32 = 64 << 10;
/// Bytes that an observer holds of what the relay has not acknowledged yet.
const OBSERVER_SEND_WINDOW: u64 = 1 << 20;
/// Bytes of handshake that are held out of order.
const HANDSHAKE_BYTES: usize = 16 << 10;

impl Limits {
    fn transport(&self) -> TransportConfig {
        let mut config = TransportConfig::default();
        // An idle time beyond what QUIC can say is none at all.
        config.max_idle_timeout(IdleTimeout::try_from(self.idle).ok());
        config.keep_alive_interval(Some(self.keep_alive));
        config.max_concurrent_uni_streams(VarInt::from_u32(0));
        config.datagram_receive_buffer_size(None);
        config.crypto_buffer_size(HANDSHAKE_BYTES);
        config
    }

    /// Of the relay's side.
    pub(crate) fn listening(&self) -> TransportConfig {
        let mut config = self.transport();
        config.max_concurrent_bidi_streams(VarInt::from_u32(1));
        config.stream_receive_window(VarInt::from_u32(RELAY_WINDOW));
        config.receive_window(VarInt::from_u32(RELAY_WINDOW));
        config.send_window(ANSWER_WINDOW.into());
        config
    }

    /// Of the observer's side.
    pub(crate) fn dialling(&self) -> TransportConfig {
        let mut config = self.transport();
        config.max_concurrent_bidi_streams(VarInt::from_u32(0));
        config.stream_receive_window(VarInt::from_u32(ANSWER_WINDOW));
        config.receive_window(VarInt::from_u32(ANSWER_WINDOW));
        config.send_window(OBSERVER_SEND_WINDOW);
        config
    }
}
