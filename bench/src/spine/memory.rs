//! `memory`: growth of resident memory per agent at 1,000,000 agents, from an observer that knows nobody.
//!
//! Every agent has one slot and no name. Whatever else the observer has come to need meanwhile, its buffers and its
//! writing of state, is in it. It is taken when all have beaten in one session; at once after all have begun another,
//! while all of the session before is kept beside it, for frames that are late; and when all have gone on in that one.
//!
//! Senders begin a session every ten minutes, and the one before is kept for some seconds: of a fleet that was not started
//! at one instant, one or two in a hundred have one at any time.
//!
//! Names and labels are told apart: two more observers hear an announce of every agent first, with the agent's name and
//! its host's, 13 and 21 bytes long; and with four labels beside them.

use std::time::Duration;

use anyhow::ensure;
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
/// Slower still: an announce is not repeated.
const ANNOUNCE_RATE: u64 = 25_000;
/// With this, a session before is kept for 15 s, and all beat once in 20 s.
const PROMISE: Duration = Duration::from_secs(60);
/// What all announce.
const LABELS: [&str; 4] = ["site=zrh-2", "role=frontend", "team=payments", "version=2.14.1"];
/// Until everything is on disk.
const SETTLE: Duration = Duration::from_secs(3);

/// The figure.
#[derive(Serialize)]
pub(crate) struct Growth {
    /// Heard of at the end.
    agents: u64,
    /// Of six beats that each of them sent.
    beats_lost: u64,
    /// Resident, and written to, bytes, with no agent.
    resident_before: u64,
    private_dirty_before: u64,
    pub(crate) one_session: PerAgent,
    /// While every agent's session before is kept.
    pub(crate) all_change: PerAgent,
    /// When none is any more.
    pub(crate) changed: PerAgent,
    /// What the names cost beside that, resident bytes per agent, and labels that all have in common.
    pub(crate) names: f64,
    pub(crate) labels: f64,
    target: f64,
}

/// Growth per agent, bytes.
#[derive(Serialize)]
pub(crate) struct PerAgent {
    pub(crate) resident: f64,
    pub(crate) private_dirty: f64,
}

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
fn growth(before: Memory, after: Memory, agents: u64) -> PerAgent {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / agents as f64;
    PerAgent {
        resident: each(before.resident, after.resident),
        private_dirty: each(before.private_dirty, after.private_dirty),
    }
}

/// How many agents an observer knows once all is settled, and what it has grown by for each.
fn settled(receiver: &Receiver, fresh: Memory) -> anyhow::Result<(u64, PerAgent)> {
    clock::pass(SETTLE);
    let agents = receiver.metrics()?.counter("varta_slots")?;
    // Where the machine is busy beats are lost before they are read.
    ensure!(agents >= u64::from(AGENTS) / 100 * 95, "only {agents} of {AGENTS} agents were heard");
    Ok((agents, growth(fresh, machine::memory(receiver.id())?, agents)))
}

/// An observer that hears an announce of every agent first.
fn announced(bench: &Bench, labels: &[&str]) -> anyhow::Result<PerAgent> {
    let receiver = Receiver::observer(bench.cores, &bench.loader)?;
    let fresh = machine::memory(receiver.id())?;
    bench.loader.announce(receiver.address(), AGENTS, ANNOUNCE_RATE, labels)?;
    Ok(settled(&receiver, fresh)?.1)
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Growth> {
    let receiver = Receiver::observer(bench.cores, &bench.loader)?;
    let fresh = machine::memory(receiver.id())?;
    let (mut sent, mut agents) = (0, 0);
    let mut grown_after = |each: u64| {
        let load = Load {
            agents: AGENTS,
            rate: Some(RATE),
            count: each * u64::from(AGENTS),
            promise: PROMISE,
            goodbye: false,
        };
        bench.loader.run(receiver.address(), &load)?;
        sent += load.count;
        let growth;
        (agents, growth) = settled(&receiver, fresh)?;
        Ok::<_, anyhow::Error>(growth)
    };
    // Every load is a session of its own. An agent's second beat comes when the session before is late no more; where that
    // is lost there is a third.
    let (one_session, all_change, changed) = (grown_after(2)?, grown_after(1)?, grown_after(3)?);
    let beats_lost = sent.saturating_sub(receiver.accepted()?);
    drop(receiver);
    let (named, labelled) = (announced(bench, &[])?, announced(bench, &LABELS)?);
    Ok(Growth {
        agents,
        beats_lost,
        resident_before: fresh.resident,
        private_dirty_before: fresh.private_dirty,
        names: named.resident - one_session.resident,
        labels: labelled.resident - named.resident,
        one_session,
        all_change,
        changed,
        target: TARGET,
    })
}
