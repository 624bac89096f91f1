//! `relay.toml` as plain data and as a schema, and what an observer is told of relays and peers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use varta_vlp::key::Peer;

use crate::document::{Document, document};
use crate::observer::{Http, Log, Metrics, PerAgent};
use crate::schema::Takes::{Live, Restart};
use crate::schema::{DAY, Field, MINUTE, Section, field, from_millis, http, log, metrics, numbered, section};
use crate::slot::{Slot, choice};

/// One `[relay]` of an observer: where it forwards all it knows to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayLink {
    /// Host and port, `relay.example:9920`; a name is resolved anew at each try.
    pub address: String,
    /// The relay's public key, `varta-relay:..`: nobody else is taken for the relay.
    pub pin: String,
}

/// `[peers]`: how other observers hear that this one lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// The key file of the agent that this observer is to its peers; it names their addresses. Without it none hears it.
    pub key_file: Option<PathBuf>,
    /// How often it beats, 50 ms to 1 min.
    pub every: Duration,
}

impl Default for Peers {
    fn default() -> Self {
        Self { key_file: None, every: Duration::from_millis(250) }
    }
}

/// All that a relay can be told. The fields are the file's sections; [`Default`] is an empty file, which still lacks a key
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// `[relay]`: who this relay is, and its files.
    pub relay: RelayIdentity,
    /// `[link]`: where observers dial.
    pub link: LinkPort,
    /// `[[observer]]`: whom reports are taken from.
    pub observer: Vec<RelayObserver>,
    /// `[fleet]`: how what they say is put together.
    pub fleet: FleetRules,
    /// `[history]`: how long and how much is remembered.
    pub history: History,
    /// `[[webhook]]`: who is told of incidents.
    pub webhook: Vec<Webhook>,
    /// `[limits]`: how much state is kept.
    pub limits: RelayLimits,
    /// `[http]`: the dashboard, metrics, health and the API.
    pub http: Http,
    /// `[metrics]`: how much the metrics say.
    pub metrics: Metrics,
    /// `[log]`: the log on standard error.
    pub log: Log,
}

impl Default for RelayConfig {
    fn default() -> Self {
        let http = Http { listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9930)), token_file: None };
        Self {
            relay: RelayIdentity::default(),
            link: LinkPort::default(),
            observer: Vec::new(),
            fleet: FleetRules::default(),
            history: History::default(),
            webhook: Vec::new(),
            limits: RelayLimits::default(),
            http,
            metrics: Metrics { per_agent: PerAgent::Unhealthy },
            log: Log::default(),
        }
    }
}

/// `[relay]`: who this relay is, and its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayIdentity {
    /// What this relay calls itself; without it, the name that its key file has.
    pub name: Option<String>,
    /// Where history is kept across restarts. Without it nothing is.
    pub state_dir: Option<PathBuf>,
    /// The relay's key file.
    pub key_file: Option<PathBuf>,
}

/// `[link]`: where observers dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPort {
    /// UDP address. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
}

impl Default for LinkPort {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9920)) }
    }
}

/// One `[[observer]]`: whom reports are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayObserver {
    /// Its name.
    pub name: Option<String>,
    /// Its public key, `varta-observer:..`.
    pub key: String,
    /// The agents it may report: names, in which `*` stands for any text, 1 to 64.
    pub agents: Vec<String>,
    /// Where it stands.
    pub site: Option<String>,
}

impl Default for RelayObserver {
    fn default() -> Self {
        Self { name: None, key: String::new(), agents: vec!["*".to_owned()], site: None }
    }
}

/// `[fleet]`: how what observers say is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetRules {
    /// How long an observer's word holds once its link is lost, 0 to 5 min.
    pub lost_after: Duration,
    /// How long a change waits for others of the same cause before it is told as an incident, 0 to 1 min.
    pub settle: Duration,
    /// How long after the relay's start nothing is made of an observer that has not come yet, 1 s to 1 h.
    pub restart_grace: Duration,
    /// The label that names a unit's host.
    pub host_label: String,
    /// The label that names a unit's site.
    pub site_label: String,
}

impl Default for FleetRules {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_secs(2),
            settle: Duration::from_millis(500),
            restart_grace: Duration::from_secs(30),
            host_label: "host".to_owned(),
            site_label: "site".to_owned(),
        }
    }
}

/// `[history]`: how long and how much is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How long, 1 h to 365 d.
    pub keep: Duration,
    /// How large the file may grow, bytes, 16 MiB to 3 GiB.
    pub max_bytes: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: Duration::from_millis(30 * DAY), max_bytes: 1 << 30 }
    }
}

/// One `[[webhook]]`: who is told of incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to, `http://` or `https://`; none where `url_file` says it.
    pub url: Option<String>,
    /// File whose one line is the address, where that is a secret.
    pub url_file: Option<PathBuf>,
    /// In which form.
    pub kind: WebhookKind,
    /// File with the bearer token that is sent.
    pub token_file: Option<PathBuf>,
    /// File with the text that is sent in the place of the usual JSON.
    pub template: Option<PathBuf>,
    /// How long one try may take, 100 ms to 1 min.
    pub timeout: Duration,
    /// How long it is tried again, 1 s to 1 d.
    pub retry_for: Duration,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            kind: WebhookKind::default(),
            token_file: None,
            template: None,
            timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(3600),
        }
    }
}

choice! {
    /// The form in which incidents are told.
    WebhookKind {
        /// One JSON object for each incident opened and closed.
        #[default]
        Json = "json",
        /// As alerts, to an Alertmanager (API v2).
        Alertmanager = "alertmanager",
    }
}

