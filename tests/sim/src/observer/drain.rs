//! Reading the socket within a budget, as the shell does, and holding each outcome against the model's.

use varta_core::{Datagram, MonoNs, Now, Origin, Outcome, Reject, WallNs};

use super::{GAP, Observer, Queued, Treated};
use crate::{
    model::{Expected, Judgement, Key, Plan, Verdicts, key_of},
    process::Sealed,
    registry::Registry,
    rules::{Breach, Rule},
};

/// Datagrams of one batch.
const BATCH: usize = 8;

fn mapped(now: Now, arrived: WallNs) -> MonoNs {
    MonoNs(now.mono.0.saturating_sub(now.wall.0.saturating_sub(arrived.0)))
}

impl Observer {
    /// Reads at most `budget` batches. Returns the instant up to which everything that arrived was judged.
    pub(super) fn drain(
        &mut self,
        t: u64,
        now: Now,
        mut budget: usize,
        registry: &mut Registry,
    ) -> Result<Now, Breach> {
        // Where slots have to give way one at a time is judged, so that it is seen which did.
        let most = if self.churn { 1 } else { BATCH };
        self.behind = false;
        let mut slept = self.slept.take();
        if self.queue.is_empty() {
            self.seen = now.mono;
        }
        while !self.queue.is_empty() {
            if budget == 0 {
                self.behind = true;
                break;
            }
            budget -= 1;
            let batch: Vec<Queued> = self.queue.drain(..self.queue.len().min(most)).collect();
            let waited_for = std::mem::replace(&mut self.emptied, self.queue.is_empty());
            let first = batch.first().map(|queued| mapped(now, queued.arrived));
            let newest = batch.last().map(|queued| mapped(now, queued.arrived));
            self.seen = if self.emptied { now.mono } else { newest.unwrap_or(self.seen) };
            if let (Some(since), Some(arrived), true) = (slept, first, waited_for)
                && now.mono.since(arrived.max(since)) > GAP
            {
                let from_t = t.saturating_sub(now.mono.since(since));
                self.gap(since, from_t, t, now);
                slept = None;
            }
            self.judge(now, t, &batch, registry)?;
        }
        let lost = std::mem::take(&mut self.lost);
        if let Some(core) = self.core.as_mut().filter(|_| lost > 0) {
            core.handle_drops(now, lost);
        }
        let mono = self.seen.min(now.mono);
        Ok(Now { mono, wall: WallNs(now.wall.0.saturating_sub(now.mono.since(mono))) })
    }

    fn judge(&mut self, now: Now, t: u64, batch: &[Queued], registry: &mut Registry) -> Result<(), Breach> {
        let verdicts = if self.churn { self.verdicts(now) } else { Verdicts::new() };
        let mut bytes: Vec<Vec<u8>> = batch.iter().map(|queued| queued.bytes.to_vec()).collect();
        let mut datagrams: Vec<_> = bytes
            .iter_mut()
            .zip(batch)
            .map(|(bytes, queued)| Datagram {
                bytes,
                origin: Origin { listener: queued.listener, attested: false, from: queued.from },
            })
            .collect();
        let mut rest = &mut datagrams[..];
        let mut done = 0;
        while !rest.is_empty() {
            let Some(core) = &mut self.core else { return Ok(()) };
            let mut outcomes = Vec::new();
            core.handle_batch(now, rest, &mut outcomes);
            let judged = outcomes.len();
            if let Some(Outcome::Waiting(to)) = outcomes.last().copied() {
                outcomes.pop();
                self.disk.raise(to.0);
                core.set_horizon(WallNs(self.disk.horizon()));
                let resumed = core.resume(now);
                outcomes.extend(resumed);
            }
            for (outcome, queued) in outcomes.iter().zip(&batch[done..]) {
                self.hold_against_model(now, t, queued, *outcome, &verdicts, registry)?;
            }
            done += judged;
            rest = &mut std::mem::take(&mut rest)[judged..];
        }
        Ok(())
    }

