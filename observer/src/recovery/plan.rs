//! What recovery does and when, and what it refuses: pure, on a clock that is handed in.
//!
//! It is driven by levels: as long as a slot is down and a rule is for it, it is tried again, ever later, up to a limit.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use varta_core::{Class, Down, Labels, MonoNs, Obstacle, Owner, SECOND};
use varta_vlp::UnitId;

use super::rule::Rule;

/// Runs for one slot while it stays down.
const ATTEMPTS: u32 = 10;
/// The least time from one run for a slot to the next, and the most that doubling makes of it.
const FIRST_PAUSE: u64 = SECOND;
const LAST_PAUSE: u64 = 60 * SECOND;
/// Runs at one time, of all slots.
const RUNNING: usize = 64;
/// How often a brake that is on is looked at again.
const LOOK_AGAIN: u64 = SECOND;
/// The time that runs are counted over.
const MINUTE: u64 = 60 * SECOND;
/// For so long it is remembered what was said of a slot, so that one that comes and goes fills no log.
const REMEMBER: u64 = 3600 * SECOND;

/// Whom a case is about, over all that happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) owner: Owner,
    pub(crate) unit: UnitId,
    /// Where the unit is none.
    pub(crate) pid: u32,
}

/// A slot that is down, and what is to be known of it.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    pub(crate) key: Key,
    pub(crate) down: Down,
    /// As its newest beat had it.
    pub(crate) pid: u32,
    /// Names, or ids where they are not known; the unit's is empty where there is none.
    pub(crate) agent: Box<str>,
    pub(crate) unit: Box<str>,
    /// Those of the roster.
    pub(crate) labels: Option<Arc<Labels>>,
}

impl Patient {
    /// Whether what is down comes back, if it does, as another slot: a process that is known by a pid it no longer has.
    const fn cannot_return(&self) -> bool {
        match self.key.owner {
            Owner::Local => self.down.exit.is_some(),
            Owner::Agent(_) | Owner::Plain(_) => self.key.unit.0 == UnitId::NONE.0,
        }
    }
}

/// Why nothing is run for a slot that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Heard from a network: whoever can drop packets could cause the silence.
    Origin,
    /// Heard in plaintext from a network.
    Unverified,
    /// The kernel does not say who sends.
    SocketMode,
    Blind,
    Contested,
    Clock,
    Namespace,
    /// The rule hands on a pid, and that is of another host.
    ForeignPid,
    /// The pid is another process's by now.
    RecycledPid,
    /// The audit log cannot be written.
    Audit,
}

impl Refusal {
    /// As metrics, the audit log and the log print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Origin => "refused_origin",
            Self::Unverified => "refused_unverified",
            Self::SocketMode => "refused_socket_mode",
            Self::Blind => "refused_blind",
            Self::Contested => "refused_contested",
            Self::Clock => "refused_clock",
            Self::Namespace => "refused_namespace",
            Self::ForeignPid => "refused_foreign_pid",
            Self::RecycledPid => "refused_recycled_pid",
            Self::Audit => "refused_audit",
        }
    }
}

/// What holds all rules back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brake {
    /// Too many runs within a minute.
    Rate,
    /// Too many slots are silent at once.
    Share,
}

/// The limits of all rules together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Runs begun within a minute.
    pub(crate) per_minute: u32,
    /// Percent of slots that may be silent.
    pub(crate) stop_percent: u32,
    /// The fewest slots of which that counts.
    pub(crate) stop_from: u32,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Run the rule of that number for the slot; [`Plan::handle_end`] is to be told how that ended. Attempts count from 1.
    Run { key: Key, rule: usize, attempt: u32 },
    /// Tell that nothing is run.
    Refuse { key: Key, rule: usize, why: Refusal },
    /// Tell that the slot is given up.
    GiveUp { key: Key, rule: usize },
    /// Tell that a run waits for the debounce window of the one before to end.
    Debounced { key: Key, rule: usize },
    /// Tell that a brake is on, or that none is any more.
    Brake(Option<Brake>),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It did what it was to do.
    Well,
    /// It failed, or could not be begun.
    Badly,
    /// It was refused at the last moment.
    Refused(Refusal),
}

