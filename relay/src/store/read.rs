//! Reading history.

use redb::{ReadableDatabase as _, ReadableTable as _};
use varta_vlp::subject::Verdict;

use super::{
    History, Store,
    history::{WEEK, lay_over},
    pending::GONE,
    tables::{GAPS, NUMBERS, TURNS},
};

/// Most changes of one unit that are shown; of more, the newest.
const TURNS_SHOWN: usize = 5000;

fn verdict_of(code: u8) -> Option<Verdict> {
    Verdict::ALL.get(usize::from(code)).copied().filter(|_| code != GONE)
}

impl Store {
    /// What the unit of this key was in the seven days before `now_ms`; none where it cannot be read.
    pub(crate) fn history(&self, key: &[u8], now_ms: u64) -> Option<History> {
        let from = now_ms.saturating_sub(WEEK);
        let (mut turns, gaps) = match self.try_read(key, from) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!("{}: history cannot be read: {error}", self.0.file.display());
                return None;
            }
        };
        // What is not written yet is known all the same.
        if let Some(unit) = self.pending().units.get(key) {
            turns.extend(unit.turns.iter().map(|(at, code)| (*at, verdict_of(*code))));
        }
        Some(History::of(lay_over(&turns, &gaps, from, now_ms), now_ms))
    }

    #[expect(clippy::type_complexity, reason = "two lists, made and taken apart side by side")]
    fn try_read(&self, key: &[u8], from: u64) -> Result<(Vec<(u64, Option<Verdict>)>, Vec<(u64, u64)>), redb::Error> {
        let database = self.database();
        let read = database.as_ref().ok_or(redb::Error::PreviousIo)?.begin_read()?;
        let mut gaps = Vec::new();
        for entry in read.open_table(GAPS)?.iter()? {
            let (gap, until) = entry?;
            if until.value() > from {
                gaps.push((gap.value(), until.value()));
            }
        }
        let mut turns = Vec::new();
        let Some(number) = read.open_table(NUMBERS)?.get(key)?.map(|number| number.value()) else {
            return Ok((turns, gaps));
        };
        let table = read.open_table(TURNS)?;
        for entry in table.range((number, 0)..=(number, u64::MAX))?.rev().take(TURNS_SHOWN) {
            let (at, code) = entry?;
            let at = at.value().1;
            turns.push((at, verdict_of(code.value())));
            if at <= from {
                break;
            }
        }
        turns.reverse();
        Ok((turns, gaps))
    }
}
