//! The writing thread.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
};

use super::{Line, Message, Payload, Shared, open_file, rotate::Sink};

/// Bytes gathered before they are written.
const GATHERED: usize = 64 * 1024;

/// How it goes; said when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Writing,
    /// Lines do not fit into the queue.
    Slow,
    Failing,
}

pub(super) struct Writing<W = File> {
    path: PathBuf,
    file: W,
    /// Bytes in it; none of what has no size.
    size: Option<u64>,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// What a failed write has left of the line that it cut; comes first in the next one.
    cut: Vec<u8>,
    condition: Condition,
    lost_told: u64,
    /// Whether the newest rotation failed, which was told.
    stuck: bool,
}

impl Writing<File> {
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        loop {
            // Read before the queue is emptied: what was put in before the stop is written.
            let stop = self.is_stopping();
            while let Ok(message) = queue.try_recv() {
                self.take(message);
            }
            self.write(true);
            self.look();
            if stop {
                return;
            }
            // A stop from here on finds room for its message, or leaves a full queue; neither lets this wait.
            if !self.is_stopping() {
                let Ok(message) = queue.recv() else { return };
                self.take(message);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => render(&line, &mut self.buffer),
            Message::Look => {}
        }
        if self.buffer.len() >= GATHERED {
            self.write(false);
            self.look();
        }
    }

    fn look(&mut self) {
        if !self.shared.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        match open_file(&self.path) {
            Ok(file) => {
                self.size = file.size();
                self.file = file;
                let torn = !std::mem::take(&mut self.cut).is_empty();
                self.shared.lost.fetch_add(u64::from(torn), Ordering::Relaxed);
                tracing::info!(path = %self.path.display(), "the event file is open anew");
            }
            Err(error) => tracing::warn!("{error}; events go on into the file that was open"),
        }
    }
}

impl<W: Sink> Writing<W> {
    pub(super) fn new(path: PathBuf, file: W, shared: Arc<Shared>) -> Self {
        let (buffer, cut) = (Vec::with_capacity(GATHERED), Vec::new());
        let size = file.size();
        Self { path, file, size, shared, buffer, cut, condition: Condition::Writing, lost_told: 0, stuck: false }
    }

    /// Writes what was gathered; what the disk refuses is lost and counted, by whole lines. `drained`: nothing waits.
    fn write(&mut self, drained: bool) {
        if self.buffer.is_empty() {
            return;
        }
        let before = self.cut.len();
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.append(&mut self.buffer);
        let (written, failed) = self.write_parts(&bytes, before);
        if let Some(error) = failed {
            self.lose(&bytes, written, before);
            self.enter(Condition::Failing, Some(&error));
        } else {
            let full = self.shared.lost.load(Ordering::Relaxed) > self.lost_told;
            let slow = full || (self.condition == Condition::Slow && !drained);
            self.enter(if slow { Condition::Slow } else { Condition::Writing }, None);
        }
        bytes.clear();
        self.buffer = bytes;
    }

