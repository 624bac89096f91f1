//! How records lie in `slots` and `journal`: a header, then batches of records, in `slots` then a trailer.
//!
//! ```text
//! header   magic 8 ‖ version u32 ‖ 0 u32 ‖ snapshot u64 ‖ roster version u64 ‖ 0 .. ‖ crc u32      64 bytes
//! batch    crc u32 ‖ length u32 ‖ records                                the crc covers all after it
//! trailer  magic 8 ‖ records u64 ‖ journal u64 ‖ chain u32 ‖ crc u32      32 bytes
//! ```
//!
//! A snapshot and the journal that goes with it have the same number. The trailer says how much of that journal was
//! durable when the snapshot was; the chain is a CRC over the CRCs of all batches, in order.

use std::{ops::Range, thread};

use varta_core::Saved;
use varta_vlp::crc::crc32c;

use super::record;

/// The format that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
pub(super) const SLOTS_MAGIC: [u8; 8] = *b"VARTASLT";
pub(super) const JOURNAL_MAGIC: [u8; 8] = *b"VARTAJNL";
const TRAILER_MAGIC: [u8; 8] = *b"VARTAEND";
pub(super) const HEADER_LEN: usize = 64;
pub(super) const TRAILER_LEN: usize = 32;
const BATCH_HEADER_LEN: usize = 8;
/// A batch is closed once it is longer than this.
const BATCH_FULL: usize = 256 * 1024;
/// No batch is longer: [`BATCH_FULL`] and one record more.
const BATCH_MAX: usize = BATCH_FULL + 64 * 1024;

/// A file is checked by one thread more for so many batches.
const WORKER_MIN: usize = 64;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) snapshot: u64,
    pub(super) roster_version: u64,
}

/// What the end of a snapshot says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) records: u64,
    /// How long the journal of the same number was, and durable.
    pub(super) journal_len: u64,
    pub(super) chain: u32,
}

/// Why a file cannot be taken as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A newer version wrote it.
    Newer(u32),
    /// It is not what was written.
    Corrupt(String),
}

pub(super) fn corrupt(what: impl Into<String>) -> Unreadable {
    Unreadable::Corrupt(what.into())
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..)?.first_chunk().copied()
}

fn long(bytes: &[u8], place: usize) -> u64 {
    at(bytes, place).map_or(0, u64::from_le_bytes)
}

fn word(bytes: &[u8], place: usize) -> u32 {
    at(bytes, place).map_or(0, u32::from_le_bytes)
}

/// Makes the last four bytes the CRC of the others.
pub(super) fn seal(bytes: &mut [u8]) {
    if let Some((body, crc)) = bytes.split_last_chunk_mut() {
        *crc = crc32c(body).to_le_bytes();
    }
}

fn sealed<const N: usize>(words: [u64; 4]) -> [u8; N] {
    let mut bytes = [0; N];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    seal(&mut bytes);
    bytes
}

/// Whether the last four bytes are the CRC of the others.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.split_last_chunk().is_some_and(|(body, crc)| crc32c(body) == u32::from_le_bytes(*crc))
}

impl Header {
    pub(super) fn encode(self, magic: [u8; 8]) -> [u8; HEADER_LEN] {
        sealed([u64::from_le_bytes(magic), u64::from(VERSION), self.snapshot, self.roster_version])
    }

    pub(super) fn decode(bytes: &[u8], magic: [u8; 8]) -> Result<Self, Unreadable> {
        let header: [u8; HEADER_LEN] = at(bytes, 0).ok_or_else(|| corrupt("it is shorter than its header"))?;
        if !is_sealed(&header) {
            return Err(corrupt("its header fails its checksum"));
        }
        if !header.starts_with(&magic) {
            return Err(corrupt("it is another kind of file"));
        }
        match word(&header, 8) {
            VERSION => Ok(Self { snapshot: long(&header, 16), roster_version: long(&header, 24) }),
            newer if newer > VERSION => Err(Unreadable::Newer(newer)),
            _ => Err(corrupt("its version was never written")),
        }
    }
}

impl Trailer {
    pub(super) fn encode(self) -> [u8; TRAILER_LEN] {
        sealed([u64::from_le_bytes(TRAILER_MAGIC), self.records, self.journal_len, u64::from(self.chain)])
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.len() == TRAILER_LEN && is_sealed(bytes) && bytes.starts_with(&TRAILER_MAGIC);
        whole.then(|| Self { records: long(bytes, 8), journal_len: long(bytes, 16), chain: word(bytes, 24) })
    }

    /// Takes one more batch into account, of which this is the CRC.
    pub(super) fn add(&mut self, records: usize, crc: u32) {
        self.records += records as u64;
        let link: [u8; 8] = (u64::from(self.chain) << 32 | u64::from(crc)).to_le_bytes();
        self.chain = crc32c(&link);
    }
}

/// Appends `records` to `out` in batches. `told` hears of each how many records and which CRC it has.
pub(super) fn write(records: &[Saved], out: &mut Vec<u8>, mut told: impl FnMut(usize, u32)) {
    let mut rest = records;
    while !rest.is_empty() {
        let start = out.len();
        let body = start + BATCH_HEADER_LEN;
        out.resize(body, 0);
        let mut count = 0;
        for saved in rest {
            record::encode(saved, out);
            count += 1;
            if out.len() - body > BATCH_FULL {
                break;
            }
        }
        rest = rest.get(count..).unwrap_or(&[]);
        let length = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start + 4..body) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let crc = crc32c(out.get(start + 4..).unwrap_or(&[]));
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        told(count, crc);
    }
}

