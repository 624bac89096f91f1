//! Varta's configuration files: what may stand in them, and reading them strictly.
//!
//! [`ObserverConfig`] is `observer.toml` as plain data: build it in code from its [`Default`] and [`ObserverConfig::validate`]
//! it, or read it with [`ObserverConfig::load`]; [`RelayConfig`] is `relay.toml` likewise. A file is refused with every mistake in it named at once, by file, line and
//! key. No secret ever stands in a configuration file: it names key files.
//!
//! Every key is listed once, in `schema.rs` and `relay.rs`. Reading, checking, rendering and comparing all walk that list, so a key
//! cannot be accepted but not checked, or changed but not told.

#![forbid(unsafe_code)]

mod check;
mod document;
mod error;
mod observer;
mod read;
mod recovery;
mod relay;
mod reload;
mod render;
mod schema;
mod slot;
mod suggest;
mod units;

pub use error::{ConfigError, Problem, Problems};
pub use observer::{
    Acceptance, At, Export, Http, Identity, Ingest, KernelFilter, Limits, Listen, Log, LogFormat, LogLevel, Metrics,
    ObserverConfig, PerAgent, Stall, Trust, Watchdog,
};
pub use read::MAX_FILE_BYTES;
pub use recovery::{Audit, Match, Recovery, RecoveryBrake};
pub use relay::{
    FleetRules, History, LinkPort, Peers, RelayConfig, RelayIdentity, RelayLimits, RelayLink, RelayObserver, Webhook,
    WebhookKind,
};
pub use reload::Reload;
pub use slot::is_url;
