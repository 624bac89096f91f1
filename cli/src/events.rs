//! `varta events`: what happens, as it happens.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use crate::{
    ask::{Source, Whom, plain},
    complain,
};

/// How long to wait before a stream that ended is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// The events of an observer or a relay, a line each: those that are kept, or with -f those that come.
#[derive(Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    whom: Whom,
    /// Follow, from now on or from --after, until it is interrupted; a stream that breaks off is asked for again, from where it
    /// ended.
    #[arg(short, long)]
    follow: bool,
    /// Begin after the event of this id, as far back as events are kept.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Only these kinds.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// JSON instead of text: an object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.whom)?;
    let path = if args.follow { "/api/v1/events" } else { "/api/v1/events?once=true" };
    let mut seen = args.after.map(|id| id.to_string());
    // Who never answered is an error; who did is asked again, and that it does not answer is told once.
    let (mut answered, mut told) = (false, false);
    loop {
        let begun = seen.clone();
        let ended = source.follow(path, begun.as_deref(), |event| {
            (answered, told) = (true, false);
            let Some((kind, id, text)) = event else { return Ok(()) };
            if kind == "lagged" {
                complain(&anyhow!("events came faster than they could be told, or are not kept any more: {text}"));
                return Ok(());
            }
            seen = Some(id.to_owned());
            print(args, text)
        });
        match ended {
            Ok(()) if !args.follow => return Ok(ExitCode::SUCCESS),
            Ok(()) => {}
            // Nobody reads any more.
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) => {
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) if !answered || !args.follow => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    complain(&error.context("asking again"));
                }
            }
        }
        std::thread::park_timeout(PAUSE);
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn print(args: &EventsArgs, text: &str) -> anyhow::Result<()> {
    let event: Value = serde_json::from_str(text).context("an event is not JSON")?;
    if !args.kind.is_empty() && !args.kind.iter().any(|kind| event["kind"] == kind.as_str()) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{event}")?;
    } else {
        writeln!(out, "{}", line_of(&event))?;
    }
    Ok(out.flush()?)
}

fn line_of(event: &Value) -> String {
    let kind = plain(&event["kind"]);
    let at = match event["at_ms"].as_u64() {
        Some(ms) => humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + Duration::from_millis(ms)).to_string(),
        None => plain(&event["at"]),
    };
    let mut who = plain(&event["agent"]);
    if who.is_empty() {
        who = plain(&event["observer"]);
    } else {
        match (plain(&event["unit"]), &event["pid"]) {
            (unit, _) if !unit.is_empty() => who = format!("{who}/{unit}"),
            (_, pid) => who = format!("{who}/pid:{pid}"),
        }
    }
    let to = plain(&event["to"]);
    [at, kind, who, to, plain(&event["why"])].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let line = |json: &str| line_of(&serde_json::from_str(json).unwrap());
        assert_eq!(
            line(
                r#"{"at_ms":1500,"kind":"unit","agent":"web-1","unit":"api","pid":3,"from":"up","to":"stalled","why":"silent"}"#
            ),
            "1970-01-01T00:00:01.500Z unit web-1/api stalled silent"
        );
        assert_eq!(
            line(r#"{"at_ms":0,"kind":"observer","observer":"obs-1","to":"lost"}"#),
            "1970-01-01T00:00:00.000Z observer obs-1 lost"
        );
        assert_eq!(line(r#"{"at":"T","kind":"new","agent":"a","unit":"","pid":7,"to":"up"}"#), "T new a/pid:7 up");
    }
}
