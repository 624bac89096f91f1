//! Runs worlds by seed: `varta-sim --seeds 100000`, `--from N`, or one with all it did: `--seed N`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use varta_sim::random::{Failure, run, run_traced};

struct Asked {
    from: u64,
    seeds: u64,
    threads: u64,
    one: Option<u64>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { from: 0, seeds: 1000, threads: 0, one: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{word}: expects a number"))?;
        match word.as_str() {
            "--seeds" => asked.seeds = number,
            "--from" => asked.from = number,
            "--threads" => asked.threads = number,
            "--seed" => asked.one = Some(number),
            other => return Err(format!("{other}: unknown; there are --seeds N, --from N, --threads N, --seed N")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    match asked().map_err(io::Error::other).and_then(|asked| match asked.one {
        Some(seed) => show(seed),
        None => run_all(&asked),
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "varta-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Shows the last of what happened in one world.
fn show(seed: u64) -> io::Result<bool> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (run, lines) = run_traced(seed, true);
    for line in lines {
        writeln!(out, "{line}")?;
    }
    match &run {
        Ok(run) => writeln!(out, "seed {seed}: {} datagrams sealed, digest {:016x}", run.sealed, run.digest)?,
        Err(failure) => writeln!(out, "{failure}")?,
    }
    out.flush()?;
    Ok(run.is_ok())
}

fn run_all(asked: &Asked) -> io::Result<bool> {
    let end = asked.from.saturating_add(asked.seeds);
    let next = AtomicU64::new(asked.from);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let threads = if asked.threads == 0 { cores } else { asked.threads };
    let worker = || {
        let (mut failures, mut sealed): (Vec<Failure>, usize) = (Vec::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return (failures, sealed);
            }
            match run(seed) {
                Ok(run) => sealed += run.sealed,
                Err(failure) => {
                    let _ = writeln!(io::stderr(), "{failure}");
                    failures.push(failure);
                }
            }
        }
    };
    let (mut failures, mut sealed) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok((more, datagrams)) => {
                    failures.extend(more);
                    sealed += datagrams;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let mut out = io::stdout().lock();
    let count = failures.len();
    writeln!(out, "{} seeds from {}, {sealed} datagrams sealed, {count} failed", asked.seeds, asked.from)?;
    Ok(failures.is_empty())
}
