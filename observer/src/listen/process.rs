//! Which process a pid stands for, and when it ends: what the kernel says of the senders of a local socket.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{SysconfVar, Uid, sysconf},
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use varta_core::{Exit, MonoNs, Reject, SECOND};

use super::uds::Peer;
use crate::clock::Clock;

/// More than `/proc/PID/stat` can have: 52 numbers of 20 digits at most, and a name.
const STAT_ROOM: usize = 2048;
/// Tokens of processes are their pids above this; pids have 22 bits.
const TOKENS: usize = 1 << 24;

/// In which PID namespace a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// In the observer's.
    Ours,
    /// In another, of that inode.
    Other(u64),
    /// It was gone, or the system did not say.
    Unknown,
}

/// A process that sent something and has not ended.
#[derive(Debug)]
struct Process {
    /// Watched for its end. Where the kernel has none for us, the process is looked at again for each datagram.
    pidfd: Option<OwnedFd>,
    /// When it started, ticks since boot and one more; 0 where that is not known.
    started: u64,
    namespace: Namespace,
    uid: u32,
}

impl Process {
    /// Whether it is watched and has ended, told or not.
    fn has_ended(&self) -> bool {
        let is_readable = |pidfd: &OwnedFd| {
            let mut asked = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            poll(&mut asked, PollTimeout::ZERO) == Ok(1)
        };
        self.pidfd.as_ref().is_some_and(is_readable)
    }
}

/// The processes that have sent something.
pub(crate) struct Processes {
    known: HashMap<u32, Process>,
    registry: Registry,
    /// The inode of the observer's own PID namespace, where the system says it.
    own: Option<u64>,
    /// Nanoseconds of a tick.
    tick: u64,
    /// Ends that were not told yet, by when they were noted.
    ends: VecDeque<(MonoNs, End)>,
}

/// What was noticed of an end.
#[derive(Debug)]
enum End {
    /// The poller told that the process of that pid has ended.
    Told(u32),
    /// The process of that pid had ended when a datagram of it was read.
    Gone(u32),
    /// The pid was free for others before the end was told; and when the process had started.
    Left(u32, u64),
}

/// The fields of `/proc/PID/stat` that are read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    zombie: bool,
    /// When it started, ticks since boot.
    started: u64,
    /// As `wait` tells it; 0 also where we may not know it.
    status: u32,
}

