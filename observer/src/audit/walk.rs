//! Going along a chain, line by line.

use std::{
    collections::HashSet,
    fmt,
    io::{self, BufRead, Read as _},
};

use serde::Deserialize;

use super::{
    chain::{self, AuditKey, Link},
    entry::{BEGIN, COMPLETED, KILLED, LINE_MAX, RECOVERED_TORN, SPAWN},
};

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be read.
    Unreadable(String),
    /// There is none.
    Empty,
    /// It is none of this log's.
    NotALine(String),
    /// It breaks off, so many bytes long, where only the last line of the newest file may.
    Torn {
        /// Its length.
        bytes: u64,
    },
    /// It is not the beginning of a file, and stands there.
    NoBegin,
    /// It is the beginning of a file, and stands in the middle.
    Begin,
    /// Its chain has a key and none was given, or the other way round.
    Key {
        /// Whether it has one.
        keyed: bool,
    },
    /// Its number does not follow.
    Sequence {
        /// The number that follows.
        expected: u64,
        /// Its number.
        found: u64,
    },
    /// It names another link before it.
    Prev,
    /// Its own link is not what its text hashes to.
    Link,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Empty => f.write_str("holds no whole line, and an audit log is never empty"),
            Self::NotALine(why) => write!(f, "not a line of an audit log: {why}"),
            Self::Torn { bytes } => {
                write!(f, "torn after {bytes} bytes, where only the last line of the newest file can be")
            }
            Self::NoBegin => f.write_str("a file begins with `begin`: lines before this one are missing"),
            Self::Begin => f.write_str("`begin` in the middle of a file"),
            Self::Key { keyed: true } => f.write_str("the chain is keyed: it needs the observer's key file"),
            Self::Key { keyed: false } => f.write_str("the chain is unkeyed, and a key was given"),
            Self::Sequence { expected, found } => {
                write!(f, "the sequence jumps: number {found} where {expected} belongs")
            }
            Self::Prev => f.write_str("prev differs: it follows another line than the one before it"),
            Self::Link => f.write_str("link differs: the line was changed, or another key made it"),
        }
    }
}

/// The first line that breaks a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Broken {
    /// Its place in the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// A last line without its end, as a crash leaves it, or as another process sees one that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its place in the file, from 1.
    pub line: u64,
    /// Its length.
    pub bytes: u64,
}

/// What a file's next line is.
pub(super) enum Piece<'a> {
    /// With its end.
    Whole(&'a [u8]),
    /// The last one, without its end.
    Cut(u64),
    /// Longer than any that was written here.
    Endless,
}

/// The lines of a file.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Lines read.
    pub(super) count: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), count: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, Broken> {
        self.line.clear();
        self.count += 1;
        let read = self.reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut self.line);
        let length = read.map_err(|error| self.fault(Fault::Unreadable(error.to_string())))?;
        Ok(match length {
            0 => None,
            _ if self.line.ends_with(b"\n") => Some(Piece::Whole(&self.line)),
            LINE_MAX.. => Some(Piece::Endless),
            _ => Some(Piece::Cut(length as u64)),
        })
    }

    /// Whether the line read last has its end.
    pub(super) fn is_whole(&self) -> bool {
        self.line.ends_with(b"\n")
    }

    /// The line read last.
    pub(super) fn into_line(self) -> Vec<u8> {
        self.line
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        self.reader.fill_buf().map(<[u8]>::is_empty)
    }

    /// That fault, in the line read last.
    pub(super) const fn fault(&self, fault: Fault) -> Broken {
        Broken { line: self.count, fault }
    }
}

pub(super) fn endless() -> Fault {
    Fault::NotALine(format!("it is longer than {LINE_MAX} bytes"))
}

/// What of a line its place in the chain depends on.
#[derive(Deserialize)]
struct Head<'a> {
    seq: u64,
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
    spawn: Option<u64>,
    outcome: Option<String>,
    #[serde(borrow)]
    prev: std::borrow::Cow<'a, str>,
}

