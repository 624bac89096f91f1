//! The combined verdict against the rule in plain words, whatever observers say and in whatever order.

use proptest::prelude::*;
use varta_vlp::subject::Verdict;

use crate::rig::{Rig, Slot, up};

const OBSERVERS: [&str; 4] = ["obs-1", "obs-2", "obs-3", "obs-4"];

/// The rule: alive if anybody hears it, as whoever heard it last says; stalled only if all who can see agree; how it ended
/// stands against what is older. Who sees nothing has no say, unless nobody else has one.
pub(crate) fn rule(views: &[&Slot]) -> Option<Verdict> {
    let age = |slot: &&&Slot| slot.age_ms;
    let is_alive = |slot: &Slot| match slot.verdict {
        Verdict::Up | Verdict::Degraded => true,
        Verdict::Critical => !slot.ended,
        _ => false,
    };
    let alive = views.iter().filter(|slot| is_alive(slot)).min_by_key(age);
    let stalled = views.iter().filter(|slot| slot.verdict == Verdict::Stalled).min_by_key(age);
    let words = views.iter().filter(|slot| match slot.verdict {
        Verdict::Departed | Verdict::Held => true,
        Verdict::Critical => slot.ended,
        _ => false,
    });
    // Of two words at one instant the worse one holds.
    let word = words.min_by_key(|slot| (slot.age_ms, !slot.ended));
    let stands = |word: &&Slot| {
        // Clocks of observers differ by as much as 100 ms.
        alive.or(stalled).is_none_or(|rival| word.age_ms <= rival.age_ms.map(|age| age + 100))
    };
    match (word.filter(|word| stands(word)), alive, stalled) {
        (Some(word), ..) => Some(word.verdict),
        (None, Some(alive), _) => Some(alive.verdict),
        (None, None, Some(_)) => Some(Verdict::Stalled),
        (None, None, None) => (!views.is_empty()).then_some(Verdict::Unknown),
    }
}

/// What an observer says: one of everything that can be said of a unit.
fn said() -> impl Strategy<Value = Option<(Verdict, bool)>> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some((Verdict::Up, false))),
        2 => Just(Some((Verdict::Stalled, false))),
        6 => prop_oneof![
            Just(Some((Verdict::Degraded, false))),
            Just(Some((Verdict::Critical, false))),
            Just(Some((Verdict::Critical, true))),
            Just(Some((Verdict::Departed, false))),
            Just(Some((Verdict::Held, false))),
            Just(Some((Verdict::Unknown, false))),
        ],
    ]
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..OBSERVERS.len()).collect()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_unit_is_judged_by_the_rule(
        says in proptest::collection::vec(said(), OBSERVERS.len()),
        ages in order(),
        speaking in order(),
        lost in proptest::collection::vec(proptest::bool::weighted(0.2), OBSERVERS.len()),
    ) {
        let slot = |number: usize| {
            // Far enough from one another that no clock of an observer matters.
            let age = 10 + 250 * u32::try_from(ages[number]).unwrap();
            let (verdict, ended) = says[number]?;
            Some(Slot { ended, ..up(3, "web-1", "api").verdict(verdict).age(age) })
        };
        let mut rig = Rig::new(&OBSERVERS);
        let mut links: Vec<_> = speaking
            .iter()
            .map(|number| (*number, rig.observer(OBSERVERS[*number], &slot(*number).into_iter().collect::<Vec<_>>())))
            .collect();
        let all: Vec<_> = (0..OBSERVERS.len()).filter_map(slot).collect();
        prop_assert_eq!(rig.verdict("web-1", "api"), rule(&all.iter().collect::<Vec<_>>()));

        for (number, told) in &mut links {
            if lost[*number] {
                rig.disconnect(told);
            }
        }
        // The word of the lost has run out, and nobody has had the time to be disputed.
        rig.pass(2500);
        let heard: Vec<_> = (0..OBSERVERS.len()).filter(|number| !lost[*number]).filter_map(slot).collect();
        let expected = rule(&heard.iter().collect::<Vec<_>>()).or((!all.is_empty()).then_some(Verdict::Unknown));
        prop_assert_eq!(rig.verdict("web-1", "api"), expected);
    }
}
