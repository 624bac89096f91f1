//! What one relay is to be told, what it was told, and what it has taken: pure.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use varta_vlp::report::{Draft, Entry, FromObserver, Item, ReportError, Touch};

use super::marks::Handles;
use crate::command::PAGE_ROWS;

/// Most messages that are sent and not taken yet.
const IN_FLIGHT: usize = 16;
/// Most touches that wait.
const TOUCHES: usize = 4096;

/// What is to be asked for, so that there is something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A page of everything, from this cursor on.
    Page(u64),
    /// These rows.
    Rows(Vec<u32>),
    /// Nothing; touches may wait all the same.
    Nothing,
}

/// Where a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshot {
    /// The relay has everything, but for what is dirty.
    Done,
    Wanted,
    /// Goes on from this cursor.
    At(u64),
}

/// A message that was sent.
#[derive(Debug)]
struct Sent {
    seq: u64,
    handles: Vec<u32>,
}

/// One relay's feed.
#[derive(Debug)]
pub(super) struct Feed {
    boot: u64,
    /// The newest number used, and the newest that was taken.
    sent: u64,
    acked: u64,
    in_flight: VecDeque<Sent>,
    /// What was asked for and is not told yet.
    asking: Vec<u32>,
    dirty: Handles,
    touches: Vec<Touch>,
    snapshot: Snapshot,
    /// The number with which the newest snapshot began: it stands for what was dirty then.
    begun: u64,
    connected: bool,
    /// What was written and is to be sent.
    pub(super) out: Vec<u8>,
    pub(super) entries: u64,
    pub(super) touched: u64,
    pub(super) snapshots: u64,
}

impl Feed {
    pub(super) fn new(boot: u64) -> Self {
        Self {
            boot,
            sent: 0,
            acked: 0,
            in_flight: VecDeque::new(),
            asking: Vec::new(),
            dirty: Handles::default(),
            touches: Vec::new(),
            snapshot: Snapshot::Wanted,
            begun: 0,
            connected: false,
            out: Vec::new(),
            entries: 0,
            touched: 0,
            snapshots: 0,
        }
    }