/// All that is known of a slot that is or was down.
#[derive(Debug)]
struct Case {
    patient: Patient,
    rule: usize,
    /// Whether it is down now.
    down: bool,
    attempts: u32,
    begun: Option<MonoNs>,
    running: bool,
    /// The newest run did what it was to do.
    well: bool,
    /// Nothing more is done until it was up.
    settled: bool,
    refused: Option<(Refusal, MonoNs)>,
    due: MonoNs,
}

/// Everything that recovery knows.
pub(crate) struct Plan {
    rules: Vec<Rule>,
    limits: Limits,
    cases: HashMap<Key, Case>,
    /// By when they are due, oldest first; the number keeps cases of one instant in order.
    due: BTreeSet<(MonoNs, u64)>,
    keys: HashMap<u64, Key>,
    numbers: HashMap<Key, u64>,
    next_number: u64,
    /// When runs were begun within the last minute.
    begun: VecDeque<MonoNs>,
    running: usize,
    brake: Option<Brake>,
}

impl Plan {
    pub(crate) fn new(rules: Vec<Rule>, limits: Limits) -> Self {
        Self {
            rules,
            limits,
            cases: HashMap::new(),
            due: BTreeSet::new(),
            keys: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            begun: VecDeque::new(),
            running: 0,
            brake: None,
        }
    }

    pub(crate) fn rule(&self, number: usize) -> &Rule {
        &self.rules[number]
    }

    /// A slot of which there is a case.
    pub(crate) fn patient(&self, key: &Key) -> Option<&Patient> {
        self.cases.get(key).map(|case| &case.patient)
    }

    /// When [`Self::poll`] has something to do; [`MonoNs::NEVER`] for nothing.
    pub(crate) fn next(&self) -> MonoNs {
        self.due.first().map_or(MonoNs::NEVER, |(at, _)| *at)
    }

    /// A slot is down, or what is known of one that is has changed.
    pub(crate) fn handle_down(&mut self, now: MonoNs, patient: Patient) -> Option<Act> {
        let key = patient.key;
        let Some(rule) = self.rules.iter().position(|rule| rule.is_for(&patient)) else {
            self.handle_over(now, &key);
            return None;
        };
        let debounce = self.rules[rule].debounce;
        let case = self.cases.entry(key).or_insert_with(|| Case {
            patient: patient.clone(),
            rule,
            down: false,
            attempts: 0,
            begun: None,
            running: false,
            well: false,
            settled: false,
            refused: None,
            due: MonoNs::NEVER,
        });
        (case.patient, case.rule) = (patient, rule);
        if std::mem::replace(&mut case.down, true) {
            // The run did its work on a process that has ended of it.
            case.settled |= case.well && !case.running && case.patient.cannot_return();
            return None;
        }
        (case.attempts, case.settled, case.well) = (0, false, false);
        let earliest = case.begun.map_or(now, |begun| begun.after(debounce)).max(now);
        let running = case.running;
        self.schedule(key, if running { MonoNs::NEVER } else { earliest });
        (earliest > now || running).then_some(Act::Debounced { key, rule })
    }

    /// A slot is not down any more, or is no more.
    pub(crate) fn handle_over(&mut self, now: MonoNs, key: &Key) {
        let Some(case) = self.cases.get_mut(key) else { return };
        case.down = false;
        let kept = self.rules[case.rule].debounce.max(REMEMBER);
        self.schedule(*key, now.after(kept));
    }

    /// A run for a slot has ended.
    pub(crate) fn handle_end(&mut self, now: MonoNs, key: &Key, end: End) {
        self.running = self.running.saturating_sub(1);
        let Some(case) = self.cases.get_mut(key) else { return };
        case.running = false;
        case.well = end == End::Well;
        let rule = &self.rules[case.rule];
        case.settled |= case.well && (case.patient.cannot_return() || rule.dry_run);
        if let End::Refused(why) = end {
            case.refused = Some((why, now));
            // A disk may have room again.
            case.settled |= why != Refusal::Audit;
        }
        if !case.down || case.settled {
            return;
        }
        let begun = case.begun.unwrap_or(now);
        let next =
            if case.attempts == 0 { begun.after(rule.debounce) } else { begun.after(pause(rule, case.attempts)) };
        self.schedule(*key, next.max(now));
    }

    /// The next thing that is due, if anything is. `silence` is how many slots are silent, and of how many.
    pub(crate) fn poll(&mut self, now: MonoNs, silence: (u32, u32)) -> Option<Act> {
        while let Some((at, number)) = self.due.first().copied() {
            if at > now {
                return None;
            }
            self.due.pop_first();
            let Some(key) = self.keys.get(&number).copied() else { continue };
            if let Some(act) = self.look(now, key, silence) {
                return Some(act);
            }
        }
        None
    }