/// Somebody on the way along a chain.
pub(super) struct Walk<'k> {
    key: &'k AuditKey,
    /// The link before the first line.
    pub(super) before: Option<Link>,
    /// The link of the newest line.
    pub(super) last: Option<Link>,
    /// Lines passed.
    pub(super) lines: u64,
    /// Torn lines that were set aside.
    pub(super) recovered: u64,
    /// Spawns that had no end so far.
    pub(super) running: HashSet<u64>,
    /// The next line is the first of a file.
    opening: bool,
    sought: Option<Link>,
    /// The link of the number that is sought.
    pub(super) met: Option<Link>,
}

impl<'k> Walk<'k> {
    /// Sets out. Where nothing is said of the link before the first line, it is what that line says.
    pub(super) fn new(key: &'k AuditKey, before: Option<Link>) -> Self {
        Self {
            key,
            before,
            last: before,
            lines: 0,
            recovered: 0,
            running: HashSet::new(),
            opening: true,
            sought: None,
            met: None,
        }
    }

    /// Keeps the link of the same number for [`Self::met`].
    pub(super) const fn seek(&mut self, link: Option<Link>) {
        self.sought = link;
    }

    /// The next line is to be the first of a file.
    pub(super) const fn open_file(&mut self) {
        self.opening = true;
    }

    /// Goes through a whole file. A torn last line is told where `newest`, and a fault otherwise.
    pub(super) fn file(&mut self, reader: impl BufRead, newest: bool) -> Result<Option<Torn>, Broken> {
        let mut lines = Lines::new(reader);
        self.open_file();
        while let Some(piece) = lines.next()? {
            let fault = match piece {
                Piece::Whole(line) => self.step(line).err(),
                Piece::Cut(bytes) if newest && !self.opening => return Ok(Some(Torn { line: lines.count, bytes })),
                Piece::Cut(_) if newest => Some(Fault::Empty),
                Piece::Cut(bytes) => Some(Fault::Torn { bytes }),
                Piece::Endless => Some(endless()),
            };
            if let Some(fault) = fault {
                return Err(lines.fault(fault));
            }
        }
        if self.opening { Err(lines.fault(Fault::Empty)) } else { Ok(None) }
    }

    /// Passes a whole line, if it is the one that follows.
    pub(super) fn step(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (open, hash) = chain::split(line).ok_or_else(|| Fault::NotALine("it does not end with its link".into()))?;
        let text = [open, b"}"].concat();
        let head: Head<'_> = serde_json::from_slice(&text).map_err(|error| Fault::NotALine(error.to_string()))?;
        let begins = head.event == BEGIN;
        if begins != self.opening {
            return Err(if begins { Fault::Begin } else { Fault::NoBegin });
        }
        let other = if self.key.is_keyed() { "unkeyed" } else { "keyed" };
        if begins && head.outcome.as_deref() == Some(other) {
            return Err(Fault::Key { keyed: !self.key.is_keyed() });
        }
        let prev = chain::hash(head.prev.as_bytes()).ok_or(Fault::Prev)?;
        let before = match self.last {
            Some(last) => last,
            None if head.seq <= 1 => Link::START,
            None => Link { seq: head.seq - 1, hash: prev },
        };
        let link = before.next(self.key, open);
        if head.seq != link.seq {
            return Err(Fault::Sequence { expected: link.seq, found: head.seq });
        }
        if prev != before.hash {
            return Err(Fault::Prev);
        }
        if hash != link.hash {
            return Err(Fault::Link);
        }
        self.pass(&head, before, link);
        Ok(())
    }

    fn pass(&mut self, head: &Head<'_>, before: Link, link: Link) {
        self.before.get_or_insert(before);
        self.last = Some(link);
        self.lines += 1;
        self.opening = false;
        if let Some(sought) = self.sought {
            let here = [before, link].into_iter().find(|here| here.seq == sought.seq);
            self.met = self.met.or(here);
        }
        match (head.event.as_ref(), head.spawn) {
            (SPAWN, _) => {
                self.running.insert(link.seq);
            }
            (COMPLETED | KILLED, Some(spawn)) => {
                self.running.remove(&spawn);
            }
            (RECOVERED_TORN, _) => self.recovered += 1,
            _ => {}
        }
    }
}
