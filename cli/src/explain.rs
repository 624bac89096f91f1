//! `varta explain`: why is a unit judged as it is?

use std::{io::Write as _, process::ExitCode};

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use crate::ask::{Source, Whom, escape, plain};

/// Say what is known of an agent's units, who says it, and why it is judged so.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    whom: Whom,
    /// The agent, or one unit of it; a unit without a name is pid:NUMBER.
    #[arg(value_name = "AGENT[/UNIT]")]
    what: String,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.whom)?;
    let is_relay = source.find("/api/v1/fleet")?.is_some();
    let (path, list) = if is_relay { ("/api/v1/agents", "agents") } else { ("/api/v1/slots", "slots") };
    let (agent, units) = match args.what.split_once('/') {
        Some((agent, unit)) => (agent, vec![unit.to_owned()]),
        None => {
            let agent = args.what.as_str();
            let query = if is_relay { format!("?q={}", escape(agent)) } else { "?".to_owned() };
            let rows = source.rows(&format!("{path}{query}"), list, usize::MAX)?;
            (agent, rows.iter().filter(|row| row["agent"] == agent).map(unit_of).collect())
        }
    };
    if units.is_empty() {
        bail!("no unit of an agent {agent:?} is known: see `varta status`, or name it as /api/v1/{list} does");
    }
    let mut found = Vec::new();
    for unit in units {
        found.push(source.get(&format!("{path}/{}/{}", escape(agent), escape(&unit)))?);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", Value::Array(found))?;
    } else {
        for unit in &found {
            write_unit(&mut out, unit)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn unit_of(row: &Value) -> String {
    let unit = plain(&row["unit"]);
    if unit.is_empty() { format!("pid:{}", row["pid"]) } else { unit }
}

fn write_unit(out: &mut impl std::io::Write, unit: &Value) -> std::io::Result<()> {
    let disputed = if unit["disputed"] == true { ", disputed" } else { "" };
    writeln!(out, "{}/{}: {}{disputed}", plain(&unit["agent"]), unit_of(unit), plain(&unit["verdict"]))?;
    writeln!(out, "  {}", plain(&unit["why"]))?;
    if let Some(incident) = unit["incident"].as_u64() {
        writeln!(out, "  incident {incident}")?;
    }
    for view in unit["views"].as_array().into_iter().flatten() {
        let (who, why) = (plain(&view["observer"]), plain(&view["why"]));
        let why = if why.is_empty() { "on time".to_owned() } else { why };
        writeln!(out, "  {who} ({}): {}: {why}", plain(&view["state"]), plain(&view["verdict"]))?;
    }
    let labels = unit["labels"].as_object().into_iter().flatten();
    for (key, value) in labels {
        writeln!(out, "  {}={}", plain(&Value::from(key.as_str())), plain(value))?;
    }
    Ok(())
}
