//! Recovery: what is run when a slot is down, on a thread of its own.
//!
//! The ingest thread says which slots are down and which no longer are; a plan decides what follows from that, and this
//! thread carries it out: it writes the audit log first, then runs a program, or says why it does not. Nothing here is
//! waited for by the ingest thread.

mod outcomes;
mod plan;
mod rule;
mod run;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use varta_core::Now;

pub use self::outcomes::OUTCOMES;
use self::{
    outcomes::Outcomes,
    plan::{Act, Brake, End, Limits, Plan},
    rule::Rule,
    run::{Finished, Run},
};
pub(crate) use self::{
    plan::{Key, Patient},
    run::Environment,
};
use crate::{
    audit::{self, Audit, Entry, Event},
    clock::Clock,
    listen::process::{Presence, presence},
};

/// Most that waits to be looked at; the core keeps the rest, each slot once.
const WAITING: usize = 1024;
/// How long programs that still run may take when the observer stops.
const GRACE: Duration = Duration::from_secs(5);

/// What the ingest thread says.
#[derive(Debug)]
pub(crate) enum Told {
    /// A slot is down, or what is known of one that is has changed.
    Down(Box<Patient>),
    /// It no longer is.
    Over(Key),
}

/// The ingest thread's end.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    told: mpsc::Sender<Told>,
    silence: Arc<AtomicU64>,
    outcomes: Outcomes,
    newest: Arc<Mutex<Option<audit::Link>>>,
}

impl Link {
    /// Room for one more thing to say, if there is any now.
    pub(crate) fn room(&self) -> Option<mpsc::Permit<'_, Told>> {
        self.told.try_reserve().ok()
    }

    /// What recovery has counted.
    pub(crate) const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// The newest link of the audit log: whoever keeps it can tell later whether the log was cut.
    pub(crate) fn newest(&self) -> Option<audit::Link> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many slots are silent, and of how many.
    pub(crate) fn set_silence(&self, (silent, slots): (u32, u32)) {
        self.silence.store(u64::from(silent) << 32 | u64::from(slots), Ordering::Relaxed);
    }
}

/// What recovery is made of.
pub(crate) struct Recovery {
    plan: Plan,
    told: mpsc::Receiver<Told>,
    silence: Arc<AtomicU64>,
    audit: Option<Audit>,
    newest: Arc<Mutex<Option<audit::Link>>>,
    outcomes: Outcomes,
    environment: Environment,
    /// Runs that were begun, by their tasks.
    runs: HashMap<Id, Begun>,
    children: JoinSet<Finished>,
}

/// A run that was begun.
struct Begun {
    key: Key,
    rule: usize,
    /// The number of its line in the audit log.
    line: Option<u64>,
}

/// Recovery by these rules, and the end that the ingest thread speaks into.
pub(crate) fn new(
    rules: &[varta_config::Recovery],
    brake: &varta_config::RecoveryBrake,
    audit: Option<Audit>,
    environment: Environment,
) -> (Recovery, Link) {
    let rules = rules.iter().enumerate().map(|(index, rule)| Rule::new(index, rule)).collect();
    let varta_config::RecoveryBrake { per_minute, stop_percent, stop_from } = *brake;
    let (sender, told) = mpsc::channel(WAITING);
    let (silence, outcomes) = (Arc::<AtomicU64>::default(), Outcomes::default());
    let newest = Arc::new(Mutex::new(audit.as_ref().map(Audit::link)));
    let recovery = Recovery {
        plan: Plan::new(rules, Limits { per_minute, stop_percent, stop_from }),
        told,
        silence: Arc::clone(&silence),
        audit,
        newest: Arc::clone(&newest),
        outcomes: outcomes.clone(),
        environment,
        runs: HashMap::new(),
        children: JoinSet::new(),
    };
    (recovery, Link { told: sender, silence, outcomes, newest })
}

