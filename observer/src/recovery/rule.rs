//! A rule: which slots it is for, and what it runs.

use std::{collections::BTreeMap, time::Duration};

use varta_core::Owner;
use varta_vlp::{UnitId, key::Name, time::nanos};

use super::plan::Patient;

/// An argument that stands for something of the slot.
const PID: &str = "{pid}";
const AGENT: &str = "{agent}";
const UNIT: &str = "{unit}";

/// A rule in force.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its place in the configuration, as errors name it.
    pub(crate) name: String,
    /// `None` for any; within, `None` for a name that can be nobody's.
    owner: Option<Option<Owner>>,
    unit: Option<Option<UnitId>>,
    labels: BTreeMap<String, String>,
    exec: Vec<String>,
    /// Nanoseconds.
    pub(crate) debounce: u64,
    pub(crate) timeout: Option<Duration>,
    pub(crate) env: Vec<String>,
    pub(crate) dry_run: bool,
}

impl Rule {
    pub(crate) fn new(index: usize, rule: &varta_config::Recovery) -> Self {
        let varta_config::Match { agent, unit, labels } = &rule.matching;
        let owner = |name: &str| {
            Owner::of_unsealed(name).or_else(|| Name::new(name).ok().map(|name| Owner::Agent(name.agent_id())))
        };
        Self {
            name: format!("recovery[{index}]"),
            owner: agent.as_deref().map(owner),
            unit: unit.as_deref().map(|name| Name::new(name).ok().map(Name::unit_id)),
            labels: labels.clone(),
            exec: rule.exec.clone(),
            debounce: nanos(rule.debounce),
            timeout: rule.timeout,
            env: rule.env.clone(),
            dry_run: rule.dry_run,
        }
    }

    /// Whether it is for a slot. Names are compared by what they hash to, which a frame proves; labels are the roster's.
    pub(crate) fn is_for(&self, patient: &Patient) -> bool {
        let label = |key: &str| patient.labels.as_ref().and_then(|labels| labels.get(key)).map(|value| &**value);
        self.owner.is_none_or(|owner| owner == Some(patient.key.owner))
            && self.unit.is_none_or(|unit| unit == Some(patient.key.unit))
            && self.labels.iter().all(|(key, value)| label(key) == Some(value))
    }

    /// Whether a pid is among its arguments.
    pub(crate) fn names_pid(&self) -> bool {
        self.exec.iter().any(|argument| argument == PID)
    }

    /// The program and its arguments for a slot: whole arguments are replaced, nothing else, and no shell sees them.
    pub(crate) fn command(&self, patient: &Patient) -> Vec<String> {
        let argument = |argument: &String| match argument.as_str() {
            PID => patient.pid.to_string(),
            AGENT => patient.agent.to_string(),
            UNIT => patient.unit.to_string(),
            _ => argument.clone(),
        };
        self.exec.iter().map(argument).collect()
    }
}
