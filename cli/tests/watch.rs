//! `varta watch` as a service manager sees it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use varta_client::keyfile::create_secret_file;
use varta_keys::ObserverKeyFile;
use varta_vlp::key::{AudienceSecret, IdentitySecret};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

struct Service {
    child: Child,
    manager: UnixDatagram,
}

impl Service {
    fn start(folder: &Path, config: &str, watchdog: Option<Duration>) -> Self {
        Self::start_logging_to(folder, config, watchdog, Stdio::null())
    }

    fn start_logging_to(folder: &Path, config: &str, watchdog: Option<Duration>, log: Stdio) -> Self {
        let key = ObserverKeyFile {
            audience: "obs-1".to_owned(),
            secret: AudienceSecret::from_bytes([7; 32]),
            identity: IdentitySecret::from_bytes([8; 32]),
            retiring: Vec::new(),
        };
        create_secret_file(&folder.join("obs-1.key"), &key.render()).unwrap();
        std::fs::write(folder.join("observer.toml"), config).unwrap();
        let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
        manager.set_read_timeout(Some(LIMIT)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_varta"));
        command.args(["watch", "--config"]).arg(folder.join("observer.toml"));
        command.env("NOTIFY_SOCKET", folder.join("notify")).stderr(log);
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        Self { child: command.spawn().unwrap(), manager }
    }

    /// Waits for a message with a line that begins with `wanted`.
    fn hears(&self, wanted: &str) {
        let mut buffer = [0; 4096];
        loop {
            let len = self.manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted} was not said: {error}"));
            let message = String::from_utf8_lossy(&buffer[..len]);
            if message.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that went well has none left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONFIG: &str = r#"
[observer]
key_file = "obs-1.key"
state_dir = "state"
[[listen]]
sealed = "127.0.0.1:0"
[http]
listen = ""
"#;

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path(), CONFIG, None);
    service.hears("READY=1");
    service.signal(Signal::SIGHUP);
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.signal(Signal::SIGTERM);
    service.hears("STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_or_that_is_full_stops_nothing() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for log in [Stdio::from(closed), Stdio::from(full)] {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Service::start_logging_to(folder.path(), CONFIG, None, log);
        service.hears("READY=1");
        // Each reload is told in the log.
        for _ in 0..3 {
            service.signal(Signal::SIGHUP);
            service.hears("RELOADING=1");
            service.hears("READY=1");
        }
        service.signal(Signal::SIGTERM);
        assert_eq!(service.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_watchdog_is_fed_while_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), CONFIG, Some(Duration::from_millis(200)));
    service.hears("READY=1");
    for _ in 0..3 {
        service.hears("WATCHDOG=1");
    }
}

#[test]
fn a_mistake_in_the_configuration_is_exit_2_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("observer.toml");
    std::fs::write(&file, CONFIG.replace("key_file", "keyfile")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_varta")).args(["watch", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("observer.toml:3: observer.keyfile: unknown key; did you mean `key_file`?"), "{said}");
}
