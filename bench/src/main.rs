//! Varta's figures, each a ratio within one run or a count: machines are shared and differ, so a figure by itself says
//! little. `cargo run --release -p varta-bench -- spine` takes all of them in some minutes, prints a table, and
//! then the same as one JSON line. It needs Linux and two cores: what is measured runs on the first of them, what feeds it
//! on the second. Nothing leaves the loopback interface.
//!
//! What is measured is `varta watch` as it ships: a process of its own in the release build, one sealed listener on a real
//! UDP socket, a state directory, HTTP open. What feeds it is `varta bench load`. Beside it, fed in turn by the same
//! sender, runs the [bare loop](bare): the least that any receiver of these datagrams has to do.
//!
//! | figure | what it is | where |
//! |---|---|---|
//! | `cost` | the observer's CPU time per accepted beat, saturated, over the bare loop's | [`spine::cost`] |
//! | `rate` | the same, with beats arriving slower than they are read | [`spine::rate`] |
//! | `forged` | the observer's CPU time per forged datagram | [`spine::forged`] |
//! | `beat` | a sealed beat in its program, over what it cannot do without | [`spine::beat`] |
//! | `capacity` | the highest rate at which the kernel drops nothing | [`spine::capacity`] |
//! | `stalls` | from a stall's deadline to its being told, while 100,000 agents beat | [`spine::stalls`] |
//! | `served` | the same while scrapes, pages of slots and reloads are served without a pause | [`spine::served`] |
//! | `scrape` | CPU time of a scrape with 100,000 series, by thread | [`spine::scrape`] |
//! | `restore` | from the start of an observer to its first answer, with a million agents on disk | [`spine::restore`] |
//! | `idle` | how often an observer is woken that has nothing to do | [`spine::idle`] |
//! | `memory` | resident memory per agent | [`spine::memory`] |
//!
//! `varta-bench relay` takes those of `varta relay`, which has the first core, before [observers that the bench plays](relay)
//! over QUIC on the second.
//!
//! | figure | what it is | where |
//! |---|---|---|
//! | `snapshot` | a million units told by one observer, and the grid of them served | [`relay::snapshot`] |
//! | `memory` | resident memory per unit | [`relay::memory`] |
//! | `deltas` | changes that one core takes in, and what each costs | [`relay::deltas`] |
//! | `told` | from a stall to an event, a page and a webhook | [`relay::told`] |
//! | `dashboards` | what fifty open pages cost, and how late they are | [`relay::dashboards`] |
//! | `resync` | from a killed relay's start until its picture is whole | [`relay::resync`] |
//! | `link` | the link beside a bare QUIC stream | [`relay::link`] |
//! | `deaf` | an observer whose relay does not read | [`relay::deaf`] |

#![forbid(unsafe_code)]

mod agents;
mod bare;
mod churn;
mod clock;
mod detection;
mod exec;
mod flood;
mod follow;
mod load;
mod local;
mod machine;
#[path = "../embed/src/measure.rs"]
mod measure;
mod metrics;
mod mortals;
mod process;
mod receiver;
mod relay;
mod spine;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

/// Varta's figures: ratios within one run.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Cost, capacity, lateness, idleness and memory of one observer on this machine.
    Spine(spine::SpineArgs),
    /// What a relay of a million units costs, tells and stands.
    Relay(relay::RelayArgs),
    /// The limit by itself: receives and opens, and answers each line on standard input with its counts.
    Bare(bare::BareArgs),
    /// How soon deaths are told and how often the living are accused, in simulated worlds, beside other detectors.
    Detection(detection::DetectionArgs),
    /// From the death of a program under `varta exec` to its verdict, on this host.
    Exec(exec::ExecArgs),
    /// What an attacker sends, bounded in time and count.
    Flood(flood::FloodArgs),
    /// Memory while one agent opens unit after unit and session after session; fails if it is not flat.
    Churn(churn::ChurnArgs),
    /// One who asks an observer for everything without a pause.
    Asks(spine::served::AsksArgs),
    /// One end of a stream, for the relay's figures.
    #[command(hide = true)]
    Sink(relay::sink::SinkArgs),
    /// Genuine agents in one process, to stand beside a flood.
    Agents(agents::AgentsArgs),
    /// Our observer of local processes beside the published varta-watch 0.2.0, on the same processes.
    Local(local::LocalArgs),
    /// One of these processes.
    #[command(hide = true)]
    LocalAgent(local::agent::AgentArgs),
}

fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Spine(args) => spine::run(&args),
        Verb::Relay(args) => relay::run(&args),
        Verb::Bare(args) => bare::run(&args),
        Verb::Detection(args) => detection::run(&args),
        Verb::Exec(args) => exec::run(&args),
        Verb::Flood(args) => flood::run(&args),
        Verb::Asks(args) => spine::served::asks(&args),
        Verb::Churn(args) => churn::run(&args),
        Verb::Sink(args) => relay::sink::run(&args),
        Verb::Agents(args) => agents::run(&args),
        Verb::Local(args) => local::run(&args),
        Verb::LocalAgent(args) => local::agent::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nowhere left to say it.
            drop(writeln!(std::io::stderr().lock(), "varta-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
