//! Processes of this host before an observer: heard by their pids, and told the moment they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod waiting;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use varta_config::{Listen, ObserverConfig};
use varta_watch::{Event, Exit, Observer, RunOptions, Running, Verdict};

use waiting::wait;

/// An observer of local processes, in this one.
struct Host {
    observer: Running,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("varta.sock");
        let mut config = ObserverConfig { listen: vec![Listen::socket(&path)], ..ObserverConfig::default() };
        config.observer.name = Some("host".to_owned());
        config.http.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        // Whatever is told here is told for an end, not for a silence.
        config.stall.threshold = Duration::from_secs(3600);
        let observer = Observer::start(config, RunOptions::default()).unwrap();
        Self { observer, path, _folder: folder }
    }

    fn varta(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.arg(verb).arg("--socket").arg(&self.path).args(arguments).stderr(Stdio::null());
        command
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.observer.http_addr().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: host\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn slot(&self, pid: u32) -> Option<Value> {
        serde_json::from_str(&self.get(&format!("/api/v1/slots/local/pid:{pid}"))).ok()
    }

    /// The slot of a process, once it has that verdict.
    fn wait_for(&self, pid: u32, verdict: &str) -> Value {
        wait(verdict, || self.slot(pid).filter(|slot| slot["verdict"] == verdict))
    }

    /// The sum of all series of that family whose labels contain `label`.
    fn metric(&self, family: &str, label: &str) -> f64 {
        let text = self.get("/metrics");
        let series = text.lines().filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(label));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn stalls(&self) -> f64 {
        self.metric("varta_stalls_total", "agent=\"local\"")
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_thousand_processes_that_beat_at_one_instant_are_all_heard() {
    const COUNT: usize = 1_000;
    let host = Host::new();
    let (go, start) = std::io::pipe().unwrap();
    let agents: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut agent = Command::new("sh");
            agent.args(["-c", "read go; exec \"$0\" beat --socket \"$1\""]).arg(env!("CARGO_BIN_EXE_varta"));
            agent.arg(&host.path).stdin(go.try_clone().unwrap()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    drop(start);
    let sent = agents.into_iter().map(|mut agent| agent.wait().unwrap()).filter(|status| status.success()).count();
    // The others found the kernel's queue full, and said so.
    assert_ne!(sent, 0);
    wait("every beat that the kernel took is heard", || {
        let listener = host.path.display().to_string();
        (host.metric("varta_datagrams_accepted_total", &listener) as usize == sent).then_some(())
    });
    wait("every end is told", || (host.metric("varta_slots", "stalled") as usize == sent).then_some(()));
}

#[test]
fn a_killed_process_is_told_at_once_with_its_signal() {
    let host = Host::new();
    let mut agent = host.varta("beat", &["--every", "30m"]).spawn().unwrap();
    host.wait_for(agent.id(), "up");
    agent.kill().unwrap();
    // Not asked for its end yet, so that the kernel still knows it.
    let slot = host.wait_for(agent.id(), "stalled");
    assert!(slot["why"].as_str().unwrap().contains("signal 9"), "{slot}");
    assert_eq!(host.stalls(), 1.0);
    agent.wait().unwrap();
}

#[test]
fn whoever_polls_is_told_of_an_end_and_of_the_stall_that_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("varta.sock");
    let mut observer = Observer::bind(&path, Duration::from_secs(3600)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
    command.arg("beat").arg("--socket").arg(&path).args(["--every", "30m"]).stderr(Stdio::null());
    let mut agent = command.spawn().unwrap();
    let mut next = |kind| {
        wait(kind, || {
            let event = observer.poll()?;
            // One that is held up says so, too.
            (!matches!(event, Event::Changed(..))).then_some(event)
        })
    };
    let event = next("beat");
    assert!(matches!(event, Event::Beat { pid, nonce: 1, .. } if pid == agent.id()), "{event:?}");
    let event = next("new");
    assert!(matches!(event, Event::New { to: Verdict::Up, .. }), "{event:?}");
    agent.kill().unwrap();
    let event = next("exit");
    assert!(matches!(event, Event::Exit { pid, exit: Exit::Signal(9), .. } if pid == agent.id()), "{event:?}");
    let event = next("stall");
    assert!(matches!(event, Event::Stall { pid, last_nonce: 1, .. } if pid == agent.id()), "{event:?}");
    agent.wait().unwrap();
}

#[test]
fn a_flood_on_a_network_hides_no_end() {
    const LISTENERS: usize = 15;
    const EACH: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("varta.sock");
    // Of many listeners even the smallest receive buffers hold more than is read in one turn.
    let network = std::iter::repeat_n(Listen::plaintext(SocketAddr::from(([127, 0, 0, 1], 0))), LISTENERS);
    let listen = network.chain([Listen::socket(&path)]).collect();
    let mut config = ObserverConfig { listen, ..ObserverConfig::default() };
    config.observer.name = Some("host".to_owned());
    config.stall.threshold = Duration::from_secs(3600);
    let mut observer = Observer::from_config(&config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
    command.arg("beat").arg("--socket").arg(&path).args(["--every", "30m"]).stderr(Stdio::null());
    let agent = command.spawn().unwrap();
    wait("it is heard", || observer.poll().filter(|event| matches!(event, Event::Beat { .. })));
    while observer.poll_pending().is_some() {}
    end(agent);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for address in &observer.addresses().plaintext {
        for _ in 0..EACH {
            sender.send_to(b"x", address).unwrap();
        }
    }
    observer.set_read_timeout(Duration::ZERO);
    let events: Vec<_> = std::iter::from_fn(|| observer.poll()).collect();
    let told = events.iter().position(|event| matches!(event, Event::Exit { .. })).unwrap();
    let behind = events[told..].iter().filter(|event| matches!(event, Event::Refused(..))).count();
    assert!(behind > 1_000, "{told} events before it, and {behind} of {} datagrams after", LISTENERS * EACH);
}

#[test]
#[ignore = "needs root: starts a process in a PID namespace of its own"]
fn a_process_of_another_pid_namespace_is_refused_and_told_with_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("varta.sock");
    let mut observer = Observer::bind(&path, Duration::from_secs(3600)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", "\"$0\" beat --socket \"$1\" --every 30m & wait"]);
    let agent = command.arg(env!("CARGO_BIN_EXE_varta")).arg(&path).stderr(Stdio::null()).spawn().unwrap();
    let event = wait("it is refused", || observer.poll());
    let Event::NamespaceConflict { claimed_pid, observed_ns_inode, observer_ns_inode, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(claimed_pid, 2, "its own count");
    assert!(observed_ns_inode.is_some() && observer_ns_inode.is_some() && observed_ns_inode != observer_ns_inode);
    end(agent);
}

#[test]
fn a_process_that_ends_by_itself_without_a_word_is_told_with_its_status() {
    let host = Host::new();
    let agent = host.varta("beat", &[]).spawn().unwrap();
    let slot = host.wait_for(agent.id(), "stalled");
    assert!(slot["why"].as_str().unwrap().contains("exit 0"), "{slot}");
    end(agent);
}

#[test]
fn a_process_that_says_goodbye_or_that_it_ends_is_not_told_twice() {
    let host = Host::new();
    let mut agent = host.varta("beat", &["--every", "30m", "--count", "1", "--final"]).spawn().unwrap();
    let pid = agent.id();
    assert!(agent.wait().unwrap().success());
    host.wait_for(pid, "departed");
    let mut exec = host.varta("exec", &["--", "sh", "-c", "exit 3"]).spawn().unwrap();
    let pid = exec.id();
    assert_eq!(exec.wait().unwrap().code(), Some(3));
    let slot = host.wait_for(pid, "critical");
    assert!(slot["why"].as_str().unwrap().starts_with("ended: exit 3"), "{slot}");
    // A process after them, whose end is told, shows that theirs were looked at.
    let witness = host.varta("beat", &[]).spawn().unwrap();
    host.wait_for(witness.id(), "stalled");
    end(witness);
    assert_eq!(host.stalls(), 1.0, "the witness only");
}
