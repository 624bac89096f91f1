//! The simulator bites: with any one rule of the acceptance switched off some world fails, and the same world passes with
//! it on.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use varta_core::switch::{RULES, set_off};
use varta_mutant::random::{Failure, run};

/// Most worlds that a rule may need.
const SEEDS: u64 = 1500;
/// Worlds that fail for it before a rule counts as shown.
const ENOUGH: usize = 2;

/// The first worlds that fail without `rule`, and how many were tried.
fn bitten(rule: &'static str) -> (Vec<Failure>, u64) {
    set_off(Some(rule));
    let mut failures = Vec::new();
    let mut tried = 0;
    while tried < SEEDS && failures.iter().filter(|failure| blames(failure, rule)).count() < ENOUGH {
        failures.extend(run(tried).err());
        tried += 1;
    }
    set_off(None);
    for failure in &failures {
        assert!(run(failure.seed).is_ok(), "without a rule off: {failure}");
    }
    (failures, tried)
}

fn blames(failure: &Failure, rule: &str) -> bool {
    failure.breach.rule.name() == rule
}

#[test]
fn with_any_one_rule_off_some_world_fails_and_is_laid_to_it() {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut found = BTreeMap::new();
        while let Some(rule) = RULES.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.insert(*rule, bitten(rule));
        }
        found
    };
    let all: BTreeMap<_, _> = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut survivors = Vec::new();
    for rule in RULES {
        let (failures, tried) = &all[rule];
        println!("without {rule}: {} of {tried} worlds fail", failures.len());
        for failure in failures {
            println!("  {failure}");
        }
        if !failures.iter().any(|failure| blames(failure, rule)) {
            survivors.push(rule);
        }
    }
    assert!(survivors.is_empty(), "no world is laid to these rules when they are off: {survivors:?}");
}

#[test]
fn with_every_rule_on_the_copy_is_the_original() {
    for seed in 0..10 {
        assert_eq!(run(seed).unwrap().digest, varta_sim::random::run(seed).unwrap().digest, "seed {seed}");
    }
}
