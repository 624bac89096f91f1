//! `resync`: a relay is killed, and started again on the same store and ports: how long until every observer is connected
//! again and the picture is whole.
//!
//! Played observers come back by the rule that real ones have (`observer/src/forward/relay.rs`): a random wait of at most
//! 0.2 s first, then of at most twice the one before, up to 30 s, and from the beginning again once they were welcomed; a
//! relay that is killed says no word, so that each of them misses it by the link's own limit of 3 s of silence. Each tells
//! everything in one snapshot, with as many messages under way as a real one.
//!
//! *Connected* and *whole* are from the relay's being open again; whole is that all units are known and up. The wait until
//! then is by design where the relay was away for long: whoever tried last just before waits for up to 30 s.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    Bench,
    asking::{Answered, Asker, Prober},
    report::{Found, Row},
    server::{Keys, Server, Setup},
    session::{Dialled, Session},
    units::Units,
};
use crate::{
    clock,
    spine::{grouped, median},
};

const OBSERVERS: usize = 100;
/// The first wait is at most this, each further one at most twice the one before, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(180);

/// Units of each observer, for how long the relay is away, and how often that is done.
const CASES: [(u32, Duration, usize); 3] =
    [(1000, Duration::ZERO, 5), (1000, Duration::from_secs(30), 2), (10_000, Duration::ZERO, 2)];

/// A time below `most` that nobody can foresee.
fn jittered(most: Duration) -> Duration {
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    most.mul_f64(share)
}

/// The next wait's upper bound, after one of this.
fn longer(wait: Duration) -> Duration {
    (wait * 2).min(LAST_WAIT)
}

/// Keeps a link, for ever; each link is of another life, and tells everything.
async fn keep(to: Dialled, units: Arc<Units>, dials: Arc<AtomicU64>) {
    let (mut wait, mut boot) = (FIRST_WAIT, 0);
    loop {
        boot += 1;
        dials.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut session) = Session::connect(&to, boot).await {
            wait = FIRST_WAIT;
            if session.snapshot(&units).await.is_ok() {
                session.lost().await;
            }
        }
        sleep(jittered(wait)).await;
        wait = longer(wait);
    }
}

/// Played observers, until this is dropped.
struct Keeping(Vec<JoinHandle<()>>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// One return, seconds.
#[derive(Serialize)]
struct Return {
    /// From the kill to the relay's being open again, of that bringing back what it knew.
    away_s: f64,
    start_s: f64,
    /// From then on.
    connected_s: f64,
    whole_s: f64,
    /// CPU time of the relay from its start until the picture was whole.
    cpu_s: f64,
    dials: u64,
    fleet: Answered,
}

#[derive(Serialize)]
struct Resync {
    observers: usize,
    units_each: u32,
    returns: Vec<Return>,
}

fn back(server: &mut Server, keys: &Keys, away: Duration, dials: &AtomicU64, units: u64) -> anyhow::Result<Return> {
    let dialled = dials.load(Ordering::Relaxed);
    server.kill()?;
    let killed = clock::boottime();
    clock::pass(away);
    let started = clock::boottime();
    server.open(keys)?;
    let open = clock::boottime();
    let asker = Asker::new(server.http);
    let prober = Prober::start(server.http, "/api/v1/fleet");
    let all = |name: &str, fleet: &super::asking::Fleet| fleet.observers.get(name) == Some(&(OBSERVERS as u64));
    asker.wait_until(LIMIT, |fleet| all("connected", fleet))?;
    let connected = clock::boottime();
    asker.wait_until(LIMIT, |fleet| all("connected", fleet) && fleet.is_well(units))?;
    let whole = clock::boottime();
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of minutes")]
    let cpu_s = server.cpu_ns()? as f64 / 1e9;
    Ok(Return {
        away_s: (open - killed).as_secs_f64(),
        start_s: (open - started).as_secs_f64(),
        connected_s: (connected - open).as_secs_f64(),
        whole_s: (whole - open).as_secs_f64(),
        cpu_s,
        dials: dials.load(Ordering::Relaxed) - dialled,
        fleet: prober.finish()?,
    })
}

fn case(bench: &Bench, keys: &Keys, (each, away, rounds): (u32, Duration, usize)) -> anyhow::Result<Resync> {
    let mut server = Server::start(bench.cores, &bench.varta, keys, Setup::default())?;
    let dials = Arc::new(AtomicU64::new(0));
    let total = u64::from(each) * OBSERVERS as u64;
    let mut tasks = Vec::new();
    for number in 0..OBSERVERS {
        let first_host = u32::try_from(number)? * each / 10;
        let (to, units) = (server.dialled(keys, number), Arc::new(Units::new(first_host, each)?));
        tasks.push(bench.feeder.spawn(keep(to, units, Arc::clone(&dials))));
    }
    let _keeping = Keeping(tasks);
    let asker = Asker::new(server.http);
    asker.wait_until(LIMIT, |fleet| fleet.is_well(total))?;
    let mut returns = Vec::new();
    for _ in 0..rounds {
        // What is known is in the store.
        server.rest(LIMIT)?;
        returns.push(back(&mut server, keys, away, &dials, total)?);
    }
    Ok(Resync { observers: OBSERVERS, units_each: each, returns })
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let keys = Keys::new(OBSERVERS)?;
    let all: Vec<_> = CASES.into_iter().map(|one| case(bench, &keys, one)).collect::<anyhow::Result<_>>()?;
    let rows = all.iter().flat_map(|resync| {
        let of = |value: fn(&Return) -> f64| median(resync.returns.iter().map(value).collect());
        let most = |value: fn(&Return) -> f64| resync.returns.iter().map(value).fold(0.0, f64::max);
        let units = grouped(f64::from(resync.units_each));
        let what = format!("100 observers of {units} units, relay away {:.1} s", of(|one| one.away_s));
        [
            Row::new(format!("{what}: all connected"), format!("{:.2} s", of(|one| one.connected_s)))
                .beside(format!("most {:.2} s", most(|one| one.connected_s))),
            Row::new("  and the picture whole", format!("{:.2} s", of(|one| one.whole_s))).beside(format!(
                "most {:.2} s, {:.2} s of CPU",
                most(|one| one.whole_s),
                of(|one| one.cpu_s)
            )),
            Row::new("  start with what it knew", format!("{:.2} s", of(|one| one.start_s)))
                .beside(format!("longest answer {:.0} ms", most(|one| one.fleet.most_ms))),
        ]
    });
    Found::new(rows.collect(), &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last() {
        let mut wait = FIRST_WAIT;
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(wait.as_millis());
            wait = longer(wait);
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert!((0..100).all(|_| jittered(FIRST_WAIT) <= FIRST_WAIT));
    }
}
