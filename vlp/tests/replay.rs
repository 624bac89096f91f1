//! The replay window over every small history, against a set.
//!
//! What a window says depends on the counters accepted before by their distances alone, and only distances around its
//! width are told apart by different code. So every history over the distances that matter is tried, from starts at both
//! ends of the counters and in the middle: some hundred thousand histories, each step of which is compared with the
//! specification's words. Miri has less of it.
#![expect(clippy::unwrap_used, reason = "a history begins with a counter")]

use std::collections::BTreeSet;

use varta_vlp::replay::{Place, Window};

const STEPS: [i64; 19] = [-130, -129, -128, -127, -126, -65, -64, -63, -2, -1, 0, 1, 2, 63, 64, 65, 127, 128, 129];
const LENGTH: usize = if cfg!(miri) { 2 } else { 4 };

/// SPEC, "Replay window", read as it stands: a set of all that was accepted.
fn specified(accepted: &BTreeSet<u64>, counter: u64) -> Place {
    let newest = *accepted.last().unwrap();
    if counter > newest {
        Place::Newest
    } else if counter == newest {
        Place::NewestAgain
    } else if newest - counter >= 128 {
        Place::TooOld
    } else if accepted.contains(&counter) {
        Place::Replayed
    } else {
        Place::Late
    }
}

/// Everything that can be asked of the window is as the set says.
fn assert_agrees(window: &Window, accepted: &BTreeSet<u64>) {
    let newest = *accepted.last().unwrap();
    assert_eq!(window.newest(), newest);
    let width = if cfg!(miri) { 3 } else { 131 };
    for counter in newest.saturating_sub(width)..=newest.saturating_add(2) {
        assert_eq!(window.place(counter), specified(accepted, counter), "{counter} after {accepted:?}");
    }
    for counter in [0, 1, (1 << 48) - 1, u64::MAX] {
        assert_eq!(window.place(counter), specified(accepted, counter), "{counter} after {accepted:?}");
    }
    let (newest, seen) = window.parts();
    assert_eq!(Window::from_parts(newest, seen), *window, "kept and read back");
}

/// Goes on from here in every way; returns how many histories there were.
fn explore(window: Window, accepted: &mut BTreeSet<u64>, left: usize) -> u64 {
    if left == 0 {
        assert_agrees(&window, accepted);
        return 1;
    }
    let mut histories = 0;
    for step in STEPS {
        let Some(counter) = window.newest().checked_add_signed(step) else { continue };
        let place = window.place(counter);
        assert_eq!(place, specified(accepted, counter), "{counter} after {accepted:?}");
        let mut next = window;
        next.accept(counter);
        match place {
            Place::Newest | Place::Late => {
                accepted.insert(counter);
                histories += explore(next, accepted, left - 1);
                accepted.remove(&counter);
            }
            // Whoever accepts it all the same changes nothing by that.
            Place::NewestAgain | Place::Replayed | Place::TooOld => {
                assert_eq!(next, window, "{counter} after {accepted:?}");
                histories += explore(window, accepted, left - 1);
            }
        }
    }
    histories
}

#[test]
fn every_small_history_is_judged_as_a_set_would() {
    let mut histories = 0;
    for start in [0, 1, 127, 128, 1 << 32, (1 << 48) - 1] {
        histories += explore(Window::starting_at(start), &mut BTreeSet::from([start]), LENGTH);
    }
    let least = if cfg!(miri) { 1_000 } else { 500_000 };
    assert!(histories > least, "{histories} histories");
}

/// Counters within about a window's width of one another: every subset of six in every order, with every one of them
/// asked for after every step.
#[test]
fn every_order_of_every_few_neighbours() {
    const NEIGHBOURS: [u64; 6] = [1000, 1001, 1002, 1063, 1064, 1128];
    fn permute(window: Window, accepted: &mut BTreeSet<u64>, depth: usize) -> u64 {
        let mut orders = 1;
        for counter in NEIGHBOURS {
            assert_eq!(window.place(counter), specified(accepted, counter), "{counter} after {accepted:?}");
            if depth > 0 && !accepted.contains(&counter) {
                let mut next = window;
                next.accept(counter);
                // Below the window it is forgotten at once: it was never accepted.
                if window.place(counter) == Place::TooOld {
                    assert_eq!(next, window);
                    continue;
                }
                accepted.insert(counter);
                orders += permute(next, accepted, depth - 1);
                accepted.remove(&counter);
            }
        }
        orders
    }
    let depth = if cfg!(miri) { 2 } else { NEIGHBOURS.len() };
    let orders: u64 =
        NEIGHBOURS.iter().map(|first| permute(Window::starting_at(*first), &mut BTreeSet::from([*first]), depth)).sum();
    assert!(orders >= if cfg!(miri) { 100 } else { 1_000 }, "{orders} orders");
}

/// A leap of any width forgets exactly what is below the window then.
#[test]
fn every_leap_keeps_what_is_within_the_window() {
    let filled = if cfg!(miri) { 8 } else { 128 };
    for leap in (0..=131).chain([u64::from(u32::MAX), 1 << 47]) {
        let mut window = Window::starting_at(0);
        let mut accepted = BTreeSet::from([0]);
        for counter in (1..filled).filter(|counter| counter % 3 != 1) {
            window.accept(counter);
            accepted.insert(counter);
        }
        let counter = window.newest() + leap;
        window.accept(counter);
        accepted.insert(counter);
        assert_agrees(&window, &accepted);
    }
}
