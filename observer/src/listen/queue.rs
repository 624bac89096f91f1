//! A socket's own count of what it did not let in, as `/proc/net/udp` shows it: the value of SO_RXQ_OVFL without a
//! datagram to carry it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    net::UdpSocket,
};

use nix::sys::stat::fstat;

/// Most bytes read in search of the socket: some thousand sockets, in less than a millisecond or two.
const MOST: u64 = 512 << 10;

/// Where a socket's line is.
#[derive(Debug)]
pub(crate) struct Queue {
    path: &'static str,
    inode: u64,
}

impl Queue {
    /// That of `socket`.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn of(socket: &UdpSocket) -> io::Result<Self> {
        let path = if socket.local_addr()?.is_ipv6() { "/proc/net/udp6" } else { "/proc/net/udp" };
        Ok(Self { path, inode: fstat(socket)?.st_ino })
    }

    /// Datagrams dropped or refused since the socket was made, wrapping; `None` where the system does not tell, or not
    /// among the first few thousand sockets.
    pub(crate) fn dropped(&self) -> Option<u32> {
        let mut lines = BufReader::new(File::open(self.path).ok()?.take(MOST));
        let mut line = String::new();
        while lines.read_line(&mut line).ok()? > 0 {
            if let Some(dropped) = dropped(&line, self.inode) {
                return Some(dropped);
            }
            line.clear();
        }
        None
    }
}

/// The last word of the socket's line; its inode is the tenth.
#[expect(clippy::cast_possible_truncation, reason = "SO_RXQ_OVFL is as wide, and wraps")]
fn dropped(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(9);
    if words.next()?.parse() != Ok(inode) {
        return None;
    }
    Some(words.nth(2)?.parse::<u64>().ok()? as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::filter::Filter;

    #[test]
    fn the_right_line_is_read() {
        let line = "  433: 0100007F:26AC 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 73127 2 0000000000000000 4294967298  ";
        assert_eq!(dropped(line, 73127), Some(2));
        assert_eq!(dropped(line, 7312), None);
        assert_eq!(dropped("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when", 0), None);
    }

    #[test]
    fn what_a_filter_refuses_is_counted_of_this_socket_only() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let [ours, other] = [(), ()].map(|()| UdpSocket::bind(address).unwrap());
            let queues = [&ours, &other].map(|socket| Queue::of(socket).unwrap());
            Filter::new([]).attach(&ours).unwrap();
            for _ in 0..5 {
                other.send_to(&[0; 124], ours.local_addr().unwrap()).unwrap();
            }
            assert_eq!(queues.map(|queue| queue.dropped()), [Some(5), Some(0)]);
        }
    }
}
