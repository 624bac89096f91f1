//! What is run when a slot stalls, and what holds it back, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One `[[recovery]]`: a program that is run when a slot it matches stalls. No shell is involved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// `match`: the slots it is for.
    pub matching: Match,
    /// The absolute path of the program, and its arguments: 1 to 64 in all. An argument that is `{pid}`, `{agent}` or
    /// `{unit}` as a whole stands for the slot's.
    pub exec: Vec<String>,
    /// How long after a run for a slot no other is begun for it, 0 to 1 d.
    pub debounce: Duration,
    /// How long a run may take before it is killed, 10 ms to 1 h; `None` for as long as it likes (`timeout = ""` in the file).
    pub timeout: Option<Duration>,
    /// The variables of the observer's environment that the program is given, at most 64. It is given no others.
    pub env: Vec<String>,
    /// Whether a run is only told, not begun.
    pub dry_run: bool,
}

impl Default for Recovery {
    /// What each key is where the file leaves it out; it still lacks a program.
    fn default() -> Self {
        Self {
            matching: Match::default(),
            exec: Vec::new(),
            debounce: Duration::from_secs(1),
            timeout: Some(Duration::from_secs(3)),
            env: ["PATH", "LANG"].map(str::to_owned).into(),
            dry_run: false,
        }
    }
}

/// Which slots a rule is for: those that agree with all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The agent's name; `None` for any (`"*"` in the file). Processes of this host are the agent `local`.
    pub agent: Option<String>,
    /// The unit's name; `None` for any (`"*"` in the file).
    pub unit: Option<String>,
    /// Labels that the roster must give the agent, at most 64. What an agent says of itself does not count.
    pub labels: BTreeMap<String, String>,
}

/// `[recovery_brake]`: what holds all rules back at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryBrake {
    /// Runs begun within a minute, 0 to 10,000.
    pub per_minute: u32,
    /// No run is begun while this share of the slots is stalled, in percent, 1 to 100: the cause is elsewhere then.
    pub stop_percent: u32,
    /// The fewest slots of which a share counts, 1 to 10,000,000.
    pub stop_from: u32,
}

impl Default for RecoveryBrake {
    fn default() -> Self {
        Self { per_minute: 30, stop_percent: 50, stop_from: 10 }
    }
}

/// `[audit]`: the record of what was run, and of what was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file that records are appended to; `None` writes none.
    pub file: Option<PathBuf>,
    /// The size at which another is begun, in bytes, 64 KiB to 1 GiB.
    pub rotate_at: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { file: None, rotate_at: 16 << 20 }
    }
}
