//! `observer.toml` as plain data. The sample `config/observer.toml` tells an operator the same.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::recovery::{Audit, Recovery, RecoveryBrake};
use crate::relay::{Peers, RelayLink};
use crate::slot::choice;

/// All that an observer can be told. The fields are the file's sections; [`Default`] is an empty file, which still lacks
/// a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObserverConfig {
    /// `[observer]`: who this observer is, and its files.
    pub observer: Identity,
    /// `[[listen]]`: where beats are received, 1 to 16 of them.
    pub listen: Vec<Listen>,
    /// `[ingest]`: how datagrams are read.
    pub ingest: Ingest,
    /// `[stall]`: when silence is a stall.
    pub stall: Stall,
    /// `[acceptance]`: how far clocks may differ and how long old keys live.
    pub acceptance: Acceptance,
    /// `[[recovery]]`: what is run when a slot stalls, at most 64 rules.
    pub recovery: Vec<Recovery>,
    /// `[recovery_brake]`: what holds all rules back at once.
    pub recovery_brake: RecoveryBrake,
    /// `[audit]`: the record of what was run, and of what was refused.
    pub audit: Audit,
    /// `[relay]`, or `[[relay]]` for more than one: where all that is known is forwarded to, at most 4.
    pub relay: Vec<RelayLink>,
    /// `[peers]`: how other observers hear that this one lives.
    pub peers: Peers,
    /// `[limits]`: how much state is kept.
    pub limits: Limits,
    /// `[http]`: metrics, health and the slot API.
    pub http: Http,
    /// `[metrics]`: how much the metrics say.
    pub metrics: Metrics,
    /// `[export]`: the event file.
    pub export: Export,
    /// `[watchdog]`: who notices that the ingest loop does not turn.
    pub watchdog: Watchdog,
    /// `[log]`: the log on standard error.
    pub log: Log,
}

/// `[observer]`: who this observer is, and its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// What this observer calls itself; without it, the audience its key file names, or else the host's name.
    pub name: Option<String>,
    /// Where state is kept across restarts. Without it nothing is, and each start refuses frames from before it.
    pub state_dir: Option<PathBuf>,
    /// The observer's key file. A sealed listener needs it.
    pub key_file: Option<PathBuf>,
    /// The roster: which agents there are. Without it every agent with a valid key is welcome.
    pub roster_file: Option<PathBuf>,
}

/// One `[[listen]]`: a place at which beats are received. Exactly one of `sealed`, `socket` and `plaintext` is set; what
/// belongs to the others stands at its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP address for sealed frames. Port 0 lets the system choose.
    pub sealed: Option<SocketAddr>,
    /// The origin class of what arrives here. Sealed only.
    pub trust: Trust,
    /// Receive buffer asked of the kernel, in bytes, 64 KiB to 1 GiB. The kernel may grant less. Sealed and plaintext only.
    pub receive_buffer: u32,
    /// When the kernel refuses what is no datagram for this observer. Sealed only.
    pub kernel_filter: KernelFilter,
    /// Path of a Unix datagram socket for processes of this host, at most 107 bytes.
    pub socket: Option<PathBuf>,
    /// File mode of that socket, 0 to `0o777`: who may write to it may beat.
    pub mode: u32,
    /// UDP address for frames without a seal, which anybody can forge. Port 0 lets the system choose.
    pub plaintext: Option<SocketAddr>,
    /// Whether the operator accepts that: must be true beside `plaintext`.
    pub accept_plaintext: bool,
}

impl Default for Listen {
    /// What each key is where the file leaves it out; it still lacks a place.
    fn default() -> Self {
        Self {
            sealed: None,
            trust: Trust::default(),
            receive_buffer: 8 << 20,
            kernel_filter: KernelFilter::default(),
            socket: None,
            mode: 0o600,
            plaintext: None,
            accept_plaintext: false,
        }
    }
}

impl Listen {
    /// A listener for sealed frames.
    #[must_use]
    pub fn sealed(address: SocketAddr) -> Self {
        Self { sealed: Some(address), ..Self::default() }
    }

    /// A listener for the processes of this host, which only the observer's own user may write to.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..Self::default() }
    }

    /// A listener for frames without a seal. Calling this accepts that anybody can forge them.
    #[must_use]
    pub fn plaintext(address: SocketAddr) -> Self {
        Self { plaintext: Some(address), accept_plaintext: true, ..Self::default() }
    }

    /// Where it listens; `None` unless exactly one of the three is set, which [`ObserverConfig::validate`] refuses.
    #[must_use]
    pub fn at(&self) -> Option<At<'_>> {
        match (self.sealed, &self.socket, self.plaintext) {
            (Some(address), None, None) => Some(At::Sealed(address)),
            (None, Some(path), None) => Some(At::Socket(path)),
            (None, None, Some(address)) => Some(At::Plaintext(address)),
            _ => None,
        }
    }
}

/// Where a [`Listen`] listens. Its text is the address or the path, by which metrics and logs call the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'a> {
    /// A UDP address, for sealed frames.
    Sealed(SocketAddr),
    /// The path of a Unix datagram socket.
    Socket(&'a Path),
    /// A UDP address, for frames without a seal.
    Plaintext(SocketAddr),
}