impl Processes {
    /// None yet. `registry` is that of the poller which [`Self::note_end`] is called from.
    pub(crate) fn new(registry: Registry) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        Self {
            known: HashMap::new(),
            registry,
            own: namespace_inode("self"),
            tick: SECOND / ticks.filter(|ticks| *ticks > 0).unwrap_or(100),
            ends: VecDeque::new(),
        }
    }

    /// The pid of which the poller speaks, if it is one.
    pub(crate) const fn pid_of(token: Token) -> Option<u32> {
        match token.0.checked_sub(TOKENS) {
            #[expect(clippy::cast_possible_truncation, reason = "pids have 22 bits")]
            Some(pid) if pid < TOKENS => Some(pid as u32),
            _ => None,
        }
    }

    /// What tells the sender of a datagram that arrived at `arrived` from others of its pid, its start time, or 0 where it is
    /// gone; and whether its PID namespace was read, and is ours. To look at a process takes some fifty microseconds;
    /// `meanwhile` is done now and then in them.
    ///
    /// # Errors
    /// [`Reject::NamespaceConflict`]: it lives in another PID namespace, or is not to be seen from ours.
    pub(crate) fn identify(
        &mut self,
        peer: Peer,
        arrived: MonoNs,
        meanwhile: impl FnMut(),
    ) -> Result<(u64, bool), Reject> {
        if peer.pid == 0 {
            return Err(Reject::NamespaceConflict);
        }
        self.let_go(peer.pid);
        let watched = self.known.get(&peer.pid).is_some_and(|process| process.pidfd.is_some());
        if !watched {
            self.meet(peer, arrived, meanwhile);
        }
        match self.known.get(&peer.pid) {
            Some(Process { namespace: Namespace::Other(_), .. }) => Err(Reject::NamespaceConflict),
            Some(process) => Ok((process.started, process.namespace == Namespace::Ours)),
            None => Ok((0, false)),
        }
    }

    /// Lets a process go that is not there any more: its pid may be another's by now.
    fn let_go(&mut self, pid: u32) {
        let Some(process) = self.known.get(&pid).filter(|process| process.has_ended()) else { return };
        let started = process.started;
        if read_stat(pid).is_none_or(|stat| stat.started.saturating_add(1) != started) {
            self.known.remove(&pid);
            self.note(End::Left(pid, started));
        }
    }

    /// The inode of the PID namespace of a process that has sent something, where it was read.
    pub(crate) fn namespace(&self, pid: u32) -> Option<u64> {
        match self.known.get(&pid)?.namespace {
            Namespace::Ours => self.own,
            Namespace::Other(inode) => Some(inode),
            Namespace::Unknown => None,
        }
    }

    /// The inode of the observer's own PID namespace, where the system says it.
    pub(crate) const fn own_namespace(&self) -> Option<u64> {
        self.own
    }

    /// Looks at a process for the first time, or again where it cannot be watched.
    fn meet(&mut self, peer: Peer, arrived: MonoNs, mut meanwhile: impl FnMut()) {
        // In this order: what is read after the descriptor was opened is of the process that it stands for, as long as
        // that has not ended.
        let pidfd = Pid::from_raw(peer.pid.cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
        meanwhile();
        let Some(stat) = read_stat(peer.pid) else {
            self.known.remove(&peer.pid);
            self.note(End::Gone(peer.pid));
            return;
        };
        // Somebody else's by now: the sender was there before its datagram was.
        let later = stat.started.saturating_mul(self.tick) > arrived.0;
        if later {
            self.known.remove(&peer.pid);
            return;
        }
        meanwhile();
        let found = namespace_inode(&peer.pid.to_string());
        meanwhile();
        let namespace = match (found, self.own) {
            (Some(found), Some(own)) if found == own => Namespace::Ours,
            (Some(found), Some(_)) => Namespace::Other(found),
            _ => Namespace::Unknown,
        };
        let started = stat.started.saturating_add(1);
        let before = self.known.remove(&peer.pid).filter(|before| before.started == started);
        // Once it is known it stays so.
        let namespace = match (namespace, before) {
            (Namespace::Unknown, Some(before)) => before.namespace,
            (found, _) => found,
        };
        let pidfd = pidfd.filter(|pidfd| {
            let token = Token(TOKENS + peer.pid as usize);
            self.registry.register(&mut SourceFd(&pidfd.as_raw_fd()), token, Interest::READABLE).is_ok()
        });
        self.known.insert(peer.pid, Process { pidfd, started, namespace, uid: peer.uid });
    }

    /// Watches a process that was heard before this observer began; false if it is not there any more.
    pub(crate) fn resume(&mut self, pid: u32, started: u64) -> bool {
        let Some(stat) = read_stat(pid) else { return false };
        if started != 0 && stat.started.saturating_add(1) != started {
            return false;
        }
        let uid = fs::metadata(format!("/proc/{pid}")).map_or(u32::MAX, |found| found.uid());
        self.meet(Peer { pid, uid }, MonoNs(u64::MAX), || ());
        self.known.contains_key(&pid)
    }

    /// The poller says that a process has ended.
    pub(crate) fn note_end(&mut self, pid: u32) {
        self.note(End::Told(pid));
    }

    fn note(&mut self, end: End) {
        self.ends.push_back((Clock::now().mono, end));
    }

    /// Whether there are ends that [`Self::poll_end`] has not told.
    pub(crate) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The next process that has ended, where everything that arrived before `read` was judged: what is told of later may
    /// have sent something that was not. Its pid, what told it from others if it was met in time, and how it ended as far as
    /// is known.
    pub(crate) fn poll_end(&mut self, read: MonoNs) -> Option<(u32, u64, Exit)> {
        while self.ends.front().is_some_and(|(noted, _)| *noted <= read) {
            match self.ends.pop_front()?.1 {
                End::Told(pid) => {
                    // Another of that pid may have been met since.
                    if self.known.get(&pid).is_some_and(Process::has_ended)
                        && let Some(process) = self.known.remove(&pid)
                    {
                        return Some((pid, process.started, how_it_ended(pid, &process)));
                    }
                }
                End::Left(pid, started) => return Some((pid, started, Exit::Unknown)),
                End::Gone(pid) => {
                    // Not where another process of that pid was heard meanwhile.
                    if !self.known.contains_key(&pid) {
                        return Some((pid, 0, Exit::Unknown));
                    }
                }
            }
        }
        None
    }
}

/// How a process ended: known for as long as its parent has not asked.
fn how_it_ended(pid: u32, process: &Process) -> Exit {
    let Some(stat) = read_stat(pid).filter(|stat| stat.zombie && stat.started.saturating_add(1) == process.started)
    else {
        return Exit::Unknown;
    };
    // Nobody else is told, and reads a 0.
    let told = Uid::effective().is_root() || Uid::effective().as_raw() == process.uid;
    let [status, signal] = [stat.status >> 8, stat.status & 0x7f].map(|part| (part & 0xff) as u8);
    match (signal, status) {
        (0, 0) if !told => Exit::Unknown,
        (0, status) => Exit::Status(status),
        (signal, _) => Exit::Signal(signal),
    }
}

fn namespace_inode(process: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

fn read_stat(pid: u32) -> Option<Stat> {
    // It is whole in one read; to ask for more, and for its size before, would double what a first beat costs.
    let mut text = [0; STAT_ROOM];
    let len = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    parse_stat(&text[..len])
}

/// The name stands in brackets and may hold anything, brackets too; what comes after the last one is counted from the
/// third field on.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(text.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let zombie = fields.next()? == "Z";
    let started = fields.nth(18)?.parse().ok()?;
    let status = fields.nth(29)?.parse().ok()?;
    Some(Stat { zombie, started, status })
}

/// Who has a pid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The process that is meant.
    Same,
    /// Nobody.
    Gone,
    /// Another process, or one that may be.
    Another,
}

