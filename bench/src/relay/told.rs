//! `told`: how soon those who look and those who are called learn of a stall.
//!
//! From the instant at which an observer begins to say that one unit is stalled, to its being read from the event stream,
//! from the stream that pages follow, and by a webhook's server; one unit after another, of different hosts, among 10,000.
//! And from the deadline of an agent's last beat at a real observer, which reports to the relay, to the same three.
//!
//! Two waits are by design, and are shown: a page is told of changes four times a second, and an incident waits for
//! `fleet.settle`, half a second unless told otherwise, for others of its cause. Each measure is taken with that, and with
//! `settle = "0s"`.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    sync::mpsc::{Receiver as Channel, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use varta_vlp::{report::Item, subject::Verdict};

use super::{
    Bench,
    asking::{Asker, ms, us},
    hook,
    page::Page,
    report::{Found, Row},
    server::{Server, Setup},
    units::Units,
};
use crate::{
    clock,
    load::{Load, Loader},
    mortals::{End, Mortals},
    receiver::{self, Receiver},
};

const UNITS: u32 = 10_000;
/// Units that stall, each of a host of its own.
const STALLS: u32 = 300;
/// From one stall to the next: no multiple of the page's quarter of a second.
const GAP: Duration = Duration::from_millis(283);
/// Agents that live on at the real observer, and those that die, in so many rounds.
const LIVING: u32 = 10_000;
const DYING: u32 = 50;
const ROUNDS: u32 = 6;
const SETTLES: [&str; 2] = ["500ms", "0s"];
/// How long it may take until something is told.
const LIMIT: Duration = Duration::from_secs(30);

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Events,
    Page,
    Hook,
}

/// A stall as it was read.
struct Heard {
    by: By,
    /// The agent, by name or by id.
    agent: String,
    /// Time since boot.
    at: Duration,
}

/// How late it was, milliseconds.
#[derive(Serialize)]
struct Late {
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
}

impl Late {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self { p50_ms: ms(&times, 0.5), p99_ms: ms(&times, 0.99), most_ms: ms(&times, 1.0) }
    }
}

/// One measure.
#[derive(Serialize)]
struct Told {
    /// Whether from the deadline at a real observer; else from the played observer's word.
    from_deadline: bool,
    settle_ms: f64,
    stalls: usize,
    events: Late,
    page: Late,
    hook: Late,
}

#[derive(Deserialize)]
struct Event {
    agent: Option<String>,
    to: Option<String>,
}

/// The agent of which an event says that it is stalled.
fn stalled(data: &str) -> Option<String> {
    let event: Event = serde_json::from_str(data).ok()?;
    event.agent.filter(|_| event.to.as_deref() == Some("stalled"))
}

fn follow_events(http: SocketAddr, sender: Sender<Heard>) -> anyhow::Result<()> {
    let url = format!("http://{http}/api/v1/events?kind=unit");
    let answer = ureq::get(&url).call().context(url)?;
    thread::spawn(move || {
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let Ok(line) = line else { return };
            let at = clock::boottime();
            let agent = line.strip_prefix("data:").and_then(stalled);
            if agent.is_some_and(|agent| sender.send(Heard { by: By::Events, agent, at }).is_err()) {
                return;
            }
        }
    });
    Ok(())
}

fn follow_page(http: SocketAddr, sender: Sender<Heard>) -> anyhow::Result<()> {
    let mut page = Page::open(http)?;
    thread::spawn(move || {
        // At its end nothing more is told, which is noticed there.
        while let Ok(Some(line)) = page.next() {
            for agent in line.delta.iter().flat_map(super::page::Delta::stalled) {
                if sender.send(Heard { by: By::Page, agent: agent.to_owned(), at: line.at }).is_err() {
                    return;
                }
            }
        }
    });
    Ok(())
}

fn follow_hook(told: Channel<hook::Told>, sender: Sender<Heard>) {
    thread::spawn(move || {
        for notice in told.iter().filter(|notice| notice.opened) {
            let agent = notice.subject.split('/').next().unwrap_or_default().to_owned();
            if sender.send(Heard { by: By::Hook, agent, at: notice.at }).is_err() {
                return;
            }
        }
    });
}

/// A relay, and everybody who is told by it.
struct Stage {
    server: Server,
    heard: Channel<Heard>,
}

impl Stage {
    /// Those who are told, once the relay knows whom they are to see.
    fn new(bench: &Bench, settle: &str) -> anyhow::Result<(Self, Sender<Heard>)> {
        let (url, told) = hook::serve()?;
        let setup = Setup {
            fleet: format!("settle = \"{settle}\""),
            more: format!("[[webhook]]\nurl = \"{url}\""),
            ..Setup::default()
        };
        let server = Server::start(bench.cores, &bench.varta, &bench.keys, setup)?;
        let (sender, heard) = channel();
        follow_hook(told, sender.clone());
        Ok((Self { server, heard }, sender))
    }

    fn follow(&self, sender: Sender<Heard>) -> anyhow::Result<()> {
        follow_events(self.server.http, sender.clone())?;
        follow_page(self.server.http, sender)
    }

