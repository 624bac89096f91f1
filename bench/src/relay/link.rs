//! `link`: what the link costs beside a bare QUIC stream: the same bytes in the same pieces over the same loopback, in turn.
//!
//! The bytes are a snapshot of 500,000 units, written before. The *bare stream* is quinn with its own defaults and the link's
//! cryptography: one connection, one stream, which is read and thrown away. The *link* has its framing, its windows, at most
//! sixteen messages that are not acknowledged, and an end that answers every message; once without a look into it, and once
//! with every item read, which hashes the names of each. Beside them
//! the same snapshot goes to `varta relay`, which does with it what it does. CPU time is both ends': the feeder's thread
//! and the other process, each with a core to itself; handshakes are not in it.

use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Bench,
    report::{Found, Row},
    server::{Server, Setup, observer_name},
    session::{Dialled, Session, written},
    sink::{Kind, Sink, bare_client},
    units::Units,
};
use crate::{
    clock, machine,
    spine::{grouped, median},
};

const UNITS: u32 = 500_000;
const ROUNDS: usize = 5;

/// One passage.
#[derive(Clone, Copy, Serialize)]
struct Passage {
    mib_per_s: f64,
    /// Of both ends, and of each.
    cpu_ns_per_byte: f64,
    sender_ns_per_byte: f64,
    reader_ns_per_byte: f64,
}

#[derive(Serialize)]
struct Round {
    bare: Passage,
    framed: Passage,
    link: Passage,
    relay: Passage,
}

#[derive(Serialize)]
struct Cost {
    bytes: usize,
    messages: usize,
    rounds: Vec<Round>,
    /// Medians of the rounds' ratios to the bare stream, of the link without a look into its messages.
    speed: f64,
    cpu: f64,
}

type Messages = Arc<Vec<Vec<u8>>>;

/// Lets `work` send everything to the process `reader`.
fn passage<T: Send + 'static>(
    bench: &Bench,
    reader: u32,
    bytes: usize,
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<(T, Passage)> {
    let (cpu, began) = (machine::cpu_ns(reader)?, clock::boottime());
    let (done, sender) = bench.feeder.timed(work)?;
    let (took, reader) = ((clock::boottime() - began).as_secs_f64(), machine::cpu_ns(reader)? - cpu);
    #[expect(clippy::cast_precision_loss, reason = "bytes and nanoseconds of seconds")]
    let (sender, reader, bytes) = (sender as f64, reader as f64, bytes as f64);
    let passage = Passage {
        mib_per_s: bytes / took / f64::from(1 << 20),
        cpu_ns_per_byte: (sender + reader) / bytes,
        sender_ns_per_byte: sender / bytes,
        reader_ns_per_byte: reader / bytes,
    };
    Ok((done, passage))
}

fn over_bare(bench: &Bench, sink: &Sink, messages: &Messages, bytes: usize) -> anyhow::Result<Passage> {
    let (endpoint, config) = bench.feeder.run(async { bare_client() })?;
    let connecting = bench.feeder.run(async { endpoint.connect_with(config, sink.address, "bare") })?;
    let connection = bench.feeder.run(connecting)?;
    let (mut sender, mut answer) = bench.feeder.run(connection.open_bi())?;
    let messages = Arc::clone(messages);
    let work = async move {
        for message in &*messages {
            sender.write_all(message).await?;
        }
        sender.finish()?;
        answer.read_chunk(1, true).await?.context("the other end does not say that it has all")?;
        Ok(())
    };
    let ((), passage) = passage(bench, sink.id(), bytes, work)?;
    connection.close(0_u8.into(), b"");
    Ok(passage)
}

fn over_link(bench: &Bench, to: &Dialled, reader: u32, messages: &Messages, bytes: usize) -> anyhow::Result<Passage> {
    let mut session = bench.feeder.run(Session::connect(to, 1))?;
    let messages = Arc::clone(messages);
    let work = async move {
        for message in &*messages {
            session.say_written(message).await?;
        }
        session.drain().await
    };
    Ok(passage(bench, reader, bytes, work)?.1)
}

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Found> {
    let messages = Arc::new(written(&Units::new(0, UNITS)?)?);
    let bytes = messages.iter().map(Vec::len).sum();
    let observer = bench.keys.identities.first().context("there is one observer")?;
    let start = |kind| Sink::start(bench.cores, kind, observer.public());
    let (bare, framed, link) = (start(Kind::Bare)?, start(Kind::Framed)?, start(Kind::Link)?);
    let over_sink = |sink: &Sink| {
        let pin = sink.pin.context("the end of a link has a key")?;
        let to = Dialled { remote: sink.address, pin, identity: observer.clone(), name: observer_name(0) };
        over_link(bench, &to, sink.id(), &messages, bytes)
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        // A relay that knows nobody, each time.
        let server =
            Server::start(bench.cores, &bench.varta, &bench.keys, Setup { forgets: true, ..Setup::default() })?;
        rounds.push(Round {
            bare: over_bare(bench, &bare, &messages, bytes)?,
            framed: over_sink(&framed)?,
            link: over_sink(&link)?,
            relay: over_link(bench, &server.dialled(&bench.keys, 0), server.id()?, &messages, bytes)?,
        });
    }
    let ratio = |value: fn(&Passage) -> f64, of: fn(&Round) -> &Passage| {
        median(rounds.iter().map(|round| value(of(round)) / value(&round.bare)).collect())
    };
    let row = |what: &str, of: fn(&Round) -> &Passage| {
        let value = |value: fn(&Passage) -> f64| median(rounds.iter().map(|round| value(of(round))).collect());
        let (speed, cpu) = (ratio(|one| one.mib_per_s, of), ratio(|one| one.cpu_ns_per_byte, of));
        let measured = format!("{:.0} MiB/s, {:.2} ns/B", value(|one| one.mib_per_s), value(|one| one.cpu_ns_per_byte));
        Row::new(what, measured).beside(format!("{speed:.2} of the speed, {cpu:.2} of the CPU"))
    };
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let size = grouped(bytes as f64);
    let rows = vec![
        row(&format!("{size} bytes over a bare QUIC stream"), |round| &round.bare),
        row("  over the link, every message answered", |round| &round.framed),
        row("  over the link, every item read", |round| &round.link),
        row("  over the link to varta relay", |round| &round.relay),
    ];
    let cost = Cost {
        bytes,
        messages: messages.len(),
        speed: ratio(|one| one.mib_per_s, |round| &round.framed),
        cpu: ratio(|one| one.cpu_ns_per_byte, |round| &round.framed),
        rounds,
    };
    Found::new(rows, &cost)
}
