//! The invariants that hold after every step.

use varta_core::{Change, Cursor, SlotChange, Subject, Verdict};

use super::Observer;
use crate::{
    model::{self, Key},
    rules::{Breach, Rule},
};

/// What a small step of a clock that is not told, and rounding, may move a deadline by.
const UNTOLD: u64 = 60 * varta_core::MILLI;
/// Rounding in the leak of an offset.
const CLOSE: u64 = 20_000;

const fn key_of(subject: &Subject) -> Key {
    if subject.unit.0 == 0 { (0, subject.pid) } else { (subject.unit.0, 0) }
}

impl Observer {
    /// Everything that holds between two turns.
    pub(super) fn check(&self, t: u64) -> Result<(), Breach> {
        self.check_rows(t)?;
        self.check_counters()
    }

    /// Rows agree with the model, and with the counts by verdict; nobody is alive for too long.
    fn check_rows(&self, t: u64) -> Result<(), Breach> {
        let Some(core) = &self.core else { return Ok(()) };
        let (mut counts, mut rows) = ([0_u32; Verdict::ALL.len()], 0);
        let mut breach = None;
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = core.page(self.now, from, 1024, |row| {
                counts[row.verdict as usize] += 1;
                rows += 1;
                let pid = if row.pid == 1 { u32::MAX } else { row.pid };
                let key = if row.unit.0 == 0 { (0, pid) } else { (row.unit.0, 0) };
                // Nobody here speaks without a key.
                let found = row.agent.agent().map(|agent| self.check_life(t, agent.0, key, row.verdict));
                if let Some(Err(found)) = found {
                    breach.get_or_insert(found);
                }
            });
        }
        if let Some(breach) = breach {
            return Err(breach);
        }
        if counts != core.verdict_counts() {
            let what = format!("rows by verdict {counts:?}, counted {:?}", core.verdict_counts());
            return Err(Breach::new(Rule::Counters, what));
        }
        if core.sizes() != self.model.sizes() || rows != core.sizes().0 {
            let what = format!("{:?} slots and agents, {rows} rows, expected {:?}", core.sizes(), self.model.sizes());
            return Err(Breach::new(Rule::Counters, what));
        }
        Ok(())
    }

    fn check_life(&self, t: u64, agent: u64, key: Key, verdict: Verdict) -> Result<(), Breach> {
        let Some(slot) = self.model.slot(agent, key) else {
            let what = format!("agent {agent:016x} has a slot {key:?} that nothing accepted explains");
            return Err(Breach::new(Rule::Forgery, what));
        };
        let alive = matches!(verdict, Verdict::Up | Verdict::Degraded | Verdict::Critical | Verdict::Held);
        if !alive || slot.has_left() {
            return Ok(());
        }
        let rule = if slot.clamped { Rule::PromiseCeiling } else { Rule::Death };
        let Some(life) = self.lives.get(&(agent, key)) else {
            return Err(Breach::new(rule, format!("agent {agent:016x} slot {key:?} is alive and was never heard")));
        };
        if self.unseen.shortened(t) > life.until && !self.behind {
            let what = format!(
                "agent {agent:016x} slot {key:?} is {} though its newest beat was sealed {} ms ago and holds until {} ms ago",
                verdict.name(),
                (t - life.sent) / 1_000_000,
                (self.unseen.shortened(t) - life.until) / 1_000_000,
            );
            return Err(Breach::new(rule, what));
        }
        let deadline = slot.deadline(&self.settings).map(|deadline| deadline + life.moved + CLOSE);
        if let Some(late) = deadline.and_then(|deadline| self.judged.0.checked_sub(deadline)) {
            let what = format!("agent {agent:016x} slot {key:?} is {} {late} ns after its deadline", verdict.name());
            return Err(Breach::new(rule, what));
        }
        Ok(())
    }

    fn check_counters(&self) -> Result<(), Breach> {
        let Some(core) = &self.core else { return Ok(()) };
        for (counted, expected) in core.counters().listeners.iter().zip(&self.tally.0) {
            let sum = counted.accepted + counted.accepted_late + counted.rejected_total();
            let same = counted.received == expected.received
                && counted.accepted == expected.accepted
                && counted.accepted_late == expected.accepted_late
                && counted.rejected == expected.rejected;
            if counted.received != sum || !same {
                let what = format!("counted {counted:?}, handed in {expected:?}");
                return Err(Breach::new(Rule::Counters, what));
            }
        }
        Ok(())
    }

    /// Takes what was told; nobody is accused for time that was not seen.
    pub(super) fn tell_changes(&mut self, t: u64) -> Result<(), Breach> {
        loop {
            let Some(change) = self.core.as_mut().and_then(varta_core::Core::poll_change) else { return Ok(()) };
            if let Change::Slot { subject, what: SlotChange::Verdict { to: Verdict::Stalled, deadline, .. }, .. } =
                change
            {
                self.check_accusation(t, &subject, deadline)?;
            }
            self.told_now.push(change);
        }
    }

    fn check_accusation(&self, t: u64, subject: &Subject, deadline: Option<varta_core::MonoNs>) -> Result<(), Breach> {
        let Some(agent) = subject.agent.agent() else { return Ok(()) };
        let key = (agent.0, key_of(subject));
        let (Some(life), Some(slot)) = (self.lives.get(&key), self.model.slot(key.0, key.1)) else {
            return Ok(());
        };
        let rule = if slot.has_stepped() { Rule::Stepped } else { Rule::Blindness };
        let span = model::span(&self.settings, slot.due, slot.hold);
        let unseen = self.unseen.between(life.sent, t, life.heard);
        let seen = (t - life.sent).saturating_sub(unseen);
        if seen + UNTOLD + span / 500 + life.fallen_behind < span {
            let what = format!(
                "agent {} slot {:?} is stalled {} ms after its newest beat was sealed, {} ms of them seen, with a span of {} ms",
                subject.agent,
                key.1,
                (t - life.sent) / 1_000_000,
                seen / 1_000_000,
                span / 1_000_000,
            );
            return Err(Breach::new(rule, what));
        }
        let early = slot.deadline(&self.settings).zip(deadline).map(|(earliest, told)| earliest.saturating_sub(told.0));
        if let Some(early) = early.filter(|early| *early > CLOSE) {
            let rule = if early <= slot.leaked + CLOSE { Rule::OffsetLeak } else { rule };
            let what = format!("agent {} slot {:?} is stalled {early} ns early", subject.agent, key.1);
            return Err(Breach::new(rule, what));
        }
        Ok(())
    }
}