    /// Waits until all of these were told by all three; how late each was, by who told. A row that a page is shown again is
    /// no news.
    fn late(&self, stalls: &HashMap<String, Duration>) -> anyhow::Result<HashMap<By, Vec<u64>>> {
        let mut times: HashMap<(By, String), u64> = HashMap::new();
        let until = clock::boottime() + LIMIT;
        while times.len() < 3 * stalls.len() {
            let Ok(heard) = self.heard.recv_timeout(until.saturating_sub(clock::boottime())) else {
                bail!("of {} stalls told thrice, {} were heard", stalls.len(), times.len());
            };
            let since = stalls.get(&heard.agent).with_context(|| format!("{} was told as stalled", heard.agent))?;
            ensure!(heard.at >= *since, "{} was told before it was", heard.agent);
            times.entry((heard.by, heard.agent)).or_insert(us(heard.at - *since));
        }
        let mut late: HashMap<By, Vec<u64>> = HashMap::new();
        for ((by, _), time) in times {
            late.entry(by).or_default().push(time);
        }
        Ok(late)
    }
}

fn told(from_deadline: bool, settle: &str, stalls: usize, mut late: HashMap<By, Vec<u64>>) -> anyhow::Result<Told> {
    let mut of = |by| Late::of(late.remove(&by).unwrap_or_default());
    let settle_ms = humantime::parse_duration(settle)?.as_secs_f64() * 1e3;
    Ok(Told { from_deadline, settle_ms, stalls, events: of(By::Events), page: of(By::Page), hook: of(By::Hook) })
}

/// From a played observer's word.
fn from_word(bench: &Bench, settle: &str) -> anyhow::Result<Told> {
    let (stage, sender) = Stage::new(bench, settle)?;
    let units = Units::new(0, UNITS)?;
    let mut session = stage.server.connect(&bench.feeder, &bench.keys)?;
    bench.feeder.run(session.snapshot(&units))?;
    Asker::new(stage.server.http).wait_until(LIMIT, |fleet| fleet.is_well(UNITS.into()))?;
    stage.follow(sender)?;
    stage.server.rest(LIMIT)?;
    let mut stalls = HashMap::new();
    for turn in 0..STALLS {
        let number = turn * 10;
        let at = clock::boottime();
        bench.feeder.run(session.items([Item::Entry(units.entry(number, Verdict::Stalled))]))?;
        bench.feeder.run(session.drain())?;
        stalls.insert(units.name(number).to_owned(), at);
        clock::pass((at + GAP).saturating_sub(clock::boottime()));
    }
    let late = stage.late(&stalls)?;
    told(false, settle, stalls.len(), late)
}

/// From a deadline at a real observer.
fn from_deadline(bench: &Bench, settle: &str) -> anyhow::Result<Told> {
    let (stage, sender) = Stage::new(bench, settle)?;
    let loader = Loader { varta: bench.varta.clone(), key: bench.keys.observer.clone() };
    let setup = receiver::Setup::default().on_every_core();
    let setup = setup.reporting(super::server::observer_name(0), stage.server.link, bench.keys.pin_text());
    let observer = Receiver::observer_with(bench.cores, &loader, &setup)?;
    observer.meet(&loader, LIVING)?;
    let mut load = Load::endless(LIVING, Some(u64::from(LIVING)));
    load.promise = Duration::from_secs(1);
    let _load = loader.start(observer.address(), &load)?;
    let asker = Asker::new(stage.server.http);
    asker.wait_until(LIMIT, |fleet| fleet.units >= u64::from(LIVING))?;
    let mut mortals = Mortals::new(&bench.keys.observer, observer.address(), DYING)?;
    let mut late: HashMap<By, Vec<u64>> = HashMap::new();
    stage.follow(sender)?;
    let mut count = 0;
    for _ in 0..ROUNDS {
        let deadlines = mortals.live(End::Apart)?;
        let (real, boot) = (clock::realtime(), clock::boottime());
        // They are known by their ids: a beat says no name.
        let stalls: HashMap<_, _> = deadlines
            .into_iter()
            .filter(|(agent, _)| !agent.starts_with("mortal"))
            .map(|(agent, deadline)| (agent, boot + deadline.saturating_sub(real)))
            .collect();
        // Whose incident is open yet would be told of no other.
        for (by, times) in stage.late(&stalls)? {
            late.entry(by).or_default().extend(times);
        }
        count += stalls.len();
        // The page may show the last of them once more.
        clock::pass(Duration::from_secs(2));
        stage.heard.try_iter().for_each(drop);
    }
    told(true, settle, count, late)
}

fn rows(told: &Told) -> Vec<Row> {
    let from = if told.from_deadline { "from the deadline at an observer" } else { "from the observer's word" };
    let settle = told.settle_ms;
    let row = |what: &str, late: &Late, waits: f64| {
        let row = Row::new(
            format!("stall {from} to {what}, settle {settle} ms"),
            format!("{:.1}, {:.1} ms", late.p50_ms, late.p99_ms),
        );
        let most = format!("most {:.1} ms", late.most_ms);
        if waits > 0.0 {
            row.beside(format!("beyond settle {:.1}, {:.1} ms", late.p50_ms - waits, late.p99_ms - waits))
        } else {
            row.beside(most)
        }
    };
    vec![row("an event", &told.events, 0.0), row("a page", &told.page, 0.0), row("a webhook", &told.hook, settle)]
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let mut all = Vec::new();
    for settle in SETTLES {
        all.push(from_word(bench, settle)?);
    }
    for settle in SETTLES {
        all.push(from_deadline(bench, settle)?);
    }
    Found::new(all.iter().flat_map(rows).collect(), &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stalls_are_heard_of_events() {
        let event = r#"{"id":1,"at_ms":2,"kind":"unit","agent":"web-1","unit":"main","pid":7,"observer":null,"from":"up",
            "to":"stalled","why":"","incident":null}"#;
        assert_eq!(stalled(event).as_deref(), Some("web-1"));
        assert_eq!(stalled(&event.replace("stalled", "up")), None);
        assert_eq!(stalled("{}"), None);
    }
}