    /// Writes `bytes`, of which the first `begun` go on with a line that the file holds the beginning of, to as many files as
    /// they fill; how many were written.
    fn write_parts(&mut self, bytes: &[u8], begun: usize) -> (usize, Option<io::Error>) {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let mut fits = self.fitting(rest, written < begun);
            if fits == 0 && !self.rotate() {
                fits = rest.len();
            }
            let part = rest.get(..fits).unwrap_or(rest);
            let (count, failed) = write_some(&mut self.file, part);
            written += count;
            self.size = self.size.map(|size| size + count as u64);
            if failed.is_some() {
                return (written, failed);
            }
        }
        (written, None)
    }

    /// The bytes of `rest`, by whole lines, that belong into this file; `begun` says that the first must. An empty file
    /// takes one line, whatever its length.
    fn fitting(&self, rest: &[u8], begun: bool) -> usize {
        let at = self.shared.rotate_at.load(Ordering::Acquire);
        let Some(size) = self.size.filter(|_| at > 0) else { return rest.len() };
        let room = usize::try_from(at.saturating_sub(size)).unwrap_or(usize::MAX);
        let is_end = |byte: &u8| *byte == b'\n';
        match rest.get(..room) {
            None => rest.len(),
            Some(fitting) => match fitting.iter().rposition(is_end) {
                Some(end) => end + 1,
                None if begun || size == 0 => rest.iter().position(is_end).map_or(rest.len(), |end| end + 1),
                None => 0,
            },
        }
    }

    /// Begins another file; false if the old one is to be written on.
    fn rotate(&mut self) -> bool {
        let keep = self.shared.keep.load(Ordering::Relaxed).max(1);
        let path = self.path.display();
        match self.file.successor(&self.path, keep) {
            Ok(file) => {
                self.size = file.size();
                self.file = file;
                if std::mem::take(&mut self.stuck) {
                    tracing::info!(%path, "the event file is put aside again where it is full");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.stuck, true) {
                    tracing::warn!(%path, "the event file is full and cannot be put aside: {error}; it is written on until that is mended");
                }
                false
            }
        }
    }

    /// Counts the lines of `bytes` of which nothing is in the file, and keeps the rest of the one that was cut; of that,
    /// `before` bytes came from an earlier write.
    fn lose(&mut self, bytes: &[u8], written: usize, before: usize) {
        let rest = bytes.get(written..).unwrap_or_default();
        let cut = written < before || (written > 0 && bytes.get(written - 1) != Some(&b'\n'));
        let (kept, lost) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) if cut => rest.split_at(end + 1),
            _ => (&[] as &[u8], rest),
        };
        self.cut = kept.to_vec();
        let lines = lost.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.shared.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn enter(&mut self, condition: Condition, error: Option<&io::Error>) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let path = self.path.display();
        match (self.condition, condition, error) {
            (Condition::Failing, Condition::Failing, _) => {}
            (_, Condition::Failing, Some(error)) => {
                tracing::warn!(%path, "the event file cannot be written: {error}; events are lost to it until that is mended");
            }
            (Condition::Writing, Condition::Slow, _) => {
                tracing::warn!(%path, lost, "the event file is too slow: events are lost to it");
            }
            (Condition::Failing | Condition::Slow, Condition::Writing | Condition::Slow, _)
                if self.condition != condition =>
            {
                tracing::info!(%path, lost, "the event file is written again");
            }
            _ => {}
        }
        self.condition = condition;
        self.lost_told = lost;
    }
}