/// `[limits]`: how much state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Units known at once, 1 to 10,000,000.
    pub units: u32,
    /// Observers, 1 to 10,000.
    pub observers: u32,
    /// Dashboards open at once, 1 to 10,000.
    pub dashboards: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { units: 2_000_000, observers: 1000, dashboards: 200 }
    }
}

impl Document for RelayConfig {
    const SEVERAL: &'static [&'static str] = &["observer", "webhook"];
    const ONE_OR_MORE: &'static [&'static str] = &[];
    const SEVERAL_LIVE: &'static [&'static str] = &["observer"];

    fn sections(&mut self) -> Vec<Section<'_>> {
        let mut sections = vec![section("relay", identity(&mut self.relay)), section("link", link(&mut self.link))];
        sections.extend(numbered("observer", self.observer.iter_mut().map(observer)));
        sections.extend([section("fleet", fleet(&mut self.fleet)), section("history", history(&mut self.history))]);
        sections.extend(numbered("webhook", self.webhook.iter_mut().map(webhook)));
        sections.extend([
            section("limits", limits(&mut self.limits)),
            section("http", http(&mut self.http)),
            section("metrics", metrics(&mut self.metrics)),
            section("log", log(&mut self.log)),
        ]);
        sections
    }

    fn count(&self, name: &str) -> usize {
        if name == "observer" { self.observer.len() } else { self.webhook.len() }
    }

    fn set_count(&mut self, name: &str, count: usize) {
        if name == "observer" {
            self.observer = vec![RelayObserver::default(); count];
        } else {
            self.webhook = vec![Webhook::default(); count];
        }
    }

    fn check_together(&self, report: &mut dyn FnMut(String, String)) {
        self.check_all(report);
    }
}

document!(RelayConfig, "relay.toml");

impl RelayConfig {
    /// Whether this text is more likely a `relay.toml` than an `observer.toml`: by its sections.
    #[must_use]
    pub fn is_likely(text: &str) -> bool {
        let (root, _) = DeTable::parse_recoverable(text);
        root.get_ref().iter().any(|(name, value)| match (name.get_ref().as_ref(), value.get_ref()) {
            ("link" | "fleet" | "history" | "webhook", _) | ("observer", DeValue::Array(_)) => true,
            ("relay", DeValue::Table(table)) => {
                table.keys().any(|key| matches!(key.get_ref().as_ref(), "name" | "state_dir" | "key_file"))
            }
            _ => false,
        })
    }
}

fn identity(it: &mut RelayIdentity) -> Vec<Field<'_>> {
    vec![
        field("name", Restart, Slot::Name(&mut it.name)),
        field("state_dir", Restart, Slot::Path(&mut it.state_dir)),
        field("key_file", Restart, Slot::Path(&mut it.key_file)),
    ]
}

fn link(it: &mut LinkPort) -> Vec<Field<'_>> {
    vec![field("listen", Restart, Slot::Address(&mut it.listen))]
}

fn observer(it: &mut RelayObserver) -> Vec<Field<'_>> {
    let agents = Slot::Strings(
        &mut it.agents,
        1..=64,
        "names in quotes and brackets, 1 to 64, in which * stands for any text, such as [\"web-*\", \"db-1\"]",
    );
    vec![
        Field { required: true, ..field("name", Live, Slot::Name(&mut it.name)) },
        Field { required: true, ..field("key", Live, Slot::Key(&mut it.key, Peer::Observer)) },
        field("agents", Live, agents),
        field("site", Live, Slot::Name(&mut it.site)),
    ]
}

fn fleet(it: &mut FleetRules) -> Vec<Field<'_>> {
    vec![
        field("lost_after", Live, Slot::Duration(&mut it.lost_after, from_millis(0, 5 * MINUTE))),
        field("settle", Live, Slot::Duration(&mut it.settle, from_millis(0, MINUTE))),
        field("restart_grace", Restart, Slot::Duration(&mut it.restart_grace, from_millis(1000, 60 * MINUTE))),
        field("host_label", Restart, Slot::LabelKey(&mut it.host_label)),
        field("site_label", Restart, Slot::LabelKey(&mut it.site_label)),
    ]
}

fn history(it: &mut History) -> Vec<Field<'_>> {
    vec![
        field("keep", Restart, Slot::Duration(&mut it.keep, from_millis(60 * MINUTE, 365 * DAY))),
        field("max_bytes", Restart, Slot::Bytes(&mut it.max_bytes, 16 << 20..=3 << 30)),
    ]
}

fn webhook(it: &mut Webhook) -> Vec<Field<'_>> {
    vec![
        field("url", Restart, Slot::Url(&mut it.url)),
        field("kind", Restart, Slot::Choice(&mut it.kind)),
        field("token_file", Restart, Slot::Path(&mut it.token_file)),
        field("template", Restart, Slot::Path(&mut it.template)),
        field("timeout", Restart, Slot::Duration(&mut it.timeout, from_millis(100, MINUTE))),
        field("retry_for", Restart, Slot::Duration(&mut it.retry_for, from_millis(1000, DAY))),
        field("url_file", Restart, Slot::Path(&mut it.url_file)),
    ]
}

fn limits(it: &mut RelayLimits) -> Vec<Field<'_>> {
    vec![
        field("units", Restart, Slot::Count(&mut it.units, 1..=10_000_000)),
        field("observers", Restart, Slot::Count(&mut it.observers, 1..=10_000)),
        field("dashboards", Restart, Slot::Count(&mut it.dashboards, 1..=10_000)),
    ]
}
