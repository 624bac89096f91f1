//! An observer that hangs or is held up: who notices, and who is not wronged by it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod waiting;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::{
        ptrace,
        signal::{Signal, kill},
        stat::Mode,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use waiting::wait;

/// An observer with every watchdog but the service manager's, and files for them in a folder.
struct Watched {
    child: Child,
    folder: tempfile::TempDir,
}

impl Watched {
    /// The device is a file, unless something stands there already.
    fn start(folder: tempfile::TempDir, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["watch", "--socket", "varta.sock", "--threshold-ms", "3600000"]).args(flags);
        let child = command.current_dir(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
        let it = Self { child, folder };
        wait("it listens", || it.path("varta.sock").exists().then_some(()));
        it
    }

    fn with_all(limit: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("device"), "").unwrap();
        let flags = ["--heartbeat-file", "heartbeat", "--hw-watchdog", "device", "--self-watchdog-secs", limit];
        let it = Self::start(folder, &flags);
        it.turns();
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the heartbeat file says: turns, and the wall clock.
    fn heartbeat(&self) -> Option<(u64, u64)> {
        let text = fs::read_to_string(self.path("heartbeat")).ok()?;
        let (turns, at) = text.strip_suffix('\n').unwrap().split_once(' ').unwrap();
        Some((turns.parse().unwrap(), at.parse().unwrap()))
    }

    /// Waits until the heartbeat is another.
    fn turns(&self) {
        let before = self.heartbeat();
        wait("it turns", || self.heartbeat().filter(|newest| Some(*newest) != before));
    }

    fn device(&self) -> Vec<u8> {
        fs::read(self.path("device")).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// The thread that reads beats.
    fn ingest_thread(&self) -> Pid {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let found = threads.map(|thread| thread.unwrap().path()).find(|thread| is_ingest(thread)).unwrap();
        Pid::from_raw(found.file_name().unwrap().to_str().unwrap().parse().unwrap())
    }

    /// How often that thread has slept.
    fn sleeps(&self) -> u32 {
        let (pid, thread) = (self.pid(), self.ingest_thread());
        let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    fn end(mut self, signal: Signal) -> (ExitStatus, Vec<u8>) {
        kill(self.pid(), signal).unwrap();
        (self.child.wait().unwrap(), fs::read(self.path("device")).unwrap_or_default())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that went well has none left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ingest(thread: &Path) -> bool {
    fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "varta-ingest\n")
}

#[test]
fn a_clean_stop_disarms_the_device_and_a_kill_does_not() {
    for (signal, code, disarmed) in [(Signal::SIGTERM, Some(0), true), (Signal::SIGKILL, None, false)] {
        let watched = Watched::with_all("60");
        let (_, before) = watched.heartbeat().unwrap();
        watched.turns();
        let (_, after) = watched.heartbeat().unwrap();
        assert!(after - before > 900_000_000, "no more than once a second: {before}, {after}");
        let (status, device) = watched.end(signal);
        assert_eq!(status.code(), code);
        let fed = device.iter().take_while(|byte| **byte == 0).count();
        assert!(fed >= 2, "{device:?}");
        assert_eq!(device[fed..], if disarmed { b"V".to_vec() } else { Vec::new() });
    }
}

#[test]
fn a_device_takes_a_byte_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("device");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let flags = OFlag::O_NONBLOCK.bits();
    let mut options = fs::OpenOptions::new();
    let mut reader = std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), flags).open(&fifo).unwrap();
    let watched = Watched::start(folder, &["--hw-watchdog", "device"]);
    let mut read = || {
        wait("something was written", || {
            let mut buffer = [0; 64];
            reader.read(&mut buffer).ok().filter(|count| *count > 0).map(|count| buffer[..count].to_vec())
        })
    };
    assert_eq!([read(), read()], [[0], [0]]);
    kill(watched.pid(), Signal::SIGTERM).unwrap();
    let mut last = read();
    while last.last() == Some(&0) {
        last = read();
    }
    assert_eq!(last.last(), Some(&b'V'));
}

#[test]
fn what_cannot_be_had_is_told_and_nothing_is_begun() {
    for (flag, about) in [("--hw-watchdog", "the watchdog device"), ("--heartbeat-file", "the heartbeat file")] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["watch", "--socket", "s", "--threshold-ms", "500", flag, "no/where"]);
        let output = command.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{about} no/where: No such file or directory")), "{said}");
    }
}

#[test]
fn a_wedged_loop_ends_the_process_which_says_so() {
    let mut watched = Watched::with_all("1");
    let thread = watched.ingest_thread();
    // Stops this one thread of it.
    ptrace::seize(thread, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(thread).unwrap();
    while !matches!(waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap(), WaitStatus::Exited(..)) {
        // Told of its stop first.
    }
    assert_eq!(watched.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    watched.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the ingest loop has not turned for 1s and is wedged"), "{said}");
    assert!(!watched.device().contains(&b'V'));
}

#[test]
fn a_process_that_was_stopped_for_long_is_not_wedged() {
    let watched = Watched::with_all("1");
    kill(watched.pid(), Signal::SIGSTOP).unwrap();
    std::thread::park_timeout(Duration::from_secs(3));
    kill(watched.pid(), Signal::SIGCONT).unwrap();
    watched.turns();
    watched.turns();
    assert_eq!(watched.end(Signal::SIGTERM).0.code(), Some(0));
}

#[test]
fn nobody_is_accused_whose_beat_came_while_the_process_was_stopped() {
    let watched = Watched::start(tempfile::tempdir().unwrap(), &["--export-file", "events"]);
    let mut agent = Command::new(env!("CARGO_BIN_EXE_varta"));
    agent.args(["beat", "--every", "500ms", "--socket"]).arg(watched.path("varta.sock"));
    let mut agent = agent.spawn().unwrap();
    let rows = |kind: &str| {
        let text = fs::read_to_string(watched.path("events")).unwrap_or_default();
        text.lines().filter(|line| line.split('\t').nth(1) == Some(kind)).count()
    };
    for _ in 0..3 {
        let before = rows("beat");
        wait("it beats", || (rows("beat") > before).then_some(()));
        kill(watched.pid(), Signal::SIGSTOP).unwrap();
        // Past its deadline, 1250 ms after that beat, and by less than makes a gap.
        std::thread::park_timeout(Duration::from_millis(1_500));
        kill(watched.pid(), Signal::SIGCONT).unwrap();
    }
    let before = rows("beat");
    wait("it beats", || (rows("beat") > before + 3).then_some(()));
    let told = (rows("new"), rows("stall"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(told, (1, 0));
}

#[test]
fn the_loop_wakes_no_more_often_than_it_is_asked_to() {
    let wakes = |watched: &Watched| {
        let before = watched.sleeps();
        std::thread::park_timeout(Duration::from_secs(3));
        watched.sleeps() - before
    };
    let none = Watched::start(tempfile::tempdir().unwrap(), &[]);
    let all = Watched::with_all("60");
    let (unasked, asked) = (wakes(&none), wakes(&all));
    assert!(asked >= 2 && asked <= unasked + 8, "{unasked} without, {asked} with");
    assert!(unasked <= 2, "{unasked}");
    for watched in [none, all] {
        assert_eq!(watched.end(Signal::SIGTERM).0.code(), Some(0));
    }
}
