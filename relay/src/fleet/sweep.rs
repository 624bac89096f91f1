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
    /// Those that were not in the snapshot go; of the life that is odd, or is not.
    Unseen { odd: bool },
    /// All go.
    Drop,
}

const LANES: [Lane; Lane::COUNT] =
    [Lane::new(false, false), Lane::new(true, false), Lane::new(false, true), Lane::new(true, true)];

impl Sweep {
    const fn new(observer: u16, what: What) -> Self {
        Self { observer, what, lane: 0, handle: 0 }
    }

    pub(super) const fn judge(observer: u16) -> Self {
        Self::new(observer, What::Judge)
    }

    pub(super) const fn unseen(observer: u16, odd: bool) -> Self {
        Self::new(observer, What::Unseen { odd })
    }

    pub(super) const fn drop_all(observer: u16) -> Self {
        Self::new(observer, What::Drop)
    }

    pub(super) const fn is_unseen(&self, observer: u16) -> bool {
        self.observer == observer && matches!(self.what, What::Unseen { .. })
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
        let Some(lane) = LANES.get(sweep.lane).copied() else {
            self.finish(*sweep);
            return false;
        };
        let Some(observer) = self.observers.get(usize::from(sweep.observer)) else { return false };
        if sweep.handle as usize >= observer.tables[lane.index()].len() {
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
            What::Drop => true,
            What::Unseen { odd } => lane.is_odd() != odd || observer.seen.as_ref().is_some_and(|seen| !seen.has(view)),
        };
        if goes {
            self.remove_view(view);
        }
        true
    }

    fn finish(&mut self, sweep: Sweep) {
        let Some(observer) = self.observers.get_mut(usize::from(sweep.observer)) else { return };
        if let What::Unseen { odd } = sweep.what
            && observer.odd == odd
        {
            observer.seen = None;
        }
        // Empty tables give their room back.
        let odd = observer.odd;
        for lane in LANES.into_iter().filter(|lane| lane.is_odd() != odd) {
            let table = &mut observer.tables[lane.index()];
            if table.iter().all(Option::is_none) {
                *table = Vec::new();
            }
        }
    }

    /// Drops what is left of an observer's life before the present one.
    pub(super) fn drop_earlier(&mut self, number: usize) {
        let Some(observer) = self.observers.get(number) else { return };
        let odd = observer.odd;
        for lane in LANES.into_iter().filter(|lane| lane.is_odd() != odd) {
            let places = self.observers.get(number).map_or(0, |observer| observer.tables[lane.index()].len());
            for handle in (0..places).filter_map(|handle| u32::try_from(handle).ok()) {
                self.remove_view(ViewId { handle, observer: super::link::number_of(number), lane });
            }
        }
    }
}
