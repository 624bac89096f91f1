//! Rows of an export file, and one who follows it.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::clock;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A beat or a stall, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Nanoseconds of the observer's own time.
    pub(super) at: u64,
    kind: Kind,
    pub(super) pid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Beat,
    Stall,
}

impl Row {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let at = columns.next()?.parse().ok()?;
        let kind = match columns.next()? {
            "beat" => Kind::Beat,
            "stall" => Kind::Stall,
            _ => return None,
        };
        Some(Self { at, kind, pid: columns.next()?.parse().ok()? })
    }

    pub(super) fn is_beat(&self) -> bool {
        self.kind == Kind::Beat
    }

    pub(super) fn is_stall(&self) -> bool {
        self.kind == Kind::Stall
    }
}

/// A row as one who follows the file has read it, and when: time since boot.
pub(super) struct Read {
    pub(super) row: Row,
    pub(super) at: Duration,
}

/// Follows a file for its stalls, until nobody listens any more.
pub(super) fn follow(path: &Path) -> anyhow::Result<Receiver<Read>> {
    let mut file = File::open(path)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut text, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let Ok(len) = file.read(&mut buffer) else { return };
            if len == 0 {
                clock::pass(LOOK);
            }
            let at = clock::boottime();
            text.extend_from_slice(&buffer[..len]);
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = text.drain(..whole).collect();
            let rows = String::from_utf8_lossy(&lines).lines().filter_map(Row::parse).collect::<Vec<_>>();
            for row in rows.into_iter().filter(Row::is_stall) {
                if sender.send(Read { row, at }).is_err() {
                    return;
                }
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_and_stalls_are_rows() {
        let row = |line| Row::parse(line).map(|row| (row.at, row.is_beat(), row.is_stall(), row.pid));
        assert_eq!(row("7\tbeat\t42\t1\tok\t0"), Some((7, true, false, 42)));
        assert_eq!(row("8\tstall\t42\t1\tstall\t-"), Some((8, false, true, 42)));
        assert_eq!(row("9\tdecode\t-\t-\t-\tBadMagic"), None);
        assert_eq!(row("9\tbe"), None);
    }
}
