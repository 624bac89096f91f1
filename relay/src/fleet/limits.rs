//! Bounds and times.

use varta_vlp::time::{MILLI, SECOND};

/// What the fleet may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units; what is told of a further one is counted and dropped.
    pub units: usize,
    /// Slots of one observer; an observer that names a higher one is sent away.
    pub slots: u32,
    /// Sets of labels; units beyond have none.
    pub label_sets: usize,
    /// Incidents open at once; what would open a further one is not told as one.
    pub incidents: usize,
    /// Incidents that are over and still known.
    pub incidents_kept: usize,
    /// Silences at once.
    pub silences: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            units: 2_000_000,
            slots: 4_000_000,
            label_sets: 1_000_000,
            incidents: 10_000,
            incidents_kept: 1000,
            silences: 1000,
        }
    }
}

/// Times, nanoseconds, and the labels that say what belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an observer's word holds once its link is lost.
    pub lost_after: u64,
    /// How long a change for the worse waits for others of the same cause, and one for the better for a relapse.
    pub settle: u64,
    /// How long after the relay's start nothing is made of an observer that has not come yet.
    pub restart_grace: u64,
    /// The label that names a unit's host.
    pub host_label: String,
    /// The label that names a unit's site.
    pub site_label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lost_after: 2 * SECOND,
            settle: 500 * MILLI,
            restart_grace: 30 * SECOND,
            host_label: "host".to_owned(),
            site_label: "site".to_owned(),
        }
    }
}
