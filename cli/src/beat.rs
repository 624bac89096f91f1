//! `varta beat`: beats from a shell, a script or a timer.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use varta_client::{BeatOutcome, Status};

use crate::{
    agent::{AgentArgs, Handle, NoHandle},
    duration,
};

/// Beat to the observers of a key file, or to the one on a local socket: once, or again and again.
#[derive(Args)]
pub(crate) struct BeatArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// What to say.
    #[arg(long, value_enum, default_value_t = Said::Ok)]
    status: Said,
    /// A number of your own.
    #[arg(long, default_value_t = 0, value_name = "N")]
    payload: u32,
    /// Beat again and again, promising each next beat within this time (1s, 250ms, 5m).
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    every: Option<Duration>,
    /// Stop after this many beats; without --every they are sent at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Say goodbye at the end, so that the silence after it is no stall.
    #[arg(long = "final")]
    goodbye: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Said {
    Ok,
    Degraded,
    Critical,
}

impl From<Said> for Status {
    fn from(said: Said) -> Self {
        match said {
            Said::Ok => Self::Ok,
            Said::Degraded => Self::Degraded,
            Said::Critical => Self::Critical,
        }
    }
}

pub(crate) fn run(args: &BeatArgs) -> anyhow::Result<ExitCode> {
    let mut handle = match args.agent.connect(args.every) {
        Ok(handle) => handle,
        Err(NoHandle::NoWay(error)) => return Err(error),
        Err(NoHandle::Wrong(error)) => {
            crate::complain(&error);
            return Ok(ExitCode::from(crate::USAGE));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no timer to be had")?;
    let outcome = runtime.block_on(beat_on(args, &mut handle))?;
    match outcome {
        BeatOutcome::Sent => Ok(ExitCode::SUCCESS),
        other => anyhow::bail!("the last beat was not sent: {other}"),
    }
}

async fn beat_on(args: &BeatArgs, handle: &mut Handle) -> anyhow::Result<BeatOutcome> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let count = args.count.unwrap_or(if args.every.is_some() { u64::MAX } else { 1 });
    let mut outcome = BeatOutcome::Sent;
    let mut pace = args.every.map(|every| {
        let mut pace = interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace
    });
    for beaten in 0..count {
        if let Some(pace) = &mut pace {
            tokio::select! {
                _ = pace.tick() => {}
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        let last = beaten + 1 == count;
        if last && args.goodbye {
            return Ok(handle.finish(args.status.into(), args.payload));
        }
        outcome = handle.beat(args.status.into(), args.payload);
    }
    Ok(if args.goodbye { handle.finish(args.status.into(), args.payload) } else { outcome })
}
