//! Why a link does not come about, or is no more.

use std::{io, net::SocketAddr};

use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use varta_vlp::report::ReportError;

/// TLS alerts (RFC 8446, section 6).
pub(crate) mod alert {
    pub(crate) const ACCESS_DENIED: u8 = 49;
    pub(crate) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// Why a link does not come about, or is no more. Its text is for the operator of this side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// This host does not let a socket be opened.
    #[error("cannot use UDP on {address}: {error}{}", advice(error))]
    Socket {
        /// The local address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The address cannot be dialled at all.
    #[error("cannot dial {remote}: {error}")]
    Dial {
        /// The relay's address.
        remote: SocketAddr,
        /// Why.
        error: ConnectError,
    },
    /// Whoever answers there is not the relay of the pinned key.
    #[error(
        "{0}: whoever answers there does not hold the pinned key; compare relay.pin with what `varta keys inspect` says of \
         the relay's key file"
    )]
    NotPinned(SocketAddr),
    /// The relay does not know this observer's key.
    #[error(
        "{0}: the relay does not know this observer's key; add it as an [[observer]] of relay.toml (`varta keys inspect` \
         on this observer's key file shows it) and reload the relay"
    )]
    Refused(SocketAddr),
    /// The other side speaks something else.
    #[error("{0}: the other side does not speak this version of the report protocol; bring both to one version")]
    OtherProtocol(SocketAddr),
    /// The relay has no room.
    #[error(
        "{0}: the relay takes no more connections at the moment; it is asked again, and if it stays so, raise limits.observers of \
         relay.toml"
    )]
    Crowded(SocketAddr),
    /// Nothing was heard.
    #[error(
        "{0}: nothing was heard within the time limit; see whether the other side runs, and whether UDP gets through to it"
    )]
    TimedOut(SocketAddr),
    /// The other side closed the link.
    #[error("{remote}: closed by the other side: {reason}")]
    Closed {
        /// The other side's address.
        remote: SocketAddr,
        /// What it said.
        reason: String,
    },
    /// This side closed the link.
    #[error("closed by this side")]
    ClosedHere,
    /// The path or the protocol failed.
    #[error("{remote}: {reason}")]
    Failed {
        /// The other side's address.
        remote: SocketAddr,
        /// How.
        reason: String,
    },
    /// The other side ended its stream within a message, or said something that is no message.
    #[error("{remote}: {error}")]
    BadMessage {
        /// The other side's address.
        remote: SocketAddr,
        /// What is wrong with it.
        error: ReportError,
    },
}

impl LinkError {
    /// What an end of a connection means, on the side that dialled it or on the other.
    pub(crate) fn of(remote: SocketAddr, error: ConnectionError, dialled: bool) -> Self {
        let is = |code: TransportErrorCode, alert| code == TransportErrorCode::crypto(alert);
        match error {
            ConnectionError::TransportError(error) if dialled && is(error.code, alert::ACCESS_DENIED) => {
                Self::NotPinned(remote)
            }
            ConnectionError::ConnectionClosed(close)
                if is(close.error_code, alert::ACCESS_DENIED) || is(close.error_code, alert::CERTIFICATE_REQUIRED) =>
            {
                Self::Refused(remote)
            }
            ConnectionError::ConnectionClosed(close) if is(close.error_code, alert::NO_APPLICATION_PROTOCOL) => {
                Self::OtherProtocol(remote)
            }
            ConnectionError::TransportError(error) if is(error.code, alert::NO_APPLICATION_PROTOCOL) => {
                Self::OtherProtocol(remote)
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::Crowded(remote)
            }
            ConnectionError::VersionMismatch => Self::OtherProtocol(remote),
            ConnectionError::TimedOut => Self::TimedOut(remote),
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::ApplicationClosed(close) => {
                let said = String::from_utf8_lossy(&close.reason);
                let reason = said.chars().filter(|c| !c.is_control()).take(200).collect();
                Self::Closed { remote, reason }
            }
            other => Self::Failed { remote, reason: other.to_string() },
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what has this port (`ss -lunp`), or set link.listen to another",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: set link.listen to a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has this address",
        _ => "",
    }
}
