//! `varta dev`: everything on loopback in one process, with throw-away keys, to look at.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep},
};
use varta_client::{
    SealedTransport, Status, Varta,
    keyfile::{AgentAudience, AgentKeyFile, create_secret_file},
};
use varta_config::{Listen, LogLevel, ObserverConfig};
use varta_keys::ObserverKeyFile;
use varta_vlp::{
    Generation,
    key::{AudienceKey, AudienceSecret, IdentitySecret, Name},
};
use varta_watch::{
    Observer, logging,
    run::{RunOptions, Running},
};

use crate::{duration, watch::color};

const AUDIENCE: &str = "obs-dev";

/// The sample agents: agent, unit, site, and how often each beats.
const SAMPLES: [(&str, &str, &str, Duration); 5] = [
    ("web-1", "api", "north", Duration::from_secs(1)),
    ("web-2", "api", "south", Duration::from_secs(1)),
    ("db-1", "postgres", "north", Duration::from_millis(500)),
    ("cache-1", "redis", "south", Duration::from_millis(250)),
    ("batch-1", "nightly", "north", Duration::from_secs(5)),
];

/// Run an observer and sample agents on loopback, with throw-away keys and nothing to configure.
#[derive(Args)]
pub(crate) struct DevArgs {
    /// How many sample agents.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    agents: u16,
    /// Keep keys and state in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Stop after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    stop_after: Option<Duration>,
    /// UDP port for sealed beats; 0 is any.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    sealed_port: u16,
    /// TCP port of the observer's HTTP; 0 is any.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    http_port: u16,
}

pub(crate) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::Builder::new().prefix("varta-dev-").tempdir().context("no temporary directory")?;
    let home = args.state.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(home).with_context(|| format!("{}: cannot be made", home.display()))?;
    let key_file = home.join(format!("{AUDIENCE}.observer.key"));
    let key = throw_away_key(&key_file)?;
    let observer = observe(args, home, &key_file)?;
    let sealed = observer.sealed_addrs().first().copied().context("the observer hears nobody")?;
    let agents = connect_agents(args.agents, &key, sealed)?;

    let mut out = std::io::stdout().lock();
    if let Some(http) = observer.http_addr() {
        writeln!(out, "observer http://{http}")?;
    }
    writeln!(out, "sealed   udp://{sealed}, key {}", key_file.display())?;
    writeln!(out, "agents   {} sample agents beat; Ctrl-C stops everything", agents.len())?;
    out.flush()?;
    drop(out);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no timer to be had")?;
    runtime.block_on(LocalSet::new().run_until(beat_until_told(agents, args.stop_after)))?;
    observer.stop();
    observer.join()?;
    Ok(ExitCode::SUCCESS)
}

fn throw_away_key(file: &Path) -> anyhow::Result<ObserverKeyFile> {
    if file.exists() {
        return Ok(ObserverKeyFile::load(file)?);
    }
    let fresh = || -> anyhow::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
        Ok(bytes)
    };
    let key = ObserverKeyFile {
        audience: AUDIENCE.to_owned(),
        secret: AudienceSecret::from_bytes(fresh()?),
        identity: IdentitySecret::from_bytes(fresh()?),
        retiring: Vec::new(),
    };
    create_secret_file(file, &key.render())?;
    Ok(key)
}

fn observe(args: &DevArgs, home: &Path, key_file: &Path) -> anyhow::Result<Running> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut config = ObserverConfig::default();
    config.observer.name = Some(AUDIENCE.to_owned());
    config.observer.key_file = Some(key_file.to_owned());
    config.observer.state_dir = Some(home.join("observer"));
    config.listen = vec![Listen::sealed(loopback(args.sealed_port))];
    config.http.listen = Some(loopback(args.http_port));
    config.log.level = LogLevel::Info;
    let log = logging::init(&config.log, color())?;
    Ok(Observer::start(config, RunOptions { log: Some(log), ..RunOptions::default() })?)
}

struct Sample {
    handle: Varta<SealedTransport>,
    every: Duration,
}

fn connect_agents(count: u16, key: &ObserverKeyFile, sealed: SocketAddr) -> anyhow::Result<Vec<Sample>> {
    let audience = AudienceKey::new(&key.secret);
    let named = SAMPLES.into_iter().map(|(agent, unit, site, every)| (agent.to_owned(), unit, site, every));
    let further =
        (SAMPLES.len() + 1..).map(|number| (format!("agent-{number}"), "main", "south", Duration::from_secs(1)));
    named
        .chain(further)
        .take(usize::from(count))
        .map(|(agent, unit, site, every)| {
            let id = Name::new(&agent)?.agent_id();
            let audiences = vec![AgentAudience {
                name: AUDIENCE.to_owned(),
                address: sealed.to_string(),
                secret: audience.agent(id, Generation(1)),
            }];
            let key = AgentKeyFile { agent, generation: Generation(1), audiences };
            let builder = Varta::builder().key(key).unit(unit).every(every).label("site", site);
            let handle = builder.version(env!("CARGO_PKG_VERSION")).connect()?;
            Ok(Sample { handle, every })
        })
        .collect()
}

/// Every sample beats at its own pace and says goodbye at the end.
async fn beat_until_told(samples: Vec<Sample>, limit: Option<Duration>) -> anyhow::Result<()> {
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
                loop {
                    tokio::select! {
                        _ = pace.tick() => {
                            let _ = sample.handle.beat(Status::Ok, 0);
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