    pub(super) const fn boot(&self) -> u64 {
        self.boot
    }

    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn pending(&self) -> usize {
        self.dirty.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A slot, or a place in the roster, is to be told anew.
    pub(super) fn mark(&mut self, handle: u32) {
        self.dirty.mark(handle);
    }

    #[cfg(test)]
    fn is_dirty(&self, handle: u32) -> bool {
        self.dirty.has(handle)
    }

    /// What moves of a slot may be told, if there is room.
    pub(super) fn touch(&mut self, touch: Touch) {
        if self.connected && self.snapshot == Snapshot::Done && self.touches.len() < TOUCHES {
            self.touches.push(touch);
        }
    }

    /// Everything is to be told anew.
    pub(super) fn start_over(&mut self) {
        self.snapshot = Snapshot::Wanted;
    }

    /// The relay is there, and has everything up to `held`; 0 asks for a snapshot.
    pub(super) fn welcomed(&mut self, held: u64) {
        self.connected = true;
        if held < self.begun.max(self.acked).max(1) || held > self.sent {
            self.start_over();
        } else {
            (self.sent, self.acked) = (held, held);
        }
    }

    /// The link is no more: what was not taken is to be told again.
    pub(super) fn lost(&mut self) {
        self.connected = false;
        self.give_back();
        self.touches.clear();
        self.out.clear();
        for sent in self.in_flight.drain(..) {
            sent.handles.into_iter().for_each(|handle| self.dirty.mark(handle));
        }
        if self.snapshot != Snapshot::Done {
            self.start_over();
        }
    }

    /// What was asked for did not come: it is still to be told.
    pub(super) fn give_back(&mut self) {
        std::mem::take(&mut self.asking).into_iter().for_each(|handle| self.dirty.mark(handle));
    }

    /// Everything up to this number was taken.
    pub(super) fn taken(&mut self, seq: u64) {
        if seq > self.sent {
            return;
        }
        self.acked = self.acked.max(seq);
        while self.in_flight.front().is_some_and(|sent| sent.seq <= seq) {
            self.in_flight.pop_front();
        }
    }

    /// The relay misses something.
    pub(super) fn resync(&mut self) {
        self.start_over();
    }

    /// What is wanted next. A snapshot that begins has its first message written by this.
    pub(super) fn next(&mut self) -> Result<Want, ReportError> {
        if !self.connected || self.in_flight.len() >= IN_FLIGHT {
            return Ok(Want::Nothing);
        }
        if self.snapshot == Snapshot::Wanted {
            // What is dirty is in it.
            self.dirty.clear();
            self.touches.clear();
            self.snapshot = Snapshot::At(0);
            self.snapshots += 1;
            self.say(Vec::new(), |seq, room| FromObserver::Snapshot { seq }.write(room))?;
            self.begun = self.sent;
        }
        if self.dirty.len() > 0 {
            let mut handles = Vec::new();
            self.dirty.take(PAGE_ROWS as usize, &mut handles);
            self.asking.clone_from(&handles);
            return Ok(Want::Rows(handles));
        }
        Ok(match self.snapshot {
            Snapshot::At(cursor) => Want::Page(cursor),
            _ => Want::Nothing,
        })
    }

    fn say(
        &mut self,
        handles: Vec<u32>,
        write: impl FnOnce(u64, &mut [u8]) -> Result<usize, ReportError>,
    ) -> Result<(), ReportError> {
        let seq = self.sent + 1;
        let from = self.out.len();
        self.out.resize(from + Draft::ROOM, 0);
        let written = write(seq, &mut self.out[from..]);
        self.out.truncate(from + written.unwrap_or(0));
        written?;
        self.sent = seq;
        self.in_flight.push_back(Sent { seq, handles });
        Ok(())
    }

    /// Writes items, in as many messages as they need. What fits in no message is left out.
    fn say_items<'a>(&mut self, items: impl IntoIterator<Item = Item<'a>>) -> Result<(), ReportError> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let mut handles = Vec::new();
            let (mut entries, mut touches) = (0, 0);
            let write = |seq, room: &mut [u8]| {
                let mut draft = Draft::new(room, seq)?;
                while let Some(item) = items.peek() {
                    match draft.push(item) {
                        Ok(()) => {}
                        Err(ReportError::Full) if draft.count() > 0 => break,
                        Err(_) => {
                            items.next();
                            continue;
                        }
                    }
                    match item {
                        Item::Entry(entry) => {
                            entries += 1;
                            handles.push(entry.handle);
                        }
                        Item::Gone(handle) => handles.push(*handle),
                        Item::Touch(_) => touches += 1,
                    }
                    items.next();
                }
                Ok(draft.finish())
            };
            self.say(Vec::new(), write)?;
            if let Some(sent) = self.in_flight.back_mut() {
                sent.handles = handles;
            }
            self.entries += entries;
            self.touched += touches;
        }
        Ok(())
    }

    /// Tells rows that were asked for: of those that are not there, that they are gone.
    pub(super) fn tell_rows<'a>(
        &mut self,
        asked: &[u32],
        entries: impl IntoIterator<Item = Entry<'a>>,
    ) -> Result<(), ReportError> {
        self.asking.clear();
        let entries: Vec<_> = entries.into_iter().collect();
        let is_there = |handle: &&u32| !entries.iter().any(|entry| entry.handle == **handle);
        let gone: Vec<_> = asked.iter().filter(is_there).map(|handle| Item::Gone(*handle)).collect();
        self.say_items(gone.into_iter().chain(entries.into_iter().map(Item::Entry)))
    }

    /// Tells a page of a snapshot, which goes on at `next`, or is complete with it.
    pub(super) fn tell_page<'a>(
        &mut self,
        cursor: u64,
        entries: impl IntoIterator<Item = Entry<'a>>,
        next: Option<u64>,
    ) -> Result<(), ReportError> {
        if self.snapshot != Snapshot::At(cursor) {
            // It was begun anew meanwhile.
            return Ok(());
        }
        self.say_items(entries.into_iter().map(Item::Entry))?;
        match next {
            Some(next) => self.snapshot = Snapshot::At(next),
            None => {
                self.say(Vec::new(), |seq, room| FromObserver::End { seq }.write(room))?;
                self.snapshot = Snapshot::Done;
            }
        }
        Ok(())
    }

    /// Tells the touches that wait.
    pub(super) fn tell_touches(&mut self) -> Result<(), ReportError> {
        if !self.connected || self.in_flight.len() >= IN_FLIGHT || self.touches.is_empty() {
            return Ok(());
        }
        let touches = std::mem::take(&mut self.touches);
        self.say_items(touches.into_iter().map(Item::Touch))
    }
}

/// A feed that is filled by the sweep and emptied by its relay's link. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<(Mutex<Feed>, Notify)>);

impl Shared {
    pub(super) fn new(boot: u64) -> Self {
        Self(Arc::new((Mutex::new(Feed::new(boot)), Notify::new())))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Feed> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be something to say.
    pub(super) fn wake(&self) {
        self.0.1.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.0.1.notified().await;
    }
}
