//! `capacity`: the highest rate of beats, of 1,000 and of 100,000 agents, at which the kernel drops none, for the observer and for the bare
//! loop.
//!
//! A rate is tried for a window that begins when all agents are known; drops are the kernel's own count for that socket in
//! /proc/net/udp. The search halves the interval below what the CPU time per beat would allow, a fixed number of times. A
//! rate that was not reached by the sender itself counts as one at which nothing was lost only up to what it did send, and
//! is told.

use std::time::Duration;

use serde::Serialize;

use super::{Bench, cost::window};
use crate::{bare::Work, load::Load, receiver::Receiver};

/// How many agents beat.
const AGENTS: [u32; 2] = [1000, 100_000];
const TRIES: u32 = 5;
const WINDOW: Duration = Duration::from_millis(1500);
/// The sender keeps up if no less than this share of its rate arrives.
const KEPT_UP: f64 = 0.97;

/// The figure.
#[derive(Serialize)]
pub(crate) struct Capacity {
    pub(crate) agents: u32,
    pub(crate) observer: Lossless,
    pub(crate) bare: Lossless,
    pub(crate) ratio: f64,
}

/// The highest rate at which nothing was lost.
#[derive(Default, Serialize)]
pub(crate) struct Lossless {
    /// Beats accepted a second.
    pub(crate) per_second: f64,
    /// CPU time per beat at that rate, nanoseconds.
    pub(crate) cpu_ns: f64,
    /// Whether the sender could not send faster.
    pub(crate) sender_bound: bool,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of millions")]
fn search(bench: &Bench, receiver: &Receiver, agents: u32) -> anyhow::Result<Lossless> {
    let saturated = window(bench, receiver, &Load::endless(agents, None), WINDOW)?;
    let (mut low, mut high) = (0.0, 1.1e9 / saturated.cpu_ns);
    let mut best = Lossless::default();
    for attempt in 0..TRIES {
        // The first guess is near the end of what can be.
        let rate = if attempt == 0 { high * 0.75 } else { (low + high) / 2.0 };
        let tried = window(bench, receiver, &Load::endless(agents, Some(rate as u64)), WINDOW)?;
        let sender_bound = tried.dropped == 0 && tried.accepted_per_second < KEPT_UP * rate;
        if tried.dropped == 0 && tried.accepted_per_second > best.per_second {
            best = Lossless { per_second: tried.accepted_per_second, cpu_ns: tried.cpu_ns, sender_bound };
        }
        if tried.dropped == 0 && !sender_bound {
            low = rate;
        } else {
            high = rate;
        }
    }
    Ok(best)
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Capacity>> {
    AGENTS.iter().map(|agents| take_one(bench, *agents)).collect()
}

fn take_one(bench: &Bench, agents: u32) -> anyhow::Result<Capacity> {
    let observer = search(bench, &Receiver::observer(bench.cores, &bench.loader)?, agents)?;
    let bare = search(bench, &Receiver::bare(bench.cores, &bench.loader, agents, Work::Open)?, agents)?;
    Ok(Capacity { agents, ratio: observer.per_second / bare.per_second, observer, bare })
}
