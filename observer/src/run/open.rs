//! Opening everything an observer needs. Nothing on disk changes before all of it is open.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;
use varta_config::ObserverConfig;
use varta_daemon::http::{self, Ring, Serving, read_token};
use varta_vlp::time::nanos;

use super::{Addresses, Failure, Misconfiguration, OnReady, RunError, RunOptions, bind::bind, known::Known, recover};
use crate::{
    aside::Aside,
    clock::Clock,
    command::{self, Handle},
    export::http::{App, Setup},
    forward::{self, Forward, Marks},
    ingest::{Parts, Sleep},
    journal::{self, Teller},
    peers::Peers,
    recovery::{Environment, Recovery},
    reload::{InForce, open_export},
    watchdog::Watchdog,
};

/// An observer with everything open, and nothing judged yet.
pub(super) struct Opened {
    pub(super) addresses: Addresses,
    pub(super) parts: Parts,
    pub(super) teller: Teller,
    pub(super) recovery: Option<Recovery>,
    pub(super) http: Option<HttpParts>,
    pub(super) forward: Option<Forward>,
    pub(super) peers: Option<Peers>,
    pub(super) in_force: InForce,
    pub(super) shutdown_after: Option<Duration>,
    pub(super) on_ready: Option<OnReady>,
    /// The observer's name.
    pub(super) name: String,
}

impl Opened {
    /// Opens everything: configuration, keys, roster, state, sockets, in this order.
    ///
    /// # Errors
    /// [`RunError`], naming the file or address and the remedy.
    pub(super) fn open(config: ObserverConfig, options: RunOptions) -> Result<Self, RunError> {
        config.validate()?;
        let known = Known::open(&config)?;
        let name =
            config.observer.name.clone().or_else(|| known.audience().map(str::to_owned)).unwrap_or_else(host_name);
        let token = config.http.token_file.as_deref().map(read_token).transpose().map_err(Misconfiguration::Token)?;
        let filter = known.filter();
        let listeners = bind(&config, &filter)?;
        let http = config.http.listen.map(bind_http).transpose()?;
        let (export, writer) = match &config.export.file {
            Some(file) => open_export(file, &config).map(|(export, writer)| (Some(export), Some(writer)))?,
            None => (None, None),
        };
        let environment = Environment::new(options.environment);
        let recovery = recover::open(&config, known.audit_key(), environment, Clock::now().wall)?;
        let (recovery, recovery_link) = recovery.unzip();
        let (sleep, waker) = Sleep::new().map_err(RunError::system("make a poller"))?;
        let (handle, commands) = command::channel(waker);
        let ring = Ring::default();
        let peers = config.peers.key_file.as_deref();
        let peers = peers.map(|file| Peers::open(file, config.peers.every, handle.clone())).transpose()?;

        let gather = nanos(config.ingest.gather);
        let now = Clock::now();
        let addresses = Addresses::of(&listeners, http.as_ref().and_then(|http| http.local_addr().ok()));
        let aside = Aside::default();
        let counted = forward::counted(&config.relay);
        let http = http.map(|listener| {
            let app = App::new(Setup {
                handle: handle.clone(),
                ring: ring.clone(),
                name: name.clone(),
                started: now.wall,
                listeners: listeners.iter().map(|listener| listener.name.clone()).collect(),
                per_agent: config.metrics.per_agent,
                token,
                aside: aside.clone(),
                forward: Arc::clone(&counted),
            });
            HttpParts { listener, app }
        });
        let (journal, teller) = journal::channel(now, http.is_some().then_some(ring), export, config.export.beats);
        let version = known.roster_version();
        let news = Arc::new(Notify::new());
        let forward = known.identity().filter(|_| !config.relay.is_empty()).map(|identity| Forward {
            relays: config.relay.clone(),
            counted,
            identity,
            name: name.clone(),
            handle: handle.clone(),
            news: Arc::clone(&news),
        });
        let marks = if forward.is_some() { Marks::new(news) } else { Marks::off() };
        let (core, keeper) = known.begin(&config, !addresses.sealed.is_empty())?;
        for address in &addresses.sealed {
            tracing::info!("{name} receives beats on {address}");
        }
        for address in &addresses.plaintext {
            tracing::info!("{name} receives plaintext on {address}");
        }
        for path in &addresses.sockets {
            tracing::info!("{name} receives beats of local processes on {}", path.display());
        }
        if let Some(address) = &addresses.http {
            tracing::info!("{name} serves http://{address}");
        }
        let watchdog = Watchdog::open(&config.watchdog, options.watchdog)?;
        Ok(Self {
            addresses,
            in_force: InForce {
                file: options.config_file,
                roster_version: version,
                writer,
                log: options.log,
                handle,
                app: http.as_ref().map(|http| http.app.clone()),
                aside,
                config,
            },
            parts: Parts {
                listeners,
                core,
                filter,
                keeper,
                journal,
                sleep,
                gather,
                commands,
                watchdog,
                recovery: recovery_link,
                marks,
            },
            forward,
            peers,
            recovery,
            teller,
            http,
            shutdown_after: options.shutdown_after,
            on_ready: options.on_ready,
            name,
        })
    }

    pub(super) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.in_force.handle
    }
}

/// HTTP, open and not served yet.
pub(super) struct HttpParts {
    listener: TcpListener,
    app: App,
}

impl HttpParts {
    /// Serves on the runtime of the caller.
    pub(super) fn spawn(self) -> io::Result<Serving> {
        self.app.on(self.listener).spawn()
    }
}

fn bind_http(address: SocketAddr) -> Result<TcpListener, RunError> {
    http::bind(address).map_err(|error| Failure::Http { address, error }.into())
}

/// What this host calls itself.
fn host_name() -> String {
    let said = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if said.trim().is_empty() { "observer".to_owned() } else { said.trim().to_owned() }
}
