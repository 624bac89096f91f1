//! An observer that is held up: its stalls accuse nobody, and a death behind one is told soon after.

use super::{
    Ns,
    random::Random,
    subject,
    trace::{Span, Stalls, Trace, stall_length},
    units::{SECOND, seconds},
    worlds::World,
};

/// What comes before the first stall.
const LEAD: Ns = 120 * SECOND;
/// How long a death may take to be told before it counts as never told.
const LIMIT: Ns = 120 * SECOND;

/// What the subject told over some stalls of its loop.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Blindness {
    pub(super) injections: u32,
    /// Stalls told, by an observer that hears this sender alone and by one that hears others too.
    pub(super) told: usize,
    /// Those of them that an observer with the same beats that was never held up did not tell.
    pub(super) wrong: usize,
    /// Deaths behind stalls of the loop, ..
    pub(super) deaths: u32,
    /// .. never told, ..
    pub(super) untold: u32,
    /// .. and the longest time from the end of the stall until one was told.
    pub(super) longest_s: f64,
}

pub(super) fn take(world: &World, seed: u64, injections: u32) -> anyhow::Result<Blindness> {
    let stalls = Stalls::injected(injections, seed, LEAD);
    let end = stalls.end() + LEAD;
    let trace = Trace::new(world, seed, end, vec![]);
    let seeing = subject::run(world, &trace, &Stalls::default(), end)?.stalls;
    let (mut told, mut accused) = (0, 0);
    for busy in [false, true] {
        let found = subject::run(world, &trace, &stalls.clone().busy(busy), end)?.stalls;
        told += found.len();
        accused += wrong(&found, &seeing, &stalls).len();
    }
    let (mut untold, mut longest) = (0, 0);
    for number in 0..injections {
        match death(world, seed, number)? {
            Some(time) => longest = longest.max(time),
            None => untold += 1,
        }
    }
    Ok(Blindness { injections, told, wrong: accused, deaths: injections, untold, longest_s: seconds(longest) })
}

/// Stalls told in a silence in which one that saw all the time told none: the silence was not so long, or was not one.
fn wrong(told: &[Span], seeing: &[Span], stalls: &Stalls) -> Vec<Span> {
    let owed = |at: Ns| {
        let after = seeing.partition_point(|(from, _)| *from <= at);
        // Life that came in while the observer was held up ends a silence when it is read.
        after.checked_sub(1).and_then(|place| seeing.get(place)).is_some_and(|(_, to)| at <= stalls.served(*to))
    };
    told.iter().filter(|(at, _)| !owed(*at)).copied().collect()
}

/// From the end of a stall of the loop until a death within it is told.
fn death(world: &World, seed: u64, number: u32) -> anyhow::Result<Option<Ns>> {
    let mut random = Random::new(seed, 1000 + u64::from(number));
    let from = LEAD + random.between(0.0, SECOND as f64) as Ns;
    let to = from + stall_length(&mut random);
    let at = random.between(from as f64, to as f64) as Ns;
    let trace = Trace::new(world, random.next(), to, vec![]).until(at);
    let run = subject::run(world, &trace, &Stalls::one(from, to).busy(number.is_multiple_of(2)), to + LIMIT)?;
    Ok(run.stalls.last().filter(|_| run.stalled).map(|(told, _)| (told - to).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_wrong_unless_one_that_saw_told_it_too() {
        let stalls = Stalls::one(150, 260);
        let seeing = [(100, 200), (500, 600)];
        assert_eq!(wrong(&[(100, 200), (250, 270), (590, 600)], &seeing, &stalls), []);
        assert_eq!(wrong(&[(99, 200), (261, 270), (610, 620)], &seeing, &stalls).len(), 3);
    }

    #[test]
    fn a_death_in_a_stall_is_told_after_it() {
        let world = &super::super::worlds::WORLDS[3];
        for number in 0..20 {
            let time = death(world, 1, number).unwrap().expect("told");
            assert!((0..455_000_000).contains(&time), "{time}");
        }
    }
}
