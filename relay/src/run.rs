//! Running a relay: opening everything in an order in which each failure is told before anything has changed, then serving
//! until the stop.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    pin::{Pin, pin},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};
use varta_config::{FleetRules, RelayConfig};
use varta_daemon::{
    clock::Clock,
    http::{self, Ring, read_token},
    logging::LogControl,
    notify::Manager,
    signals::{Signalled, Signals},
};
use varta_keys::RelayKeyFile;
use varta_link::{Allowed, Identity, Limits as LinkLimits, Listener};
use varta_vlp::{
    key::{Peer, PublicKey},
    time::{MILLI, Now, nanos},
};

pub use self::error::{Failure, Misconfiguration, RunError};
use crate::{
    desk::Desk,
    fleet::{Allowance, Fleet, Limits, Pattern, Settings},
    http::{App, Setup},
    journal::Journal,
    session,
    store::{Keep, Loaded, Store},
    webhook::open_all,
};

/// Is told where a relay listens.
pub type OnReady = Box<dyn FnOnce(&Addresses) + Send>;

/// What a relay is told beside its configuration.
#[derive(Default)]
pub struct RunOptions {
    /// Where the configuration came from: a reload reads it again.
    pub config_file: Option<PathBuf>,
    /// The running log, so that a reload can change its level.
    pub log: Option<LogControl>,
    /// Stop cleanly after this time.
    pub shutdown_after: Option<Duration>,
    /// Called once everything is open.
    pub on_ready: Option<OnReady>,
}

/// Where a relay really listens: configured ports may be 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where observers dial: UDP.
    pub link: SocketAddr,
    /// HTTP, where it is served.
    pub http: Option<SocketAddr>,
    /// What observers are to pin, in text.
    pub pin: String,
}

/// Runs a relay on this thread until SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
/// [`RunError`], with text for the operator.
pub fn run(config: RelayConfig, options: RunOptions) -> Result<(), RunError> {
    let (_orders, receiver) = mpsc::channel(1);
    Prepared::new(config, options)?.serve(receiver, true)
}

/// A relay that runs in this process. Dropping it stops the relay and does not wait for that.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Result<(), RunError>>,
}

/// Starts a relay on a thread of its own, and waits until it is ready.
///
/// # Errors
/// [`RunError`] of whatever cannot be opened.
pub fn start(config: RelayConfig, mut options: RunOptions) -> Result<Running, RunError> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let told = options.on_ready.take();
    options.on_ready = Some(Box::new(move |addresses| {
        if let Some(told) = told {
            told(addresses);
        }
        // Whoever started it may have gone away meanwhile.
        let _ = ready.send(addresses.clone());
    }));
    let prepared = Prepared::new(config, options)?;
    let (stop, orders) = mpsc::channel(1);
    let thread = std::thread::Builder::new()
        .name("varta-relay".to_owned())
        .spawn(move || prepared.serve(orders, false))
        .map_err(RunError::system("start a thread"))?;
    match is_ready.recv() {
        Ok(addresses) => Ok(Running { addresses, stop, thread }),
        // It ended before it was ready, and says why.
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(Failure::Panicked.into()),
        },
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Begins a clean stop; [`Self::join`] waits for its end.
    pub fn stop(&self) {
        // One that has ended needs no order.
        let _ = self.stop.try_send(());
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`RunError::Failed`] if it did not end well.
    pub fn join(self) -> Result<(), RunError> {
        let Self { stop: _until_then, thread, .. } = self;
        thread.join().unwrap_or_else(|_| Err(Failure::Panicked.into()))
    }
}

/// Everything that is opened before anything is served.
struct Prepared {
    config: RelayConfig,
    options: RunOptions,
    name: String,
    identity: Identity,
    token: Option<String>,
    http: Option<TcpListener>,
}

fn settings(rules: &FleetRules) -> Settings {
    Settings {
        lost_after: nanos(rules.lost_after),
        settle: nanos(rules.settle),
        restart_grace: nanos(rules.restart_grace),
        host_label: rules.host_label.clone(),
        site_label: rules.site_label.clone(),
    }
}

