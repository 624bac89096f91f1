//! Every key of `observer.toml`: its section, name, type and range, and whether a running observer takes a new value.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::observer::{
    Acceptance, At, Export, Http, Identity, Ingest, Limits, Listen, Log, Metrics, ObserverConfig, Stall, Watchdog,
};
use varta_vlp::key::Peer;

use crate::document::{Document, document};
use crate::recovery::{Audit, Match, Recovery, RecoveryBrake};
use crate::relay::{Peers, RelayLink};
use crate::slot::Slot;

/// What a reload does with a changed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Live,
    Restart,
}
use Takes::{Live, Restart};

pub(crate) struct Field<'a> {
    pub(crate) key: &'static str,
    pub(crate) slot: Slot<'a>,
    pub(crate) takes: Takes,
    /// Whether the section cannot do without it.
    pub(crate) required: bool,
    /// The keys of which one must be the section's kind for this one to mean anything; none for every kind.
    pub(crate) only: &'static [&'static str],
}

pub(crate) struct Section<'a> {
    pub(crate) name: &'static str,
    /// Which of several, for `[[name]]`.
    pub(crate) index: Option<usize>,
    /// Of a section that is one of several kinds, the key that says which.
    pub(crate) kind: Option<&'static str>,
    pub(crate) fields: Vec<Field<'a>>,
}

impl<'a> Section<'a> {
    /// Whether this key belongs to another kind of section.
    pub(crate) fn is_stray(&self, field: &Field<'_>) -> bool {
        self.kind.is_some_and(|kind| !field.only.is_empty() && !field.only.contains(&kind))
    }

    /// The keys that belong to another kind of section.
    pub(crate) fn strays(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(|field| self.is_stray(field))
    }

    /// The section as errors name it: `stall`, `listen[0]`.
    pub(crate) fn path(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The section as the file heads it: `[stall]`, `[[listen]]`.
    pub(crate) fn header(&self) -> String {
        if self.index.is_some() { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

impl Document for ObserverConfig {
    const SEVERAL: &'static [&'static str] = &["listen", "recovery", "relay"];
    const ONE_OR_MORE: &'static [&'static str] = &["relay"];
    const SEVERAL_LIVE: &'static [&'static str] = &[];

    fn sections(&mut self) -> Vec<Section<'_>> {
        let mut sections = vec![section("observer", identity(&mut self.observer))];
        sections.extend((self.listen.iter_mut().enumerate()).map(|(index, one)| Section {
            name: "listen",
            index: Some(index),
            kind: one.at().map(At::key),
            fields: listen(one),
        }));
        sections.extend([
            section("ingest", ingest(&mut self.ingest)),
            section("stall", stall(&mut self.stall)),
            section("acceptance", acceptance(&mut self.acceptance)),
        ]);
        sections.extend(numbered("recovery", self.recovery.iter_mut().map(recovery)));
        sections.extend([
            section("recovery_brake", recovery_brake(&mut self.recovery_brake)),
            section("audit", audit(&mut self.audit)),
        ]);
        sections.extend(numbered("relay", self.relay.iter_mut().map(relay_link)));
        sections.extend([
            section("peers", peers(&mut self.peers)),
            section("limits", limits(&mut self.limits)),
            section("http", http(&mut self.http)),
            section("metrics", metrics(&mut self.metrics)),
            section("export", export(&mut self.export)),
            section("watchdog", watchdog(&mut self.watchdog)),
            section("log", log(&mut self.log)),
        ]);
        sections
    }

    fn count(&self, name: &str) -> usize {
        match name {
            "listen" => self.listen.len(),
            "recovery" => self.recovery.len(),
            _ => self.relay.len(),
        }
    }

    fn set_count(&mut self, name: &str, count: usize) {
        match name {
            "listen" => self.listen = vec![Listen::default(); count],
            "recovery" => self.recovery = vec![Recovery::default(); count],
            _ => self.relay = vec![RelayLink::default(); count],
        }
    }

    fn check_together(&self, report: &mut dyn FnMut(String, String)) {
        self.check_all(report);
    }
}