impl Recovery {
    /// Works until nobody speaks any more, then waits a while for what still runs, and kills that.
    pub(crate) async fn work(mut self) {
        loop {
            let now = Clock::now();
            while let Some(act) = self.plan.poll(now.mono, self.silent()) {
                self.act(now, act);
            }
            let left = Duration::from_nanos(self.plan.next().since(Clock::now().mono));
            let due = sleep(left.min(Duration::from_secs(3600)));
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.hear(told),
                    None => break,
                },
                Some(finished) = self.children.join_next_with_id() => self.finish(finished),
                () = due => {}
            }
        }
        self.stop().await;
    }

    fn silent(&self) -> (u32, u32) {
        let both = self.silence.load(Ordering::Relaxed);
        let [silent, slots] =
            [both >> 32, both & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        (silent, slots)
    }

    fn hear(&mut self, first: Told) {
        let mut told = Some(first);
        while let Some(one) = told {
            let now = Clock::now();
            let act = match one {
                Told::Down(patient) => self.plan.handle_down(now.mono, *patient),
                Told::Over(key) => {
                    self.plan.handle_over(now.mono, &key);
                    None
                }
            };
            if let Some(act) = act {
                self.act(now, act);
            }
            told = self.told.try_recv().ok();
        }
    }

    fn act(&mut self, now: Now, act: Act) {
        match act {
            Act::Run { key, rule, attempt } => self.begin(now, key, rule, attempt),
            Act::Refuse { key, rule, why } => self.refuse(now, key, rule, why),
            Act::GiveUp { key, rule } => {
                self.outcomes.count("given_up");
                let entry = self.entry(now, Event::GivenUp, &key, rule);
                self.tell(entry, "recovery has given up: it is still down after ten runs");
            }
            Act::Debounced { key, rule } => {
                self.outcomes.count("debounced");
                if let Some(patient) = self.plan.patient(&key) {
                    let (agent, unit, pid) = (&patient.agent, &patient.unit, patient.pid);
                    tracing::info!(%agent, %unit, pid, rule = self.plan.rule(rule).name, "recovery waits: down again so soon");
                }
            }
            Act::Brake(brake) => self.brake(now, brake),
        }
    }

    fn brake(&mut self, now: Now, brake: Option<Brake>) {
        let mut entry = Entry::new(now.wall, Event::Brake);
        let (silent, slots) = self.silent();
        let text = match brake {
            None => "recovery goes on",
            Some(Brake::Rate) => "recovery waits: as many runs within a minute as [recovery_brake] per_minute allows",
            Some(Brake::Share) => {
                "recovery waits: so many slots are silent at once that the cause is taken to be the observer's or the network's"
            }
        };
        let outcome = match brake {
            None => "released",
            Some(Brake::Rate) => "braked_rate",
            Some(Brake::Share) => "braked_share",
        };
        if brake.is_some() {
            self.outcomes.count(outcome);
        }
        (entry.outcome, entry.detail) =
            (Some(outcome.to_owned()), Some(format!("{silent} of {slots} slots are silent")));
        self.tell(entry, text);
    }

    fn refuse(&mut self, now: Now, key: Key, rule: usize, why: plan::Refusal) {
        self.outcomes.count(why.name());
        let mut entry = self.entry(now, Event::Refused, &key, rule);
        entry.outcome = Some(why.name().to_owned());
        self.tell(entry, "recovery refused");
    }

    /// Runs a rule's program for a slot: the line in the audit log first.
    fn begin(&mut self, now: Now, key: Key, rule: usize, attempt: u32) {
        let Some(patient) = self.plan.patient(&key) else { return };
        let in_force = self.plan.rule(rule);
        let is_another = presence(patient.pid, patient.down.process) == Presence::Another;
        if in_force.names_pid() && is_another {
            let why = plan::Refusal::RecycledPid;
            self.refuse(now, key, rule, why);
            return self.plan.handle_end(now.mono, &key, End::Refused(why));
        }
        let command = in_force.command(patient);
        let run = Run::new(command, in_force, &self.environment);
        let dry = in_force.dry_run;
        let mut entry = self.entry(now, if dry { Event::DryRun } else { Event::Spawn }, &key, rule);
        (entry.command, entry.detail) = (run.command().to_vec(), Some(format!("attempt {attempt}")));
        let line = match self.write(&entry) {
            Ok(line) => line,
            Err(error) => {
                self.outcomes.count(plan::Refusal::Audit.name());
                tracing::error!(agent = entry.agent, unit = entry.unit, pid = entry.pid, "recovery refused: {error}");
                return self.plan.handle_end(now.mono, &key, End::Refused(plan::Refusal::Audit));
            }
        };
        say(&entry, if dry { "recovery would run its program" } else { "recovery runs its program" });
        if dry {
            self.outcomes.count("dry_run");
            return self.plan.handle_end(now.mono, &key, End::Well);
        }
        self.outcomes.count("spawned");
        let task = self.children.spawn(run.carry_out());
        self.runs.insert(task.id(), Begun { key, rule, line });
    }

    fn finish(&mut self, finished: Result<(Id, Finished), JoinError>) {
        let (id, finished) = finished.unwrap_or_else(|error| (error.id(), Finished::unknown(error)));
        let Some(Begun { key, rule, line }) = self.runs.remove(&id) else { return };
        let now = Clock::now();
        self.outcomes.count(finished.outcome());
        let spawn = line.unwrap_or(0);
        let event = if finished.was_killed() { Event::Killed { spawn } } else { Event::Completed { spawn } };
        let mut entry = self.entry(now, event, &key, rule);
        (entry.outcome, entry.detail) = (Some(finished.how()), finished.output());
        self.tell(entry, "recovery's program ended");
        self.plan.handle_end(now.mono, &key, if finished.was_well() { End::Well } else { End::Badly });
    }

    /// An entry about a slot.
    fn entry(&self, now: Now, event: Event, key: &Key, rule: usize) -> Entry {
        let mut entry = Entry::new(now.wall, event);
        entry.rule = Some(self.plan.rule(rule).name.clone());
        if let Some(patient) = self.plan.patient(key) {
            entry.agent = Some(patient.agent.to_string());
            entry.unit = Some(patient.unit.to_string());
            entry.pid = Some(patient.pid);
            entry.origin = Some(patient.down.class.name().to_owned());
        }
        entry
    }

    fn write(&mut self, entry: &Entry) -> Result<Option<u64>, audit::AuditError> {
        let Some(audit) = &mut self.audit else { return Ok(None) };
        let link = audit.append(entry)?;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(Some(link.seq))
    }

    /// Tells what needs no line in the audit log before it is so.
    fn tell(&mut self, entry: Entry, text: &str) {
        say(&entry, text);
        if let Err(error) = self.write(&entry) {
            tracing::error!("{error}");
        }
    }

    async fn stop(mut self) {
        if self.children.is_empty() {
            return;
        }
        tracing::info!("waiting for {} programs of recovery", self.children.len());
        let ended = timeout(GRACE, async {
            while let Some(finished) = self.children.join_next_with_id().await {
                self.finish(finished);
            }
        });
        if ended.await.is_err() {
            self.environment.stop();
            while let Some(finished) = self.children.join_next_with_id().await {
                self.finish(finished);
            }
        }
    }
}

/// In the log, worth waking somebody.
fn say(entry: &Entry, text: &str) {
    let Entry { agent, unit, pid, origin, rule, outcome, detail, .. } = entry;
    let (agent, unit, origin) = (agent.as_deref(), unit.as_deref(), origin.as_deref());
    let (rule, outcome, detail) = (rule.as_deref(), outcome.as_deref(), detail.as_deref());
    let command = (!entry.command.is_empty()).then(|| tracing::field::debug(&entry.command));
    tracing::warn!(agent, unit, pid, origin, rule, command, outcome, detail, "{text}");
}
