//! `varta bench load`: bounded load on an observer, cheap enough to send that the observer is what is measured.

mod frames;
mod load;

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use frames::{Content, Sender};
use load::Load;
use varta_keys::ObserverKeyFile;

use crate::{clock, duration};

/// Most announces a second: what is new is to be told without loss.
const ANNOUNCE_RATE: u64 = 50_000;

/// Put load on an observer.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send beats of many agents, or garbage, to an observer; prints one JSON line.
    ///
    /// The agents are bench-0000000, bench-0000001 and so on. They beat in turn, each in one session, and their keys are
    /// derived from the observer's. Beats are sealed ahead and handed to the kernel up to 32 at once.
    Load(LoadArgs),
}

#[derive(Args)]
struct LoadArgs {
    /// The observer's sealed address; only loopback and private addresses are taken.
    #[arg(long, value_name = "ADDR", value_parser = parse_target)]
    to: SocketAddr,
    /// The observer's key file: agents' keys are derived from it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How many agents.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    agents: u32,
    /// Datagrams a second in all, or max.
    #[arg(long, default_value = "max", value_name = "R", value_parser = parse_rate)]
    rate: Rate,
    /// How many datagrams in all, announces and goodbyes apart.
    #[arg(long, default_value_t = 100_000, value_name = "C", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    count: u64,
    /// What each beat promises.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    promise: Duration,
    /// Announce every agent before the beats: its name, a host's, and the labels. At most 50,000 a second.
    #[arg(long, conflicts_with = "garbage")]
    announce: bool,
    /// A label that all announce; may be repeated.
    #[arg(long = "label", requires = "announce", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// End with a goodbye of every agent, so that nobody stalls afterwards.
    #[arg(long = "final", conflicts_with = "garbage")]
    goodbye: bool,
    /// Send garbage instead: noise, a right header of unknown agents, or known agents with bad tags.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "noise", value_name = "KIND")]
    garbage: Option<Garbage>,
}

/// What kind of garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Garbage {
    /// Random bytes of the right length.
    Noise,
    /// The right magic, version and audience, and agents that do not exist.
    Header,
    /// The header of an agent that exists, and a tag that is wrong.
    Tag,
}

#[derive(Clone, Copy)]
enum Rate {
    Max,
    PerSecond(u64),
}

fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let to: SocketAddr = text.parse().map_err(|error| format!("{error}; write ADDRESS:PORT, as in 127.0.0.1:9900"))?;
    let own = match to.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    if !own {
        return Err("load goes to loopback or private addresses only".to_owned());
    }
    if to.port() == 0 {
        return Err("port 0 is nobody's".to_owned());
    }
    Ok(to)
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse() {
        Ok(rate @ 1..=1_000_000_000) => Ok(Rate::PerSecond(rate)),
        _ => Err("write max, or a whole number of datagrams a second, at most 1000000000".to_owned()),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in site=zrh")?;
    if matches!(key, "agent" | "unit" | "host") {
        return Err(format!("{key} is no label: every agent says its own"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let Verb::Load(args) = &args.verb;
    let key = ObserverKeyFile::load(&args.key)?;
    let content = args.garbage.map_or(Content::Beats, Content::Garbage);
    let mut sender = Sender::new(&key, args.agents, args.promise, content);
    let mut load = Load::open(args.to)?;
    let began = clock::boottime();
    let announces = if args.announce {
        let rate = match args.rate {
            Rate::Max => ANNOUNCE_RATE,
            Rate::PerSecond(rate) => rate.min(ANNOUNCE_RATE),
        };
        load.announces(&mut sender, &args.labels, rate)?
    } else {
        0
    };
    let sending = match args.rate {
        Rate::Max => load.at_most(&mut sender, args.count)?,
        Rate::PerSecond(rate) => load.paced(&mut sender, args.count, rate)?,
    };
    let goodbyes = if args.goodbye { load.goodbyes(&mut sender)? } else { 0 };
    let whole = Duration::from_nanos(clock::boottime() - began);
    let line = serde_json::json!({
        "to": args.to.to_string(),
        "agents": args.agents,
        "sent": args.count,
        "announces": announces,
        "goodbyes": goodbyes,
        "refused_by_kernel": load.refused(),
        "sending_seconds": sending.as_secs_f64(),
        "per_second": per_second(args.count, sending),
        "whole_seconds": whole.as_secs_f64(),
    });
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(ExitCode::SUCCESS)
}

fn per_second(count: u64, sending: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / sending.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
