//! Processes of this host before an observer, where only root can put them: in other PID namespaces, of other users, with
//! pids that others had before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod waiting;

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixDatagram,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

use waiting::{PAUSE, TURNS, wait};

/// The pid that one process after another has.
const PID: u32 = 20_000;

/// Somebody who is not root.
const NOBODY: u32 = 65_533;

/// A folder that everybody may enter, with the program in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Copied by another process: were it open for writing here, a test that starts a program meanwhile would hand that
        // on, and it could not be run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_varta")).arg(folder.path().join("varta")).status();
        assert!(copied.unwrap().success());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command that runs in the folder.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn varta(&self, arguments: &[&str]) -> Command {
        self.command("./varta", arguments)
    }
}

/// An observer, and whom to ask about it.
struct Observer(String);

/// What it hears is silent by an end only.
const WATCH: [&str; 7] = ["watch", "--socket", "s", "--threshold-ms", "3600000", "--http", "127.0.0.1:0"];

impl Observer {
    /// One that writes its log to a file of that folder.
    fn at(place: &Place) -> Self {
        Self(wait("it listens", || {
            let log = fs::read_to_string(place.path("log")).unwrap_or_default();
            let (_, rest) = log.split_once("serves http://")?;
            Some(format!("http://{}", rest.split_once('\n')?.0))
        }))
    }

    fn get(&self, path: &str) -> Option<String> {
        ureq::get(format!("{}{path}", self.0)).call().ok()?.body_mut().read_to_string().ok()
    }

    fn slot(&self, pid: u32) -> Option<Value> {
        serde_json::from_str(&self.get(&format!("/api/v1/slots/local/pid:{pid}"))?).ok()
    }

    /// The slot of a process, once `is` holds for it.
    fn wait_for(&self, pid: u32, is: impl Fn(&Value) -> bool) -> Value {
        let mut newest = None;
        for _ in 0..TURNS {
            newest = self.slot(pid);
            if let Some(slot) = newest.clone().filter(&is) {
                return slot;
            }
            std::thread::park_timeout(PAUSE);
        }
        panic!("waited in vain: {newest:?}");
    }

