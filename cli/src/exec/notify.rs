//! The way by which a program tells a service manager how it is (`sd_notify`), with us in the manager's place.

use std::{
    os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{net::UnixDatagram, process::Command};
use varta_client::Status;

use crate::clock;

/// The longest message; what is longer is cut.
const MESSAGE_MAX: usize = 4096;

/// Where the program's words arrive, and the manager above us, if there is one, to whom they are handed on.
pub(super) struct Notify {
    socket: UnixDatagram,
    onward: Option<(std::os::unix::net::UnixDatagram, SocketAddr)>,
    folder: tempfile::TempDir,
    said: Said,
}

impl Notify {
    /// Opens a socket that this user's processes can write to. A pulse is due every `within`, where that is said.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(within: Option<Duration>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("varta-notify-").tempdir().context("no folder for a socket")?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).with_context(|| format!("{}: no socket to be had", path.display()))?;
        Ok(Self { socket, onward: onward(), folder, said: Said::new(within, clock::boottime()) })
    }

    /// Tells the program where to say how it is.
    pub(super) fn tell(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).env_remove("WATCHDOG_PID");
        match self.said.within_ns {
            Some(within) => command.env("WATCHDOG_USEC", (within / 1000).to_string()),
            None => command.env_remove("WATCHDOG_USEC"),
        };
    }

    /// Takes in what the program says next.
    pub(super) async fn listen(&mut self) {
        let mut message = [0; MESSAGE_MAX];
        match self.socket.recv(&mut message).await {
            Ok(len) => {
                let message = message.get(..len).unwrap_or_default();
                self.said.take(message, clock::boottime());
                if let Some((socket, address)) = &self.onward {
                    // A manager that does not take it is not held against the program.
                    let _ = socket.send_to_addr(message, address);
                }
            }
            // Of one's own socket this is not to be expected; the program is judged by its pulse all the same.
            Err(_) => std::future::pending().await,
        }
    }

    /// What is to be said of the program now; nothing while its pulse is overdue.
    pub(super) fn status(&self) -> Option<Status> {
        self.said.status(clock::boottime())
    }
}

/// The manager that started us.
#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn onward() -> Option<(std::os::unix::net::UnixDatagram, SocketAddr)> {
    let name = std::env::var("NOTIFY_SOCKET").ok()?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(Path::new(&name)),
    };
    let socket = std::os::unix::net::UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

/// What a program has said of itself: pure, times come in, nanoseconds.
#[derive(Debug)]
struct Said {
    within_ns: Option<u64>,
    pulse_ns: u64,
    ready: bool,
    stopping: bool,
    /// It asked to be treated as if its watchdog had run out.
    gave_up: bool,
}

impl Said {
    fn new(within: Option<Duration>, now_ns: u64) -> Self {
        let within_ns = within.map(|within| u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        Self { within_ns, pulse_ns: now_ns, ready: false, stopping: false, gave_up: false }
    }

    /// Takes a message: assignments, a line each. What is not known is none of our business.
    fn take(&mut self, message: &[u8], now_ns: u64) {
        for line in message.split(|byte| *byte == b'\n') {
            let line = str::from_utf8(line).unwrap_or_default();
            match line.split_once('=') {
                Some(("READY", "1")) => (self.ready, self.pulse_ns) = (true, now_ns),
                Some(("RELOADING", "1")) => self.ready = false,
                Some(("STOPPING", "1")) => self.stopping = true,
                Some(("WATCHDOG", "1")) => (self.pulse_ns, self.gave_up) = (now_ns, false),
                Some(("WATCHDOG", "trigger")) => self.gave_up = true,
                Some(("WATCHDOG_USEC", text)) => {
                    if let Some(us) = text.parse::<u64>().ok().filter(|us| *us > 0) {
                        (self.within_ns, self.pulse_ns) = (Some(us.saturating_mul(1000)), now_ns);
                    }
                }
                _ => {}
            }
        }
    }

    /// Starting, reloading and stopping are degraded; only who is ready has a pulse to keep, as with a service manager.
    fn status(&self, now_ns: u64) -> Option<Status> {
        if self.gave_up {
            return Some(Status::Critical);
        }
        if self.stopping || !self.ready {
            return Some(Status::Degraded);
        }
        let is_overdue = self.within_ns.is_some_and(|within| now_ns.saturating_sub(self.pulse_ns) > within);
        (!is_overdue).then_some(Status::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_program_is_judged_by_its_pulse_once_it_is_ready() {
        let mut said = Said::new(Some(Duration::from_secs(2)), 0);
        assert_eq!(said.status(9 * SECOND), Some(Status::Degraded), "it may take its time to start");
        said.take(b"STATUS=up\nREADY=1\n", 10 * SECOND);
        assert_eq!([said.status(12 * SECOND), said.status(12 * SECOND + 1)], [Some(Status::Ok), None]);
        said.take(b"WATCHDOG=1", 13 * SECOND);
        assert_eq!([said.status(15 * SECOND), said.status(16 * SECOND)], [Some(Status::Ok), None]);
        said.take(b"WATCHDOG_USEC=5000000", 16 * SECOND);
        assert_eq!([said.status(21 * SECOND), said.status(22 * SECOND)], [Some(Status::Ok), None]);
        said.take(b"RELOADING=1", 22 * SECOND);
        assert_eq!(said.status(60 * SECOND), Some(Status::Degraded));
        said.take(b"READY=1", 61 * SECOND);
        said.take(b"STOPPING=1", 62 * SECOND);
        assert_eq!(said.status(99 * SECOND), Some(Status::Degraded), "who stops has no pulse to keep");
    }

    #[test]
    fn without_a_time_for_it_no_pulse_is_due_and_a_program_can_give_up() {
        let mut said = Said::new(None, 0);
        said.take(b"READY=1", 0);
        assert_eq!(said.status(u64::MAX), Some(Status::Ok));
        said.take(b"WATCHDOG=trigger", 1);
        assert_eq!(said.status(2), Some(Status::Critical));
        said.take(b"WATCHDOG=1", 3);
        assert_eq!(said.status(4), Some(Status::Ok));
    }

    #[test]
    fn what_is_no_message_does_no_harm() {
        let mut said = Said::new(Some(Duration::from_secs(1)), 0);
        for message in [
            &b""[..],
            b"\n\n=",
            b"READY",
            b"READY=0",
            b"\xff\xfe=1",
            b"WATCHDOG_USEC=0",
            b"WATCHDOG_USEC=x",
            &[0; 4096],
        ] {
            said.take(message, 5);
        }
        assert_eq!((said.ready, said.within_ns, said.pulse_ns), (false, Some(SECOND), 0));
    }
}