/// Where batches lie in a file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The records of every whole batch.
    pub(super) good: Vec<Range<usize>>,
    /// Up to where there are whole batches and nothing else.
    pub(super) end: usize,
    /// What is wrong at `end`, if the file goes on there.
    pub(super) broken: Option<String>,
    /// Records and chain of the whole batches.
    pub(super) sum: Trailer,
}

/// Reads the batches in `bytes` from `start` on, every record of them. What is broken is passed over where its length
/// allows.
pub(super) fn scan(bytes: &[u8], start: usize) -> Scan {
    let (batches, cut) = lay_out(bytes, start);
    let mut scan = Scan { end: start, ..Scan::default() };
    for (batch, checked) in batches.iter().zip(check_all(bytes, &batches)) {
        match checked {
            Ok((count, crc)) => {
                scan.sum.add(count, crc);
                scan.good.push(batch.start + BATCH_HEADER_LEN..batch.end);
            }
            Err(what) => {
                scan.broken.get_or_insert_with(|| format!("{what} at byte {}", batch.start));
            }
        }
        if scan.broken.is_none() {
            scan.end = batch.end;
        }
    }
    if let Some((what, place)) = cut {
        scan.broken.get_or_insert_with(|| format!("{what} at byte {place}"));
    }
    scan
}

/// Where batches lie by their lengths, and where and why that ends before the file does.
fn lay_out(bytes: &[u8], start: usize) -> (Vec<Range<usize>>, Option<(&'static str, usize)>) {
    let (mut batches, mut place) = (Vec::new(), start);
    while place < bytes.len() {
        let body = place + BATCH_HEADER_LEN;
        let length = word(bytes, place + 4) as usize;
        if bytes.len() >= body && (length == 0 || length > BATCH_MAX) {
            return (batches, Some(("a batch has an impossible length", place)));
        }
        if bytes.len() < body + length {
            return (batches, Some(("a batch is cut off", place)));
        }
        batches.push(place..body + length);
        place = body + length;
    }
    (batches, None)
}

/// How many records a batch has and its CRC, or what is wrong with it.
type Checked = Result<(usize, u32), String>;

/// Checks every batch; where there are many, on several threads.
fn check_all(bytes: &[u8], batches: &[Range<usize>]) -> Vec<Checked> {
    let workers = batches.len() / WORKER_MIN;
    let workers = if workers > 1 { thread::available_parallelism().map_or(1, usize::from).min(workers) } else { 1 };
    if workers == 1 {
        return batches.iter().map(|batch| check(bytes, batch)).collect();
    }
    // In turn, one each: batches of slots, which come last, are longer than those of agents.
    let part = |number| -> Vec<Checked> {
        batches.iter().skip(number).step_by(workers).map(|batch| check(bytes, batch)).collect()
    };
    let mut parts: Vec<_> = thread::scope(|scope| {
        let spawn = |number| thread::Builder::new().spawn_scoped(scope, move || part(number)).map_err(|_| number);
        let working: Vec<_> = (0..workers).map(spawn).collect();
        let join =
            |worker: Result<thread::ScopedJoinHandle<'_, Vec<Checked>>, _>| match worker.map(|worker| worker.join()) {
                Ok(Ok(checked)) => checked.into_iter(),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // Without a thread it is done here.
                Err(number) => part(number).into_iter(),
            };
        working.into_iter().map(join).collect()
    });
    (0..batches.len()).filter_map(|place| parts.get_mut(place % workers)?.next()).collect()
}

fn check(bytes: &[u8], batch: &Range<usize>) -> Checked {
    let crc = word(bytes, batch.start);
    if crc32c(bytes.get(batch.start + 4..batch.end).unwrap_or(&[])) != crc {
        return Err("a batch fails its checksum".into());
    }
    let mut rest = bytes.get(batch.start + BATCH_HEADER_LEN..batch.end).unwrap_or(&[]);
    let mut count = 0;
    while let Some(record) = record::check(&mut rest) {
        record.map_err(|malformed| malformed.to_string())?;
        count += 1;
    }
    Ok((count, crc))
}

/// Reads a whole snapshot. With what is wrong comes whatever could be read.
pub(super) fn read_snapshot(bytes: &[u8]) -> (Scan, Result<(Header, Trailer), Unreadable>) {
    let header = Header::decode(bytes, SLOTS_MAGIC);
    let (batches, trailer) = match bytes.split_at_checked(bytes.len().saturating_sub(TRAILER_LEN).max(HEADER_LEN)) {
        Some((batches, trailer)) => (batches, Trailer::decode(trailer)),
        None => (bytes, None),
    };
    let batches = if trailer.is_some() { batches } else { bytes };
    let scan = scan(batches, HEADER_LEN.min(batches.len()));
    let judged = header.and_then(|header| match (&scan.broken, trailer) {
        (Some(what), _) => Err(corrupt(what.clone())),
        (None, None) => Err(corrupt("its end is missing")),
        (None, Some(trailer)) if (trailer.records, trailer.chain) != (scan.sum.records, scan.sum.chain) => {
            Err(corrupt("parts of it are missing"))
        }
        (None, Some(trailer)) => Ok((header, trailer)),
    });
    (scan, judged)
}
