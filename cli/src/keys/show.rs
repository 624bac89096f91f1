//! `varta keys list` and `varta keys inspect`: what was issued, never a secret.

use std::io::Write;

use anyhow::Context as _;
use serde_json::json;
use varta_client::keyfile::{AgentKeyFile, check_name};
use varta_keys::{Fleet, FleetAgent, Inspected, ObserverKeyFile, RosterAgent};
use varta_vlp::key::{AgentId, AudienceId, Name, Peer};

fn name(text: &str) -> anyhow::Result<Name<'_>> {
    check_name(text).context("a name that was checked before")
}

fn agent_id(text: &str) -> anyhow::Result<AgentId> {
    Ok(name(text)?.agent_id())
}

fn audience_id(text: &str) -> anyhow::Result<AudienceId> {
    Ok(name(text)?.audience_id())
}

pub(super) fn list(fleet: &Fleet, as_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if as_json {
        return list_json(fleet, out);
    }
    let (observers, agents) = (fleet.observers.len(), fleet.agents.len());
    let relays = match fleet.relays.len() {
        0 => String::new(),
        relays => format!(", {relays} relays"),
    };
    writeln!(out, "fleet version {}: {observers} observers{relays}, {agents} agents", fleet.version)?;
    for (name, observer) in &fleet.observers {
        writeln!(
            out,
            "observer {name} (id {}) at {}, added {}{}",
            audience_id(name)?,
            observer.address,
            observer.created,
            if observer.retired { ", retired" } else { "" }
        )?;
    }
    for (name, relay) in &fleet.relays {
        let retired = if relay.retired { ", retired" } else { "" };
        let key = relay.key.to_text(Peer::Relay);
        writeln!(out, "relay {name} at {}, key {key}, added {}{retired}", relay.address, relay.created)?;
    }
    for agent in fleet.agents.values() {
        writeln!(
            out,
            "{}, for {}, first issued {}{}",
            described(&agent.entry)?,
            agent.audiences.join(", "),
            agent.created,
            if agent.retired { ", retired" } else { "" }
        )?;
    }
    Ok(())
}

fn list_json(fleet: &Fleet, out: &mut impl Write) -> anyhow::Result<()> {
    let observers = fleet.observers.iter().map(|(name, observer)| {
        anyhow::Ok(json!({
            "name": name,
            "id": audience_id(name)?.to_string(),
            "address": observer.address,
            "key": observer.key.map(|key| key.to_text(Peer::Observer).to_string()),
            "created": observer.created.to_string(),
            "retired": observer.retired,
        }))
    });
    let observers = observers.collect::<Result<Vec<_>, _>>()?;
    let agents = fleet.agents.values().map(agent_json).collect::<Result<Vec<_>, _>>()?;
    let relays = fleet.relays.iter().map(|(name, relay)| {
        json!({
            "name": name,
            "address": relay.address,
            "key": relay.key.to_text(Peer::Relay).to_string(),
            "created": relay.created.to_string(),
            "retired": relay.retired,
        })
    });
    let relays = relays.collect::<Vec<_>>();
    let list = json!({ "version": fleet.version, "observers": observers, "relays": relays, "agents": agents });
    writeln!(out, "{list}")?;
    Ok(())
}

fn agent_json(agent: &FleetAgent) -> anyhow::Result<serde_json::Value> {
    let entry = &agent.entry;
    Ok(json!({
        "name": entry.name,
        "id": agent_id(&entry.name)?.to_string(),
        "generation": entry.generation.0,
        "labels": entry.labels,
        "audiences": agent.audiences,
        "revoked": entry.revoked.iter().map(|generation| generation.0).collect::<Vec<_>>(),
        "created": agent.created.to_string(),
        "retired": agent.retired,
    }))
}

/// An agent of a roster in words.
fn described(agent: &RosterAgent) -> anyhow::Result<String> {
    let mut text = format!("agent {} (id {}), generation {}", agent.name, agent_id(&agent.name)?, agent.generation);
    for (key, value) in &agent.labels {
        text.push_str(&format!(", {key}={value}"));
    }
    if let Some(expires) = agent.expires {
        text.push_str(&format!(", expires {expires}"));
    }
    for (flag, word) in [(agent.required, ", required"), (agent.recovery, ", may be recovered")] {
        if flag {
            text.push_str(word);
        }
    }
    for generation in &agent.revoked {
        text.push_str(&format!(", generation {generation} revoked"));
    }
    Ok(text)
}

pub(super) fn inspected(inspected: &Inspected, out: &mut impl Write) -> anyhow::Result<()> {
    match inspected {
        Inspected::AgentKey(key) => agent_key(key, out),
        Inspected::ObserverKey(key) => observer_key(key, out),
        Inspected::RelayKey(key) => {
            let public = key.identity.public().to_text(Peer::Relay);
            Ok(writeln!(out, "relay key: {}\npublic key {public}", key.relay)?)
        }
        Inspected::Roster(roster) => {
            writeln!(out, "roster: version {}, {} agents", roster.version, roster.agents.len())?;
            for agent in &roster.agents {
                writeln!(out, "{}", described(agent)?)?;
            }
            Ok(())
        }
        Inspected::Fleet(fleet) => list(fleet, false, out),
        Inspected::Root => Ok(writeln!(out, "fleet root: good; its secret is not shown")?),
        _ => Ok(writeln!(out, "a file of a kind this program cannot show")?),
    }
}

fn agent_key(key: &AgentKeyFile, out: &mut impl Write) -> anyhow::Result<()> {
    let id = agent_id(&key.agent)?;
    writeln!(out, "agent key: {} (id {id}), generation {}", key.agent, key.generation)?;
    for audience in &key.audiences {
        let id = audience_id(&audience.name)?;
        writeln!(out, "audience {} (id {id}) at {}", audience.name, audience.address)?;
    }
    Ok(())
}

fn observer_key(key: &ObserverKeyFile, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "observer key: audience {} (id {})", key.audience, audience_id(&key.audience)?)?;
    writeln!(out, "public key {}", key.identity.public().to_text(Peer::Observer))?;
    for retiring in &key.retiring {
        let id = audience_id(&retiring.name)?;
        writeln!(out, "retiring audience {} (id {id}) until {}", retiring.name, retiring.until)?;
    }
    Ok(())
}
