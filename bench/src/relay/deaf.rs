//! `deaf`: a real observer whose relay welcomes it, reads everything, and then stops reading for a minute, while 10,000
//! agents beat once a second and 1,000 others die and come back.
//!
//! The relay is the bench's: the link is kept alive, and nothing that the observer says is taken. Resident memory is read
//! once a second; medians of the last fifteen seconds before and of the last fifteen while the relay is deaf are compared,
//! and the run fails if the second is higher by more than the bound, if the kernel dropped a datagram, or if fewer
//! beats were accepted by a twentieth. Stalls are read from the observer's own event stream, from each deadline on. In the
//! end 500 more turn up and die, which the relay does not know; then it reads again, and what it was told has to come to
//! what the observer knows.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::sync::watch;
use varta_link::{Allowed, Arrived, Identity, Limits, Listener};
use varta_vlp::{
    key::Name,
    report::{FromObserver, FromRelay, Item, Welcome},
    subject::Verdict,
};

use super::{
    Bench,
    asking::{ms, us},
    report::{Found, Row},
    server::observer_name,
};
use crate::{
    clock,
    follow::{News, follow},
    load::{Load, Loader},
    machine,
    mortals::{End, Mortals},
    receiver::{self, Receiver},
    spine::grouped,
};

const LIVING: u32 = 10_000;
const DYING: u32 = 1000;
/// So many more turn up, and die, while the relay is deaf.
const MORE: u32 = 500;
/// Lives, and seconds, with a relay that reads and with one that does not.
const BEFORE: u32 = 8;
const DEAF: u32 = 12;
/// Seconds of which each median is taken.
const MEDIAN_OF: usize = 15;
/// Resident memory may be higher by this much while the relay is deaf, bytes: what is under way on the link, at most sixteen
/// messages and a window of a megabyte, and what it is made of.
const BOUND: u64 = 4 << 20;
/// How long the picture may take to come to what the observer knows.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long a stall may take until it is told.
const LIMIT: Duration = Duration::from_secs(20);

/// What the played relay was told.
#[derive(Default)]
struct Picture {
    slots: HashMap<u32, Verdict>,
    messages: u64,
    complete: bool,
}

impl Picture {
    fn take(&mut self, message: &FromObserver<'_>) -> anyhow::Result<Option<u64>> {
        self.messages += 1;
        Ok(match message {
            FromObserver::Hello(_) => bail!("a second hello"),
            FromObserver::Status(_) => None,
            FromObserver::Snapshot { seq } => {
                self.slots.clear();
                self.complete = false;
                Some(*seq)
            }
            FromObserver::End { seq } => {
                self.complete = true;
                Some(*seq)
            }
            FromObserver::Items { seq, items } => {
                for item in items.iter() {
                    match item.map_err(|error| anyhow::anyhow!("an item: {error}"))? {
                        Item::Entry(entry) => _ = self.slots.insert(entry.handle, entry.verdict),
                        Item::Gone(handle) => _ = self.slots.remove(&handle),
                        Item::Touch(_) => {}
                    }
                }
                Some(*seq)
            }
        })
    }

    fn counts(&self) -> [u64; Verdict::ALL.len()] {
        let mut counts = [0; Verdict::ALL.len()];
        self.slots.values().for_each(|verdict| counts[*verdict as usize] += 1);
        counts
    }
}

type Shared = Arc<Mutex<Picture>>;

/// Serves one observer; takes nothing from it while `deaf`.
async fn serve(arrived: Arrived, picture: Shared, mut deaf: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (mut sender, mut receiver, _closer) = arrived.link.split();
    let mut room = [0; 256];
    receiver.receive().await?.context("no hello")?;
    let bad = |error| anyhow::anyhow!("the report: {error}");
    let welcome = FromRelay::Welcome(Welcome { relay: Name::new("relay")?, held: 0 });
    let len = welcome.write(&mut room).map_err(bad)?;
    sender.send(&room[..len]).await?;
    loop {
        deaf.wait_for(|deaf| !*deaf).await?;
        let Some(message) = receiver.receive().await? else { return Ok(()) };
        let message = FromObserver::parse(message).map_err(bad)?;
        let seq = picture.lock().unwrap_or_else(PoisonError::into_inner).take(&message)?;
        if let Some(seq) = seq {
            let len = FromRelay::Ack { seq }.write(&mut room).map_err(bad)?;
            sender.send(&room[..len]).await?;
        }
    }
}

