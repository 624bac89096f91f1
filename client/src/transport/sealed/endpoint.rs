//! Where an observer is, and the socket to it.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
};

use crate::keyfile::{BadAddress, parse_address};

/// An observer's address as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    literal: Option<IpAddr>,
}

impl Endpoint {
    /// Takes `host:port` apart.
    ///
    /// # Errors
    /// It is of another form.
    pub(crate) fn parse(address: &str) -> Result<Self, BadAddress> {
        let (host, port) = parse_address(address)?;
        Ok(Self { host: host.to_owned(), port, literal: host.parse().ok() })
    }

    /// Whether it has to be resolved.
    pub(crate) const fn is_name(&self) -> bool {
        self.literal.is_none()
    }

    /// All addresses it stands for; at least one. Blocks if it is a name.
    ///
    /// # Errors
    /// The name does not resolve.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.literal {
            return Ok(vec![(address, self.port).into()]);
        }
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.literal {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.port)),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The first of `addresses` to which there is a way, and a socket to it.
///
/// # Errors
/// The last one's error.
pub(crate) fn open_first(addresses: &[SocketAddr]) -> io::Result<(SocketAddr, UdpSocket)> {
    let mut failure = io::ErrorKind::NotFound.into();
    for address in addresses {
        match open_socket(*address) {
            Ok(socket) => return Ok((*address, socket)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A new socket to `address`, from a port of the kernel's choice, that never blocks. Sends nothing, allocates nothing.
///
/// # Errors
/// The operating system's: no way there, or no more descriptors.
pub(crate) fn open_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_nonblocking(true)?;
    // Connected, so that the kernel tells of refusals.
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_no_resolver() {
        for (text, address) in [("10.0.0.5:9900", "10.0.0.5:9900"), ("[::1]:9900", "[::1]:9900")] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert!(!endpoint.is_name());
            assert_eq!(endpoint.resolve().unwrap(), [address.parse().unwrap()]);
        }
        assert!(Endpoint::parse("observer.example:9900").unwrap().is_name());
        assert!(Endpoint::parse("observer.example").is_err());
    }

    #[test]
    fn sockets_of_either_family_never_block() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let there = UdpSocket::bind(listen).unwrap();
            let socket = open_socket(there.local_addr().unwrap()).unwrap();
            let error = socket.recv(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            socket.send(b"x").unwrap();
            let (len, from) = there.recv_from(&mut [0; 8]).unwrap();
            assert_eq!((len, from), (1, socket.local_addr().unwrap()));
        }
    }
}