    fn hold_against_model(
        &mut self,
        now: Now,
        t: u64,
        queued: &Queued,
        outcome: Outcome,
        verdicts: &Verdicts,
        registry: &mut Registry,
    ) -> Result<(), Breach> {
        let number = registry.find(&queued.bytes);
        let genuine = number.map(|number| registry.frame(number));
        let judgement = self.model.judge(now, &queued.bytes, genuine, verdicts);
        let got = match outcome {
            Outcome::Accepted(_) => Expected::Accepted,
            Outcome::AcceptedLate(_) => Expected::Late,
            Outcome::Rejected(reject) => Expected::Rejected(reject),
            Outcome::Waiting(_) => return Err(Breach::new(Rule::Horizon, "a frame waits for a raised horizon".into())),
        };
        self.tally.count(queued.listener, got);
        let plan = agreed(&judgement, got).ok_or_else(|| disagreement(&judgement, got, genuine))?;
        if let Expected::Rejected(reject) = got {
            if let Some(sealed) = genuine {
                self.model.refuse(now, sealed, reject);
            }
        } else {
            registry.accept(number, judgement.rule)?;
        }
        let Some(number) = number else { return Ok(()) };
        let sealed = registry.frame(number);
        self.treated.push(Treated { number, arrived: queued.t, got });
        let Some(plan) = plan else { return Ok(()) };
        self.check_horizon(sealed)?;
        let evicted = self.evicted(now, sealed, plan, verdicts)?;
        if let Some(key) = evicted {
            self.lives.remove(&(sealed.header.agent.0, key));
        }
        self.model.commit(now, sealed, plan, evicted);
        if got == Expected::Accepted {
            self.heard(now, t, sealed);
        }
        Ok(())
    }

    fn check_horizon(&self, sealed: &Sealed) -> Result<(), Breach> {
        let (sent, horizon) = (sealed.body.sent_at, self.disk.horizon());
        if sent <= horizon {
            return Ok(());
        }
        let what = format!("a frame sent at {sent} is accepted above the horizon on disk, {horizon}");
        Err(Breach::new(Rule::Horizon, what))
    }

    /// Which slot gave way, where one had to.
    fn evicted(&self, now: Now, sealed: &Sealed, plan: Plan, verdicts: &Verdicts) -> Result<Option<Key>, Breach> {
        let (Some(core), id, true) = (&self.core, sealed.header.agent, plan == Plan::NewSlot { evicts: true }) else {
            return Ok(None);
        };
        let gone = |key: &&Key| core.find(id, varta_vlp::UnitId(key.0), key.1).is_none();
        let agent = self.model.agents.get(&id.0);
        let gone: Vec<Key> = agent.into_iter().flat_map(|agent| agent.slots.keys()).filter(gone).copied().collect();
        let may = self.model.evictable(now, id.0, verdicts);
        // Another frame of the same batch may have made another give way meanwhile.
        let first = may.iter().take_while(|one| may.first().is_some_and(|first| (first.0, first.1) == (one.0, one.1)));
        match first.map(|one| one.2).find(|key| gone.contains(key)) {
            Some(key) => Ok(Some(key)),
            None => Err(Breach::new(Rule::Eviction, format!("{gone:?} gave way, of {may:?} the first should"))),
        }
    }

    /// The verdicts of all slots.
    fn verdicts(&self, now: Now) -> Verdicts {
        let mut verdicts = Verdicts::new();
        let Some(core) = &self.core else { return verdicts };
        for (id, agent) in &self.model.agents {
            for key in agent.slots.keys() {
                let slot = core.find(varta_vlp::AgentId(*id), varta_vlp::UnitId(key.0), key.1);
                if let Some(view) = slot.and_then(|slot| core.view(now, slot)) {
                    verdicts.insert((*id, *key), view.verdict);
                }
            }
        }
        verdicts
    }
}

/// The plan that agrees with what became of a datagram; `None` if nothing does.
fn agreed(judgement: &Judgement, got: Expected) -> Option<Option<Plan>> {
    if judgement.expected == got {
        return Some(judgement.plan);
    }
    judgement.close.filter(|(expected, _)| *expected == got).map(|(_, plan)| plan)
}

fn disagreement(judgement: &Judgement, got: Expected, sealed: Option<&Sealed>) -> Breach {
    let said = sealed.map(|sealed| {
        let (header, body) = (&sealed.header, &sealed.body);
        format!(
            "agent {} slot {:?} session {} counter {} sent_at {} flags {:#b} promise {} ms",
            header.agent,
            key_of(body),
            header.session_start,
            header.counter,
            body.sent_at,
            body.flags.0,
            body.next_due_ms,
        )
    });
    // Beyond its bound where it should not be: the offset, if nothing else explains it.
    let rule = match (got, judgement.rule) {
        (Expected::Rejected(Reject::Delayed), Rule::Window) => Rule::DelayBound,
        (_, rule) => rule,
    };
    Breach::new(rule, format!("{:?} expected, it is {got:?}: {}", judgement.expected, said.unwrap_or_default()))
}
