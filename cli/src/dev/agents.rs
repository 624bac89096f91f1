//! Sample agents in two sites, of which one misbehaves now and then.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use varta_client::{SealedTransport, Status, Varta, keyfile::AgentKeyFile};
use varta_keys::ObserverKeyFile;
use varta_vlp::Generation;

use super::mesh::audience;

/// The sample agents: agent, unit, site, and how often each beats.
const SAMPLES: [(&str, &str, &str, Duration); 5] = [
    ("web-1", "api", "north", Duration::from_secs(1)),
    ("web-2", "api", "south", Duration::from_secs(1)),
    ("db-1", "postgres", "north", Duration::from_millis(500)),
    ("cache-1", "redis", "south", Duration::from_millis(250)),
    ("batch-1", "nightly", "north", Duration::from_secs(5)),
];
/// The one that misbehaves.
const MOODY: &str = "cache-1";
/// How long it takes from one time to the next.
const MOOD: Duration = Duration::from_secs(45);

pub(super) struct Sample {
    handle: Varta<SealedTransport>,
    every: Duration,
    moody: bool,
}

pub(super) fn connect(count: u16, observers: &[(&ObserverKeyFile, SocketAddr)]) -> anyhow::Result<Vec<Sample>> {
    let named = SAMPLES.into_iter().map(|(agent, unit, site, every)| (agent.to_owned(), unit, site, every));
    let further = (SAMPLES.len() + 1..).map(|number| {
        let site = if number % 2 == 0 { "north" } else { "south" };
        (format!("agent-{number}"), "main", site, Duration::from_secs(1))
    });
    named
        .chain(further)
        .take(usize::from(count))
        .map(|(agent, unit, site, every)| {
            let audiences = observers.iter().map(|(key, address)| audience(key, *address, &agent));
            let audiences = audiences.collect::<anyhow::Result<_>>()?;
            let moody = agent == MOODY;
            let key = AgentKeyFile { agent, generation: Generation(1), audiences };
            let builder = Varta::builder().key(key).unit(unit).every(every).label("site", site);
            let handle = builder.version(env!("CARGO_PKG_VERSION")).connect()?;
            Ok(Sample { handle, every, moody })
        })
        .collect()
}

/// How an agent is so long after its start; nothing while it says nothing.
fn mood(moody: bool, since: Duration) -> Option<Status> {
    let into = since.as_secs_f64() % MOOD.as_secs_f64();
    match into {
        _ if !moody => Some(Status::Ok),
        15.0..20.0 => Some(Status::Degraded),
        25.0..33.0 => None,
        _ => Some(Status::Ok),
    }
}

/// Every sample beats at its own pace and says goodbye at the end.
pub(super) async fn beat_until_told(samples: Vec<Sample>, limit: Option<Duration>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let tasks: Vec<_> = samples
        .into_iter()
        .map(|mut sample| {
            let mut stopped = stopped.clone();
            tokio::task::spawn_local(async move {
                let mut pace = interval(sample.every);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut begun: Option<Instant> = None;
                loop {
                    tokio::select! {
                        tick = pace.tick() => {
                            let since = tick - *begun.get_or_insert(tick);
                            if let Some(status) = mood(sample.moody, since) {
                                let _ = sample.handle.beat(status, 0);
                            }
                        }
                        _ = stopped.changed() => break,
                    }
                }
                sample.handle.finish(Status::Ok, 0)
            })
        })
        .collect();
    let limit = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = limit => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send(true)?;
    for task in tasks {
        let _ = task.await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_misbehaves_within_the_first_minute() {
        let of = |moody, seconds| mood(moody, Duration::from_secs(seconds));
        let all: Vec<_> = (0..60).map(|seconds| of(true, seconds)).collect();
        assert!(all.contains(&None) && all.contains(&Some(Status::Degraded)) && all.contains(&Some(Status::Ok)));
        assert!((0..600).all(|seconds| of(false, seconds) == Some(Status::Ok)));
    }
}