document!(ObserverConfig, "observer.toml");

/// Sections of a name that may stand several times.
pub(crate) fn numbered<'a>(
    name: &'static str,
    sections: impl Iterator<Item = Vec<Field<'a>>>,
) -> impl Iterator<Item = Section<'a>> {
    sections.enumerate().map(move |(index, fields)| Section { name, index: Some(index), kind: None, fields })
}

pub(crate) fn section<'a>(name: &'static str, fields: Vec<Field<'a>>) -> Section<'a> {
    Section { name, index: None, kind: None, fields }
}

pub(crate) fn field<'a>(key: &'static str, takes: Takes, slot: Slot<'a>) -> Field<'a> {
    Field { key, slot, takes, required: false, only: &[] }
}

fn identity(it: &mut Identity) -> Vec<Field<'_>> {
    vec![
        field("name", Restart, Slot::Name(&mut it.name)),
        field("state_dir", Restart, Slot::Path(&mut it.state_dir)),
        field("key_file", Live, Slot::Path(&mut it.key_file)),
        field("roster_file", Live, Slot::Path(&mut it.roster_file)),
    ]
}

fn listen(it: &mut Listen) -> Vec<Field<'_>> {
    let of = |only, key, slot| Field { only, ..field(key, Restart, slot) };
    vec![
        field("sealed", Restart, Slot::Address(&mut it.sealed)),
        of(&["sealed"], "trust", Slot::Choice(&mut it.trust)),
        of(&["sealed", "plaintext"], "receive_buffer", Slot::Bytes(&mut it.receive_buffer, 64 << 10..=1 << 30)),
        of(&["sealed"], "kernel_filter", Slot::Choice(&mut it.kernel_filter)),
        field("socket", Restart, Slot::Path(&mut it.socket)),
        of(&["socket"], "mode", Slot::Mode(&mut it.mode)),
        field("plaintext", Restart, Slot::Address(&mut it.plaintext)),
        of(&["plaintext"], "accept_plaintext", Slot::Flag(&mut it.accept_plaintext)),
    ]
}

fn ingest(it: &mut Ingest) -> Vec<Field<'_>> {
    vec![field("gather", Restart, Slot::Duration(&mut it.gather, from_millis(0, 5)))]
}

fn stall(it: &mut Stall) -> Vec<Field<'_>> {
    vec![
        field("threshold", Live, Slot::Duration(&mut it.threshold, from_millis(10, DAY))),
        field("misses", Live, Slot::Count(&mut it.misses, 1..=1000)),
        field("margin", Live, Slot::Duration(&mut it.margin, from_millis(0, MINUTE))),
        field("max_promise", Live, Slot::Duration(&mut it.max_promise, from_millis(1000, 30 * DAY))),
        field("max_hold", Live, Slot::Duration(&mut it.max_hold, from_millis(1000, 30 * DAY))),
        field("blind_limit", Live, Slot::Duration(&mut it.blind_limit, from_millis(1000, DAY))),
    ]
}

fn acceptance(it: &mut Acceptance) -> Vec<Field<'_>> {
    vec![
        field("skew", Restart, Slot::Duration(&mut it.skew, from_millis(10, MINUTE))),
        field("generation_overlap", Live, Slot::Duration(&mut it.generation_overlap, from_millis(0, 365 * DAY))),
        field("return_within", Live, Slot::Duration(&mut it.return_within, from_millis(1000, 30 * DAY))),
    ]
}

fn recovery(it: &mut Recovery) -> Vec<Field<'_>> {
    let exec = Slot::Strings(
        &mut it.exec,
        1..=64,
        "the program and its arguments in quotes and brackets, 1 to 64 in all, such as [\"/usr/bin/logger\", \"{pid}\"]",
    );
    let env =
        Slot::Strings(&mut it.env, 0..=64, "names in quotes and brackets, at most 64, such as [\"PATH\", \"LANG\"]");
    vec![
        Field { required: true, ..field("match", Restart, Slot::Table(matching(&mut it.matching))) },
        Field { required: true, ..field("exec", Restart, exec) },
        field("debounce", Restart, Slot::Duration(&mut it.debounce, from_millis(0, DAY))),
        field("timeout", Restart, Slot::DurationOrOff(&mut it.timeout, from_millis(10, 60 * MINUTE))),
        field("env", Restart, env),
        field("dry_run", Restart, Slot::Flag(&mut it.dry_run)),
    ]
}

