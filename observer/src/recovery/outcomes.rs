//! What recovery has done, counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Every outcome that there is, as `varta_recovery_total` prints it.
pub const OUTCOMES: [&str; 19] = [
    "spawned",
    "succeeded",
    "failed",
    "killed",
    "dry_run",
    "debounced",
    "braked_rate",
    "braked_share",
    "given_up",
    "refused_audit",
    "refused_blind",
    "refused_clock",
    "refused_contested",
    "refused_foreign_pid",
    "refused_namespace",
    "refused_origin",
    "refused_recycled_pid",
    "refused_socket_mode",
    "refused_unverified",
];

/// How often each was. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes(Arc<[AtomicU64; OUTCOMES.len()]>);

impl Outcomes {
    /// Counts one of [`OUTCOMES`].
    pub(crate) fn count(&self, name: &str) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == name) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each of [`OUTCOMES`] was.
    pub(crate) fn read(&self) -> [u64; OUTCOMES.len()] {
        std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed))
    }
}
