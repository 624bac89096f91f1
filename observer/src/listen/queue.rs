//! A socket's own count of what it did not let in, asked of the socket.
//!
//! SO_RXQ_OVFL tells the same with each datagram, which costs a hundredth of all reading, and is told by nobody while
//! every datagram is refused.

use std::os::fd::AsFd;

use nix::{
    errno::Errno,
    getsockopt_impl, libc,
    sys::socket::{getsockopt, sockopt::GetStruct},
};

/// SK_MEMINFO_VARS of `linux/sock_diag.h`.
const VARIABLES: usize = 9;

/// SO_MEMINFO, which Linux has since 4.12.
#[derive(Clone, Copy, Debug)]
struct Memory;

getsockopt_impl!(Memory, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; VARIABLES], GetStruct<[u32; VARIABLES]>);

/// Datagrams dropped or refused since the socket was made, wrapping.
///
/// # Errors
/// What the system said.
pub(crate) fn dropped(socket: &impl AsFd) -> Result<u32, Errno> {
    let [.., dropped] = getsockopt(socket, Memory)?;
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::listen::filter::Filter;

    #[test]
    fn what_a_filter_refuses_is_counted_of_this_socket_only() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let [ours, other] = [(), ()].map(|()| UdpSocket::bind(address).unwrap());
            Filter::new([]).attach(&ours).unwrap();
            for _ in 0..5 {
                other.send_to(&[0; 124], ours.local_addr().unwrap()).unwrap();
            }
            assert_eq!([&ours, &other].map(|socket| dropped(socket).unwrap()), [5, 0]);
        }
    }
}