/// The observers of a valid configuration, by key, and what each may report.
fn observers(config: &RelayConfig) -> (Vec<(PublicKey, String)>, Vec<Allowance>) {
    let all = config.observer.iter().filter_map(|one| {
        let key = PublicKey::from_text(Peer::Observer, &one.key).ok()?;
        let name = one.name.clone()?;
        let agents = one.agents.iter().map(|text| Pattern::new(text)).collect();
        Some(((key, name.clone()), Allowance { name, agents, site: one.site.clone() }))
    });
    all.unzip()
}

impl Prepared {
    fn new(config: RelayConfig, options: RunOptions) -> Result<Self, RunError> {
        config.validate()?;
        let file = config.relay.key_file.clone().unwrap_or_default();
        let key = RelayKeyFile::load(&file)?;
        let name = config.relay.name.clone().unwrap_or(key.relay);
        let identity = Identity::new(&key.identity);
        let token = config.http.token_file.as_deref().map(read_token).transpose().map_err(Misconfiguration::Token)?;
        let bind = |address| http::bind(address).map_err(|error| Failure::Http { address, error });
        let http = config.http.listen.map(bind).transpose()?;
        Ok(Self { config, options, name, identity, token, http })
    }

    fn serve(self, orders: mpsc::Receiver<()>, daemon: bool) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("varta-http").build();
        let runtime = runtime.map_err(RunError::system("start the runtime"))?;
        let result = runtime.block_on(self.attend(orders, daemon));
        runtime.shutdown_background();
        if let Err(error) = &result {
            tracing::error!("{error}");
        }
        result
    }

    async fn attend(self, mut orders: mpsc::Receiver<()>, daemon: bool) -> Result<(), RunError> {
        let Self { config, mut options, name, identity, token, http } = self;
        let manager = Manager::new(daemon, format!("{name} is relaying"));
        let signals = daemon.then(Signals::new).transpose();
        let mut signals = signals.map_err(RunError::system("take signals"))?;
        let (keys, allowances) = observers(&config);
        let allowed = Allowed::default();
        allowed.set(keys);
        let limits = LinkLimits { links: config.limits.observers as usize * 2, ..LinkLimits::default() };
        let address = config.link.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 9920)));
        let mut listener = Listener::bind(address, &identity, allowed.clone(), limits).map_err(Failure::Link)?;
        let started = Clock::now();
        let opened = config.relay.state_dir.as_deref().map(|directory| {
            let keep = Keep { ms: nanos(config.history.keep) / MILLI, bytes: config.history.max_bytes.into() };
            Store::open(directory, keep, wall_ms)
        });
        let (store, mut loaded) = opened.transpose().map_err(Failure::Store)?.unzip();
        if store.is_none() {
            tracing::warn!("no relay.state_dir: no history is kept, and a restart forgets everything");
        }
        let marks = loaded.as_mut().map(|loaded| std::mem::take(&mut loaded.marks)).unwrap_or_default();
        let told: BTreeSet<u64> = marks.values().flat_map(BTreeMap::keys).copied().collect();
        let hooks = open_all(&config.webhook, &name, store.as_ref(), marks);
        let hooks = hooks.map_err(Misconfiguration::Webhook)?;
        let ring = Ring::default();
        let desk = {
            let limits = Limits { units: config.limits.units as usize, ..Limits::default() };
            let mut fleet = Fleet::new(started, limits, settings(&config.fleet));
            fleet.set_allowed(started, &allowances);
            if let Some(loaded) = loaded {
                restore(&mut fleet, started, loaded);
            }
            Desk::new(fleet, Journal::new(started, ring.clone()), store.clone(), hooks.clone())
        };
        // Its first deadlines are noted by this.
        desk.act(|_, _| ());
        desk.tell_ends(told);
        let addresses = Addresses {
            link: listener.local_addr().map_err(RunError::system("read the address of a socket"))?,
            http: http.as_ref().and_then(|http| http.local_addr().ok()),
            pin: identity.public().to_text(Peer::Relay).to_string(),
        };
        tracing::info!("{name} takes observers on {}, as {}", addresses.link, addresses.pin);
        let app = App::new(Setup {
            desk: desk.clone(),
            store: store.clone(),
            hooks,
            ring,
            name: name.clone(),
            started: started.wall,
            token,
            dashboards: config.limits.dashboards as usize,
            per_agent: config.metrics.per_agent,
            refusals: listener.refusals(),
        });
        let streaming = tokio::spawn(app.clone().stream());
        let serving = match http {
            Some(http) => Some(app.on(http).spawn().map_err(RunError::system("serve HTTP"))?),
            None => None,
        };
        if let Some(address) = addresses.http {
            tracing::info!("{name} serves http://{address}");
        }
        let writer = store.as_ref().map(Store::spawn).transpose().map_err(RunError::system("start a thread"))?;
        let timing = tokio::spawn({
            let desk = desk.clone();
            async move { desk.keep_time().await }
        });
        if let Some(on_ready) = options.on_ready.take() {
            on_ready(&addresses);
        }
        manager.ready();
        let mut in_force =
            InForce { config, file: options.config_file, log: options.log, allowed: allowed.clone(), desk, app };
        let mut end = pin!(time_out(options.shutdown_after));
        let why = loop {
            tokio::select! {
                arrived = listener.accept() => match arrived {
                    Some(arrived) => {
                        let desk = in_force.desk.clone();
                        tokio::spawn(session::serve(desk, allowed.clone(), name.clone(), arrived));
                    }
                    None => return Err(Failure::LinkEnded.into()),
                },
                woken = next(&mut orders, &mut signals, end.as_mut()) => match woken {
                    Woken::Stop(why) => break why,
                    Woken::Reload => {
                        manager.reloading();
                        if let Err(error) = in_force.reload() {
                            tracing::warn!("reload refused, everything stays as it was: {error}");
                        }
                        manager.ready();
                    }
                },
            }
        };
        tracing::info!("stopping: {why}");
        manager.stopping();
        timing.abort();
        streaming.abort();
        if let Some(serving) = serving {
            serving.finish().await;
        }
        listener.close("the relay is stopping").await;
        if let Some(writer) = writer {
            writer.finish();
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// This instant, milliseconds since the Unix epoch.
fn wall_ms() -> u64 {
    Clock::now().wall.0 / MILLI
}

/// Brings back what was known before.
fn restore(fleet: &mut Fleet, now: Now, loaded: Loaded) {
    let Loaded { units, incidents, silences, gap, .. } = loaded;
    if let Some((from, until)) = gap {
        let (known, away) = (units.len(), (until - from) / 1000);
        tracing::info!("{known} units are known from before; the relay was away for {away} s");
    }
    units.iter().for_each(|unit| fleet.restore_unit(now, unit));
    incidents.into_iter().for_each(|incident| fleet.restore_incident(now, incident));
    for silence in silences {
        fleet.restore_silence(now, silence);
    }
}

/// What ends a wait of the main thread.
enum Woken {
    Stop(&'static str),
    Reload,
}

async fn next(
    orders: &mut mpsc::Receiver<()>,
    signals: &mut Option<Signals>,
    end: Pin<&mut impl Future<Output = ()>>,
) -> Woken {
    tokio::select! {
        signalled = Signals::next(signals) => match signalled {
            Signalled::Stop(signal) => Woken::Stop(signal),
            Signalled::Reload => Woken::Reload,
        },
        _ = orders.recv() => Woken::Stop("on request"),
        () = end => Woken::Stop("its time is over"),
    }
}

/// Ends after `limit`; never, without one.
async fn time_out(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// What a reload changes.
struct InForce {
    config: RelayConfig,
    file: Option<PathBuf>,
    log: Option<LogControl>,
    allowed: Allowed,
    desk: Desk,
    app: App,
}

impl InForce {
    /// Reads the configuration again, and puts in force what can be.
    fn reload(&mut self) -> Result<(), RunError> {
        let Some(file) = &self.file else {
            tracing::info!("reload: there is no configuration file to be read again");
            return Ok(());
        };
        let reload = self.config.reload(&RelayConfig::load(file)?);
        for change in &reload.live {
            tracing::info!("reload: {change}");
        }
        for change in &reload.restart {
            tracing::warn!("reload: waits for a restart: {change}");
        }
        self.config = reload.config;
        let (keys, allowances) = observers(&self.config);
        // Who is to go has its link closed by this.
        self.allowed.set(keys);
        let settings = settings(&self.config.fleet);
        self.desk.act(|fleet, now| {
            fleet.set_settings(now, settings);
            fleet.set_allowed(now, &allowances);
        });
        self.app.set_per_agent(self.config.metrics.per_agent);
        if let Some(log) = &self.log {
            log.set_level(self.config.log.level);
        }
        tracing::info!("reload: done");
        Ok(())
    }
}
