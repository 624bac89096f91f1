//! Random worlds, and that a seed is a run.
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use varta_sim::random::run;

const SEEDS: u64 = 200;

#[test]
fn two_hundred_worlds_break_no_rule() {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return failures;
            }
            failures.extend(run(seed).err().map(|failure| failure.to_string()));
        }
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "run `cargo run --release -p varta-sim -- --seed N`:\n{}", failures.join("\n"));
}

#[test]
fn a_seed_is_a_run_byte_for_byte() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 1000..1012 {
        let first = run(seed).unwrap();
        assert_eq!(run(seed).unwrap(), first, "seed {seed}");
        assert!(first.sealed > 20, "seed {seed}: something happens");
        digests.insert(first.digest);
    }
    assert_eq!(digests.len(), 12, "each seed is a run of its own");
}
