//! A batch of datagrams has the outcome of the same datagrams one after another.

use varta_core::{Datagram, MILLI, Outcome, SECOND};

use crate::{
    sender::{Say, Sender},
    world::{Pair, Seed, origin},
};

const SENDERS: u64 = 40;

/// What arrives: beats and announces of senders in both generations of their keys, some lost, some twice, some bent, cut
/// short, or garbage.
struct Traffic {
    seed: Seed,
    senders: Vec<Sender>,
    kept: Vec<Vec<u8>>,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        let sender = |n: u64| {
            let unit = if n.is_multiple_of(3) { "" } else { "api" };
            Sender::new(&format!("web-{}", n / 2), unit, u32::try_from(100 + n).unwrap())
        };
        Self { seed: Seed(seed), senders: (0..SENDERS).map(sender).collect(), kept: Vec::new() }
    }

    fn next(&mut self, t: u64) -> Vec<u8> {
        let who = usize::try_from(self.seed.below(SENDERS)).unwrap();
        match self.seed.below(20) {
            0 if !self.kept.is_empty() => {
                let which = self.seed.below(self.kept.len() as u64);
                self.kept[usize::try_from(which).unwrap()].clone()
            }
            1 if !self.kept.is_empty() => {
                let mut bent = self.kept.last().unwrap().clone();
                let bit = usize::try_from(self.seed.below(bent.len() as u64 * 8)).unwrap();
                bent[bit / 8] ^= 1 << (bit % 8);
                bent
            }
            2 => vec![0x5a; usize::try_from(self.seed.below(300)).unwrap()],
            3 => {
                let pid = self.senders[who].pid + 1000;
                self.senders[who] = self.senders[who].successor(pid).generation(1 + pid % 2);
                self.senders[who].beat(t, Say::due(1000))
            }
            _ => {
                let beat = self.senders[who].beat(t, Say::due(1000));
                self.kept.push(beat.clone());
                beat
            }
        }
    }
}

#[test]
fn as_one_after_another() {
    for seed in 0..12 {
        let (mut batched, mut single) = (Pair::new(), Pair::new());
        let mut traffic = Traffic::new(seed);
        let (mut accepted, mut refused) = (0, 0);
        for size in [1, 3, 8, 9, 15, 16, 17, 40, 64, 65, 150, 130, 12, 64] {
            let mut frames: Vec<_> = (0..size).map(|n| traffic.next(batched.t + n)).collect();
            for pair in [&mut batched, &mut single] {
                pair.wait(700 * MILLI);
            }
            let expected: Vec<_> = frames.iter().map(|frame| single.deliver(frame)).collect();
            let now = batched.now();
            let mut datagrams: Vec<_> =
                frames.iter_mut().map(|bytes| Datagram { bytes, origin: origin(false) }).collect();
            let mut outcomes = Vec::new();
            batched.core.handle_batch(now, &mut datagrams, &mut outcomes);
            assert_eq!(outcomes, expected, "seed {seed}, {size} at once");
            accepted += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Accepted(_))).count();
            refused += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected(_))).count();
            batched.turn();
            single.turn();
            assert_eq!(batched.picture(), single.picture(), "seed {seed}, {size} at once");
        }
        assert!(accepted > 200 && refused > 50, "{accepted} accepted, {refused} refused");
        assert_eq!(batched.told(), single.told());
        assert_eq!(format!("{:?}", batched.counters()), format!("{:?}", single.counters()));
        batched.wait(10 * SECOND);
        single.wait(10 * SECOND);
        assert_eq!(batched.picture(), single.picture());
        batched.assert_conserved();
    }
}
