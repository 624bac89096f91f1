//! `stalls`: from a stall's deadline to its being told, for 10,000 agents that beat once a second and promise to.
//!
//! They die in two ways: each where it stands in its second, so that deadlines come one after another, 10,000 within one
//! second, which is what the target is for; and all within a few milliseconds, which is what the loss of a rack looks like.
//!
//! *judged* is the observer's own measure, deadline to verdict: exactly from the events, and as an upper bound from its
//! histogram, which also has those whose events were lost. *told* is measured by one who follows `/api/v1/events`: deadline
//! to the event being read from its connection, both on this host's clock. An observer keeps no more than its newest events
//! for followers, so that of many at once some may be lost; how many were read is said.

use std::{
    io::{BufRead as _, BufReader},
    sync::mpsc::{Receiver as Channel, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{Bench, quantile};
use crate::{clock, load::Load, metrics::Metrics, receiver::Receiver};

const AGENTS: u32 = 10_000;
/// Beats of each agent before it dies.
const BEATS: u64 = 3;
const PROMISE: Duration = Duration::from_secs(1);
/// How long it may take until all are told.
const LIMIT: Duration = Duration::from_secs(20);
/// At most this long after the deadline, in 99 of 100.
pub(crate) const TARGET_MS: f64 = 5.0;
const HISTOGRAM: &str = "varta_stall_detection_seconds";

/// The figure.
#[derive(Serialize)]
pub(crate) struct Stalls {
    agents: u32,
    pub(crate) one_after_another: Lateness,
    pub(crate) all_at_once: Lateness,
    target_p99_ms: f64,
}

/// How late stalls were, milliseconds.
#[derive(Serialize)]
pub(crate) struct Lateness {
    stalls: u64,
    /// Upper bounds of the histogram's buckets.
    pub(crate) judged_p50_at_most_ms: f64,
    pub(crate) judged_p99_at_most_ms: f64,
    events_read: usize,
    judged_p50_ms: Option<f64>,
    judged_p99_ms: Option<f64>,
    pub(crate) told_p50_ms: Option<f64>,
    pub(crate) told_p99_ms: Option<f64>,
}

/// A stall as one who follows reads it.
struct Told {
    judged_us: u64,
    told_us: u64,
}

#[derive(Deserialize)]
struct Event {
    to: Option<String>,
    deadline: Option<String>,
    late_us: Option<u64>,
}

fn told(data: &str) -> Option<Told> {
    let read = clock::realtime();
    let event: Event = serde_json::from_str(data).ok()?;
    let stalled = event.to.as_deref() == Some("stalled");
    let deadline = humantime::parse_rfc3339(event.deadline.filter(|_| stalled)?.as_str()).ok()?;
    let deadline = deadline.duration_since(std::time::UNIX_EPOCH).ok()?;
    let told_us = u64::try_from(read.saturating_sub(deadline).as_micros()).ok()?;
    Some(Told { judged_us: event.late_us?, told_us })
}

/// Follows the events of the observer that serves `http`, until it stops.
fn follow(http: &str) -> anyhow::Result<Channel<Told>> {
    let url = format!("http://{http}/api/v1/events");
    let answer = ureq::get(&url).call().context(url)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let Ok(line) = line else { return };
            let told = line.strip_prefix("data:").and_then(told);
            if told.is_some_and(|told| sender.send(told).is_err()) {
                return;
            }
        }
    });
    Ok(receiver)
}

fn count(buckets: &[(f64, u64)]) -> u64 {
    buckets.last().map_or(0, |(_, count)| *count)
}

/// The upper bound of the bucket in which the share `part` of what came between two scrapes is reached, milliseconds.
#[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
fn bound_ms(before: &[(f64, u64)], after: &[(f64, u64)], part: f64) -> f64 {
    let wanted = (count(after) - count(before)) as f64 * part;
    let reached = before.iter().zip(after).find(|((_, before), (_, after))| (after - before) as f64 >= wanted);
    reached.map_or(f64::NAN, |(_, (bound, _))| bound * 1000.0)
}

/// Lets all agents die, and waits until the observer has told of every one.
fn die(bench: &Bench, receiver: &Receiver, events: &Channel<Told>, rate: Option<u64>) -> anyhow::Result<Lateness> {
    let histogram = || receiver.metrics().and_then(|metrics: Metrics| metrics.histogram(HISTOGRAM));
    let before = histogram()?;
    let load = Load { agents: AGENTS, rate, count: BEATS * u64::from(AGENTS), promise: PROMISE, goodbye: false };
    bench.loader.run(receiver.address(), &load)?;
    // Nobody asks anything while deadlines pass: two promises and the margin, over a second at most.
    clock::pass(4 * PROMISE);
    let wanted = count(&before) + u64::from(AGENTS);
    let after = clock::wait_for(LIMIT, || Ok(Some(histogram()?).filter(|buckets| count(buckets) >= wanted)))?;
    let after = after.with_context(|| format!("not all of {AGENTS} agents were told as stalled"))?;
    ensure!(count(&after) == wanted, "{} stalls were told of {AGENTS} agents", count(&after) - count(&before));
    let read: Vec<Told> = events.try_iter().collect();
    let sorted = |of: fn(&Told) -> u64| {
        let mut all: Vec<u64> = read.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    let (judged, told) = (sorted(|told| told.judged_us), sorted(|told| told.told_us));
    #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
    let ms = |sorted: &[u64], part| quantile(sorted, part).map(|us| us as f64 / 1000.0);
    Ok(Lateness {
        stalls: count(&after) - count(&before),
        judged_p50_at_most_ms: bound_ms(&before, &after, 0.5),
        judged_p99_at_most_ms: bound_ms(&before, &after, 0.99),
        events_read: read.len(),
        judged_p50_ms: ms(&judged, 0.5),
        judged_p99_ms: ms(&judged, 0.99),
        told_p50_ms: ms(&told, 0.5),
        told_p99_ms: ms(&told, 0.99),
    })
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Stalls> {
    let receiver = Receiver::observer(bench.cores, &bench.loader)?;
    let events = follow(receiver.http()?)?;
    Ok(Stalls {
        agents: AGENTS,
        one_after_another: die(bench, &receiver, &events, Some(u64::from(AGENTS)))?,
        all_at_once: die(bench, &receiver, &events, None)?,
        target_p99_ms: TARGET_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_that_of_the_bucket_in_which_the_share_is_reached() {
        let before = [(0.001, 10), (0.01, 10), (f64::INFINITY, 12)];
        let after = [(0.001, 60), (0.01, 109), (f64::INFINITY, 112)];
        assert!((bound_ms(&before, &after, 0.5) - 1.0).abs() < 1e-9);
        assert!((bound_ms(&before, &after, 0.99) - 10.0).abs() < 1e-9);
        assert!(bound_ms(&before, &after, 1.0).is_infinite());
    }

    #[test]
    fn only_stalls_are_told() {
        let stall = r#"{"id":1,"to":"stalled","deadline":"2025-01-01T00:00:00.000001Z","late_us":7}"#;
        let told_stall = told(stall).unwrap();
        assert_eq!(told_stall.judged_us, 7);
        assert!(told_stall.told_us > 0);
        assert!(told(&stall.replace("stalled", "up")).is_none());
        assert!(told("{}").is_none());
    }
}
