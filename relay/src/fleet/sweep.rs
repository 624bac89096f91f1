//! What concerns all views of an observer is done in bounded steps.

use super::{
    Fleet,
    record::{Lane, ViewId},
};

/// Work on the views of one observer, lane by lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    observer: u16,
    what: What,
    lane: usize,
    handle: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Their units are judged.
    Judge,
    /// Those of its present life go that were not in the snapshot.
    Unseen,
    /// Those of its earlier life go.
    Earlier,
    /// All go.
    Drop,
}

impl Sweep {
    const fn new(observer: u16, what: What) -> Self {
        Self { observer, what, lane: 0, handle: 0 }
    }

    pub(super) const fn judge(observer: u16) -> Self {
        Self::new(observer, What::Judge)
    }

    pub(super) const fn unseen(observer: u16) -> Self {
        Self::new(observer, What::Unseen)
    }

    pub(super) const fn earlier(observer: u16) -> Self {
        Self::new(observer, What::Earlier)
    }

    pub(super) const fn drop_all(observer: u16) -> Self {
        Self::new(observer, What::Drop)
    }

    /// Whether it is about what one life has left of another.
    pub(super) const fn is_of_life(&self, observer: u16) -> bool {
        self.observer == observer && matches!(self.what, What::Unseen | What::Earlier)
    }

    pub(super) const fn is_unseen(&self, observer: u16) -> bool {
        self.observer == observer && matches!(self.what, What::Unseen)
    }
}

impl Fleet {
    /// Goes on with what is to be done, for at most `most` places.
    pub(super) fn sweep(&mut self, most: usize) {
        for _ in 0..most {
            let Some(mut sweep) = self.sweeps.pop_front() else { return };
            if self.sweep_one(&mut sweep) {
                self.sweeps.push_front(sweep);
            }
        }
    }

    /// Looks at one place; whether there is another.
    fn sweep_one(&mut self, sweep: &mut Sweep) -> bool {
        let Some(lane) = Lane::ALL.get(sweep.lane).copied() else {
            self.finish(*sweep);
            return false;
        };
        let Some(observer) = self.observers.get(usize::from(sweep.observer)) else { return false };
        let wanted = match sweep.what {
            What::Judge | What::Drop => true,
            What::Unseen => lane.is_odd() == observer.odd,
            What::Earlier => lane.is_odd() != observer.odd,
        };
        if !wanted || sweep.handle as usize >= observer.tables[lane.index()].len() {
            (sweep.lane, sweep.handle) = (sweep.lane + 1, 0);
            return true;
        }
        let view = ViewId { handle: sweep.handle, observer: sweep.observer, lane };
        sweep.handle += 1;
        let Some(record) = observer.record(view) else { return true };
        let goes = match sweep.what {
            What::Judge => {
                let unit = record.unit;
                self.judge(unit);
                self.judge_absence(unit);
                return true;
            }
            What::Drop | What::Earlier => true,
            What::Unseen => observer.seen.as_ref().is_some_and(|seen| !seen.has(view)),
        };
        if goes {
            self.remove_view(view);
        }
        true
    }

    fn finish(&mut self, sweep: Sweep) {
        let Some(observer) = self.observers.get_mut(usize::from(sweep.observer)) else { return };
        if sweep.what == What::Unseen {
            observer.seen = None;
        }
        // Empty tables give their room back.
        for lane in Lane::ALL.into_iter().map(Lane::index) {
            if observer.held_in[lane] == 0 {
                observer.tables[lane] = Vec::new();
            }
        }
    }
}