/// The played relay: where it listens, what it was told, and what makes it deaf.
fn play(bench: &Bench) -> anyhow::Result<(SocketAddr, Shared, watch::Sender<bool>)> {
    let identity = Identity::new(&bench.keys.relay_secret()?);
    let allowed = Allowed::default();
    allowed.set(bench.keys.identities.iter().map(|observer| (observer.public(), observer_name(0))));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = bench.feeder.run(async { Listener::bind(any, &identity, allowed, Limits::default()) })?;
    let (address, picture, deaf) = (listener.local_addr()?, Shared::default(), watch::Sender::new(false));
    let (told, heard) = (Arc::clone(&picture), deaf.subscribe());
    bench.feeder.spawn(async move {
        while let Some(arrived) = listener.accept().await {
            // One that ends is seen in its picture.
            tokio::spawn(serve(arrived, Arc::clone(&told), heard.clone()));
        }
    });
    Ok((address, picture, deaf))
}

/// What was found in one stretch.
#[derive(Serialize)]
struct Stretch {
    seconds: f64,
    accepted_per_s: f64,
    dropped: u64,
    /// Messages that the relay took.
    messages: u64,
    stalls: usize,
    told_p50_ms: f64,
    told_p99_ms: f64,
    resident_kib: Vec<u64>,
}

#[derive(Serialize)]
struct Deaf {
    before: Stretch,
    deaf: Stretch,
    resident_before: u64,
    resident_deaf: u64,
    grown: i64,
    bound: u64,
    /// From reading again to a picture like the observer's own, seconds.
    caught_up_s: f64,
    slots: u64,
}

/// The median of the last seconds.
fn median_of_last(resident: &[u64]) -> anyhow::Result<u64> {
    ensure!(resident.len() >= MEDIAN_OF, "{} seconds are too few", resident.len());
    let mut last = resident[resident.len() - MEDIAN_OF..].to_vec();
    last.sort_unstable();
    Ok(last[MEDIAN_OF / 2])
}

/// Reads how much memory a process has, once a second, until the end is told.
fn sample(pid: u32) -> (std::sync::mpsc::Sender<()>, thread::JoinHandle<Vec<u64>>) {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut resident = Vec::new();
        while matches!(ended.recv_timeout(Duration::from_secs(1)), Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
            resident.extend(machine::memory(pid).map(|memory| memory.resident));
        }
        resident
    });
    (end, thread)
}

/// Has all who die live and die once; how late each was told, microseconds.
fn die(mortals: &mut Mortals, count: u32, events: &std::sync::mpsc::Receiver<News>) -> anyhow::Result<Vec<u64>> {
    let mut deadlines = mortals.live(End::Apart)?;
    let last = deadlines.values().max().copied().context("somebody dies")?;
    let mut late = Vec::new();
    while late.len() < count as usize {
        let left = (last + LIMIT).saturating_sub(clock::realtime());
        match events.recv_timeout(left) {
            Ok(News::Stall(stall)) => {
                let deadline = deadlines.remove(&stall.agent).with_context(|| format!("{} stalled", stall.agent))?;
                late.push(us(stall.read.saturating_sub(deadline)));
            }
            Ok(News::Lagged(by)) => bail!("{by} events could not be kept for their reader"),
            Ok(News::Blind) => bail!("the observer could not see: this machine is too busy for the figure"),
            Err(_) => bail!("of {count} agents that died, {} were told", late.len()),
        }
    }
    Ok(late)
}

fn stretch(
    receiver: &Receiver,
    picture: &Shared,
    mortals: &mut Mortals,
    events: &std::sync::mpsc::Receiver<News>,
    lives: u32,
) -> anyhow::Result<Stretch> {
    let taken = || picture.lock().unwrap_or_else(PoisonError::into_inner).messages;
    let (messages, begun) = (taken(), receiver.snapshot()?);
    let (end, thread) = sample(receiver.id());
    let mut late = Vec::new();
    for _ in 0..lives {
        late.extend(die(mortals, DYING, events)?);
    }
    drop(end);
    let resident = thread.join().map_err(|_| anyhow::anyhow!("the one who reads memory has panicked"))?;
    let ended = receiver.snapshot()?;
    let seconds = (ended.at - begun.at).as_secs_f64();
    late.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "beats of a minute")]
    Ok(Stretch {
        seconds,
        accepted_per_s: (ended.accepted - begun.accepted) as f64 / seconds,
        dropped: ended.dropped - begun.dropped,
        messages: taken() - messages,
        stalls: late.len(),
        told_p50_ms: ms(&late, 0.5),
        told_p99_ms: ms(&late, 0.99),
        resident_kib: resident.iter().map(|bytes| bytes / 1024).collect(),
    })
}

/// Slots by verdict, as the observer says.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
fn known(receiver: &Receiver) -> anyhow::Result<[u64; Verdict::ALL.len()]> {
    let metrics = receiver.metrics()?;
    let mut counts = [0; Verdict::ALL.len()];
    for verdict in Verdict::ALL {
        let label = format!("verdict=\"{}\"", verdict.name());
        counts[verdict as usize] = metrics.labelled("varta_slots", &label)? as u64;
    }
    Ok(counts)
}

