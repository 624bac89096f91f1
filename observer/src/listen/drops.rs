//! What the kernel dropped before it could be read.
//!
//! A socket also counts what a filter of our own refuses, and the system-wide counters also count the drops of other
//! sockets: lost is the smaller rise of the two.
//!
//! The socket is asked first, so the system-wide counters are ahead by whatever was dropped between the two, and what they
//! have risen by is kept until the socket tells of it, for a second or two.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use nix::sys::socket::AddressFamily;
use varta_core::{MonoNs, SECOND};

/// Drops of this age, or at most twice it, are no longer matched with what a socket tells. The counters are read as
/// often at least, whenever the loop turns.
const KEPT: u64 = SECOND;

/// The system-wide counters of one address family.
struct Source {
    file: File,
    parse: fn(&str) -> Option<u64>,
}

/// Both rises, compared.
pub(crate) struct KernelDrops {
    sources: Vec<Source>,
    text: Vec<u8>,
    /// The counters' sum when they were last read; `None` where they cannot be.
    known: Option<u64>,
    untold: Untold,
}

/// What the system-wide counters have risen by, and the sockets not yet.
#[derive(Default)]
struct Untold {
    recent: u64,
    older: u64,
    /// Since when what is recent is counted.
    since: MonoNs,
}

impl Untold {
    /// Forgets what is too old. Says whether `recent` begins anew.
    fn age(&mut self, now: MonoNs) -> bool {
        let age = now.since(self.since);
        if age < KEPT {
            return false;
        }
        self.older = if age < 2 * KEPT { self.recent } else { 0 };
        (self.recent, self.since) = (0, now);
        true
    }

    /// The sockets told of `rise`: how much of it the system-wide counters know of.
    fn tell(&mut self, rise: u64) -> u64 {
        let mut left = rise;
        for untold in [&mut self.older, &mut self.recent] {
            let part = left.min(*untold);
            *untold -= part;
            left -= part;
        }
        rise - left
    }
}

impl KernelDrops {
    /// Begins to watch the counters of these address families, each named once.
    pub(crate) fn open(families: &[AddressFamily]) -> Self {
        let open = |family: &AddressFamily| {
            let (path, parse): (_, fn(&str) -> _) = match family {
                AddressFamily::Inet6 => ("/proc/net/snmp6", udp6_drops),
                _ => ("/proc/net/snmp", udp_drops),
            };
            File::open(path).map(|file| Source { file, parse })
        };
        let sources = families.iter().map(open).collect();
        let mut drops = match sources {
            Ok(sources) => Self { sources, text: vec![0; 64 << 10], known: None, untold: Untold::default() },
            Err::<Vec<_>, io::Error>(_) => {
                Self { sources: Vec::new(), text: Vec::new(), known: None, untold: Untold::default() }
            }
        };
        drops.known = drops.read();
        drops
    }

    /// How many datagrams were lost, when the sockets told of `rise` in all.
    pub(crate) fn lost(&mut self, now: MonoNs, rise: u64) -> u64 {
        let aged = self.untold.age(now);
        if rise == 0 && !aged {
            return 0;
        }
        let before = self.known;
        self.known = self.read();
        match (before, self.known) {
            (Some(before), Some(after)) => {
                self.untold.recent += after.saturating_sub(before);
                self.untold.tell(rise)
            }
            // Without the second opinion the first one stands.
            _ => rise,
        }
    }

    fn read(&mut self) -> Option<u64> {
        let mut sum = None;
        for source in &self.sources {
            let len = read_all(&source.file, &mut self.text).ok()?;
            let text = str::from_utf8(self.text.get(..len)?).ok()?;
            sum = Some(sum.unwrap_or(0) + (source.parse)(text)?);
        }
        sum
    }
}

fn read_all(file: &File, text: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = text.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// RcvbufErrors and MemErrors of `/proc/net/snmp`: a line of names and a line of values, both beginning with `Udp:`.
fn udp_drops(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next()?.split_whitespace(), lines.next()?.split_whitespace());
    sum_of(names.zip(values), ["RcvbufErrors", "MemErrors"])
}

/// Udp6RcvbufErrors and Udp6MemErrors of `/proc/net/snmp6`: a name and a value on each line.
fn udp6_drops(text: &str) -> Option<u64> {
    let pairs = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    sum_of(pairs, ["Udp6RcvbufErrors", "Udp6MemErrors"])
}