    fn look(&mut self, now: MonoNs, key: Key, silence: (u32, u32)) -> Option<Act> {
        let case = self.cases.get_mut(&key)?;
        case.due = MonoNs::NEVER;
        let rule = case.rule;
        if !case.down {
            if !case.running {
                self.forget(&key);
            }
            return None;
        }
        if case.settled || case.running {
            return None;
        }
        if let Some(why) = refusal(&case.patient, &self.rules[rule]) {
            case.settled = true;
            let told = case.refused.is_some_and(|(before, at)| before == why && now.since(at) < REMEMBER);
            if told {
                return None;
            }
            case.refused = Some((why, now));
            return Some(Act::Refuse { key, rule, why });
        }
        if case.attempts >= ATTEMPTS {
            case.settled = true;
            return Some(Act::GiveUp { key, rule });
        }
        if let Some((brake, again)) = self.braked(now, silence) {
            self.schedule(key, again);
            return (self.brake.replace(brake) != Some(brake)).then_some(Act::Brake(Some(brake)));
        }
        if self.brake.take().is_some() {
            // Told first; the case is looked at again at once.
            self.schedule(key, now);
            return Some(Act::Brake(None));
        }
        if self.running >= RUNNING {
            self.schedule(key, now.after(LOOK_AGAIN));
            return None;
        }
        self.running += 1;
        self.begun.push_back(now);
        let case = self.cases.get_mut(&key)?;
        case.attempts += 1;
        (case.begun, case.running, case.well) = (Some(now), true, false);
        Some(Act::Run { key, rule, attempt: case.attempts })
    }

    /// The brake that is on, and when to look again.
    fn braked(&mut self, now: MonoNs, (silent, slots): (u32, u32)) -> Option<(Brake, MonoNs)> {
        let Limits { per_minute, stop_percent, stop_from } = self.limits;
        let share = u64::from(silent) * 100 > u64::from(stop_percent) * u64::from(slots);
        if slots >= stop_from && share {
            return Some((Brake::Share, now.after(LOOK_AGAIN)));
        }
        while self.begun.front().is_some_and(|begun| now.since(*begun) >= MINUTE) {
            self.begun.pop_front();
        }
        if self.begun.len() < per_minute as usize {
            return None;
        }
        let again = self.begun.front().map_or(now.after(MINUTE), |begun| begun.after(MINUTE));
        Some((Brake::Rate, again))
    }

    fn schedule(&mut self, key: Key, at: MonoNs) {
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.next_number += 1;
            self.next_number
        });
        self.keys.insert(number, key);
        if let Some(case) = self.cases.get_mut(&key) {
            self.due.remove(&(case.due, number));
            case.due = at;
        }
        if at != MonoNs::NEVER {
            self.due.insert((at, number));
        }
    }

    fn forget(&mut self, key: &Key) {
        self.cases.remove(key);
        if let Some(number) = self.numbers.remove(key) {
            self.keys.remove(&number);
        }
    }
}

/// From the beginning of the run of that number to the next.
fn pause(rule: &Rule, attempt: u32) -> u64 {
    let first = rule.debounce.max(FIRST_PAUSE);
    let doubled = first.saturating_mul(1 << (attempt - 1).min(16));
    doubled.min(LAST_PAUSE.max(first))
}

/// What speaks against a run by this rule, whatever the time.
fn refusal(patient: &Patient, rule: &Rule) -> Option<Refusal> {
    match patient.down.class {
        Class::NetworkUnverified => return Some(Refusal::Unverified),
        Class::NetworkVerified => return Some(Refusal::Origin),
        Class::SocketModeOnly => return Some(Refusal::SocketMode),
        Class::OperatorAttested | Class::KernelAttested => {}
    }
    match patient.down.obstacle {
        Some(Obstacle::Blind) => Some(Refusal::Blind),
        Some(Obstacle::Contested) => Some(Refusal::Contested),
        Some(Obstacle::Clock) => Some(Refusal::Clock),
        Some(Obstacle::NamespaceUnknown) => Some(Refusal::Namespace),
        None => (patient.key.owner != Owner::Local && rule.names_pid()).then_some(Refusal::ForeignPid),
    }
}

#[cfg(test)]
mod tests;
