//! Finding what there is to tell: changes at once, and everything else by a slow sweep.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::sleep};
use varta_core::Verdict;

use super::{
    feed::Shared,
    seen::{News, Seen, handle_of},
    write::touch_of,
};
use crate::{
    command::{Handle, PAGE_ROWS, PLACE, Unanswered},
    row::Rows,
};

/// How long a sweep over everything takes, where that can be.
const SWEEP: Duration = Duration::from_secs(5);
/// The longest pause between two pages: the picture of a small fleet is fresher.
const LONGEST: Duration = Duration::from_millis(500);
/// The shortest pause between two pages: at most ten thousand rows a second are read.
const PAUSE: Duration = Duration::from_millis(25);
/// How long to wait where the ingest thread is asked too much.
const BUSY: Duration = Duration::from_millis(100);
/// Where places in the roster begin in a cursor.
const ROSTER: u64 = 1 << 32;

/// Feeds the relays, until the ingest thread has ended.
pub(super) async fn run(handle: Handle, news: Arc<Notify>, feeds: Vec<Shared>) {
    let mut hub = Hub { handle, feeds, seen: Seen::default(), cursor: 0, rosters: 0, pages: 1, rows: Rows::default() };
    let (mut hurried, mut room) = (false, Vec::new());
    loop {
        let pause = if hurried { Duration::ZERO } else { hub.pause() };
        let step = tokio::select! {
            () = news.notified() => hub.changes(std::mem::take(&mut room)).await.map(|(back, more)| {
                room = back;
                hurried |= more;
            }),
            () = sleep(pause) => hub.sweep().await.map(|ended| hurried &= !ended),
        };
        match step {
            Ok(()) => {}
            Err(Unanswered::Busy) => sleep(BUSY).await,
            Err(Unanswered::Gone) => return,
        }
    }
}

struct Hub {
    handle: Handle,
    feeds: Vec<Shared>,
    seen: Seen,
    cursor: u64,
    rosters: u64,
    /// Pages of the sweep before.
    pages: u32,
    rows: Rows,
}

impl Hub {
    fn pause(&self) -> Duration {
        (SWEEP / self.pages.max(1)).clamp(PAUSE, LONGEST)
    }

    fn each(&self, mut with: impl FnMut(&mut super::feed::Feed)) {
        for feed in &self.feeds {
            with(&mut feed.lock());
        }
    }

    fn wake(&self) {
        self.feeds.iter().for_each(Shared::wake);
    }

    /// Hands on what changed. Says whether there may be more, which a sweep has to find.
    async fn changes(&mut self, room: Vec<u32>) -> Result<(Vec<u32>, bool), Unanswered> {
        let changed = self.handle.changed(room).await?;
        if std::mem::replace(&mut self.rosters, changed.rosters) != changed.rosters {
            self.seen.forget_places();
            self.each(super::feed::Feed::start_over);
        }
        self.each(|feed| changed.handles.iter().for_each(|handle| feed.mark(*handle)));
        self.wake();
        if changed.more {
            // From the beginning, so that nothing is left out.
            self.cursor = 0;
        }
        Ok((changed.handles, changed.more))
    }

    /// Looks at one page. Says whether it was the last one.
    async fn sweep(&mut self) -> Result<bool, Unanswered> {
        let page = self.handle.page(self.cursor, PAGE_ROWS, std::mem::take(&mut self.rows)).await?;
        let mut handles = Vec::with_capacity(page.rows.len());
        for row in page.rows.raw() {
            let handle = handle_of(&row);
            handles.push(handle);
            match self.seen.look(&row) {
                News::More => self.each(|feed| feed.mark(handle)),
                News::Beats if row.verdict == Verdict::Missing => {}
                News::Beats => self.each(|feed| feed.touch(touch_of(&row))),
                News::Nothing => {}
            }
        }
        for (from, to) in ranges(self.cursor, page.next) {
            let missed = self.seen.missed(from, to, &handles);
            self.each(|feed| missed.iter().for_each(|handle| feed.mark(*handle)));
        }
        self.rows = page.rows;
        self.wake();
        match page.next {
            Some(next) => {
                self.cursor = next;
                self.pages = self.pages.max(u32::try_from(next % ROSTER / u64::from(PAGE_ROWS)).unwrap_or(u32::MAX));
                Ok(false)
            }
            None => {
                self.pages = 1;
                self.cursor = 0;
                Ok(true)
            }
        }
    }
}

/// The handles that a page from `cursor` to `next` has looked at, first slots, then places.
fn ranges(cursor: u64, next: Option<u64>) -> impl Iterator<Item = (u32, u32)> {
    let part = |value: u64| u32::try_from(value % ROSTER).unwrap_or(u32::MAX) & !PLACE;
    let end = next.unwrap_or(u64::MAX);
    let slots = (cursor < ROSTER).then(|| (part(cursor), if end < ROSTER { part(end) } else { PLACE }));
    let places = (end >= ROSTER).then(|| {
        let from = if cursor < ROSTER { 0 } else { part(cursor) };
        let to = if next.is_some() { part(end) } else { !PLACE };
        (from | PLACE, to | PLACE)
    });
    slots.into_iter().chain(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_looks_at_slots_and_then_at_places() {
        let of = |cursor, next| ranges(cursor, next).collect::<Vec<_>>();
        assert_eq!(of(0, Some(250)), [(0, 250)]);
        assert_eq!(of(250, Some(ROSTER)), [(250, PLACE), (PLACE, PLACE)]);
        assert_eq!(of(250, Some(ROSTER + 9)), [(250, PLACE), (PLACE, PLACE | 9)]);
        assert_eq!(of(ROSTER + 9, Some(ROSTER + 12)), [(PLACE | 9, PLACE | 12)]);
        assert_eq!(of(ROSTER + 9, None), [(PLACE | 9, u32::MAX)]);
        assert_eq!(of(0, None), [(0, PLACE), (PLACE, u32::MAX)]);
    }
}
