//! `beat`: the CPU time that a sealed beat costs its program, over `send` of that size, one seal by the fastest library, one
//! `getrandom` and one `getpid`; in this program, and in one that embeds the client and is built by a plain
//! `cargo build --release`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use varta_client::keyfile::UnixSeconds;
use varta_keys::{Request, Vault, create_all};

use super::{Bench, line::Line};
use crate::{clock, machine, measure, receiver::spawn_on};

/// At most this many times the floor.
const GOAL: f64 = 1.1;
const FLOOR: &str = "send, seal, getrandom, getpid";
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn take(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("beat.agent.key");
    issue(directory.path(), &key)?;
    machine::stay_on(bench.cores.measured)?;
    let own = measure::rounds(&key, thread_cpu_ns);
    machine::stay_on(bench.cores.feeding)?;
    let own = own.map_err(|error| anyhow::anyhow!("{error}"))?;
    let own = own.iter().map(|round| (round.beat_ns, round.floor_ns));
    Ok(vec![
        Line::new("beat", "sealed beat(), this build", FLOOR, own, GOAL),
        Line::new("beat", "sealed beat(), embedded", FLOOR, embedded(bench, directory.path(), &key)?, GOAL),
    ])
}

fn thread_cpu_ns() -> u64 {
    u64::try_from(clock::thread_cpu().as_nanos()).unwrap_or(u64::MAX)
}

fn issue(directory: &Path, key: &Path) -> anyhow::Result<()> {
    let vault = Vault::init(&directory.join("vault"))?;
    let now = UnixSeconds(clock::realtime().as_secs());
    let mut change = vault.change()?;
    change.add_observer("nobody", "127.0.0.1:9900", false, now)?;
    let request = Request { agents: vec!["beat".to_owned()], ..Request::default() };
    let issued = change.issue(&request, now)?;
    change.commit()?;
    let issued = issued.first().context("one key was asked for")?;
    Ok(create_all([(key, issued.key.render())])?)
}

/// Builds the embedding program with the profile that every new program has, and runs it on the measured core.
fn embedded(bench: &Bench, directory: &Path, key: &Path) -> anyhow::Result<Vec<(f64, f64)>> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies in a target directory")?.join("embed");
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("embed/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build --release of the embedding program ended with {status}");
    }
    let out = directory.join("rounds");
    let mut command = Command::new(target.join("release/varta-embed"));
    command.arg(key).stdin(Stdio::null()).stdout(fs::File::create(&out)?);
    let mut process = spawn_on(bench.cores, &mut command)?;
    match clock::wait_for(LIMIT, || Ok(process.0.try_wait()?))? {
        Some(status) if status.success() => {}
        other => bail!("the embedding program ended with {other:?}"),
    }
    let text = fs::read_to_string(out)?;
    let round = |line: &str| {
        let (beat, floor) = line.split_once(' ')?;
        Some((beat.parse().ok()?, floor.parse().ok()?))
    };
    text.lines().map(|line| round(line).with_context(|| format!("the embedding program said {line:?}"))).collect()
}