/// Writes until all is written or an error comes; how much was.
fn write_some(file: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn render(line: &Line, out: &mut Vec<u8>) {
    let _ = write!(out, "{}\t{}\t", line.at, line.kind);
    let _ = match line.pid {
        Some(pid) => write!(out, "{pid}\t"),
        None => write!(out, "-\t"),
    };
    let _ = match line.nonce {
        Some(nonce) => write!(out, "{nonce}\t"),
        None => write!(out, "-\t"),
    };
    let _ = write!(out, "{}\t", line.status.unwrap_or("-"));
    match &line.payload {
        Payload::Empty => out.push(b'-'),
        Payload::Number(payload) => {
            let _ = write!(out, "{payload}");
        }
        Payload::Text(text) => {
            let spaced = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
            let _ = write!(out, "{}", spaced.collect::<String>());
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room, and whether another file may be begun.
    struct Disk {
        room: usize,
        held: Vec<u8>,
        before: Vec<Vec<u8>>,
        refuses: bool,
    }

    impl Sink for Disk {
        fn size(&self) -> Option<u64> {
            Some(self.held.len() as u64)
        }

        fn successor(&self, _: &std::path::Path, keep: u32) -> Result<Self, String> {
            if self.refuses {
                return Err("no".to_owned());
            }
            let before = std::iter::once(&self.held).chain(&self.before).take(keep as usize).cloned().collect();
            Ok(Self { room: self.room, held: Vec::new(), before, refuses: false })
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            self.held.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writing(room: usize) -> Writing<Disk> {
        let disk = Disk { room, held: Vec::new(), before: Vec::new(), refuses: false };
        Writing::new("disk".into(), disk, Arc::default())
    }

    fn lost(writing: &Writing<Disk>) -> u64 {
        writing.shared.lost.load(Ordering::Relaxed)
    }

    #[test]
    fn rows_have_six_columns_and_one_line() {
        let mut out = Vec::new();
        render(&Line::new(5, "decode"), &mut out);
        let full = Line {
            at: 7,
            kind: "beat",
            pid: Some(42),
            nonce: Some(u64::MAX),
            status: Some("ok"),
            payload: Payload::Number(9),
        };
        render(&full, &mut out);
        render(&Line { payload: Payload::Text("a\tb\nc".into()), ..Line::new(8, "io") }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "5\tdecode\t-\t-\t-\t-\n7\tbeat\t42\t18446744073709551615\tok\t9\n8\tio\t-\t-\t-\ta b c\n");
    }

    #[test]
    fn a_full_disk_costs_whole_lines_and_leaves_none_torn() {
        let mut writing = writing(6);
        writing.buffer.extend(b"aaa\nbbb\nccc\nddd\n");
        writing.write(true);
        assert_eq!(writing.file.held, b"aaa\nbb");
        assert_eq!(lost(&writing), 2, "of the cut line the rest is kept");
        assert!(writing.condition == Condition::Failing);
        writing.buffer.extend(b"eee\n");
        writing.write(true);
        assert_eq!(lost(&writing), 3);
        writing.file.room = 1;
        writing.buffer.extend(b"fff\n");
        writing.write(true);
        assert_eq!((writing.file.held.as_slice(), lost(&writing)), (b"aaa\nbbb".as_slice(), 4));
        writing.file.room = 100;
        writing.buffer.extend(b"ggg\n");
        writing.write(true);
        assert_eq!((writing.file.held.as_slice(), lost(&writing)), (b"aaa\nbbb\nggg\n".as_slice(), 4));
        assert!(writing.condition == Condition::Writing);
    }

    #[test]
    fn a_disk_without_any_room_loses_every_line() {
        let mut writing = writing(0);
        writing.buffer.extend(b"aaa\nbbb\n");
        writing.write(true);
        assert_eq!((lost(&writing), writing.cut.len()), (2, 0));
    }

    fn rotating(room: usize, at: u64, keep: u32) -> Writing<Disk> {
        let writing = writing(room);
        writing.shared.rotate_at.store(at, Ordering::Release);
        writing.shared.keep.store(keep, Ordering::Relaxed);
        writing
    }

    fn files(writing: &Writing<Disk>) -> Vec<&str> {
        let files = writing.file.before.iter().rev().chain([&writing.file.held]);
        files.map(|file| str::from_utf8(file).unwrap()).collect()
    }

    #[test]
    fn a_full_file_is_followed_by_another_between_two_lines() {
        let mut writing = rotating(100, 8, 2);
        writing.buffer.extend(b"aaa\nbbb\nccc\ndd\n");
        writing.write(true);
        assert_eq!(files(&writing), ["aaa\nbbb\n", "ccc\ndd\n"]);
        writing.buffer.extend(b"longer than a file\ne\n");
        writing.write(true);
        assert_eq!(files(&writing), ["ccc\ndd\n", "longer than a file\n", "e\n"], "the oldest is gone");
        writing.shared.rotate_at.store(0, Ordering::Release);
        writing.buffer.extend(b"ffffffffffff\n");
        writing.write(true);
        assert_eq!(*files(&writing).last().unwrap(), "e\nffffffffffff\n");
        assert_eq!(lost(&writing), 0);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_written_on_until_it_can() {
        let mut writing = rotating(100, 4, 9);
        writing.file.refuses = true;
        writing.buffer.extend(b"aaa\nbbb\nccc\n");
        writing.write(true);
        assert_eq!((files(&writing), writing.stuck), (vec!["aaa\nbbb\nccc\n"], true));
        writing.file.refuses = false;
        writing.buffer.extend(b"ddd\n");
        writing.write(true);
        assert_eq!((files(&writing), writing.stuck), (vec!["aaa\nbbb\nccc\n", "ddd\n"], false));
        assert_eq!(lost(&writing), 0);
    }

    #[test]
    fn a_line_that_a_full_disk_cut_ends_in_the_file_that_it_began_in() {
        let mut writing = rotating(6, 4, 9);
        writing.buffer.extend(b"aaa\nbbb\nccc\n");
        writing.write(true);
        assert_eq!((files(&writing), lost(&writing)), (vec!["aaa\n", "bb"], 1));
        writing.file.room = 100;
        writing.shared.rotate_at.store(1, Ordering::Release);
        writing.buffer.extend(b"d\n");
        writing.write(true);
        assert_eq!((files(&writing), lost(&writing)), (vec!["aaa\n", "bbb\n", "d\n"], 1));
    }

    #[test]
    fn lines_that_found_the_queue_full_make_it_slow_once() {
        let mut writing = writing(100);
        writing.shared.lost.store(3, Ordering::Relaxed);
        writing.buffer.extend(b"aaa\n");
        writing.write(true);
        assert!(writing.condition == Condition::Slow);
        writing.buffer.extend(b"bbb\n");
        writing.write(false);
        assert!(writing.condition == Condition::Slow, "more is waiting");
        writing.buffer.extend(b"ccc\n");
        writing.write(true);
        assert!(writing.condition == Condition::Writing);
    }
}
