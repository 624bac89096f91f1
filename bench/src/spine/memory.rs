//! `memory`: growth of resident memory per agent at 1,000,000 agents, from an observer that knows nobody.
//!
//! Every agent has one slot and no name. It is taken twice: when all have beaten twice in one session; and when all have
//! begun a second session and beaten twice in that, so that the session before is still kept beside it. Whatever else the
//! observer has come to need meanwhile, its buffers and its writing of state, is in both.

use std::time::Duration;

use serde::Serialize;

use super::Bench;
use crate::{
    clock,
    load::Load,
    machine::{self, Memory},
    receiver::Receiver,
};

const AGENTS: u32 = 1_000_000;
/// At most this many bytes per agent.
pub(crate) const TARGET: f64 = 256.0;
/// Slow enough for each to be told as new, or as restarted, without loss.
const RATE: u64 = 50_000;
/// Until everything is on disk.
const SETTLE: Duration = Duration::from_secs(3);

/// The figure.
#[derive(Serialize)]
pub(crate) struct Growth {
    agents: u32,
    /// Resident, and written to, bytes, with no agent.
    resident_before: u64,
    private_dirty_before: u64,
    pub(crate) one_session: PerAgent,
    pub(crate) two_sessions: PerAgent,
    target: f64,
}

/// Growth per agent, bytes.
#[derive(Serialize)]
pub(crate) struct PerAgent {
    pub(crate) resident: f64,
    pub(crate) private_dirty: f64,
}

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
fn growth(before: Memory, after: Memory) -> PerAgent {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(AGENTS);
    PerAgent {
        resident: each(before.resident, after.resident),
        private_dirty: each(before.private_dirty, after.private_dirty),
    }
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Growth> {
    let receiver = Receiver::observer(bench.cores, &bench.loader)?;
    let fresh = machine::memory(receiver.id())?;
    let load = Load {
        agents: AGENTS,
        rate: Some(RATE),
        count: 2 * u64::from(AGENTS),
        promise: Duration::from_secs(60),
        goodbye: false,
    };
    let session = || {
        bench.loader.run(receiver.address(), &load)?;
        clock::pass(SETTLE);
        machine::memory(receiver.id())
    };
    let (one, two) = (session()?, session()?);
    receiver.wait_for(4 * u64::from(AGENTS), Duration::from_secs(1))?;
    Ok(Growth {
        agents: AGENTS,
        resident_before: fresh.resident,
        private_dirty_before: fresh.private_dirty,
        one_session: growth(fresh, one),
        two_sessions: growth(fresh, two),
        target: TARGET,
    })
}
