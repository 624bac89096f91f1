//! The observers that are compared, started by the flags that both know.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use varta_client::{BeatOutcome, Status, UdsTransport, Varta};

use super::{Programs, Side, rows::Row};
use crate::{clock, machine, process::Process};

/// How long an observer may take to listen.
const READY: Duration = Duration::from_secs(20);

/// An observer at work.
pub(super) struct Observer {
    process: Process,
    folder: TempDir,
    witness: Witness,
}

/// This process as an agent, whose beats mark instants in an observer's own time.
struct Witness {
    handle: Varta<UdsTransport>,
    beats: usize,
}

/// How many datagrams the kernel holds for a local socket.
pub(super) fn queue() -> anyhow::Result<u32> {
    Ok(fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")?.trim().parse()?)
}

impl Observer {
    /// Starts the observer of that side. It may run on both cores, as in service.
    pub(super) fn start(programs: &Programs, side: Side, threshold: Duration) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = match side {
            Side::Ours => {
                let mut command = Command::new(&programs.varta);
                command.arg("watch");
                command
            }
            Side::Published => {
                let mut command = Command::new(&programs.published);
                let token = folder.path().join("token");
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token)?;
                file.write_all("5a".repeat(32).as_bytes())?;
                command.arg("--prom-token-file").arg(token);
                // It hears 256 processes and 5000 beats a second unless told otherwise; 4096 is the most.
                command.args(["--tracker-capacity", "4096", "--global-beat-rate", "0", "--global-beat-burst", "0"]);
                command
            }
        };
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.arg("--socket").arg(socket(&folder)).arg("--export-file").arg(export(&folder));
        command.args(["--threshold-ms", &threshold.as_millis().to_string(), "--prom-addr", &http.to_string()]);
        let log = folder.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        machine::stay_on_either(programs.cores)?;
        let mut process = Process::spawn(&mut command)?;
        let handle = clock::wait_for(READY, || {
            if let Some(status) = process.0.try_wait()? {
                bail!("the observer ended with {status}: {}", fs::read_to_string(&log)?);
            }
            Ok(Varta::local(socket(&folder)).ok())
        })?;
        let witness = Witness { handle: handle.context("the observer does not listen")?, beats: 0 };
        Ok(Self { process, folder, witness })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    pub(super) fn export(&self) -> PathBuf {
        export(&self.folder)
    }

    /// Marks this instant; the number of the mark.
    pub(super) fn mark(&mut self) -> anyhow::Result<usize> {
        let outcome = self.witness.handle.beat(Status::Ok, 0);
        ensure!(outcome == BeatOutcome::Sent, "a beat that marks an instant: {outcome}");
        self.witness.beats += 1;
        Ok(self.witness.beats - 1)
    }

    /// Stops it, and reads everything that it has written: what lies before the first mark, and behind each.
    pub(super) fn rows(self) -> anyhow::Result<Vec<Vec<Row>>> {
        drop(self.process);
        let text = fs::read_to_string(export(&self.folder))?;
        let marked = split(text.lines().filter_map(Row::parse), std::process::id());
        ensure!(marked.len() == self.witness.beats + 1, "the export file has {} marks", marked.len() - 1);
        Ok(marked)
    }
}

/// Rows by the mark behind which they are; the mark's own row comes first.
fn split(rows: impl Iterator<Item = Row>, witness: u32) -> Vec<Vec<Row>> {
    let mut parts = vec![Vec::new()];
    for row in rows {
        if row.pid == witness && row.is_beat() {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("varta.sock")
}

fn export(folder: &TempDir) -> PathBuf {
    folder.path().join("events.tsv")
}
