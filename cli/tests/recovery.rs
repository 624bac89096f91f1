//! Recovery on real processes: who is recovered, with what, and who never is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod waiting;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use varta_client::keyfile::{AgentAudience, AgentKeyFile, create_secret_file};
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    Generation,
    key::{AudienceKey, AudienceSecret, IdentitySecret, Name},
};

use waiting::wait;

/// A rule for the processes of this host.
const LOCAL: &str = "match = { agent = \"local\" }";
/// What an observer says that has begun: whatever was sent before, it refuses.
const BEGUN: &str = "serves http://";

/// An observer with a rule, and the programs it runs.
struct World {
    folder: tempfile::TempDir,
    observer: Option<Child>,
    agents: Vec<Child>,
    port: u16,
}

impl World {
    /// An observer whose rule runs `script` with the pid.
    fn new(script: &str, rule: &str) -> Self {
        Self::with(script, "{pid}", rule, None)
    }

    /// An observer whose rule runs `script` with that argument, and which has that roster.
    fn with(script: &str, argument: &str, rule: &str, roster: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut world = Self { folder, observer: None, agents: Vec::new(), port };
        let program = world.path("recover.sh");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let key = ObserverKeyFile {
            audience: "obs-1".to_owned(),
            secret: AudienceSecret::from_bytes([7; 32]),
            identity: IdentitySecret::from_bytes([8; 32]),
            retiring: Vec::new(),
        };
        create_secret_file(&world.path("obs-1.key"), &key.render()).unwrap();
        let path = |name: &str| world.path(name).display().to_string();
        let known = roster.map_or(String::new(), |text| {
            fs::write(world.path("roster.toml"), text).unwrap();
            format!("roster_file = \"{}\"\n", path("roster.toml"))
        });
        let config = format!(
            "[observer]\nkey_file = \"{}\"\nstate_dir = \"{}\"\n{known}[[listen]]\nsocket = \"{}\"\n[[listen]]\nsealed = \
             \"127.0.0.1:{port}\"\ntrust = \"operator-attested\"\n[stall]\nthreshold = \"400ms\"\n[acceptance]\nskew = \
             \"100ms\"\n[http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[audit]\nfile = \"{}\"\n[[recovery]]\nexec = [\"{}\", \
             \"{argument}\"]\ntimeout = \"1s\"\n{rule}\n",
            path("obs-1.key"),
            path("state"),
            path("varta.sock"),
            path("audit.log"),
            path("recover.sh"),
        );
        fs::write(world.path("observer.toml"), config).unwrap();
        world.start();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn start(&mut self) {
        let begun = self.read("log").matches(BEGUN).count();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["watch", "--config"]).arg(self.path("observer.toml"));
        command.env("LANG", "C").env("SECRET", "hunter2").env("MARKER", "kept").stderr(log);
        self.observer = Some(command.spawn().unwrap());
        wait("the observer has begun", || {
            let ended = self.observer.as_mut().and_then(|observer| observer.try_wait().unwrap());
            assert!(ended.is_none(), "{ended:?}: {}", self.read("log"));
            (self.read("log").matches(BEGUN).count() > begun).then_some(())
        });
    }