fn matching(it: &mut Match) -> Vec<Field<'_>> {
    vec![
        field("agent", Restart, Slot::NameOrAny(&mut it.agent)),
        field("unit", Restart, Slot::NameOrAny(&mut it.unit)),
        field("labels", Restart, Slot::Labels(&mut it.labels)),
    ]
}

fn recovery_brake(it: &mut RecoveryBrake) -> Vec<Field<'_>> {
    vec![
        field("per_minute", Restart, Slot::Count(&mut it.per_minute, 0..=10_000)),
        field("stop_percent", Restart, Slot::Count(&mut it.stop_percent, 1..=100)),
        field("stop_from", Restart, Slot::Count(&mut it.stop_from, 1..=10_000_000)),
    ]
}

fn audit(it: &mut Audit) -> Vec<Field<'_>> {
    vec![
        field("file", Restart, Slot::Path(&mut it.file)),
        field("rotate_at", Restart, Slot::Bytes(&mut it.rotate_at, 64 << 10..=1 << 30)),
    ]
}

fn relay_link(it: &mut RelayLink) -> Vec<Field<'_>> {
    vec![
        Field { required: true, ..field("address", Restart, Slot::HostAndPort(&mut it.address)) },
        Field { required: true, ..field("pin", Restart, Slot::Key(&mut it.pin, Peer::Relay)) },
    ]
}

fn peers(it: &mut Peers) -> Vec<Field<'_>> {
    vec![
        field("key_file", Restart, Slot::Path(&mut it.key_file)),
        field("every", Restart, Slot::Duration(&mut it.every, from_millis(50, MINUTE))),
    ]
}

fn limits(it: &mut Limits) -> Vec<Field<'_>> {
    vec![
        field("agents", Restart, Slot::Count(&mut it.agents, 1..=10_000_000)),
        field("slots_per_agent", Restart, Slot::Count(&mut it.slots_per_agent, 1..=65_535)),
        field("processes", Restart, Slot::Count(&mut it.processes, 1..=1_048_576)),
    ]
}

pub(crate) fn http(it: &mut Http) -> Vec<Field<'_>> {
    vec![
        field("listen", Restart, Slot::AddressOrOff(&mut it.listen)),
        field("token_file", Restart, Slot::Path(&mut it.token_file)),
    ]
}

pub(crate) fn metrics(it: &mut Metrics) -> Vec<Field<'_>> {
    vec![field("per_agent", Live, Slot::Choice(&mut it.per_agent))]
}

fn export(it: &mut Export) -> Vec<Field<'_>> {
    vec![
        field("file", Live, Slot::Path(&mut it.file)),
        field("beats", Live, Slot::Flag(&mut it.beats)),
        field("rotate_at", Live, Slot::BytesOrOff(&mut it.rotate_at, 64 << 10..=1 << 30)),
        field("keep", Live, Slot::Count(&mut it.keep, 1..=100)),
    ]
}

fn watchdog(it: &mut Watchdog) -> Vec<Field<'_>> {
    vec![
        field("self", Restart, Slot::DurationOrOff(&mut it.limit, from_millis(1000, 60 * MINUTE))),
        field("device", Restart, Slot::Path(&mut it.device)),
        field("heartbeat_file", Restart, Slot::Path(&mut it.heartbeat_file)),
    ]
}

pub(crate) fn log(it: &mut Log) -> Vec<Field<'_>> {
    vec![field("format", Restart, Slot::Choice(&mut it.format)), field("level", Live, Slot::Choice(&mut it.level))]
}

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const DAY: u64 = 24 * 60 * MINUTE;

pub(crate) fn from_millis(low: u64, high: u64) -> RangeInclusive<Duration> {
    Duration::from_millis(low)..=Duration::from_millis(high)
}