/// The first of `wanted` must be there; older kernels lack the second.
fn sum_of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, wanted: [&str; 2]) -> Option<u64> {
    let mut found = [None; 2];
    for (name, value) in pairs {
        if let Some(place) = wanted.iter().position(|wanted| *wanted == name) {
            found[place] = Some(value.parse::<u64>().ok()?);
        }
    }
    let [first, second] = found;
    Some(first? + second.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::listen::udp::{BoundUdp, Buffers, Udp};

    const SNMP: &str = "\
Tcp: RtoAlgorithm RtoMin RcvbufErrors
Tcp: 1 200 77
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 278 5 12 279 10 3 1 0 2
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
UdpLite: 0 0 0 0 9 0 0 0 9
";

    #[test]
    fn the_udp_lines_are_read_and_no_others() {
        assert_eq!(udp_drops(SNMP), Some(12));
        let older = SNMP.replace(" MemErrors", "").replace(" 0 2\n", " 0\n");
        assert_eq!(udp_drops(&older), Some(10));
        assert_eq!(udp_drops("Tcp: A\nTcp: 1\n"), None);
        assert_eq!(udp_drops("Udp: RcvbufErrors\nUdp: many\n"), None);
        assert_eq!(udp_drops("Udp: RcvbufErrors\n"), None);
    }

    #[test]
    fn the_udp6_lines_are_read_and_no_others() {
        let text =
            "Udp6InDatagrams \t1\nUdp6RcvbufErrors                \t40\nUdpLite6RcvbufErrors \t9\nUdp6MemErrors \t2\n";
        assert_eq!(udp6_drops(text), Some(42));
        assert_eq!(udp6_drops("Udp6InDatagrams 1\n"), None);
    }

    #[test]
    fn the_running_kernels_own_files_are_understood() {
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert!(udp_drops(&read("/proc/net/snmp")).is_some());
        let snmp6 = std::path::Path::new("/proc/net/snmp6");
        assert!(!snmp6.exists() || udp6_drops(&read("/proc/net/snmp6")).is_some());
    }

    #[test]
    fn a_rise_that_the_system_does_not_share_is_no_loss() {
        let mut drops = KernelDrops::open(&[AddressFamily::Inet]);
        assert!(drops.known.is_some());
        drops.known = Some(u64::MAX);
        assert_eq!(drops.lost(MonoNs(SECOND), 5), 0, "nothing rose system-wide");
        let mut blind = KernelDrops { sources: Vec::new(), known: None, text: Vec::new(), untold: Untold::default() };
        assert_eq!(blind.lost(MonoNs(SECOND), 5), 5);
    }

    #[test]
    fn drops_that_the_socket_tells_of_later_are_not_forgotten() {
        let mut untold = Untold::default();
        // Turn by turn the system is a queue's length ahead.
        untold.age(MonoNs(10 * SECOND));
        untold.recent += 1_500;
        assert_eq!(untold.tell(1_000), 1_000);
        untold.age(MonoNs(10 * SECOND + KEPT / 2));
        untold.recent += 100;
        assert_eq!(untold.tell(600), 600);
        assert_eq!(untold.tell(7), 0, "a filter's own refusals");
    }

    #[test]
    fn a_real_queue_that_overflows_while_it_is_read_tells_of_every_drop() {
        const SENT: u64 = 2_000;
        let mut drops = KernelDrops::open(&[AddressFamily::Inet]);
        let bound = BoundUdp::bind("127.0.0.1:0".parse().unwrap(), 64 << 10).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(bound.local).unwrap();
        let (mut udp, mut buffers) = (Udp::new(bound), Buffers::new());
        let (mut read, mut lost) = (0, 0);
        for sent in [SENT, SENT, 1] {
            for _ in 0..sent {
                sender.send(&[0; 124]).unwrap();
            }
            loop {
                let received = udp.receive(&mut buffers).unwrap();
                read += received.count as u64;
                lost += drops.lost(MonoNs(SECOND), udp.dropped());
                if received.emptied {
                    break;
                }
            }
        }
        assert!(read < SENT, "the queue holds less than was sent");
        assert_eq!(read + lost, 2 * SENT + 1);
    }

    #[test]
    fn drops_of_other_sockets_are_matched_with_nothing_after_a_while() {
        let at = |part: u64| MonoNs(10 * SECOND + KEPT * part / 4);
        let mut untold = Untold::default();
        assert!(untold.age(at(0)));
        untold.recent = 40;
        assert!(!untold.age(at(3)));
        assert!(untold.age(at(5)));
        assert_eq!(untold.tell(10), 10);
        assert!(!untold.age(at(8)));
        assert!(untold.age(at(10)));
        assert_eq!(untold.tell(10), 0);
        untold.recent = 40;
        assert!(untold.age(at(30)));
        assert_eq!(untold.tell(10), 0, "nobody looked for far longer");
    }
}
