//! Opening a log: what is there is checked, and gone on with.

use std::{
    fs::File,
    io::{self, BufReader},
};

use varta_core::WallNs;

use super::{
    Audit, AuditError,
    chain::{AuditKey, Link},
    entry::{Fields, LINE_MAX},
    files::{KEPT, Place},
    walk::{Broken, Fault, Lines, Piece, Walk, endless},
};

/// What the newest file holds.
#[derive(Default)]
struct Found {
    /// How long its whole lines are.
    length: u64,
    /// How long the first of them is.
    first: u64,
    /// What follows them.
    torn: Vec<u8>,
}

pub(super) fn open(place: Place, key: AuditKey, rotate_at: u64, at: WallNs) -> Result<Audit, AuditError> {
    let mut walk = Walk::new(&key, None);
    let older = (1..=KEPT).find_map(|number| place.get(number).map(|file| file.map(|file| (number, file))).transpose());
    if let Some((number, file)) = older.transpose()? {
        let whole = walk.file(BufReader::new(file), false);
        whole.map_err(|broken| AuditError::Broken { file: place.name(number), broken })?;
    }
    let newest = place.get(0)?;
    let found = match &newest {
        Some(file) => newest_file(&mut walk, file),
        None => Ok(Found::default()),
    };
    let found = found.map_err(|broken| AuditError::Broken { file: place.name(0), broken })?;
    let link = walk.last.unwrap_or(Link::START);
    let refused = |error| AuditError::Io { file: place.name(0), error };
    let said = match found.torn.as_slice() {
        [] => None,
        torn => Some(place.set_aside(torn).map_err(refused)?),
    };
    let mut audit = match newest.filter(|_| found.length > 0) {
        Some(file) => {
            let Found { length, first, .. } = found;
            Audit { place, key, rotate_at, file, length, first, spilled: false, link }
        }
        None => begin(place, key, rotate_at, link, at)?,
    };
    if let Some(said) = said {
        audit.tell_torn(at, said)?;
    }
    Ok(audit)
}

impl Audit {
    /// Writes over the torn line that it was set aside. A crash meanwhile leaves a torn line again.
    fn tell_torn(&mut self, at: WallNs, said: String) -> Result<(), AuditError> {
        let (line, link) = Fields::recovered_torn(at, said).line(&self.link, &self.key);
        let length = self.length + line.len() as u64;
        let written = self.place.write(&self.file, &line, self.length);
        written.and_then(|()| self.place.cut(&self.file, length)).map_err(|error| self.refused(error))?;
        (self.length, self.link) = (length, link);
        Ok(())
    }
}

/// A log's first file, or the one that a crash kept a rotation from making; also in place of one without a whole line.
fn begin(place: Place, key: AuditKey, rotate_at: u64, before: Link, at: WallNs) -> Result<Audit, AuditError> {
    let (line, link) = Fields::begin(at, &key).line(&before, &key);
    let made = place.prepare(&line).and_then(|file| place.put_in_force(&place.name(0)).map(|()| file));
    let file = made.map_err(|error| AuditError::Io { file: place.name(0), error })?;
    let length = line.len() as u64;
    Ok(Audit { place, key, rotate_at, file, length, first: length, spilled: false, link })
}

/// Goes through the newest file. What a crash can have left of its last line is found to be torn: a line without its end,
/// and one whose text is not what was written, but never the first, which was durable before the file had its name.
fn newest_file(walk: &mut Walk<'_>, file: &File) -> Result<Found, Broken> {
    let unreadable = |error: io::Error| Fault::Unreadable(error.to_string());
    let mut lines = Lines::new(BufReader::new(file));
    let mut found = Found::default();
    walk.open_file();
    while let Some(piece) = lines.next()? {
        let (length, fault) = match piece {
            Piece::Whole(line) => (line.len() as u64, walk.step(line).err()),
            Piece::Cut(bytes) => (bytes, None),
            Piece::Endless => (LINE_MAX as u64, Some(endless())),
        };
        let at_end = lines.is_at_end().map_err(|error| lines.fault(unreadable(error)))?;
        let torn = match fault {
            None => !lines.is_whole(),
            Some(Fault::NotALine(_) | Fault::Link) if at_end && lines.count > 1 && lines.is_whole() => true,
            Some(fault) => return Err(lines.fault(fault)),
        };
        if torn {
            return Ok(Found { torn: lines.into_line(), ..found });
        }
        found.length += length;
        if lines.count == 1 {
            found.first = length;
        }
    }
    Ok(found)
}
