//! Another roster in bounded steps comes to the same as all at once, whatever is heard in between.

use varta_core::{Change, MILLI, Outcome, Reject, Retired, Roster, RosterEntry, SECOND, Verdict};

use varta_vlp::Generation;

use crate::{
    sender::{Say, Sender},
    world::{Pair, Seed},
};

const AGENTS: u64 = 12;
const MINUTE: u64 = 60 * SECOND;

fn name(number: u64) -> String {
    format!("web-{number}")
}

fn sender(number: u64, pid: u32) -> Sender {
    Sender::new(&name(number), "api", pid)
}

/// A roster of some of the agents, each with something to say of it or nothing.
fn roster(seed: &mut Seed) -> Option<Roster> {
    if seed.below(8) == 0 {
        return None;
    }
    let mut entries = Vec::new();
    for number in 0..AGENTS {
        let kind = seed.below(6);
        if kind == 0 {
            continue;
        }
        let entry = RosterEntry {
            name: name(number).into(),
            required: kind >= 4,
            return_within: (kind == 5).then_some(MINUTE),
            revoked: if kind == 1 { vec![Generation(1)] } else { Vec::new() },
            ..RosterEntry::default()
        };
        entries.push((sender(number, 1).agent, entry));
    }
    Some(Roster::new(entries))
}

/// What was told, in an order that does not depend on who came first within one instant.
fn told(pair: &mut Pair) -> Vec<String> {
    let mut told: Vec<_> = pair.told().iter().map(|change| format!("{change:?}")).collect();
    told.sort();
    told
}

/// Two observers that hear the same: one puts rosters in force at once, the other in steps of `steps` with frames between.
struct Both {
    whole: Pair,
    stepped: Pair,
}

impl Both {
    fn each(&mut self, mut act: impl FnMut(&mut Pair)) {
        act(&mut self.whole);
        act(&mut self.stepped);
    }

    fn send(&mut self, sender: &mut Sender, say: Say) {
        let bytes = sender.beat(self.whole.t, say);
        let outcomes = [self.whole.deliver(&bytes), self.stepped.deliver(&bytes)];
        let plain = |outcome: Outcome| match outcome {
            Outcome::Accepted(_) => None,
            Outcome::Rejected(reject) => Some(reject),
            other => panic!("{other:?}"),
        };
        assert_eq!(plain(outcomes[0]), plain(outcomes[1]), "the same frame, the same outcome");
    }

    fn assert_same(&mut self) {
        self.each(|pair| pair.assert_counted());
        assert_eq!(self.whole.core.verdict_counts(), self.stepped.core.verdict_counts());
        assert_eq!(self.whole.picture(), self.stepped.picture());
        assert_eq!(told(&mut self.whole), told(&mut self.stepped));
    }
}

#[test]
fn steps_come_to_the_same_as_all_at_once() {
    for number in 0..300 {
        let seed = &mut Seed(number);
        let mut both = Both { whole: Pair::new(), stepped: Pair::new() };
        let mut senders: Vec<_> = (0..AGENTS).map(|number| sender(number, 100)).collect();
        for _ in 0..6 {
            for _ in 0..seed.below(20) {
                let place = usize::try_from(seed.below(AGENTS)).unwrap();
                let say = if seed.below(5) == 0 { Say::goodbye() } else { Say::due(1000) };
                both.send(&mut senders[place], say);
                if say.flags != varta_vlp::sealed::Flags(0) {
                    senders[place] = senders[place].successor(200);
                }
                both.each(|pair| pair.wait(50 * MILLI));
            }
            let next = roster(seed);
            let now = both.whole.now();
            both.stepped.core.begin_roster(now, next.clone());
            both.whole.core.set_roster(now, next);
            let steps = u32::try_from(1 + seed.below(4)).unwrap();
            while both.stepped.core.continue_roster(now, steps).is_none() {
                // Within this instant others are heard, of which some have had their turn and some not.
                let place = usize::try_from(seed.below(AGENTS)).unwrap();
                both.send(&mut senders[place], Say::due(1000));
            }
            both.assert_same();
            let pause = [0, SECOND, 10 * SECOND, 2 * MINUTE][usize::try_from(seed.below(4)).unwrap()];
            both.each(|pair| pair.wait(pause));
            both.assert_same();
        }
    }
}

#[test]
fn a_revoked_agent_is_refused_from_the_first_step_on() {
    let mut pair = Pair::new();
    let mut senders: Vec<_> = (0..AGENTS).map(|number| sender(number, 100)).collect();
    for sender in &mut senders {
        pair.beat(sender, Say::due(1000));
    }
    let revoked = |number| {
        let entry = RosterEntry { name: name(number).into(), revoked: vec![Generation(1)], ..RosterEntry::default() };
        (sender(number, 1).agent, entry)
    };
    let now = pair.now();
    pair.core.begin_roster(now, Some(Roster::new((0..AGENTS).map(revoked))));
    assert!(pair.core.continue_roster(now, 1).is_none());
    for sender in &mut senders {
        assert_eq!(pair.send(sender, Say::due(1000)), Outcome::Rejected(Reject::Revoked));
    }
    let before: Vec<_> = senders.iter().map(|sender| pair.verdict(sender)).collect();
    assert_eq!(before[0], Verdict::Departed);
    assert!(before[1..].iter().all(|verdict| *verdict == Verdict::Up), "a step is one agent: {before:?}");
    while pair.core.continue_roster(now, 2).is_none() {}
    assert!(senders.iter().all(|sender| pair.verdict(sender) == Verdict::Departed));
}

#[test]
fn the_roster_before_is_handed_out_and_another_may_come_before_the_end() {
    let mut pair = Pair::new();
    let now = pair.now();
    let of = |count| {
        let entry = |number| (sender(number, 1).agent, RosterEntry { name: name(number).into(), ..Default::default() });
        Some(Roster::new((0..count).map(entry)))
    };
    pair.core.set_roster(now, of(3));
    pair.core.begin_roster(now, of(5));
    assert!(pair.core.continue_roster(now, 1).is_none());
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 3, "what is told stays until it is over");
    pair.core.begin_roster(now, of(7));
    let retired = std::iter::repeat_with(|| pair.core.continue_roster(now, 1)).flatten().next();
    assert!(matches!(retired, Some(Retired(Some(roster))) if roster.len() == 5));
    assert_eq!(pair.core.verdict_counts()[Verdict::Missing as usize], 7);
    assert!(matches!(pair.core.continue_roster(now, 1), Some(Retired(None))), "and nothing is left to do");
    assert!(!pair.told().iter().any(|change| matches!(change, Change::Agent { .. })), "nobody is required");
}
