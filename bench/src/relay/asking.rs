//! What a relay answers, and how soon.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{clock, spine::quantile};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one answer's end to the next question of a [`Prober`].
const PAUSE: Duration = Duration::from_millis(10);

/// One who asks, on connections that are kept.
pub(crate) struct Asker {
    agent: ureq::Agent,
    http: SocketAddr,
}

/// What `/api/v1/fleet` says.
#[derive(Deserialize)]
pub(crate) struct Fleet {
    pub(crate) units: u64,
    pub(crate) verdicts: BTreeMap<String, u64>,
    pub(crate) observers: BTreeMap<String, u64>,
}

impl Fleet {
    /// Whether so many units are known, and all of them are up.
    pub(crate) fn is_well(&self, units: u64) -> bool {
        self.units == units && self.verdicts.get("up") == Some(&units)
    }
}

impl Asker {
    pub(crate) fn new(http: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
        Self { agent: config.into(), http }
    }

    /// The answer's bytes, compressed where `zipped` and as the relay likes.
    pub(crate) fn get(&self, path: &str, zipped: bool) -> anyhow::Result<Vec<u8>> {
        let url = format!("http://{}{path}", self.http);
        let mut request = self.agent.get(&url);
        if zipped {
            request = request.header("Accept-Encoding", "gzip, deflate, br, zstd");
        }
        let answer = request.call().with_context(|| url.clone())?;
        let encoding = answer.headers().get("Content-Encoding").and_then(|value| value.to_str().ok());
        ensure!(!zipped || encoding == Some("gzip"), "{url} is not compressed");
        let mut bytes = Vec::new();
        answer.into_body().into_reader().read_to_end(&mut bytes).context(url)?;
        Ok(bytes)
    }

    pub(crate) fn fleet(&self) -> anyhow::Result<Fleet> {
        Ok(serde_json::from_slice(&self.get("/api/v1/fleet", false)?)?)
    }

    /// Waits until the relay's picture is as wanted.
    pub(crate) fn wait_until(&self, limit: Duration, wanted: impl Fn(&Fleet) -> bool) -> anyhow::Result<()> {
        let reached = clock::wait_for(limit, || Ok(wanted(&self.fleet()?).then_some(())))?;
        reached.with_context(|| format!("the relay's picture was not as wanted within {} s", limit.as_secs()))
    }
}

/// How long answers took, milliseconds.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Answered {
    pub(crate) asked: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
}

/// Microseconds, sorted, as milliseconds: the quantile `part`.
#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
pub(crate) fn ms(sorted: &[u64], part: f64) -> f64 {
    quantile(sorted, part).map_or(f64::NAN, |us| us as f64 / 1000.0)
}

/// Microseconds of a time.
pub(crate) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Answered {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self { asked: times.len(), p50_ms: ms(&times, 0.5), p99_ms: ms(&times, 0.99), most_ms: ms(&times, 1.0) }
    }
}

/// One who asks the same again and again, from a thread of its own.
pub(crate) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<u64>>>,
}

impl Prober {
    pub(crate) fn start(http: SocketAddr, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (asker, mut times) = (Asker::new(http), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let asked = clock::boottime();
                asker.get(path, false)?;
                times.push(us(clock::boottime() - asked));
                clock::pass(PAUSE);
            }
            Ok(times)
        });
        Self { stop, thread }
    }

    /// Ends it, and says how long answers took.
    pub(crate) fn finish(self) -> anyhow::Result<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(times) => Ok(Answered::of(times?)),
            Err(_) => bail!("one who asks has panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_in_milliseconds() {
        let answered = Answered::of((1..=100).map(|ms| ms * 1000).rev().collect());
        assert_eq!((answered.asked, answered.p50_ms, answered.p99_ms), (100, 50.0, 99.0));
        assert!((answered.most_ms - 100.0).abs() < 1e-9);
        assert!(Answered::of(Vec::new()).most_ms.is_nan());
    }

    #[test]
    fn a_fleet_is_well_if_all_are_known_and_up() {
        let of = |text: &str| serde_json::from_str::<Fleet>(text).unwrap();
        let well =
            of(r#"{"units": 2, "verdicts": {"up": 2, "stalled": 0}, "observers": {"connected": 1}, "worst": "up"}"#);
        assert!(well.is_well(2) && !well.is_well(3));
        assert!(!of(r#"{"units": 2, "verdicts": {"up": 1, "stalled": 1}, "observers": {}}"#).is_well(2));
    }
}
