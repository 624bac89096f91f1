//! `varta top`: the fleet on a whole screen, as it is now.

mod draw;
mod fetch;
mod filter;
mod list;
mod model;
mod picture;
#[cfg(test)]
mod samples;
mod screen;
mod table;
mod text;
mod words;

use std::{
    io::{IsTerminal as _, Write as _},
    ops::ControlFlow,
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event},
};

use crate::{
    ask::{Source, Whom},
    clock, duration,
};
use draw::{Look, draw};
use fetch::{Asker, News, Wish};
use model::{Act, Model};
use screen::Screen;

/// The interval's bounds.
const FASTEST: Duration = Duration::from_millis(200);
const SLOWEST: Duration = Duration::from_secs(3600);
/// How often the screen is drawn where nothing happens: ages grow.
const TICK: Duration = Duration::from_millis(250);
/// How much may wait to be taken in.
const WAITING: usize = 64;
/// The frame of `--once` where nobody says how large it is: columns and lines.
const FRAME: (u16, u16) = (120, 40);

/// Watch an observer's or a relay's fleet on a whole screen: units, the worst first, open incidents, and events.
///
/// Keys: arrows, j and k move; Enter says why; / finds; s sorts; Tab changes to incidents and events; p holds the picture;
/// ? tells all keys; q quits. A picture that is old says how old it is.
#[derive(Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    whom: Whom,
    /// How often to ask: 200ms to 1h. Whoever takes long to answer is asked less often.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Only the units that fit: words in any order, KEY=VALUE for labels.
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = filter_text)]
    filter: String,
    /// Print one frame as plain text, and end. COLUMNS and LINES say how large it is.
    #[arg(long)]
    once: bool,
    /// Print one picture as JSON, and end.
    #[arg(long, conflicts_with = "once")]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let found = duration::parse(text)?;
    if (FASTEST..=SLOWEST).contains(&found) { Ok(found) } else { Err("is 200ms to 1h".to_owned()) }
}

fn filter_text(text: &str) -> Result<String, String> {
    match text {
        _ if text.len() > filter::LONGEST => Err(format!("is at most {} bytes", filter::LONGEST)),
        _ if text.chars().any(char::is_control) => Err("has control characters in it".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Milliseconds on a clock that only goes forward.
fn now() -> u64 {
    clock::boottime() / 1_000_000
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let is_screen = std::io::stdout().is_terminal();
    if !args.once && !args.json && !is_screen {
        let problem = "standard output is no terminal: use `varta status`, or --once for one frame as text";
        crate::complain(&anyhow!(problem));
        return Ok(ExitCode::from(crate::USAGE));
    }
    let source = Source::open(&args.whom)?.hurried()?;
    let interval_ms = u64::try_from(args.interval.as_millis()).unwrap_or(u64::MAX);
    let mut model = Model::new(text::shown(source.url()), interval_ms, now());
    model.filter = filter::Filter::new(&args.filter);
    let mut asker = Asker::new(source);
    if args.json {
        let picture = asker.json(&model.filter)?;
        writeln!(std::io::stdout().lock(), "{picture}").context("standard output")?;
    } else if args.once {
        once(asker, model)?;
    } else {
        watch(asker, model, args.interval)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One frame, as text.
fn once(mut asker: Asker, mut model: Model) -> anyhow::Result<()> {
    let answer = asker.ask(&model.wish())?;
    model.hear(News::Answer(Box::new(answer)));
    let size = |name, usual: u16| -> u16 {
        environment(name).and_then(|text| text.parse().ok()).unwrap_or(usual).clamp(10, 1000)
    };
    let mut terminal = Terminal::new(TestBackend::new(size("COLUMNS", FRAME.0), size("LINES", FRAME.1)))?;
    terminal.draw(|frame| draw(frame, &mut model, Look { colors: false, once: true }))?;
    let text = screen::text_of(terminal.backend().buffer());
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

/// What the screen waits for.
enum Turn {
    News(News),
    Input(Event),
    /// A signal says that it is to end.
    Stop,
    /// Keys cannot be read any more.
    Deaf(std::io::Error),
}

fn watch(asker: Asker, mut model: Model, interval: Duration) -> anyhow::Result<()> {
    // Before there are other threads: they are to leave these signals to the one that waits for them.
    let ends: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    ends.thread_block().context("signals cannot be waited for")?;
    let (tell, turns) = sync_channel(WAITING);
    let (wish, wishes) = channel();
    wish.send(model.wish())?;
    let colors = environment("NO_COLOR").is_none();
    let mut screen = Screen::open()?;
    let fetcher = {
        let tell = tell.clone();
        let tell = move |news| tell.send(Turn::News(news)).map_or(ControlFlow::Break(()), ControlFlow::Continue);
        spawn("ask", move || fetch::run(asker, interval, &wishes, tell))?
    };
    listen(tell, ends)?;
    // The terminal is given back before anything is said of how it ended.
    turn(&mut screen, &mut model, Look { colors, once: false }, &turns, &wish, &fetcher)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).context("no thread to be had")
}

/// Hands on keys and signals. Both threads wait in the system, and end with the process.
fn listen(tell: SyncSender<Turn>, ends: SigSet) -> anyhow::Result<()> {
    let stop = tell.clone();
    spawn("signals", move || {
        if ends.wait().is_ok() {
            let _ = stop.send(Turn::Stop);
        }
    })?;
    spawn("keys", move || {
        loop {
            let (turn, last) = match event::read() {
                Ok(input) => (Turn::Input(input), false),
                Err(error) => (Turn::Deaf(error), true),
            };
            if tell.send(turn).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

/// Draws, waits, and does what is said, until it is to end.
fn turn(
    screen: &mut Screen,
    model: &mut Model,
    look: Look,
    turns: &Receiver<Turn>,
    wish: &Sender<Wish>,
    fetcher: &JoinHandle<()>,
) -> anyhow::Result<()> {
    let mut wished = model.wish();
    loop {
        model.tick(now());
        screen.draw(|frame| draw(frame, model, look))?;
        let first = match turns.recv_timeout(TICK) {
            Ok(turn) => Some(turn),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("nobody tells anything any more"),
        };
        if fetcher.is_finished() {
            bail!("asking ended with a fault of the program");
        }
        model.tick(now());
        // All that waits is taken in before the next frame.
        for turn in first.into_iter().chain(turns.try_iter().take(WAITING)) {
            match turn {
                Turn::News(news) => model.hear(news),
                Turn::Input(Event::Key(key)) if model.on_key(key) == Act::Quit => return Ok(()),
                Turn::Input(_) => {}
                Turn::Stop => return Ok(()),
                Turn::Deaf(error) => return Err(error).context("keys cannot be read"),
            }
        }
        let newer = model.wish();
        if newer != wished {
            wished = newer;
            wish.send(wished.clone())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_has_bounds() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!([interval("200ms"), interval("1h")], [Ok(FASTEST), Ok(SLOWEST)]);
        for text in ["199ms", "61m", "0s", "fast", "-1s"] {
            assert!(interval(text).is_err(), "{text}");
        }
        assert!(filter_text("site=north web").is_ok());
        assert!(filter_text(&"x".repeat(filter::LONGEST + 1)).is_err());
        assert!(filter_text("\u{1b}[2J").is_err());
    }
}