    /// The sum of all series that begin so.
    fn metric(&self, beginning: &str) -> f64 {
        let text = self.get("/metrics").unwrap();
        let series = text.lines().filter(|line| line.starts_with(beginning));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn conflicts(&self) -> f64 {
        self.metric("varta_datagrams_rejected_total{listener=\"s\",reason=\"namespace_conflict\"}")
    }

    fn stalls(&self) -> f64 {
        self.metric("varta_stalls_total{")
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn watch(place: &Place, flags: &[&str]) -> (Self, Observer) {
        let log = fs::File::create(place.path("log")).unwrap();
        let child = place.varta(&[&WATCH, flags].concat()).stderr(log).spawn().unwrap();
        (Self(child), Observer::at(place))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn up(slot: &Value) -> bool {
    slot["verdict"] == "up"
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn a_process_of_another_namespace_is_refused_and_others_are_heard() {
    let place = Place::new();
    let (_observer, observer) = Running::watch(&place, &[]);
    // Not the first process there, which has the pid 1 and is told to stay silent.
    let beats = "./varta beat --socket s --every 100ms & wait";
    let flags = ["--pid", "--fork", "--kill-child", "sh", "-c", beats];
    let other = Running(place.command("unshare", &flags).stderr(Stdio::null()).spawn().unwrap());
    wait("it is refused", || (observer.conflicts() >= 3.0).then_some(()));
    assert_eq!(observer.metric("varta_slots{"), 0.0, "nothing is known of it");
    let ours = Running(place.varta(&["beat", "--socket", "s", "--every", "30m"]).spawn().unwrap());
    observer.wait_for(ours.0.id(), up);
    let before = observer.conflicts();
    wait("it is refused still", || (observer.conflicts() > before).then_some(()));
    drop(other);
    assert!(up(&observer.slot(ours.0.id()).unwrap()));
}

#[test]
#[ignore = "needs root: acts as another user"]
fn another_user_beats_only_where_the_mode_permits_it() {
    let place = Place::new();
    let beat = |arguments: &[&str]| {
        let mut command = place.varta(&[&["beat", "--socket", "s"], arguments].concat());
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    let (observer, asked) = Running::watch(&place, &[]);
    let Output { status, stderr, .. } = beat(&[]).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && said.contains("ermission denied"), "{said}");
    assert_eq!(asked.metric("varta_datagrams_received_total"), 0.0);
    drop(observer);

    let (_observer, observer) = Running::watch(&place, &["--socket-mode", "0666"]);
    let mut agent = Running(beat(&["--every", "30m"]).spawn().unwrap());
    let pid = agent.0.id();
    assert_eq!(observer.wait_for(pid, up)["pid"], pid);
    agent.0.kill().unwrap();
    let slot = observer.wait_for(pid, |slot| slot["verdict"] == "stalled");
    assert!(slot["why"].as_str().unwrap().contains("signal 9"), "{slot}");
}

#[test]
#[ignore = "needs root: acts as another user"]
fn an_event_file_in_a_folder_that_may_not_be_written_is_written_on() {
    let place = Place::new();
    let folder = place.path("events");
    fs::create_dir(&folder).unwrap();
    // Root may write everywhere; whoever owns the file only, may not put it aside.
    let (events, line) = (folder.join("events.tsv"), "x".repeat(64 << 10) + "\n");
    fs::write(&events, &line).unwrap();
    std::os::unix::fs::chown(&events, Some(NOBODY), Some(NOBODY)).unwrap();
    let run = place.path("run");
    fs::create_dir(&run).unwrap();
    std::os::unix::fs::chown(&run, Some(NOBODY), Some(NOBODY)).unwrap();
    let log = fs::File::create(place.path("log")).unwrap();
    let flags = ["--export-file", "events/events.tsv", "--export-file-max-bytes", "65536"];
    let watch = WATCH.map(|word| if word == "s" { "run/s" } else { word });
    let mut observer = place.varta(&[&watch[..], &flags].concat());
    let observer = Running(observer.uid(NOBODY).gid(NOBODY).stderr(log).spawn().unwrap());
    Observer::at(&place);
    let beats = |count| {
        let flags = ["beat", "--socket", "run/s", "--every", "10ms", "--count", count, "--final"];
        assert!(place.varta(&flags).status().unwrap().success());
        wait("each beat is a row", || {
            let text = fs::read_to_string(&events).unwrap();
            (text.matches("\tbeat\t").count().to_string() == count).then_some(text)
        })
    };
    assert!(beats("5").starts_with(&line));
    let told = fs::read_to_string(place.path("log")).unwrap();
    assert_eq!(told.matches("cannot be put aside: Permission denied").count(), 1, "{told}");
    assert!(!folder.join("events.tsv.1").exists());
    drop(observer);
}

/// A shell that is the first process of a PID namespace of its own, does what it is told, and ends with all others there.
struct Inside {
    shell: Running,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    place: Place,
    watch: String,
    stopped: bool,
    witnesses: u32,
}

impl Inside {
    /// With an observer in it.
    fn new() -> (Self, Observer) {
        Self::with(Place::new(), "")
    }

    /// With an observer in it that has more flags.
    fn with(place: Place, flags: &str) -> (Self, Observer) {
        let mut shell = place.command("unshare", &["--pid", "--fork", "--mount-proc", "--kill-child", "sh"]);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = Running(shell.spawn().unwrap());
        let (orders, answers) = (shell.0.stdin.take().unwrap(), shell.0.stdout.take().unwrap());
        let (answers, watch) = (BufReader::new(answers).lines(), String::new());
        let mut it = Self { shell, orders, answers, place, watch, stopped: false, witnesses: 0 };
        it.watch = it.tell(&format!("./varta {} {flags} 2>log & echo $!", WATCH.join(" ")));
        let observer = Observer::at(&it.place);
        (it, observer)
    }

    /// Says one line, and what is answered to it.
    fn tell(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    /// An agent with that pid, which is free. The observer is stopped meanwhile, so that no thread of it takes the pid.
    fn agent(&mut self, socket: &str, every: &str) {
        let was_stopped = self.stopped;
        self.stop_observer();
        let before = PID - 1;
        let beat = format!("exec ./varta beat --socket {socket} --every {every}");
        let pid = self.tell(&format!("echo {before} >/proc/sys/kernel/ns_last_pid; {beat} & echo $!"));
        assert_eq!(pid, PID.to_string());
        self.let_its_tick_pass();
        if !was_stopped {
            self.let_observer_go_on();
        }
    }

    /// Waits until a process that starts has another start time than the agent: the kernel counts ticks of 10 ms.
    fn let_its_tick_pass(&self) {
        let stat = fs::read_to_string(self.process(&PID.to_string()).join("stat")).unwrap();
        let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse::<f64>().unwrap();
        wait("its tick has passed", || {
            let uptime = fs::read_to_string("/proc/uptime").unwrap();
            (uptime.split(' ').next().unwrap().parse::<f64>().unwrap() > (started + 1.0) / 100.0).then_some(())
        });
    }

    /// Ends a process, and forgets it, so that its pid is free.
    fn kill(&mut self, pid: &str) {
        self.tell(&format!("kill -9 {pid}; wait {pid}; echo"));
    }

    /// What the kernel tells of a process in there.
    fn process(&self, pid: &str) -> PathBuf {
        Path::new("/proc").join(self.shell.0.id().to_string()).join("root/proc").join(pid)
    }

    /// Waits until the agent has said what nobody has read yet.
    fn wait_until_it_has_said_something(&self) {
        let descriptors = self.process(&PID.to_string()).join("fd");
        wait("a datagram of it lies there", || {
            let open = fs::read_dir(&descriptors).ok()?;
            let open: Vec<_> = open.filter_map(|it| fs::read_link(it.ok()?.path()).ok()).collect();
            let Output { status, stdout, .. } = Command::new("ss").args(["-x", "-a", "-H"]).output().unwrap();
            assert!(status.success());
            // Network, state, bytes to be read, bytes that a peer has not read, address and inode.
            let is_its_own = |inode: &str| open.contains(&PathBuf::from(format!("socket:[{inode}]")));
            let unread = String::from_utf8(stdout).unwrap().lines().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words[3] != "0" && is_its_own(words[5])
            });
            unread.then_some(())
        });
    }

    /// Stops the observer, each thread of it.
    fn stop_observer(&mut self) {
        self.stopped = true;
        self.tell(&format!("kill -STOP {}; echo", self.watch));
        // As its own namespace shows it.
        let threads = self.process(&self.watch).join("task");
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        wait("it is stopped", || {
            let mut threads = fs::read_dir(&threads).unwrap();
            threads.all(|thread| is_stopped(thread.unwrap())).then_some(())
        });
    }

    fn let_observer_go_on(&mut self) {
        self.stopped = false;
        self.tell(&format!("kill -CONT {}; echo", self.watch));
    }

    /// A process that comes and goes, which is told: whatever was to be told before it has been. No other had its pid.
    fn witness(&mut self, observer: &Observer) {
        self.witnesses += 1;
        let before = PID + 100 * self.witnesses;
        let start = format!("echo {before} >/proc/sys/kernel/ns_last_pid; ./varta beat --socket s & echo $!");
        let pid = self.tell(&start).parse().unwrap();
        observer.wait_for(pid, |slot| slot["verdict"] == "stalled");
    }

    /// An agent with that pid whose first beats go elsewhere: the first that the observer hears has a higher nonce.
    fn late_agent(&mut self) {
        let socket = self.place.path("elsewhere");
        let _ = fs::remove_file(&socket);
        let elsewhere = UnixDatagram::bind(&socket).unwrap();
        self.agent("elsewhere", "500ms");
        for _ in 0..3 {
            elsewhere.recv(&mut [0; 64]).unwrap();
        }
        let link = self.place.path("link");
        symlink("s", &link).unwrap();
        fs::rename(&link, &socket).unwrap();
    }
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn a_process_that_the_observers_namespace_does_not_show_is_refused() {
    let (mut inside, observer) = Inside::new();
    let outside = inside.place.varta(&["beat", "--socket", "s"]).status().unwrap();
    assert!(outside.success(), "the kernel took it");
    wait("it is refused", || (observer.conflicts() == 1.0).then_some(()));
    inside.witness(&observer);
    assert_eq!(observer.conflicts(), 1.0);
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn a_process_with_the_pid_of_one_that_has_ended_is_a_restart() {
    let (mut inside, observer) = Inside::new();
    inside.agent("s", "30m");
    observer.wait_for(PID, up);
    for (late, restarts) in [(false, 1), (true, 2)] {
        inside.kill(&PID.to_string());
        observer.wait_for(PID, |slot| slot["verdict"] == "stalled");
        let stalls = observer.stalls();
        if late {
            inside.late_agent();
        } else {
            inside.agent("s", "30m");
        }
        observer.wait_for(PID, |slot| up(slot) && slot["restarts"] == restarts);
        inside.witness(&observer);
        assert_eq!(observer.stalls(), stalls + 1.0, "the witness only");
        assert!(up(&observer.slot(PID).unwrap()));
    }
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn an_end_that_is_read_after_the_successors_beats_stalls_nobody() {
    let (mut inside, observer) = Inside::new();
    inside.agent("s", "30m");
    observer.wait_for(PID, up);
    for (late, restarts) in [(false, 1), (true, 2)] {
        // While the observer is stopped, the end and the beats of the successor come together.
        inside.stop_observer();
        inside.kill(&PID.to_string());
        if late {
            inside.late_agent();
        } else {
            inside.agent("s", "500ms");
        }
        inside.wait_until_it_has_said_something();
        inside.let_observer_go_on();
        observer.wait_for(PID, |slot| up(slot) && slot["restarts"] == restarts);
        inside.witness(&observer);
        assert_eq!(observer.stalls(), f64::from(restarts), "the witnesses only");
        assert!(up(&observer.slot(PID).unwrap()));
    }
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn a_beat_that_is_read_when_its_pid_is_anothers_is_its_senders() {
    let (mut inside, observer) = Inside::new();
    inside.agent("s", "500ms");
    observer.wait_for(PID, up);
    inside.stop_observer();
    inside.wait_until_it_has_said_something();
    inside.kill(&PID.to_string());
    // It has the pid and says nothing here.
    let elsewhere = UnixDatagram::bind(inside.place.path("elsewhere")).unwrap();
    inside.agent("elsewhere", "30m");
    inside.let_observer_go_on();
    observer.wait_for(PID, |slot| slot["verdict"] == "stalled");
    assert_eq!(observer.stalls(), 1.0);
    drop(elsewhere);
}

#[test]
#[ignore = "needs root: makes a PID namespace"]
fn nothing_is_run_with_a_pid_that_is_anothers_by_now() {
    let place = Place::new();
    let (program, ran) = (place.path("recover"), place.path("recover.ran"));
    fs::write(&program, "#!/bin/sh\necho \"$@\" >>\"$0.ran\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (mut inside, observer) = Inside::with(place, "--recovery-exec ./recover");
    inside.agent("s", "30m");
    observer.wait_for(PID, up);
    // While the observer is stopped, the agent ends, and its pid is one's who says nothing here.
    inside.stop_observer();
    inside.kill(&PID.to_string());
    let elsewhere = UnixDatagram::bind(inside.place.path("elsewhere")).unwrap();
    inside.agent("elsewhere", "30m");
    inside.let_observer_go_on();
    observer.wait_for(PID, |slot| slot["verdict"] == "stalled");
    let refused = "varta_recovery_total{outcome=\"refused_recycled_pid\"}";
    wait("it is refused", || (observer.metric(refused) >= 1.0).then_some(()));
    // A pid that nobody has is handed on: it was the one of the process that ended.
    inside.witness(&observer);
    let witness = wait("the program runs", || fs::read_to_string(&ran).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(witness.lines().filter(|pid| *pid == PID.to_string()).count(), 0, "{witness}");
    drop(elsewhere);
}
