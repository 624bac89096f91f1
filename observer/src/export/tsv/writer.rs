//! The writing thread.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
};

use super::{Line, Message, Payload, Shared, open_file};

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
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// What a failed write has left of the line that it cut; comes first in the next one.
    cut: Vec<u8>,
    condition: Condition,
    lost_told: u64,
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
                self.file = file;
                let torn = !std::mem::take(&mut self.cut).is_empty();
                self.shared.lost.fetch_add(u64::from(torn), Ordering::Relaxed);
                tracing::info!(path = %self.path.display(), "the event file is open anew");
            }
            Err(error) => tracing::warn!("{error}; events go on into the file that was open"),
        }
    }
}

impl<W: Write> Writing<W> {
    pub(super) fn new(path: PathBuf, file: W, shared: Arc<Shared>) -> Self {
        let (buffer, cut) = (Vec::with_capacity(GATHERED), Vec::new());
        Self { path, file, shared, buffer, cut, condition: Condition::Writing, lost_told: 0 }
    }

    /// Writes what was gathered; what the disk refuses is lost and counted, by whole lines. `drained`: nothing waits.
    fn write(&mut self, drained: bool) {
        if self.buffer.is_empty() {
            return;
        }
        let before = self.cut.len();
        let mut bytes = std::mem::take(&mut self.cut);
        bytes.append(&mut self.buffer);
        let (written, failed) = write_some(&mut self.file, &bytes);
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

    /// A disk with so much room.
    struct Disk {
        room: usize,
        held: Vec<u8>,
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
        Writing::new("disk".into(), Disk { room, held: Vec::new() }, Arc::default())
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
