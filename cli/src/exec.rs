//! `varta exec`: any program becomes an agent. It beats while the program lives and says how it ended.

mod notify;

use std::{
    io::IsTerminal as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use varta_client::Status;

use self::notify::Notify;
use crate::{
    agent::{AgentArgs, Handle, NoHandle},
    duration,
};

/// Signals that are passed on to the program, and whether each asks it to stop.
const PASSED: [(Signal, bool); 6] = [
    (Signal::SIGTERM, true),
    (Signal::SIGINT, true),
    (Signal::SIGQUIT, true),
    (Signal::SIGHUP, true),
    (Signal::SIGUSR1, false),
    (Signal::SIGUSR2, false),
];

/// Run a program and beat while it lives.
///
/// Signals are passed on to it and its exit status is this command's (128 and the signal's number if a signal ended it).
/// When it ends, a last beat says how: goodbye after exit status 0 or a stop that was asked for, else a terminal beat with
/// the exit status, or 256 and the signal's number, as its payload. While it is stopped (SIGSTOP) the beats are critical.
///
/// With --socket the kernel attests the pid of `varta exec` itself: that, and not the program's, is the pid that the
/// observer shows. The beats promise, so it must be one that knows promises: 0.3 or later.
#[derive(Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Beat this often, promising each next beat within this time.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    every: Duration,
    /// Listen to what the program tells a service manager (sd_notify): it is degraded until READY=1, while it reloads and
    /// after STOPPING=1. What it says is handed on to the manager above, if there is one.
    #[arg(long)]
    notify: bool,
    /// Expect WATCHDOG=1 from the program at least this often, once it is ready; it falls silent when that does not come.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "notify")]
    watchdog: Option<Duration>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

pub(crate) fn run(args: &ExecArgs) -> anyhow::Result<ExitCode> {
    let link = match args.agent.connect(Some(args.every)) {
        Ok(handle) => Link { agent: args.agent.clone(), every: args.every, state: State::Up(handle) },
        // No way to any observer is no reason not to run the program: it is tried again while it runs.
        Err(NoHandle::NoWay(error)) => {
            crate::complain(&error);
            Link { agent: args.agent.clone(), every: args.every, state: State::Down }
        }
        Err(NoHandle::Wrong(error)) => {
            crate::complain(&error);
            return Ok(ExitCode::from(crate::USAGE));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no timer to be had")?;
    runtime.block_on(watch_over(args, link))
}

/// The way to the observers, or the attempt to find one.
struct Link {
    agent: AgentArgs,
    every: Duration,
    state: State,
}

enum State {
    Up(Handle),
    Down,
    Trying(JoinHandle<Result<Handle, NoHandle>>),
}

impl Link {
    /// A beat that cannot be sent is the observer's to notice; the program goes on.
    async fn beat(&mut self, status: Status) {
        if let State::Trying(attempt) = &mut self.state {
            if !attempt.is_finished() {
                return;
            }
            self.state = match attempt.await {
                Ok(Ok(handle)) => State::Up(handle),
                _ => State::Down,
            };
        }
        match &mut self.state {
            State::Up(handle) => {
                let _ = handle.beat(status, 0);
            }
            _ => {
                // Resolving a name may take long: elsewhere, so that signals are passed on meanwhile.
                let (agent, every) = (self.agent.clone(), self.every);
                self.state = State::Trying(spawn_blocking(move || agent.connect(Some(every))));
            }
        }
    }
}

async fn watch_over(args: &ExecArgs, mut link: Link) -> anyhow::Result<ExitCode> {
    let mut signals = pass_on()?;
    let Some((program, arguments)) = args.command.split_first() else { return Ok(ExitCode::from(crate::USAGE)) };
    let mut notify = args.notify.then(|| Notify::open(args.watchdog)).transpose()?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(notify) = &notify {
        notify.tell(&mut command);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            crate::complain(&anyhow::anyhow!("{}: cannot be run: {error}", Path::new(program).display()));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { 127 } else { 126 }));
        }
    };
    let mut asked_to_stop = None;
    let mut pace = interval(args.every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.context("the program cannot be waited for")?,
            Some((signal, stops)) = signals.recv() => {
                if stops {
                    asked_to_stop = Some(signal);
                }
                send(&child, signal);
            }
            () = listen(&mut notify) => {}
            _ = pace.tick() => {
                let stopped = child.id().is_some_and(is_stopped);
                let said = match &notify {
                    _ if stopped => Some(Status::Critical),
                    Some(notify) => notify.status(),
                    None => Some(Status::Ok),
                };
                if let Some(said) = said {
                    link.beat(said).await;
                }
            }
        }
    };
    if let State::Up(handle) = &mut link.state {
        say_how_it_ended(handle, status, asked_to_stop);
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

async fn listen(notify: &mut Option<Notify>) {
    match notify {
        Some(notify) => notify.listen().await,
        None => std::future::pending().await,
    }
}

/// Signals to pass on, and whether each asks for a stop. From a terminal, Ctrl-C and Ctrl-\ reach the program by
/// themselves: they are noted and not sent twice.
fn pass_on() -> anyhow::Result<mpsc::UnboundedReceiver<(Signal, bool)>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (number, stops) in PASSED {
        let mut stream =
            signal(SignalKind::from_raw(number as i32)).with_context(|| format!("{number} cannot be caught"))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send((number, stops)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

fn send(child: &Child, signal: Signal) {
    let from_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && std::io::stdin().is_terminal();
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.filter(|_| !from_terminal) {
        // It may have ended in this moment; that is noticed by waiting for it.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether the process is stopped or traced, by the state letter behind its name in `/proc/PID/stat`.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

fn say_how_it_ended(handle: &mut Handle, status: ExitStatus, asked_to_stop: Option<Signal>) {
    let as_asked = match (asked_to_stop, status.signal()) {
        (Some(asked), Some(signal)) => signal == asked as i32,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if status.success() || as_asked {
        let _ = handle.finish(Status::Ok, 0);
        return;
    }
    let payload = match (status.code(), status.signal()) {
        (Some(code), _) => u32::try_from(code).unwrap_or(u32::MAX),
        (None, signal) => 256 + signal.and_then(|signal| u32::try_from(signal).ok()).unwrap_or_default(),
    };
    let _ = handle.terminal(payload);
}