impl At<'_> {
    /// The key that says so.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Socket(_) => "socket",
            Self::Plaintext(_) => "plaintext",
        }
    }

    /// Whether both cannot be listened on at once. Port 0 is a free port each time.
    pub(crate) fn collides(self, other: At<'_>) -> bool {
        match (self, other) {
            (At::Socket(one), At::Socket(other)) => one == other,
            (At::Sealed(one) | At::Plaintext(one), At::Sealed(other) | At::Plaintext(other)) => {
                one == other && one.port() != 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(address) | Self::Plaintext(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// `[ingest]`: how datagrams are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// How long datagrams may gather to be read together while many come, 0 to 5 ms; 0 wakes for each.
    pub gather: Duration,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { gather: Duration::from_micros(500) }
    }
}

/// `[stall]`: when silence is a stall. Durations, as everywhere here, are wall time of the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Silence allowed to a sender that promises nothing, 10 ms to 1 d.
    pub threshold: Duration,
    /// Promised beats that may be lost in a row before a stall, 1 to 1000.
    pub misses: u32,
    /// Allowance for the path on top of a promise, 0 to 1 min.
    pub margin: Duration,
    /// The longest promise taken at its word, 1 s to 30 d; longer ones are held to it.
    pub max_promise: Duration,
    /// The longest planned absence taken at its word, 1 s to 30 d; longer ones are held to it.
    pub max_hold: Duration,
    /// Blindness after which the observer itself is critical, 1 s to 1 d.
    pub blind_limit: Duration,
}

impl Default for Stall {
    fn default() -> Self {
        Self {
            threshold: Duration::from_secs(2),
            misses: 2,
            margin: Duration::from_millis(250),
            max_promise: Duration::from_secs(3600),
            max_hold: Duration::from_secs(3600),
            blind_limit: Duration::from_secs(60),
        }
    }
}

/// `[acceptance]`: how far clocks may differ and how long old keys live (`vlp/SPEC.md`, acceptance).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// How far an agent's clock may be from the observer's, 10 ms to 1 min.
    pub skew: Duration,
    /// How long an agent's previous key generation is accepted after its newer one was first heard, 0 to 365 d.
    pub generation_overlap: Duration,
    /// How long a required agent may be gone before it is `missing`, 1 s to 30 d.
    pub return_within: Duration,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self {
            skew: Duration::from_secs(5),
            generation_overlap: Duration::from_secs(7 * 24 * 3600),
            return_within: Duration::from_secs(600),
        }
    }
}

/// `[limits]`: how much state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Agents known at once, 1 to 10,000,000.
    pub agents: u32,
    /// Slots one agent may hold, 1 to 65,535.
    pub slots_per_agent: u32,
    /// Processes of this host heard at once, 1 to 1,048,576.
    pub processes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { agents: 1_000_000, slots_per_agent: 64, processes: 65_536 }
    }
}

/// `[http]`: metrics, health and the slot API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// TCP address; `None` opens no HTTP (`listen = ""` in the file). Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// File with the bearer token that requests must carry. Needed off loopback.
    pub token_file: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9910)), token_file: None }
    }
}

/// `[metrics]`: how much the metrics say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Which slots have series of their own.
    pub per_agent: PerAgent,
}

/// `[export]`: the event file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Tab-separated file that events are appended to; `None` writes none.
    pub file: Option<PathBuf>,
    /// Whether every accepted beat is a row, too.
    pub beats: bool,
    /// The size at which another file is begun, in bytes, 64 KiB to 1 GiB; `None` for never (`rotate_at = ""` in the file).
    pub rotate_at: Option<u32>,
    /// Files kept beside the newest, 1 to 100: `file.1`, the newest of them, and so on.
    pub keep: u32,
}

impl Default for Export {
    fn default() -> Self {
        Self { file: None, beats: false, rotate_at: Some(64 << 20), keep: 4 }
    }
}

/// `[watchdog]`: who notices that the ingest loop does not turn, beside the service manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watchdog {
    /// `self`: without a turn for this long the process ends itself with exit status 1, 1 s to 1 h; `None` for never
    /// (`self = ""` in the file).
    pub limit: Option<Duration>,
    /// The watchdog device of the kernel, which resets the host unless it is fed.
    pub device: Option<PathBuf>,
    /// File that tells of the newest turn, once a second.
    pub heartbeat_file: Option<PathBuf>,
}

/// `[log]`: the log on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important level written.
    pub level: LogLevel,
}

choice! {
    /// The origin class of a sealed listener (`vlp/SPEC.md`, origin trust).
    Trust {
        /// Frames are authentic, but silence may be the network's: recovery is refused.
        #[default]
        Verified = "verified",
        /// The operator vouches for the path: recovery is possible where the roster grants it, too.
        OperatorAttested = "operator-attested",
    }
}

choice! {
    /// When a socket filter has the kernel refuse datagrams by length, header and audience (`vlp/SPEC.md`, acceptance,
    /// steps 1 to 3).
    KernelFilter {
        /// Never: all are read, refused and counted by reason.
        Off = "off",
        /// While a flood of them lasts.
        #[default]
        Auto = "auto",
        /// Always.
        On = "on",
    }
}

choice! {
    /// Which slots have metric series of their own.
    PerAgent {
        /// Every slot.
        #[default]
        All = "all",
        /// Only slots whose verdict is not `up`.
        Unhealthy = "unhealthy",
        /// None: only totals.
        None = "none",
    }
}

choice! {
    /// The form of log lines.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// The least important level written to the log.
    LogLevel {
        /// The observer stops.
        Error = "error",
        /// Worth waking someone.
        Warn = "warn",
        /// A slot changed its state.
        #[default]
        Info = "info",
        /// A datagram was refused.
        Debug = "debug",
        /// Every datagram.
        Trace = "trace",
    }
}
