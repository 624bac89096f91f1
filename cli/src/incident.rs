//! `varta ack` and `varta silence`: saying to a relay that somebody knows.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::{
    ask::{Source, Whom, plain},
    duration,
};

/// Take on an open incident at a relay, so that others know that somebody does.
#[derive(Args)]
pub(crate) struct AckArgs {
    #[command(flatten)]
    whom: Whom,
    /// The incident's number.
    id: u64,
    /// Who takes it on.
    #[arg(long, value_name = "NAME", required_unless_present = "undo")]
    by: Option<String>,
    /// What others should know of it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Give it back.
    #[arg(long)]
    undo: bool,
}

pub(crate) fn acknowledge(args: &AckArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.whom)?;
    let path = format!("/api/v1/incidents/{}/ack", args.id);
    let incident = if args.undo {
        source.send("DELETE", &path, None)?
    } else {
        source.send("POST", &path, Some(&json!({ "by": args.by, "note": args.note })))?
    };
    let done = if args.undo {
        "given back".to_owned()
    } else {
        format!("taken by {}", args.by.as_deref().unwrap_or_default())
    };
    writeln!(std::io::stdout().lock(), "incident {}, {}: {done}", args.id, plain(&incident["title"]))?;
    Ok(ExitCode::SUCCESS)
}

/// Have a relay tell nobody of incidents of some agents, for a while; or list such silences, or end one.
#[derive(Args)]
pub(crate) struct SilenceArgs {
    #[command(flatten)]
    whom: Whom,
    /// Agents and units by name, `*` standing for any text.
    #[arg(value_name = "AGENT[/UNIT]", required_unless_present_any = ["list", "end", "label"])]
    what: Option<String>,
    /// For how long; a silence ends by itself.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, default_value = "1h")]
    lasting: Duration,
    /// Only incidents of this kind.
    #[arg(long, value_name = "KIND", default_value = "*")]
    kind: String,
    /// Only units with this label; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Who silences them.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["list", "end"])]
    by: Option<String>,
    /// What for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// List silences.
    #[arg(long, conflicts_with_all = ["what", "end", "label"])]
    list: bool,
    /// End the silence of this number.
    #[arg(long, value_name = "ID", conflicts_with_all = ["what", "label"])]
    end: Option<u64>,
}

pub(crate) fn silence(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.whom)?;
    let mut out = std::io::stdout().lock();
    if args.list {
        let found = source.get("/api/v1/silences")?;
        for one in found["silences"].as_array().into_iter().flatten() {
            let matcher = &one["matcher"];
            writeln!(
                out,
                "{} {}/{} {} by {} {}",
                one["id"],
                plain(&matcher["agent"]),
                plain(&matcher["unit"]),
                plain(&matcher["kind"]),
                plain(&one["by"]),
                plain(&one["note"])
            )?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(id) = args.end {
        source.send("DELETE", &format!("/api/v1/silences/{id}"), None)?;
        writeln!(out, "silence {id} is over")?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = args.what.as_deref().unwrap_or("*");
    let (agent, unit) = what.split_once('/').unwrap_or((what, "*"));
    let mut labels = serde_json::Map::new();
    for label in &args.label {
        let Some((key, value)) = label.split_once('=') else { bail!("--label {label}: write KEY=VALUE") };
        labels.insert(key.to_owned(), value.into());
    }
    let for_ms = u64::try_from(args.lasting.as_millis()).unwrap_or(u64::MAX);
    let made = source.send(
        "POST",
        "/api/v1/silences",
        Some(&json!({
            "matcher": { "agent": agent, "unit": unit, "kind": args.kind, "labels": labels },
            "by": args.by, "note": args.note, "for_ms": for_ms,
        })),
    )?;
    writeln!(out, "silence {}: {agent}/{unit} for {}", made["id"], humantime::format_duration(args.lasting))?;
    Ok(ExitCode::SUCCESS)
}
