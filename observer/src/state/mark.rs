//! The mark: one block that says how far the observer got, overwritten in place.

use varta_core::{MonoNs, WallNs};

use super::{
    Boot,
    batch::{self, Unreadable, VERSION, corrupt},
};

/// Length of the file.
pub(super) const BLOCK_LEN: usize = 4096;
/// What a disk writes whole or not at all; a mark fits.
const SECTOR_LEN: usize = 512;
/// Two equal copies, each in a sector of its own, written at once. If the power fails meanwhile, some sectors are new, some
/// are old, and one may be neither: at least one copy is whole, and if it is the old one, the write had not completed
/// and nothing relied on it yet. A copy that decays later leaves the other.
const COPIES: [usize; 2] = [0, 2048];
const MAGIC: [u8; 8] = *b"VARTAMRK";
const CLEAN: u32 = 1;

/// How far the observer got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// One more with each write.
    pub(super) sequence: u64,
    /// It was stopped, and its files hold exactly what it knew.
    pub(super) clean: bool,
    /// Nothing sent later than this was accepted.
    pub(super) horizon: WallNs,
    /// The barrier that was in force at a clean stop.
    pub(super) barrier: WallNs,
    /// Blind time that adds up, nanoseconds.
    pub(super) blind_run: u64,
    /// The newest roster that was in force.
    pub(super) roster_version: u64,
    /// The boot of this host.
    pub(super) boot: Boot,
    /// When it was written, on the timeline of that boot.
    pub(super) mono: MonoNs,
    /// When it was written.
    pub(super) wall: WallNs,
    /// The snapshot it goes with.
    pub(super) snapshot: u64,
    /// How long that snapshot's journal was, and durable.
    pub(super) journal_len: u64,
    /// Of that snapshot, where clean.
    pub(super) records: u64,
    /// Of that snapshot, where clean.
    pub(super) chain: u32,
}

impl Mark {
    /// The whole block.
    pub(super) fn block(&self) -> [u8; BLOCK_LEN] {
        let mut copy = [0; SECTOR_LEN];
        let flags = if self.clean { CLEAN } else { 0 };
        let words = [
            self.sequence,
            self.horizon.0,
            self.barrier.0,
            self.blind_run,
            self.roster_version,
            self.boot.0,
            self.mono.0,
            self.wall.0,
            self.snapshot,
            self.journal_len,
            self.records,
            u64::from(self.chain),
        ];
        let head = u64::from(VERSION) | u64::from(flags) << 32;
        let fields = [u64::from_le_bytes(MAGIC), head].into_iter().chain(words);
        for (place, field) in copy.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        batch::seal(&mut copy);
        let mut block = [0; BLOCK_LEN];
        for place in COPIES {
            if let Some(sector) = block.get_mut(place..place + SECTOR_LEN) {
                sector.copy_from_slice(&copy);
            }
        }
        block
    }

    /// Reads a block, and says whether one of its copies was damaged.
    pub(super) fn read(block: &[u8]) -> Result<(Self, bool), Unreadable> {
        let copies = COPIES.map(|place| Self::copy(block.get(place..place + SECTOR_LEN).unwrap_or(&[])));
        let damaged = copies.iter().any(Result::is_err);
        let mut newest: Option<Self> = None;
        let mut failed = corrupt("neither of its copies is whole");
        for copy in copies {
            match copy {
                Ok(mark) if newest.is_none_or(|known| known.sequence < mark.sequence) => newest = Some(mark),
                Err(newer @ Unreadable::Newer(_)) => failed = newer,
                _ => {}
            }
        }
        match (newest, failed) {
            (_, newer @ Unreadable::Newer(_)) => Err(newer),
            (Some(mark), _) => Ok((mark, damaged)),
            (None, failed) => Err(failed),
        }
    }

    fn copy(sector: &[u8]) -> Result<Self, Unreadable> {
        if sector.len() != SECTOR_LEN || !batch::is_sealed(sector) || !sector.starts_with(&MAGIC) {
            return Err(corrupt("a copy is damaged"));
        }
        let mut fields = sector.as_chunks::<8>().0.iter().skip(1).map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || fields.next().unwrap_or(0);
        let (head_low, head_high) = halves(next());
        if head_low > VERSION {
            return Err(Unreadable::Newer(head_low));
        }
        Ok(Self {
            clean: head_high & CLEAN != 0,
            sequence: next(),
            horizon: WallNs(next()),
            barrier: WallNs(next()),
            blind_run: next(),
            roster_version: next(),
            boot: Boot(next()),
            mono: MonoNs(next()),
            wall: WallNs(next()),
            snapshot: next(),
            journal_len: next(),
            records: next(),
            chain: halves(next()).0,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a half each")]
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(sequence: u64) -> Mark {
        Mark {
            sequence,
            clean: sequence.is_multiple_of(2),
            horizon: WallNs(1000 + sequence),
            barrier: WallNs(3),
            blind_run: 4,
            roster_version: 5,
            boot: Boot(6),
            mono: MonoNs(7),
            wall: WallNs(8),
            snapshot: 9,
            journal_len: 10,
            records: 11,
            chain: 12,
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        assert_eq!(Mark::read(&mark(8).block()), Ok((mark(8), false)));
        assert_eq!(Mark::read(&mark(9).block()), Ok((mark(9), false)));
    }

    #[test]
    fn any_damaged_byte_leaves_the_mark_as_it_was() {
        let block = mark(8).block();
        for place in 0..BLOCK_LEN {
            let mut bytes = block;
            bytes[place] ^= 0x40;
            let in_a_copy = COPIES.iter().any(|copy| (*copy..copy + SECTOR_LEN).contains(&place));
            assert_eq!(Mark::read(&bytes), Ok((mark(8), in_a_copy)), "byte {place}");
        }
    }

    /// Sectors up to a cut are new, the others old, and the one at the cut is neither; also with the new ones behind.
    #[test]
    fn a_torn_write_leaves_the_new_mark_or_the_old_one() {
        let (old, new) = (mark(8).block(), mark(9).block());
        for cut in 0..=BLOCK_LEN / SECTOR_LEN {
            for (first, second) in [(&new, &old), (&old, &new)] {
                let at = cut * SECTOR_LEN;
                let mut torn = [&first[..at], &second[at..]].concat();
                let read = Mark::read(&torn).unwrap().0;
                let any_new = COPIES.iter().any(|copy| torn[*copy..copy + SECTOR_LEN] == new[*copy..copy + SECTOR_LEN]);
                assert_eq!(read, if any_new { mark(9) } else { mark(8) }, "cut at {at}");
                if cut < BLOCK_LEN / SECTOR_LEN {
                    torn[at..at + SECTOR_LEN].fill(0xA5);
                    let read = Mark::read(&torn).unwrap().0;
                    assert!(read == mark(8) || read == mark(9), "garbled at {at}");
                }
            }
        }
    }

    #[test]
    fn a_cut_file_has_the_mark_or_none() {
        let block = mark(8).block();
        for length in 0..BLOCK_LEN {
            let read = Mark::read(&block[..length]);
            assert_eq!(read.is_ok(), length >= SECTOR_LEN, "length {length}");
            assert!(read.is_err() || read == Ok((mark(8), length < COPIES[1] + SECTOR_LEN)));
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut block = mark(8).block();
        block[8] = 2;
        let (sector, _) = block.split_at_mut(SECTOR_LEN);
        batch::seal(sector);
        assert_eq!(Mark::read(&block), Err(Unreadable::Newer(2)));
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(Mark::read(&bytes).is_err());
        }
    }
}