/// Who has `pid` now, where `process` told the one that is meant from others; 0 if nothing did.
pub(crate) fn presence(pid: u32, process: u64) -> Presence {
    match read_stat(pid) {
        None => Presence::Gone,
        Some(stat) if process != 0 && stat.started.saturating_add(1) == process => Presence::Same,
        Some(_) => Presence::Another,
    }
}

/// Asks for as many descriptors as this process may have: it holds one for each local agent.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Has the kernel make room for descriptors up to `highest` now. Whenever it has to make more, it waits for all processors,
/// for ten milliseconds and more, and whoever asked for one descriptor waits with it.
pub(crate) fn reserve_descriptors(any: impl AsFd, highest: u32) -> io::Result<()> {
    rustix::io::fcntl_dupfd_cloexec(any, highest.cast_signed())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_calls_itself() {
        let line = |name: &str| {
            let fields: Vec<String> = (4..=52).map(|field: u32| (field * 10).to_string()).collect();
            format!("77 ({name}) Z {}\n", fields.join(" "))
        };
        for name in ["sh", "a b", ") R 1 (", "(("] {
            let stat = parse_stat(line(name).as_bytes());
            assert_eq!(stat, Some(Stat { zombie: true, started: 220, status: 520 }), "{name}");
        }
        assert_eq!(parse_stat(b"77 (sh) Z 1 2"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn this_process_is_known_to_the_kernel() {
        let pid = std::process::id();
        let stat = read_stat(pid).unwrap();
        assert!(!stat.zombie && stat.started > 0);
        assert_eq!(namespace_inode("self"), namespace_inode(&pid.to_string()));
        assert!(namespace_inode("self").is_some());
    }

    #[test]
    fn a_process_is_met_once_and_its_end_is_told_with_how() {
        let poll = mio::Poll::new().unwrap();
        let mut processes = Processes::new(poll.registry().try_clone().unwrap());
        let mut poll = poll;
        let mut command = std::process::Command::new("sh");
        let mut child = command.args(["-c", "read x; exit 3"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let peer = Peer { pid: child.id(), uid: Uid::effective().as_raw() };
        let (started, ours) = processes.identify(peer, MonoNs(u64::MAX), || ()).unwrap();
        assert!(started != 0 && ours);
        assert_eq!(processes.identify(peer, MonoNs(0), || ()), Ok((started, true)), "met once");
        drop(child.stdin.take());
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, None).unwrap();
        let pid = events.iter().find_map(|event| Processes::pid_of(event.token())).unwrap();
        processes.note_end(pid);
        assert_eq!(processes.poll_end(MonoNs(0)), None, "what it has sent is not all read");
        processes.note_end(pid);
        assert_eq!(processes.poll_end(MonoNs::NEVER), Some((peer.pid, started, Exit::Status(3))));
        assert_eq!(processes.poll_end(MonoNs::NEVER), None, "told once");
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_eq!(processes.identify(peer, MonoNs(u64::MAX), || ()), Ok((0, false)), "gone");
        assert_eq!(processes.poll_end(MonoNs::NEVER), Some((peer.pid, 0, Exit::Unknown)));
        assert_eq!(processes.poll_end(MonoNs::NEVER), None);
        assert!(!processes.resume(peer.pid, started));
        assert_eq!(presence(peer.pid, started), Presence::Gone);
        let own = processes.identify(Peer { pid: std::process::id(), uid: 0 }, MonoNs(u64::MAX), || ()).unwrap().0;
        let presences = [own, own + 1, 0].map(|process| presence(std::process::id(), process));
        assert_eq!(presences, [Presence::Same, Presence::Another, Presence::Another]);
    }

    #[test]
    fn a_process_that_is_gone_before_its_end_is_told_is_not_taken_for_its_successor() {
        let poll = mio::Poll::new().unwrap();
        let mut processes = Processes::new(poll.registry().try_clone().unwrap());
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let peer = Peer { pid: child.id(), uid: Uid::effective().as_raw() };
        let (started, _) = processes.identify(peer, MonoNs(u64::MAX), || ()).unwrap();
        processes.note_end(peer.pid);
        assert_eq!(processes.poll_end(MonoNs::NEVER), None, "the end of one that had the pid before");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(processes.identify(peer, MonoNs(u64::MAX), || ()), Ok((0, false)), "whoever it was, not that one");
        assert_eq!(processes.poll_end(MonoNs::NEVER), Some((peer.pid, started, Exit::Unknown)));
    }

    #[test]
    fn a_process_that_began_after_the_datagram_did_not_send_it() {
        let poll = mio::Poll::new().unwrap();
        let mut processes = Processes::new(poll.registry().try_clone().unwrap());
        let peer = Peer { pid: std::process::id(), uid: 0 };
        assert_eq!(processes.identify(peer, MonoNs(1), || ()), Ok((0, false)));
        assert_eq!(processes.identify(Peer { pid: 0, uid: 0 }, MonoNs(1), || ()), Err(Reject::NamespaceConflict));
        assert_ne!(processes.identify(peer, MonoNs(u64::MAX), || ()), Ok((0, false)));
    }
}
