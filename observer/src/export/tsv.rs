//! The event file: a row per event, `observer_ns kind pid nonce status payload`, tab-separated, no header, `-` where empty.
//!
//! A thread writes, behind a bounded queue: a full or slow disk costs lines, which are counted, and never the loop. The same
//! thread begins another file where one is full.

mod rotate;
mod writer;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use nix::fcntl::OFlag;

/// Most lines waiting for the disk.
const WAITING: usize = 16_384;

/// The event file cannot be opened, or its thread cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be opened for appending.
    #[error("cannot open the event file {path}: {source}; [export] file must name a file this process may append to")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is a FIFO, a socket or a block device.
    #[error("the event file {path} is not a file that lines can be appended to")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The writing thread cannot be started.
    #[error("cannot start the thread that writes the event file: {0}")]
    Thread(io::Error),
}

/// The last column of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `-`
    Empty,
    /// A payload.
    Number(u32),
    /// Words; control characters are written as spaces.
    Text(Box<str>),
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since the observer's start.
    pub at: u64,
    /// What it is about.
    pub kind: &'static str,
    /// The pid as a person reads it.
    pub pid: Option<u32>,
    /// The base frame's nonce.
    pub nonce: Option<u64>,
    /// A status or a verdict.
    pub status: Option<&'static str>,
    /// What else there is to say.
    pub payload: Payload,
}

impl Line {
    /// A line with nothing but its time and kind.
    #[must_use]
    pub const fn new(at: u64, kind: &'static str) -> Self {
        Self { at, kind, pid: None, nonce: None, status: None, payload: Payload::Empty }
    }
}

enum Message {
    Line(Line),
    /// Look at [`Shared`].
    Look,
}

#[derive(Default)]
struct Shared {
    lost: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
    /// Bytes; 0 for never.
    rotate_at: AtomicU64,
    keep: AtomicU32,
}

/// The end that lines are put into. Cheap to clone; never waits.
#[derive(Clone)]
pub struct Export {
    lines: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// The writing thread, for its end.
pub struct Writer {
    export: Export,
    ended: Receiver<()>,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Writer").field(&self.export).finish()
    }
}

/// Opens `path` for appending (mode 0640 where it is new) and starts the thread that writes it. It is never rotated unless
/// [`Writer::rotate`] says so.
///
/// # Errors
/// [`ExportError`].
pub fn open(path: &Path) -> Result<(Export, Writer), ExportError> {
    let file = open_file(path)?;
    let (lines, queue) = sync_channel(WAITING);
    let (ends, ended) = sync_channel::<()>(0);
    let shared = Arc::new(Shared::default());
    let writing = writer::Writing::new(path.to_owned(), file, Arc::clone(&shared));
    let turn = move || {
        writing.run(&queue);
        // In this order: once the end is told, further lines find no queue and are counted as lost.
        drop(queue);
        drop(ends);
    };
    std::thread::Builder::new().name("export".to_owned()).spawn(turn).map_err(ExportError::Thread)?;
    let export = Export { lines, shared };
    Ok((export.clone(), Writer { export, ended }))
}

fn open_file(path: &Path) -> Result<File, ExportError> {
    let failed = |source| ExportError::Open { path: path.to_owned(), source };
    // Without O_NONBLOCK a FIFO that nobody reads would hold the caller up.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(flags);
    let file = options.open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_char_device() {
        Ok(file)
    } else {
        Err(ExportError::NotAFile { path: path.to_owned() })
    }
}

impl Export {
    /// Puts a line into the queue, or counts it as lost.
    pub fn write(&self, line: Line) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.lose();
        }
    }

    /// Counts a line as lost that found no room on its way here.
    pub fn lose(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines that were lost: the queue or the disk was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Opens the file anew by its name, after it was moved away. If that fails the old one is kept and the log says so.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.look();
    }

    fn look(&self) {
        // A full queue has a thread that looks before it waits again.
        let _ = self.lines.try_send(Message::Look);
    }
}

impl Writer {
    /// From now on another file is begun before a line would make this one larger than `at` bytes, and `keep` older ones,
    /// at least one, are kept beside it: `PATH.1` is the newest of them. `None` for never. A file that cannot be put aside
    /// is written on, and the log says so.
    pub fn rotate(&self, at: Option<u32>, keep: u32) {
        let shared = &self.export.shared;
        shared.keep.store(keep, Ordering::Relaxed);
        shared.rotate_at.store(at.map_or(0, u64::from), Ordering::Release);
    }

    /// Ends the thread once what waits is written; false if that took longer than `limit`.
    #[must_use]
    pub fn finish(self, limit: Duration) -> bool {
        self.export.shared.stop.store(true, Ordering::Release);
        self.export.look();
        self.ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }
}
