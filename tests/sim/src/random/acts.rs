//! What happens to a world, one act at a time.

use varta_core::{MILLI, SECOND};
use varta_vlp::{Generation, Status};

use super::Plan;
use crate::{
    attacker::{garbage, mutated},
    disk::End,
    process::Say,
    rules::Breach,
};

impl Plan {
    /// One thing happens.
    pub(super) fn act(&mut self) -> Result<(), Breach> {
        let bent = self.bent;
        let weights = [
            bent.attack,
            bent.sender_clocks,
            bent.observer_clock,
            bent.processes,
            bent.hosts,
            bent.stalls,
            bent.restarts,
        ];
        let mut left = self.rng.below(weights.iter().sum::<u64>().max(1));
        for (kind, weight) in weights.into_iter().enumerate() {
            if left < weight {
                return match kind {
                    0 => self.attack(),
                    1 => self.step_sender(),
                    2 => self.step_observer(),
                    3 => self.change_process(),
                    4 => self.pause_host(),
                    5 => self.stall_observer(),
                    _ => self.restart_observer(),
                };
            }
            left -= weight;
        }
        Ok(())
    }

    fn observer(&mut self) -> usize {
        self.rng.place(self.world.observers.len()).unwrap_or(0)
    }

    fn living(&mut self) -> Option<usize> {
        let living: Vec<usize> =
            (0..self.world.processes.len()).filter(|process| self.world.processes[*process].alive).collect();
        self.rng.place(living.len()).map(|place| living[place])
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.world.trace.note(self.world.t, what);
    }

    fn attack(&mut self) -> Result<(), Breach> {
        let sealed = self.world.registry.len() as u64;
        let observer = self.observer();
        match self.rng.below(9) {
            // Old frames, some of them, in any order.
            0 | 1 => {
                for _ in 0..self.rng.wide(1, 40) {
                    self.replay(sealed, observer);
                }
            }
            // The newest ones again.
            2 => {
                let newest = sealed.saturating_sub(self.rng.range(1, 12));
                for number in newest..sealed {
                    self.inject(number, observer);
                }
            }
            // All of one process, in order.
            3 => {
                let Some(process) = self.rng.place(self.world.processes.len()) else { return Ok(()) };
                let from = self.rng.below(sealed.max(1));
                let of =
                    |number: &u64| self.world.registry.frame(usize::try_from(*number).unwrap_or(0)).process == process;
                let numbers: Vec<u64> = (from..sealed).filter(of).take(150).collect();
                for number in numbers {
                    self.inject(number, observer);
                }
            }
            // What was withheld comes after all.
            4 | 5 => {
                let take = usize::try_from(self.rng.wide(1, 60)).unwrap_or(1);
                let held = &mut self.world.attacker.held;
                let from = held.len() - take.min(held.len());
                let released = held.split_off(from);
                for number in released {
                    self.inject(number as u64, observer);
                }
            }
            6 => {
                let Some(process) = self.living() else { return Ok(()) };
                if self.world.attacker.takes_from.is_empty() {
                    self.note(|| format!("everything of process {process} is withheld"));
                    self.world.attacker.takes_from.push(process);
                } else {
                    self.note(|| "nothing more is withheld".into());
                    self.world.attacker.takes_from.clear();
                }
            }
            7 => {
                for _ in 0..self.rng.wide(1, 20) {
                    let number = usize::try_from(self.rng.below(sealed.max(1))).unwrap_or(0);
                    if sealed > 0 {
                        let bytes = mutated(&self.world.registry.frame(number).bytes, &mut self.rng);
                        self.world.inject_bytes(bytes, observer, self.rng.below(SECOND), 0);
                    }
                }
            }
            _ => {
                for _ in 0..self.rng.wide(1, 300) {
                    let bytes = garbage(&mut self.rng);
                    self.world.inject_bytes(bytes, observer, self.rng.below(SECOND), 1);
                }
            }
        }
        Ok(())
    }

    fn replay(&mut self, sealed: u64, observer: usize) {
        if sealed > 0 {
            let number = self.rng.below(sealed);
            self.inject(number, observer);
        }
    }

    /// Mostly to the observer that it was for.
    fn inject(&mut self, number: u64, observer: usize) {
        let number = usize::try_from(number).unwrap_or(0);
        let audience = self.world.registry.frame(number).header.audience;
        let ours = (0..2).find(|place| self.world.audience_id(*place) == audience);
        let owner = ours.and_then(|audience| self.world.owner(audience, number));
        let to = if self.rng.often(900) { owner.unwrap_or(observer) } else { observer };
        let delay = self.rng.below(300 * MILLI);
        self.world.inject(number, to, delay);
    }