    /// An agent of this host that goes on beating.
    fn agent(&mut self) -> u32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["beat", "--every", "100ms", "--socket"]).arg(self.path("varta.sock"));
        let agent = command.stderr(Stdio::null()).spawn().unwrap();
        let pid = agent.id();
        self.agents.push(agent);
        self.logged(&format!("\"pid\":{pid}"), "first heard");
        pid
    }

    /// The unit api of the agent web-1, which goes on beating over UDP.
    fn sealed_agent(&mut self) -> u32 {
        let audience = AudienceKey::new(&AudienceSecret::from_bytes([7; 32]));
        let key = AgentKeyFile {
            agent: "web-1".to_owned(),
            generation: Generation(1),
            audiences: vec![AgentAudience {
                name: "obs-1".to_owned(),
                address: format!("127.0.0.1:{}", self.port),
                secret: audience.agent(Name::new("web-1").unwrap().agent_id(), Generation(1)),
            }],
        };
        create_secret_file(&self.path("web-1.key"), &key.render()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["beat", "--every", "100ms", "--unit", "api", "--key"]).arg(self.path("web-1.key"));
        let agent = command.stderr(Stdio::null()).spawn().unwrap();
        let pid = agent.id();
        self.agents.push(agent);
        pid
    }

    fn kill(&self, pid: u32, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// Waits for a line of the log that holds both.
    fn logged(&self, one: &str, other: &str) -> String {
        wait(other, || {
            let log = self.read("log");
            log.lines().find(|line| line.contains(one) && line.contains(other)).map(str::to_owned)
        })
    }

    /// Stops the observer cleanly.
    fn stop(&mut self) {
        let mut observer = self.observer.take().unwrap();
        self.kill(observer.id(), Signal::SIGTERM);
        let status = observer.wait().unwrap();
        assert!(status.success(), "{status:?}: {}", self.read("log"));
    }

    /// The newest link of the audit log, as the observer hands it out.
    fn link(&self) -> String {
        let line = self.logged("serves http://", "message");
        let address = line.split("http://").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /api/v1/status HTTP/1.0\r\nHost: observer\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        status["audit"].as_str().unwrap().to_owned()
    }

    fn verify(&self, more: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["audit", "verify"]).arg(self.path("audit.log")).arg("--key").arg(self.path("obs-1.key"));
        command.args(more);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain(&mut self.observer) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lines(text: &str, event: &str) -> usize {
    text.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
}

fn script_to(folder: &Path, more: &str) -> String {
    format!("echo \"$#:$1\" >> {}/ran\n{more}", folder.display())
}

#[test]
fn a_process_that_hangs_or_is_killed_is_recovered_once_with_a_clean_environment() {
    let shared = tempfile::tempdir().unwrap();
    let script = script_to(shared.path(), &format!("env > {}/env; echo said; echo wrong >&2", shared.path().display()));
    let mut world = World::new(&script, "match = { agent = \"local\" }\nenv = [\"MARKER\", \"ABSENT\"]");
    let ran = || fs::read_to_string(shared.path().join("ran")).unwrap_or_default();
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    wait("the program ran", || (ran() == format!("1:{pid}\n")).then_some(()));
    let ended = world.logged("recovery's program ended", "exit 0");
    assert!(ended.contains("said") && ended.contains("wrong"), "its output is in the log: {ended}");
    let environment = fs::read_to_string(shared.path().join("env")).unwrap();
    assert!(environment.contains("MARKER=kept") && !environment.contains("SECRET"), "{environment}");

    let hung = world.agent();
    world.kill(hung, Signal::SIGSTOP);
    wait("the program ran for the other", || ran().contains(&format!("1:{hung}\n")).then_some(()));
    world.kill(hung, Signal::SIGKILL);
    let link = world.link();
    world.stop();
    assert_eq!(ran().matches(&format!("1:{pid}\n")).count(), 1, "what is gone is done with: {}", ran());
    let (well, said) = world.verify(&["--against", &link]);
    assert!(well, "{said}");
    let audit = world.read("audit.log");
    assert!(lines(&audit, "spawn") >= 2 && lines(&audit, "spawn") == lines(&audit, "completed"), "{audit}");
    // Cut at its end it still is a chain, and not the one that was handed out.
    let cut = audit.lines().take(2).fold(String::new(), |text, line| text + line + "\n");
    fs::write(world.path("audit.log"), cut).unwrap();
    assert!(world.verify(&[]).0 && !world.verify(&["--against", &link]).0);
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_all_that_it_started() {
    let shared = tempfile::tempdir().unwrap();
    let script = script_to(shared.path(), &format!("sleep 600 & echo $! > {}/child; wait", shared.path().display()));
    let mut world = World::new(&script, LOCAL);
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    world.logged("recovery's program ended", "killed");
    let child: i32 = fs::read_to_string(shared.path().join("child")).unwrap().trim().parse().unwrap();
    wait("what it started is gone, too", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    wait("the kill is on record", || (lines(&world.read("audit.log"), "killed") > 0).then_some(()));
    world.stop();
}

#[test]
fn a_dry_run_only_tells() {
    let shared = tempfile::tempdir().unwrap();
    let mut world = World::new(&script_to(shared.path(), ""), "match = { agent = \"local\" }\ndry_run = true");
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    let told = world.logged("recovery would run its program", &pid.to_string());
    assert!(told.contains("recover.sh"), "{told}");
    world.stop();
    assert!(!shared.path().join("ran").exists());
    assert_eq!(lines(&world.read("audit.log"), "dry_run"), 1);
}

#[test]
fn an_agent_on_a_network_is_never_recovered_however_it_falls_silent() {
    let shared = tempfile::tempdir().unwrap();
    let mut world = World::new(&script_to(shared.path(), ""), "match = { agent = \"*\" }");
    // Sealed, heard on an attested listener, and granted nothing by a roster.
    let pid = world.sealed_agent();
    world.logged("web-1", "first heard");
    // Silenced, as by somebody who drops its packets.
    world.kill(pid, Signal::SIGSTOP);
    world.logged("recovery refused", "refused_origin");
    // Forgeries bring nothing about, either.
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for byte in 0..50 {
        forger.send_to(&[byte; 124], ("127.0.0.1", world.port)).unwrap();
    }
    // What would have run has had its chance once this one ran.
    let local = world.agent();
    world.kill(local, Signal::SIGKILL);
    let ran = || fs::read_to_string(shared.path().join("ran")).unwrap_or_default();
    wait("the local one is recovered", || (ran() == format!("1:{local}\n")).then_some(()));
    world.stop();
    assert_eq!(ran(), format!("1:{local}\n"));
    assert_eq!(lines(&world.read("audit.log"), "refused"), 1);
}

#[test]
fn an_observer_killed_after_the_line_of_a_spawn_leaves_a_log_that_verifies_and_says_so() {
    let shared = tempfile::tempdir().unwrap();
    let mut world = World::new(&script_to(shared.path(), "sleep 0.5"), LOCAL);
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    wait("the line is there", || (lines(&world.read("audit.log"), "spawn") == 1).then_some(()));
    let mut observer = world.observer.take().unwrap();
    observer.kill().unwrap();
    observer.wait().unwrap();
    let (well, said) = world.verify(&[]);
    assert!(well && said.contains("without an end"), "{said}");
    fs::remove_file(world.path("varta.sock")).unwrap();
    world.start();
    let again = world.agent();
    world.kill(again, Signal::SIGKILL);
    wait("the chain goes on", || (lines(&world.read("audit.log"), "completed") == 1).then_some(()));
    world.stop();
    let (well, said) = world.verify(&[]);
    assert!(well, "{said}");
}

#[test]
fn an_audit_log_that_cannot_be_written_refuses() {
    let shared = tempfile::tempdir().unwrap();
    let mut world = World::new(&script_to(shared.path(), ""), LOCAL);
    // Something else moved it: what is written would not be found.
    wait("the log is there", || world.path("audit.log").exists().then_some(()));
    fs::rename(world.path("audit.log"), world.path("elsewhere")).unwrap();
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    world.logged("recovery refused", "was changed, moved or removed");
    fs::rename(world.path("elsewhere"), world.path("audit.log")).unwrap();
    let ran = || fs::read_to_string(shared.path().join("ran")).unwrap_or_default();
    wait("it is tried again", || (ran() == format!("1:{pid}\n")).then_some(()));
    world.stop();
}

const ROSTER: &str =
    "version = 1\n[[agent]]\nname = \"web-1\"\ngeneration = 1\nrecovery = true\nlabels = { role = \"web\" }\n";

#[test]
fn an_agent_that_listener_and_roster_vouch_for_is_recovered_by_name_until_it_is_up() {
    let shared = tempfile::tempdir().unwrap();
    let rule = "match = { agent = \"web-1\", unit = \"api\", labels = { role = \"web\" } }";
    let mut world = World::with(&script_to(shared.path(), ""), "{agent}", rule, Some(ROSTER));
    let pid = world.sealed_agent();
    world.logged("web-1", "first heard");
    world.kill(pid, Signal::SIGSTOP);
    let ran = || fs::read_to_string(shared.path().join("ran")).unwrap_or_default();
    wait("it is tried again while it is down", || (ran() == "1:web-1\n1:web-1\n").then_some(()));
    world.kill(pid, Signal::SIGCONT);
    world.logged("\"to\":\"up\"", "web-1");
    world.stop();
    let audit = world.read("audit.log");
    assert!(audit.contains("OperatorAttested") && lines(&audit, "refused") == 0, "{audit}");
}

#[test]
fn a_pid_of_another_host_is_handed_to_nobody() {
    let shared = tempfile::tempdir().unwrap();
    let rule = "match = { agent = \"*\" }";
    let mut world = World::with(&script_to(shared.path(), ""), "{pid}", rule, Some(ROSTER));
    let pid = world.sealed_agent();
    world.logged("web-1", "first heard");
    world.kill(pid, Signal::SIGSTOP);
    world.logged("recovery refused", "refused_foreign_pid");
    world.stop();
    assert!(!shared.path().join("ran").exists());
}

#[test]
fn a_program_that_runs_when_the_observer_stops_has_time_to_end() {
    let shared = tempfile::tempdir().unwrap();
    let script = script_to(shared.path(), &format!("sleep 0.5; echo done >> {}/ran", shared.path().display()));
    let mut world = World::new(&script, LOCAL);
    let pid = world.agent();
    world.kill(pid, Signal::SIGKILL);
    let ran = || fs::read_to_string(shared.path().join("ran")).unwrap_or_default();
    wait("the program runs", || ran().starts_with("1:").then_some(()));
    world.stop();
    assert_eq!(ran(), format!("1:{pid}\ndone\n"));
    assert_eq!(lines(&world.read("audit.log"), "completed"), 1);
}
