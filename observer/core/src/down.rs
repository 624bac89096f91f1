//! What may call for recovery: slots that are down, and what speaks against acting on them. SPEC, "Origin trust".

use std::collections::VecDeque;

use varta_vlp::Reject;

use crate::{
    Core,
    event::{SlotId, Subject, Verdict},
    slot::{Exit, Marks, Phase},
    time::Now,
    trust::{Class, Owner},
};

/// A slot that is stalled, or that said that it ends badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// Whether it said so itself.
    pub ended: bool,
    /// How far its origin can be trusted.
    pub class: Class,
    /// What tells a local process from others of its pid; 0 where that is not known.
    pub process: u64,
    /// How a local process ended, if it is known to have.
    pub exit: Option<Exit>,
    /// Why nothing may be done about it.
    pub obstacle: Option<Obstacle>,
}

/// Why a slot that is down is not to be recovered, whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Its silence began while the observer could not see.
    Blind,
    /// Two live processes speak for it.
    Contested,
    /// Authentic frames come from it, refused for their times.
    Clock,
    /// The PID namespace of the process was never read.
    NamespaceUnknown,
}

impl Obstacle {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blind => "blind",
            Self::Contested => "contested",
            Self::Clock => "clock",
            Self::NamespaceUnknown => "namespace",
        }
    }
}

/// Slots whose being down is to be looked at, each once however often it changes. Empty unless somebody asked for it.
#[derive(Default)]
pub(crate) struct Alarms {
    wanted: bool,
    queue: VecDeque<(u32, Subject)>,
}

impl Core {
    /// From now on [`Self::poll_down`] tells of every slot that is or was down.
    pub fn watch_down(&mut self) {
        self.alarms.wanted = true;
        for number in 0..self.table.slot_numbers() {
            if self.table.live_slot(number).is_some() && self.is_down(number) {
                self.alarm(number);
            }
        }
    }

    /// The next slot that is down, or that no longer is (`None`), since this was last asked of it.
    pub fn poll_down(&mut self, now: Now) -> Option<(SlotId, Subject, Option<Down>)> {
        let (number, subject) = self.alarms.queue.pop_front()?;
        let slot = self.table.live_slot(number);
        // Its number may be another's by now, which then is told of by itself.
        let same = slot.is_some_and(|slot| {
            let found = slot.subject(self.table.owner(slot.agent));
            found.agent == subject.agent && found.unit == subject.unit
        });
        if !same {
            return Some((SlotId(number), subject, None));
        }
        self.table.slot_mut(number).marks.set(Marks::ALARMED, false);
        Some((SlotId(number), subject, self.is_down(number).then(|| self.down(now, number))))
    }

    /// Whether [`Self::poll_down`] has something to tell.
    #[must_use]
    pub fn has_down(&self) -> bool {
        !self.alarms.queue.is_empty()
    }

    pub(crate) fn is_down(&self, number: u32) -> bool {
        let slot = self.table.slot(number);
        match slot.phase {
            Phase::Stalled => true,
            Phase::Ended => slot.marks.has(Marks::TERMINAL),
            Phase::Live | Phase::Held | Phase::Departed | Phase::Unknown(_) => false,
        }
    }

    fn down(&self, now: Now, number: u32) -> Down {
        let slot = self.table.slot(number);
        let owner = self.table.owner(slot.agent);
        let aside = self.aside.get(&number);
        Down {
            ended: slot.phase == Phase::Ended,
            class: self.class_of(owner, slot.marks.has(Marks::ATTESTED)),
            process: if owner == Owner::Local { slot.boot } else { 0 },
            exit: aside.and_then(|aside| aside.exit),
            obstacle: self.obstacle(now, number, owner),
        }
    }

    fn obstacle(&self, now: Now, number: u32, owner: Owner) -> Option<Obstacle> {
        let marks = self.table.slot(number).marks;
        let refused = self.aside.get(&number).and_then(|aside| aside.refused).map(|refused| refused.reason);
        if self.contested_until(number, now.mono).is_some() {
            Some(Obstacle::Contested)
        } else if matches!(refused, Some(Reject::FromFuture | Reject::Stale | Reject::Delayed)) {
            Some(Obstacle::Clock)
        } else if marks.has(Marks::UNSEEN) {
            Some(Obstacle::Blind)
        } else {
            (owner == Owner::Local && !marks.has(Marks::SEEN_NAMESPACE)).then_some(Obstacle::NamespaceUnknown)
        }
    }

    /// The phase of a slot has changed, or it is about to be removed.
    pub(crate) fn alarm(&mut self, number: u32) {
        if !self.alarms.wanted {
            return;
        }
        let slot = self.table.slot_mut(number);
        if slot.marks.has(Marks::ALARMED) {
            return;
        }
        slot.marks.set(Marks::ALARMED, true);
        let slot = self.table.slot(number);
        let subject = slot.subject(self.table.owner(slot.agent));
        self.alarms.queue.push_back((number, subject));
    }

    /// How many slots are silent past their deadlines, and of how many: without those that said goodbye or that they end,
    /// and without local processes that are known to have ended. Nobody else's trouble is behind those.
    #[must_use]
    pub fn silence(&self) -> (u32, u32) {
        let count = |verdict: Verdict| self.verdicts.get(verdict as usize).copied().unwrap_or(0);
        let silent = count(Verdict::Stalled).saturating_sub(self.gone);
        let heard = [Verdict::Up, Verdict::Degraded, Verdict::Critical, Verdict::Held, Verdict::Unknown].map(count);
        (silent, heard.into_iter().fold(silent, u32::saturating_add))
    }

    /// A local process is known to have ended, or not; its slot must be in the phase that it is in then.
    pub(crate) fn set_gone(&mut self, number: u32, gone: bool) {
        let slot = self.table.slot_mut(number);
        if slot.marks.has(Marks::GONE) == gone {
            return;
        }
        slot.marks.set(Marks::GONE, gone);
        if slot.phase == Phase::Stalled {
            self.gone = self.gone.saturating_add_signed(if gone { 1 } else { -1 });
        }
    }
}