    fn step(&mut self) -> i64 {
        let most = if self.bent.small_steps {
            self.rng.pick(&[45, 120, 240, 300]) * MILLI
        } else {
            self.rng.pick(&[120 * MILLI, 700 * MILLI, 3 * SECOND, 9 * SECOND, 40 * SECOND, 7200 * SECOND])
        };
        self.rng.around(most)
    }

    fn step_sender(&mut self) -> Result<(), Breach> {
        let Some(host) = self.rng.place(self.world.hosts.len()) else { return Ok(()) };
        let (t, by) = (self.world.t, self.step());
        let kind = self.rng.below(8);
        let rates = (self.rng.around(900), self.rng.around(1000));
        self.note(|| format!("host {host}'s clock: {kind} {} ms {rates:?} ppm", by / 1_000_000));
        let clock = &mut self.world.hosts[host].clock;
        match kind {
            0..3 => clock.step(t, by),
            3 | 4 => clock.set_right(t),
            5 => clock.set_rates(t, rates.0, 0),
            6 => clock.set_rates(t, 0, rates.1),
            _ => clock.set_rates(t, 0, 0),
        }
        if self.rng.often(300)
            && let Some(process) = self.living()
        {
            self.world.processes[process].reconnect();
        }
        Ok(())
    }

    fn step_observer(&mut self) -> Result<(), Breach> {
        let (observer, t, by) = (self.observer(), self.world.t, self.step());
        let right = self.rng.often(400);
        self.note(|| format!("observer {observer}'s clock: right {right}, else by {} ms", by / 1_000_000));
        let clock = &mut self.world.observers[observer].clock;
        if right {
            clock.set_right(t);
        } else {
            clock.step(t, by);
        }
        self.world.observers[observer].has_erred(t);
        Ok(())
    }

    fn change_process(&mut self) -> Result<(), Breach> {
        if self.bent.churn && self.rng.often(600) {
            let agent = self.rng.place(self.agents).unwrap_or(0);
            self.units += 1;
            let name = if self.rng.often(200) { String::new() } else { format!("unit-{}", self.units) };
            let process = self.spawn(agent, &name);
            self.note(|| format!("process {process} begins as {name}"));
            if self.rng.often(700) {
                self.leave();
            }
            if self.bent.attack > 0 {
                self.replay_the_dead();
            }
            return Ok(());
        }
        let Some(process) = self.living() else { return self.begin_again() };
        match self.rng.below(12) {
            0 | 1 => {
                self.note(|| format!("process {process} dies"));
                self.world.processes[process].alive = false;
            }
            2 | 3 => {
                let say = self.rng.pick(&[
                    Say::Final(Status::Ok),
                    Say::Final(Status::Ok),
                    Say::Final(Status::Critical),
                    Say::Terminal(3),
                    Say::Terminal(0),
                ]);
                self.note(|| format!("process {process} ends: {say:?}"));
                self.world.say(process, say)?;
            }
            4 => {
                let absence = self.rng.pick(&[500, 5000, 60_000, u32::MAX]);
                self.world.say(process, Say::Hold(absence))?;
            }
            5 => {
                let status = self.rng.pick(&[Status::Ok, Status::Degraded, Status::Critical]);
                self.world.processes[process].status = status;
            }
            6 => {
                self.world.processes[process].reconnect();
            }
            7 => self.fork(process),
            8 => {
                let name = self.world.processes[process].who.unit_name.clone();
                let agent = self.agent_of(process);
                let twin = self.spawn(agent, &name);
                self.note(|| format!("process {twin} is a twin of {process}"));
            }
            9 => self.copy(process),
            10 => {
                let generation = self.world.processes[process].who.generation.0;
                self.world.processes[process].alive = false;
                let name = self.world.processes[process].who.unit_name.clone();
                let agent = self.agent_of(process);
                let next = self.spawn(agent, &name);
                self.world.processes[next].who.generation = Generation(generation + 1);
                self.note(|| format!("process {next} follows {process} with a new key"));
            }
            _ => return self.begin_again(),
        }
        Ok(())
    }

