//! `varta status`: how is the fleet, in one screen and one exit status?

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use serde_json::Value;

use crate::{
    ask::{Source, Whom, plain},
    explain::unit_of,
};

/// Exit status 3: nobody can tell.
const UNKNOWN: u8 = 3;
/// Most units of one verdict that are listed.
const LISTED: usize = 100;

/// Ask an observer or a relay how its agents are.
///
/// Exits 0 if all is well, 1 if something is degraded, 2 if something is critical or stalled or the observer itself is
/// blind, 3 if nobody can tell (it does not answer, or there are only unknown or missing agents to report).
#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    whom: Whom,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What is said of all, and each unit that is not well.
fn ask(args: &StatusArgs) -> anyhow::Result<(Value, Vec<Value>)> {
    let source = Source::open(&args.whom)?;
    let (mut status, path, list) = match source.find("/api/v1/fleet")? {
        Some(fleet) => (fleet, "/api/v1/agents", "agents"),
        None => (source.get("/api/v1/status")?, "/api/v1/slots", "slots"),
    };
    if list == "agents" {
        status["open"] = source.get("/api/v1/incidents?state=open")?["incidents"].take();
    }
    let mut troubled = Vec::new();
    for verdict in ["critical", "stalled", "degraded", "missing", "unknown"] {
        if count(&status, verdict) > 0 {
            troubled.extend(source.rows(&format!("{path}?verdict={verdict}"), list, LISTED)?);
        }
    }
    Ok((status, troubled))
}

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (status, troubled) = match ask(args) {
        Ok(report) => report,
        Err(error) => {
            crate::complain(&error);
            return Ok(ExitCode::from(UNKNOWN));
        }
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        let mut whole = status.clone();
        whole["troubled"] = Value::Array(troubled);
        writeln!(out, "{whole}")?;
    } else {
        write_text(&mut out, &status, &troubled)?;
    }
    Ok(ExitCode::from(verdict_of(&status)))
}

fn count(status: &Value, verdict: &str) -> u64 {
    status["verdicts"][verdict].as_u64().unwrap_or_default()
}

/// The exit status that tells how it is.
pub(crate) fn verdict_of(status: &Value) -> u8 {
    let any = |verdicts: &[&str]| verdicts.iter().any(|verdict| count(status, verdict) > 0);
    if status["critical"].as_bool() == Some(true) || any(&["critical", "stalled"]) {
        2
    } else if any(&["degraded"]) {
        1
    } else if any(&["unknown", "missing"]) || status["blind"].is_string() {
        UNKNOWN
    } else {
        0
    }
}

fn write_text(out: &mut impl std::io::Write, status: &Value, troubled: &[Value]) -> std::io::Result<()> {
    let (kind, who) = if status["relay"].is_object() { ("relay", &status["relay"]) } else { ("observer", status) };
    writeln!(out, "{kind} {} (varta {})", plain(&who["name"]), plain(&who["version"]))?;
    if let Some(cause) = status["blind"].as_str() {
        writeln!(out, "  BLIND: {cause}")?;
    }
    let listed = |names: &[&str], of: &Value| -> Vec<String> {
        let counted = names.iter().map(|name| (of[name].as_u64().unwrap_or_default(), name));
        counted.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect()
    };
    let verdicts = ["up", "degraded", "critical", "stalled", "departed", "held", "missing", "unknown"];
    let shown = listed(&verdicts, &status["verdicts"]);
    writeln!(out, "  {}", if shown.is_empty() { "nobody was heard yet".to_owned() } else { shown.join(", ") })?;
    if kind == "relay" {
        let observers: Vec<_> = status["observers"].as_object().into_iter().flatten().collect();
        let names: Vec<_> = observers.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(out, "  observers: {}", listed(&names, &status["observers"]).join(", "))?;
    }
    for incident in status["open"].as_array().into_iter().flatten() {
        let acked = incident["acked"]["by"].as_str().map(|_| format!(", taken by {}", plain(&incident["acked"]["by"])));
        writeln!(out, "  incident {}: {}{}", incident["id"], plain(&incident["title"]), acked.unwrap_or_default())?;
    }
    for slot in troubled {
        let who = format!("{}/{}", plain(&slot["agent"]), unit_of(slot));
        writeln!(out, "  {:<9} {who}: {}", plain(&slot["verdict"]), plain(&slot["why"]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_decides_the_exit_status() {
        let of = |json: &str| verdict_of(&serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"verdicts":{"up":3},"blind":null,"critical":false}"#), 0);
        assert_eq!(of(r#"{"verdicts":{"up":3,"degraded":1,"unknown":2}}"#), 1);
        assert_eq!(of(r#"{"verdicts":{"stalled":1,"degraded":1}}"#), 2);
        assert_eq!(of(r#"{"verdicts":{"up":1},"critical":true}"#), 2);
        assert_eq!(of(r#"{"verdicts":{"up":1,"unknown":1}}"#), 3);
        assert_eq!(of(r#"{"verdicts":{},"blind":"restart"}"#), 3);
    }
}
