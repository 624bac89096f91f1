//! `varta-bench flood`: what an attacker sends, bounded in time and count. He has no observer's key; of an agent he has
//! what he has seen on the wire, or in one case the key file.

mod content;
mod way;

use std::{io::Write as _, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use varta_client::keyfile::AgentKeyFile;
use varta_vlp::sealed::{BEAT_LEN, Header};

use self::{content::Content, way::Way};
use crate::clock;

/// Datagrams handed to the kernel in one call.
const BURST: usize = 32;
/// Source ports of a replay.
const REPLAY_PORTS: usize = 10_000;
/// Agents that nobody knows.
const UNKNOWN_AGENTS: usize = 100_000;

/// A flood on an observer; prints one JSON line at its end.
#[derive(Args)]
pub(crate) struct FloodArgs {
    /// What is sent.
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Kind,
    /// Where to; only loopback and private addresses are taken.
    #[arg(long, value_name = "ADDR", value_parser = parse_target)]
    to: SocketAddr,
    /// For how long.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_500))]
    seconds: u64,
    /// How many datagrams at most.
    #[arg(long, default_value_t = 2_000_000_000, value_name = "C", value_parser = clap::value_parser!(u64).range(1..=2_000_000_000))]
    count: u64,
    /// Datagrams a second at most; without it, as many as go.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// A genuine beat as seen on the wire, in hex; may be given several times.
    #[arg(long = "frame", value_name = "HEX", value_parser = parse_frame)]
    frames: Vec<[u8; BEAT_LEN]>,
    /// The key file of the agent that churns.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the noise begins.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Noise of any length up to 1,400 bytes.
    Noise,
    /// The length, magic, version and kind of a beat, and noise behind them.
    Magic,
    /// The agents, audience and generation of `--frame`, and a tag that is wrong.
    Tag,
    /// The same as the longest announce that is legal: the dearest to open in vain.
    Announce,
    /// The first `--frame` as it is, from 10,000 source ports.
    Replay,
    /// 100,000 agents that nobody knows, for the audience of `--frame`, each sealed by a key of its own.
    Unknown,
    /// The agent of `--key`, which opens a new unit or a new session with every beat, a million units in turn.
    Churn,
}

/// Takes loopback and private addresses only: a flood goes nowhere else.
fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let to: SocketAddr = text.parse().map_err(|error| format!("{error}; write ADDRESS:PORT, as in 127.0.0.1:9900"))?;
    let own = match to.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    match (own, to.port()) {
        (false, _) => Err("a flood goes to loopback or private addresses only".to_owned()),
        (_, 0) => Err("port 0 is nobody's".to_owned()),
        _ => Ok(to),
    }
}

fn parse_frame(text: &str) -> Result<[u8; BEAT_LEN], String> {
    let mut bytes = [0; BEAT_LEN];
    if text.len() != 2 * BEAT_LEN || !text.is_ascii() {
        return Err(format!("a beat is {} hex digits, these are {}", 2 * BEAT_LEN, text.len()));
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|error| error.to_string())?;
    }
    Header::parse(&bytes).map_err(|reject| format!("no sealed beat: {}", reject.reason()))?;
    Ok(bytes)
}

impl FloodArgs {
    fn content(&self) -> anyhow::Result<Content> {
        let frames = || match self.frames.as_slice() {
            [] => bail!("this kind needs a genuine beat: --frame"),
            frames => Ok(frames.to_vec()),
        };
        Ok(match self.kind {
            Kind::Noise => Content::noise(self.seed),
            Kind::Magic => Content::magic(self.seed),
            Kind::Tag => Content::tag(self.seed, frames()?),
            Kind::Announce => Content::announce(self.seed, frames()?),
            Kind::Replay => Content::replay(&frames()?[0]),
            Kind::Unknown => Content::unknown(self.seed, &frames()?[0], UNKNOWN_AGENTS),
            Kind::Churn => {
                let file = self.key.as_ref().context("this kind needs an agent's key file: --key")?;
                Content::churn(self.seed, AgentKeyFile::load(file)?)?
            }
        })
    }
}

pub(crate) fn run(args: &FloodArgs) -> anyhow::Result<()> {
    let mut content = args.content()?;
    let ports = if args.kind == Kind::Replay { REPLAY_PORTS } else { 1 };
    let mut way = Way::open(args.to, ports)?;
    let began = clock::boottime();
    let end = began + Duration::from_secs(args.seconds);
    let (mut sent, mut now) = (0, began);
    while now < end && sent < args.count {
        let burst = content.burst(clock::realtime());
        way.send(burst.bytes, burst.segment)?;
        sent += burst.bytes.len().div_ceil(burst.segment) as u64;
        now = clock::boottime();
        if let Some(rate) = args.rate {
            let due = began + Duration::from_secs_f64(sent as f64 / rate as f64);
            if due > now {
                clock::pass(due.min(end) - now);
                now = clock::boottime();
            }
        }
    }
    let took = now - began;
    let line = serde_json::json!({
        "kind": args.kind.to_possible_value().map(|kind| kind.get_name().to_owned()),
        "to": args.to.to_string(),
        "ports": ports,
        "sent": sent,
        "refused_by_kernel": way.refused(),
        "seconds": took.as_secs_f64(),
        "per_second": (sent as f64 / took.as_secs_f64().max(1e-9)).round(),
    });
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_stay_at_home() {
        for own in ["127.0.0.1:9900", "10.77.0.5:9900", "192.168.1.1:1", "[::1]:9", "[fd00::1]:9"] {
            assert!(parse_target(own).is_ok(), "{own}");
        }
        for other in ["1.1.1.1:9900", "[2001:db8::1]:9", "10.0.0.1:0", "[::ffff:8.8.8.8]:9", "10.0.0.1", "localhost:1"]
        {
            assert!(parse_target(other).is_err(), "{other}");
        }
    }

    #[test]
    fn frames_are_beats() {
        let text = format!("56530101{}", "00".repeat(BEAT_LEN - 4));
        assert_eq!(parse_frame(&text).unwrap()[..4], *b"VS\x01\x01");
        for bad in ["", "5653", &text[2..], &text.replace("5653", "5654"), &text.replace("5653", "5g53")] {
            assert!(parse_frame(bad).is_err(), "{bad}");
        }
    }
}