    /// What the dead said of late comes again and again, while others take their places.
    fn replay_the_dead(&mut self) {
        let (first, t) = (self.world.registry.len().saturating_sub(200), self.world.t);
        for number in first..self.world.registry.len() {
            let sealed = self.world.registry.frame(number);
            let (process, recent) = (sealed.process, t - sealed.t < 15 * SECOND);
            if recent && !self.world.processes[process].alive && self.rng.often(500) {
                let Some(owner) = self.world.owner(0, number) else { continue };
                self.world.inject(number, owner, self.rng.below(10 * SECOND));
            }
        }
    }

    fn leave(&mut self) {
        if let Some(process) = self.living() {
            self.note(|| format!("process {process} dies"));
            if self.rng.often(500) {
                self.world.processes[process].alive = false;
            } else {
                // What it said last is on its way; nothing is broken by saying it.
                let _ = self.world.say(process, Say::Final(Status::Ok));
            }
        }
    }

    fn agent_of(&self, process: usize) -> usize {
        let name = &self.world.processes[process].who.agent_name;
        name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// A dead process's unit is started again.
    fn begin_again(&mut self) -> Result<(), Breach> {
        let dead: Vec<usize> =
            (0..self.world.processes.len()).filter(|process| !self.world.processes[*process].alive).collect();
        let Some(old) = self.rng.place(dead.len()).map(|place| dead[place]) else { return Ok(()) };
        let (name, agent) = (self.world.processes[old].who.unit_name.clone(), self.agent_of(old));
        let generation = self.world.processes[old].who.generation;
        let process = self.spawn(agent, &name);
        self.world.processes[process].who.generation = generation;
        self.note(|| format!("process {process} follows {old}"));
        Ok(())
    }

    fn fork(&mut self, process: usize) {
        self.pids += 1;
        let mut child = self.world.processes[process].forked(self.pids);
        let (every, promise_ms) = (child.every, child.promise_ms);
        if self.rng.often(400) {
            self.units += 1;
            let name = format!("unit-{}", self.units);
            child.name_unit(&name);
        }
        let child = self.world.take_in(child);
        self.note(|| format!("process {child} is forked off {process}"));
        self.world.set_going(child, every, promise_ms, self.rng.below(every));
    }

    /// The machine is copied: a second host with equal clocks, and on it the same process.
    fn copy(&mut self, process: usize) {
        let host = self.world.processes[process].who.host;
        let clock = self.world.hosts[host].clock.clone();
        let mut copy = self.world.processes[process].copied();
        copy.who.host = self.world.add_host(clock);
        let (every, promise_ms) = (copy.every, copy.promise_ms);
        let copy = self.world.take_in(copy);
        self.note(|| format!("process {copy} is a copy of {process}"));
        self.world.set_going(copy, every, promise_ms, self.rng.below(every));
    }

    fn pause_host(&mut self) -> Result<(), Breach> {
        let Some(host) = self.rng.place(self.world.hosts.len()) else { return Ok(()) };
        let (ns, frozen) = (self.rng.wide(100 * MILLI, 60 * SECOND), self.rng.often(500));
        self.note(|| format!("host {host} is paused for {} ms, clocks frozen {frozen}", ns / MILLI));
        self.world.pause_host(host, ns, frozen);
        Ok(())
    }

    fn stall_observer(&mut self) -> Result<(), Breach> {
        let observer = self.observer();
        let (ns, frozen) =
            (self.rng.wide(50 * MILLI, 60 * SECOND), self.bent.observer_clock > 0 && self.rng.often(150));
        self.note(|| format!("observer {observer} stands still for {} ms, clocks frozen {frozen}", ns / MILLI));
        self.world.stall_observer(observer, ns, frozen);
        Ok(())
    }

    fn restart_observer(&mut self) -> Result<(), Breach> {
        let observer = self.observer();
        let away = self.rng.wide(10 * MILLI, 120 * SECOND);
        let end = match self.rng.below(if self.bent.losses { 5 } else { 4 }) {
            0 | 1 => End::Clean,
            2 | 3 => End::Killed,
            _ => End::Lost { mark_left: self.rng.often(500) },
        };
        self.world.restart_observer(observer, end, away)?;
        let down = self.world.observers[observer].core().is_none();
        if down && self.rng.often(200) {
            let (t, boot_id) = (self.world.t, self.rng.next());
            self.note(|| format!("observer {observer}'s host is booted anew"));
            self.world.observers[observer].clock.reboot(t, 5 * SECOND, boot_id);
        }
        if down && self.bent.observer_clock > 0 && self.rng.often(400) {
            return self.step_observer();
        }
        Ok(())
    }
}
