//! Varta: a secure heartbeat mesh, in one binary. One file per verb; this one only wires.

#![forbid(unsafe_code)]

mod agent;
mod ask;
mod audit;
mod beat;
mod bench;
mod clock;
mod config;
mod dev;
mod duration;
mod events;
mod exec;
mod explain;
mod frame;
mod incident;
mod keys;
mod relay;
mod status;
mod top;
mod watch;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

/// Exit status for a wrong command line or configuration.
const USAGE: u8 = 2;

/// Varta: a secure heartbeat mesh, in one binary.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Dev(dev::DevArgs),
    Watch(Box<watch::WatchArgs>),
    Relay(relay::RelayArgs),
    Beat(beat::BeatArgs),
    Exec(exec::ExecArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Events(events::EventsArgs),
    Explain(explain::ExplainArgs),
    Ack(incident::AckArgs),
    Silence(incident::SilenceArgs),
    Keys(keys::KeysArgs),
    Audit(audit::AuditArgs),
    Config(config::ConfigArgs),
    Bench(bench::BenchArgs),
    Frame(frame::FrameArgs),
}

/// Says what went wrong, with everything behind it, on one line.
fn complain(error: &anyhow::Error) {
    // Where standard error is closed there is nowhere left to say it.
    drop(writeln!(std::io::stderr().lock(), "varta: {error:#}"));
}

fn main() -> ExitCode {
    if watch::is_compatible_name(std::env::args_os().next().as_ref()) {
        let args = watch::parse_compatible(std::env::args_os()).unwrap_or_else(|error| error.exit());
        return watch::run(&args).unwrap_or_else(fail);
    }
    let result = match Args::parse().verb {
        Verb::Dev(args) => dev::run(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Relay(args) => relay::run(&args),
        Verb::Beat(args) => beat::run(&args),
        Verb::Exec(args) => exec::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Top(args) => top::run(&args),
        Verb::Events(args) => events::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Ack(args) => incident::acknowledge(&args),
        Verb::Silence(args) => incident::silence(&args),
        Verb::Keys(args) => keys::run(args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Frame(args) => frame::run(args),
    };
    result.unwrap_or_else(fail)
}

fn fail(error: anyhow::Error) -> ExitCode {
    complain(&error);
    ExitCode::FAILURE
}