fn rows(found: &Deaf) -> Vec<Row> {
    let growth = found.grown as f64;
    let (before, deaf) = (&found.before, &found.deaf);
    let fewer = 1.0 - deaf.accepted_per_s / before.accepted_per_s;
    vec![
        Row::new(
            format!("an observer of 11,000 agents while its relay is deaf for {:.0} s: growth", deaf.seconds),
            format!("{:.0} KiB", growth / 1024.0),
        )
        .beside(format!("from {} KiB", grouped((found.resident_before / 1024) as f64)))
        .at_most(growth / 1024.0, (BOUND / 1024) as f64, " KiB")
        .must(),
        Row::new("  beats accepted a second", grouped(deaf.accepted_per_s))
            .beside(format!("before {}", grouped(before.accepted_per_s)))
            .at_most(fewer, 0.05, " fewer")
            .must(),
        Row::new("  datagrams that the kernel dropped", deaf.dropped.to_string())
            .beside(format!("before {}", before.dropped))
            .at_most(deaf.dropped as f64, 0.0, "")
            .must(),
        Row::new(
            "  stalls told after their deadline, p50, p99",
            format!("{:.2}, {:.2} ms", deaf.told_p50_ms, deaf.told_p99_ms),
        )
        .beside(format!("before {:.2}, {:.2} ms", before.told_p50_ms, before.told_p99_ms)),
        Row::new("  messages that the relay took", deaf.messages.to_string())
            .beside(format!("before {}", before.messages)),
        Row::new("  from its reading again to the observer's own picture", format!("{:.2} s", found.caught_up_s))
            .beside(format!("{} slots", grouped(found.slots as f64))),
    ]
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let (address, picture, deaf) = play(bench)?;
    let loader = Loader { varta: bench.varta.clone(), key: bench.keys.observer.clone() };
    let setup = receiver::Setup::default().on_every_core();
    let setup = setup.reporting(observer_name(0), address, bench.keys.pin_text());
    let observer = Receiver::observer_with(bench.cores, &loader, &setup)?;
    observer.meet(&loader, LIVING)?;
    let mut load = Load::endless(LIVING, Some(u64::from(LIVING)));
    load.promise = Duration::from_secs(1);
    let _load = loader.start(observer.address(), &load)?;
    observer.wait_for(3 * u64::from(LIVING), LIMIT)?;
    observer.wait_until_quiet(LIMIT)?;
    let mut mortals = Mortals::new(&bench.keys.observer, observer.address(), DYING)?;
    let events = follow(observer.http()?)?;
    let looked = || {
        let picture = picture.lock().unwrap_or_else(PoisonError::into_inner);
        (picture.complete, picture.counts())
    };
    ensure!(
        clock::wait_for(LIMIT, || Ok(looked().0.then_some(())))?.is_some(),
        "the observer has not told its snapshot"
    );
    let before = stretch(&observer, &picture, &mut mortals, &events, BEFORE)?;
    deaf.send_replace(true);
    let silent = stretch(&observer, &picture, &mut mortals, &events, DEAF)?;
    let mut more = Mortals::new(&bench.keys.observer, observer.address(), DYING + MORE)?;
    die(&mut more, DYING + MORE, &events)?;
    let (missed, slots) = (looked().1, known(&observer)?);
    ensure!(missed != slots, "the relay knows what happened while it was deaf");
    deaf.send_replace(false);
    let again = clock::boottime();
    let same = clock::wait_for(CATCH_UP, || Ok((looked().1 == known(&observer)?).then(clock::boottime)))?;
    let same =
        same.with_context(|| format!("the picture is {:?} where {:?} is known", looked().1, known(&observer)))?;
    let (resident_before, resident_deaf) =
        (median_of_last(&before.resident_kib)?, median_of_last(&silent.resident_kib)?);
    let found = Deaf {
        resident_before: resident_before * 1024,
        resident_deaf: resident_deaf * 1024,
        grown: (resident_deaf.cast_signed() - resident_before.cast_signed()) * 1024,
        bound: BOUND,
        caught_up_s: (same - again).as_secs_f64(),
        slots: looked().1.iter().sum(),
        before,
        deaf: silent,
    };
    ensure!(
        found.before.messages > 10 * found.deaf.messages,
        "the relay was not deaf: it took {} messages",
        found.deaf.messages
    );
    Found::new(rows(&found), &found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seconds_decide_and_no_single_one() {
        let mut resident = vec![1; 20];
        resident.extend([7; 15]);
        assert_eq!(median_of_last(&resident).unwrap(), 7);
        resident[34] = 1_000_000;
        assert_eq!(median_of_last(&resident).unwrap(), 7);
        assert!(median_of_last(&resident[..14]).is_err());
    }
}
