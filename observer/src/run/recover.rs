//! Opening recovery, and its thread.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout};
use varta_config::ObserverConfig;
use varta_core::WallNs;

use super::RunError;
use crate::{
    audit::{Audit, AuditKey},
    recovery::{self, Environment, Link, Recovery},
};

/// How long its thread may take to end: longer than it gives its programs.
const LIMIT: Duration = Duration::from_secs(10);

/// Recovery as it is configured, and the end that the ingest thread speaks into; nothing where there is no rule.
///
/// # Errors
/// The audit log cannot be used.
pub(super) fn open(
    config: &ObserverConfig,
    key: AuditKey,
    environment: Environment,
    at: WallNs,
) -> Result<Option<(Recovery, Link)>, RunError> {
    if config.recovery.is_empty() {
        return Ok(None);
    }
    let audit = match &config.audit.file {
        Some(file) => Some(Audit::open(file, key, config.audit.rotate_at.into(), at)?),
        None => {
            tracing::warn!("no [audit] file: what recovery does stands in this log only");
            None
        }
    };
    Ok(Some(recovery::new(&config.recovery, &config.recovery_brake, audit, environment)))
}

/// The thread on which recovery works.
pub(super) struct RecoveryThread {
    ended: oneshot::Receiver<()>,
}

impl RecoveryThread {
    /// # Errors
    /// The system has no thread, or no runtime, to give.
    pub(super) fn spawn(recovery: Recovery) -> Result<Self, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RunError::system("start the runtime of recovery"))?;
        let (alive, ended) = oneshot::channel::<()>();
        let work = move || {
            // Dropped by a panic, too.
            let _alive = alive;
            runtime.block_on(recovery.work());
        };
        let spawned = std::thread::Builder::new().name("varta-recovery".to_owned()).spawn(work);
        spawned.map_err(RunError::system("start the thread of recovery"))?;
        Ok(Self { ended })
    }

    /// Waits for its end, which comes once the ingest thread is gone; false if that took too long.
    pub(super) async fn finish(self) -> bool {
        timeout(LIMIT, self.ended).await.is_ok()
    }
}
