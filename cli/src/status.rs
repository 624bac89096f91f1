//! `varta status`: how is the fleet, in one screen and one exit status?

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use varta_client::keyfile::read_secret_file;

/// Exit status 3: nobody can tell.
const UNKNOWN: u8 = 3;

/// Ask an observer how its agents are.
///
/// Exits 0 if all is well, 1 if something is degraded, 2 if something is critical or stalled or the observer itself is
/// blind, 3 if nobody can tell (the observer does not answer, or there are only unknown or missing agents to report).
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The observer.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9910")]
    url: String,
    /// A file (mode 0600) with the bearer token that the observer asks for.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

struct Source {
    agent: ureq::Agent,
    url: String,
    bearer: Option<String>,
}

impl Source {
    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut request = self.agent.get(&url);
        if let Some(bearer) = &self.bearer {
            request = request.header("Authorization", bearer);
        }
        let mut answer = request.call().with_context(|| format!("{url} does not answer as an observer would"))?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("{url}: the answer broke off"))?;
        serde_json::from_str(&text).with_context(|| format!("{url}: the answer is not JSON"))
    }

    /// Every slot with that verdict, `limit` at most.
    fn slots(&self, verdict: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor.filter(|_| found.len() < limit) {
            let page = self.get(&format!("/api/v1/slots?limit=1000&cursor={at}&verdict={verdict}"))?;
            found.extend(page["slots"].as_array().cloned().unwrap_or_default());
            cursor = page["next"].as_u64();
        }
        found.truncate(limit);
        Ok(found)
    }
}

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let bearer = match &args.token_file {
        Some(file) => Some(format!("Bearer {}", read_secret_file(file)?.trim())),
        None => None,
    };
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build();
    let source = Source { agent: config.into(), url: args.url.clone(), bearer };
    let report = source.get("/api/v1/status").and_then(|status| {
        let mut troubled = Vec::new();
        for verdict in ["critical", "stalled", "degraded", "missing", "unknown"] {
            troubled.extend(source.slots(verdict, 100)?);
        }
        Ok((status, troubled))
    });
    let (status, troubled) = match report {
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

fn verdict_of(status: &Value) -> u8 {
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
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    writeln!(out, "observer {} (varta {})", text(&status["name"]), text(&status["version"]))?;
    if let Some(cause) = status["blind"].as_str() {
        writeln!(out, "  BLIND: {cause}")?;
    }
    let verdicts = ["up", "degraded", "critical", "stalled", "departed", "held", "missing", "unknown"];
    let shown: Vec<_> = verdicts
        .iter()
        .map(|verdict| (count(status, verdict), verdict))
        .filter(|(count, _)| *count > 0)
        .map(|(count, verdict)| format!("{count} {verdict}"))
        .collect();
    writeln!(out, "  {}", if shown.is_empty() { "nobody was heard yet".to_owned() } else { shown.join(", ") })?;
    for slot in troubled {
        let (agent, unit) = (text(&slot["agent"]), text(&slot["unit"]));
        let unit = if unit.is_empty() { format!("pid:{}", slot["pid"]) } else { unit };
        writeln!(out, "  {:<9} {agent}/{unit}: {}", text(&slot["verdict"]), text(&slot["why"]))?;
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
