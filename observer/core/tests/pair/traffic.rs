//! Random traffic: nothing accepted twice, nothing forged accepted, everything counted once.

use std::collections::HashSet;

use proptest::prelude::*;
use varta_core::{MILLI, Outcome, SECOND, Start};

use crate::{
    sender::{Say, Sender},
    world::Pair,
};

#[derive(Clone, Debug)]
enum Step {
    /// A sender seals; the frame stays in the air.
    Send {
        who: usize,
        due: u32,
        last: u8,
    },
    /// A frame of the air arrives; it stays there, to come again.
    Arrive {
        which: usize,
    },
    /// A frame of the air arrives with one bit flipped.
    Forge {
        which: usize,
        bit: usize,
    },
    /// A frame of the air arrives cut or lengthened.
    Resize {
        which: usize,
        len: usize,
    },
    /// A process is replaced by another of the same unit.
    Replace {
        who: usize,
    },
    /// A sender's clock is set.
    Clock {
        who: usize,
        ms: i64,
    },
    /// The observer's clock is set.
    Observer {
        ms: i64,
    },
    Wait {
        ms: u64,
    },
    /// The loop stands still.
    Gap {
        ms: u64,
    },
    /// The observer is stopped and started; `crash` says how.
    Restart {
        crash: bool,
        same_boot: bool,
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..6_usize, prop_oneof![Just(0_u32), Just(300), Just(1000), Just(60_000)], 0..12_u8)
            .prop_map(|(who, due, last)| Step::Send { who, due, last }),
        14 => (0..400_usize).prop_map(|which| Step::Arrive { which }),
        3 => (0..400_usize, 0..1000_usize).prop_map(|(which, bit)| Step::Forge { which, bit }),
        1 => (0..400_usize, 0..1300_usize).prop_map(|(which, len)| Step::Resize { which, len }),
        1 => (0..6_usize).prop_map(|who| Step::Replace { who }),
        1 => (0..6_usize, -7000..7000_i64).prop_map(|(who, ms)| Step::Clock { who, ms }),
        1 => (-4000..4000_i64).prop_map(|ms| Step::Observer { ms }),
        8 => prop_oneof![0..300_u64, 0..20_000_u64].prop_map(|ms| Step::Wait { ms }),
        1 => (500..40_000_u64).prop_map(|ms| Step::Gap { ms }),
        1 => (any::<bool>(), any::<bool>(), 0..9000_u64)
            .prop_map(|(crash, same_boot, ms)| Step::Restart { crash, same_boot, ms }),
    ]
}

struct Traffic {
    pair: Pair,
    senders: Vec<Sender>,
    air: Vec<Vec<u8>>,
    accepted: HashSet<Vec<u8>>,
    pids: u32,
}

impl Traffic {
    fn new() -> Self {
        let names = [("web-1", "api"), ("web-1", "db"), ("web-1", ""), ("web-2", ""), ("web-2", "api"), ("web-3", "x")];
        let sender = |(place, (agent, unit)): (usize, &(&str, &str))| Sender::new(agent, unit, 100 + place as u32);
        Self {
            pair: Pair::new(),
            senders: names.iter().enumerate().map(sender).collect(),
            air: Vec::new(),
            accepted: HashSet::new(),
            pids: 1000,
        }
    }

    fn arrive(&mut self, bytes: &[u8], genuine: bool) {
        match self.pair.deliver(bytes) {
            Outcome::Accepted(_) | Outcome::AcceptedLate(_) => {
                assert!(genuine, "a forged frame was accepted");
                assert!(self.accepted.insert(bytes.to_vec()), "a frame was accepted twice");
            }
            Outcome::Rejected(_) => {}
            Outcome::Waiting(_) => panic!("the horizon is beyond all time"),
        }
        self.pair.assert_conserved();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send { who, due, last } => {
                let say = match last {
                    0 => Say::goodbye(),
                    1 => Say::end(9),
                    _ => Say::due(due),
                };
                let bytes = self.senders[who].beat(self.pair.t, say);
                if last % 2 == 0 {
                    self.arrive(&bytes, true);
                }
                self.air.push(bytes);
            }
            Step::Arrive { which } => {
                if let Some(bytes) = self.of_the_air(which) {
                    self.arrive(&bytes, true);
                }
            }
            Step::Forge { which, bit } => {
                if let Some(mut bytes) = self.of_the_air(which) {
                    let bit = bit % (bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    self.arrive(&bytes, false);
                }
            }
            Step::Resize { which, len } => {
                if let Some(mut bytes) = self.of_the_air(which) {
                    let genuine = bytes.len() == len;
                    bytes.resize(len, 7);
                    self.arrive(&bytes, genuine);
                }
            }
            Step::Replace { who } => {
                self.pids += 1;
                self.senders[who] = self.senders[who].successor(self.pids);
            }
            Step::Clock { who, ms } => self.senders[who].skew = ms * MILLI as i64,
            Step::Observer { ms } => self.pair.skew = ms * MILLI as i64,
            Step::Wait { ms } => self.pair.wait(ms * MILLI),
            Step::Gap { ms } => {
                let from = self.pair.mono();
                self.pair.sleep(ms * MILLI);
                let now = self.pair.now();
                self.pair.core.handle_gap(from, now);
                self.pair.turn();
            }
            Step::Restart { crash, same_boot, ms } => {
                let away = ms * MILLI;
                self.pair.restart(away, same_boot, |core, stopped| match crash {
                    true => Start::Crash { horizon: core.newest_sent().after(2 * SECOND), away },
                    false => Start::Clean { stopped, away, barrier: core.barrier() },
                });
            }
        }
        self.pair.assert_counted();
    }

    /// One of the newest frames of the air, most often.
    fn of_the_air(&self, which: usize) -> Option<Vec<u8>> {
        let count = self.air.len();
        let back = if which.is_multiple_of(3) { which } else { which % 12 };
        count.checked_sub(1 + back % count.max(1)).map(|place| self.air[place].clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn nothing_is_accepted_twice_nothing_forged_and_all_is_counted(steps in prop::collection::vec(step(), 1..250)) {
        let mut traffic = Traffic::new();
        for step in steps {
            traffic.take(step);
        }
    }
}
