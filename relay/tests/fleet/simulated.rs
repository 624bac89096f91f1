//! Observers, links and restarts by seed, against a slow and obvious model.
//!
//! Every observer knows what it hears of each unit; links drop messages by ending, come back at any time and are taken over
//! by others; observers and the relay restart. After quiet time the relay's picture is that of the observers, and at no time
//! did a unit become stalled that an observer hears whose link is there and whose snapshot is complete. What was delivered,
//! and by whom, is kept here and not asked of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use varta_relay::fleet::{Change, Filter, Fleet, Limits, Reaction, Settings};
use varta_vlp::subject::Verdict;

use crate::{
    combined::rule,
    rig::{Rig, Slot, Told, allow, up},
};

/// Numbers that look random and are not.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

const UNITS: u32 = 12;
const OBSERVERS: [&str; 3] = ["obs-1", "obs-2", "obs-3"];

/// What one observer knows, and what it has told.
struct Observer {
    told: Told,
    /// By unit: its handle in this life, and what is known.
    slots: BTreeMap<u32, Slot>,
    /// Units that are to be told of, in a snapshot those that are left.
    dirty: Vec<u32>,
    snapshot: Option<Vec<u32>>,
    /// What was sent and not taken: lost with the link.
    unacked: Vec<u32>,
    lost: Vec<u32>,
    handles: u32,
    /// By unit: what the relay was told and has taken.
    delivered: BTreeMap<u32, Slot>,
    /// Units of the snapshot that is being told.
    in_snapshot: Vec<u32>,
    /// Whether a snapshot is complete that the relay, in its present life, still builds on.
    complete: bool,
}

impl Observer {
    /// Whether the relay must know that this observer hears a unit.
    fn surely_hears(&self, unit: u32) -> bool {
        let is_up = self.delivered.get(&unit).is_some_and(|slot| slot.verdict == Verdict::Up);
        self.told.link.is_some() && self.complete && is_up
    }
}

struct World {
    rig: Rig,
    observers: Vec<Observer>,
    dice: Dice,
    boots: u64,
    lossy: bool,
    /// Units that were stalled, and units that were surely heard, after the step before.
    stalled: BTreeSet<u32>,
    heard: BTreeSet<u32>,
}

fn name(unit: u32) -> (String, String) {
    (format!("agent-{}", unit / 2), format!("unit-{}", unit % 2))
}

impl World {
    fn new(seed: u64) -> Self {
        let allowed: Vec<_> = OBSERVERS.iter().map(|name| allow(name)).collect();
        let observers = (1..).zip(OBSERVERS).map(|(boot, name)| Observer {
            told: Told::new(name, boot),
            slots: BTreeMap::new(),
            dirty: Vec::new(),
            snapshot: None,
            unacked: Vec::new(),
            lost: Vec::new(),
            handles: 0,
            delivered: BTreeMap::new(),
            in_snapshot: Vec::new(),
            complete: false,
        });
        Self {
            rig: Rig::with(allowed, Limits::default(), Settings::default()),
            observers: observers.collect(),
            dice: Dice(seed),
            boots: 100,
            lossy: true,
            stalled: BTreeSet::new(),
            heard: BTreeSet::new(),
        }
    }

    /// An observer learns something.
    fn learn(&mut self, number: usize) {
        let unit = u32::try_from(self.dice.roll(u64::from(UNITS))).unwrap();
        let kind = self.dice.roll(8);
        let observer = &mut self.observers[number];
        let (agent, unit_name) = name(unit);
        let handle = observer.slots.get(&unit).map_or_else(
            || {
                observer.handles += 1;
                observer.handles
            },
            |slot| slot.handle,
        );
        let slot = up(handle, &agent, &unit_name);
        let slot = match kind {
            0..=2 => slot.age(10),
            3 => slot.verdict(Verdict::Stalled).age(2500),
            4 => slot.verdict(Verdict::Unknown),
            5 => slot.verdict(Verdict::Departed).age(20),
            6 => slot.ended().age(20),
            _ => {
                observer.slots.remove(&unit);
                observer.dirty.push(unit);
                return;
            }
        };
        observer.slots.insert(unit, slot);
        observer.dirty.push(unit);
    }

    /// An observer says some of what it has to say.
    fn speak(&mut self, number: usize, messages: u64) {
        for _ in 0..messages {
            let lost = self.lossy && self.dice.roll(12) == 0;
            let observer = &mut self.observers[number];
            if observer.told.link.is_none() {
                return;
            }
            if lost {
                // The stream loses nothing; that it did must be noticed all the same.
                observer.told.seq += 1;
                let said = observer.snapshot.as_mut().map_or_else(|| observer.dirty.pop(), Vec::pop);
                observer.lost.extend(said);
                continue;
            }
            let rig = &mut self.rig;
            let reaction = match &mut observer.snapshot {
                Some(left) if left.is_empty() => {
                    observer.snapshot = None;
                    let reaction = rig.end(&mut observer.told);
                    if matches!(reaction, Reaction::Ack(_)) {
                        let told = std::mem::take(&mut observer.in_snapshot);
                        observer.delivered.retain(|unit, _| told.contains(unit));
                        observer.complete = true;
                    }
                    reaction
                }
                Some(left) => {
                    let unit = left.pop().unwrap();
                    tell(rig, observer, unit)
                }
                None => match observer.dirty.pop() {
                    Some(unit) => tell(rig, observer, unit),
                    None => return,
                },
            };
            match reaction {
                Reaction::Resync => self.begin(number),
                Reaction::Close(_) => {
                    let mut told = std::mem::replace(&mut self.observers[number].told, Told::new("none", 1));
                    self.rig.disconnect(&mut told);
                    told.link = None;
                    self.observers[number].told = told;
                }
                Reaction::Ack(_) | Reaction::Nothing => {}
            }
        }
    }

    fn begin(&mut self, number: usize) {
        let observer = &mut self.observers[number];
        observer.dirty.clear();
        observer.snapshot = Some(observer.slots.keys().copied().collect());
        observer.in_snapshot.clear();
        observer.complete = false;
        self.rig.begin(&mut observer.told);
    }

    fn connect(&mut self, number: usize) {
        let observer = &mut self.observers[number];
        if observer.told.link.is_some() {
            // A link that nobody has closed: the newer one takes its place.
            observer.told.link = None;
        }
        let unfinished = observer.snapshot.is_some();
        observer.dirty.append(&mut observer.unacked);
        observer.dirty.append(&mut observer.lost);
        let held = self.rig.connect(&mut observer.told);
        observer.complete &= held > 0;
        if held == 0 || unfinished {
            self.begin(number);
        }
    }

    /// A link ends. What was said last may not have come.
    fn cut(&mut self, number: usize) {
        self.rig.disconnect(&mut self.observers[number].told);
    }

    fn restart(&mut self, number: usize) {
        self.boots += 1;
        let (rig, observer) = (&mut self.rig, &mut self.observers[number]);
        rig.disconnect(&mut observer.told);
        observer.told = Told::new(OBSERVERS[number], self.boots);
        (observer.snapshot, observer.handles) = (None, 0);
        observer.dirty.clear();
        observer.unacked.clear();
        observer.lost.clear();
        // What it knew it knows again, in other slots.
        let mut slots: Vec<_> = std::mem::take(&mut observer.slots).into_iter().collect();
        slots.reverse();
        for (unit, slot) in slots {
            observer.handles += 1;
            observer.slots.insert(unit, Slot { handle: observer.handles, ..slot });
        }
    }

    /// The relay restarts, and remembers nothing.
    fn restart_relay(&mut self) {
        let allowed: Vec<_> = OBSERVERS.iter().map(|name| allow(name)).collect();
        let mut fleet = Fleet::new(self.rig.now, Limits::default(), Settings::default());
        fleet.set_allowed(self.rig.now, &allowed);
        self.rig.fleet = fleet;
        for observer in &mut self.observers {
            observer.told.link = None;
            observer.delivered.clear();
            observer.complete = false;
        }
    }

    fn step(&mut self) {
        let number = usize::try_from(self.dice.roll(3)).unwrap();
        match self.dice.roll(100) {
            0..40 => self.learn(number),
            40..75 => {
                let messages = 1 + self.dice.roll(4);
                self.speak(number, messages);
            }
            75..85 => self.connect(number),
            85..90 => self.cut(number),
            90..92 => self.restart(number),
            92 => self.restart_relay(),
            _ => {
                let ms = self.dice.roll(1500);
                self.pass(ms);
            }
        }
        self.check();
    }

    /// Time passes, and what observers know ages with it.
    fn pass(&mut self, ms: u64) {
        self.rig.pass(ms);
        let ms = u32::try_from(ms).unwrap();
        for slot in self.observers.iter_mut().flat_map(|observer| observer.slots.values_mut()) {
            slot.age_ms = slot.age_ms.map(|age| age + ms);
        }
    }

    /// What must be so at any time.
    fn check(&mut self) {
        let fleet = &self.rig.fleet;
        // What concerns all of an observer's units is done in steps.
        let settled = fleet.poll_timeout() > self.rig.now.mono;
        let mut counted = [0; 8];
        fleet.units(0, u32::MAX, &Filter::default(), |unit| {
            counted[unit.verdict() as usize] += 1;
            let unheard = unit.views().all(|view| !view.counts);
            assert!(!settled || !unheard || unit.verdict() == Verdict::Unknown, "nobody is heard of {:?}", unit.name());
            true
        });
        let is_stalled = |unit: &u32| {
            let (agent, name) = name(*unit);
            self.rig.verdict(&agent, &name) == Some(Verdict::Stalled)
        };
        let stalled: BTreeSet<u32> = (0..UNITS).filter(is_stalled).collect();
        let is_heard = |unit: &u32| self.observers.iter().any(|observer| observer.surely_hears(*unit));
        let heard: BTreeSet<u32> = (0..UNITS).filter(is_heard).collect();
        for unit in stalled.intersection(&heard) {
            let news = !self.stalled.contains(unit) && self.heard.contains(unit);
            assert!(!settled && !news, "unit {unit} is called stalled, and is heard");
        }
        (self.stalled, self.heard) = (stalled, heard);
        assert_eq!(counted, fleet.counts().verdicts, "counts agree with a recount");
    }

    /// Everything calms down, and everything is told.
    fn quiet(&mut self) {
        for number in 0..OBSERVERS.len() {
            if self.observers[number].told.link.is_none() || self.dice.roll(2) == 0 {
                self.connect(number);
            }
        }
        self.lossy = false;
        for number in 0..OBSERVERS.len() {
            self.speak(number, 1000);
            // Whatever was lost before shows now.
            if self.rig.tell(&mut self.observers[number].told, &[]) == Reaction::Resync {
                self.begin(number);
                self.speak(number, 1000);
            }
        }
        self.lossy = true;
        self.pass(0);
        for number in 0..OBSERVERS.len() {
            assert!(self.observers[number].dirty.is_empty() && self.observers[number].snapshot.is_none());
        }
    }

    /// The verdict on a unit, as anybody would say who knows what all observers know.
    fn expected(&self, unit: u32) -> Option<Verdict> {
        let views: Vec<_> = self.observers.iter().filter_map(|observer| observer.slots.get(&unit)).collect();
        rule(&views)
    }

    fn compare(&self, seed: u64) {
        for unit in 0..UNITS {
            let (agent, name) = name(unit);
            let (found, expected) = (self.rig.unit(&agent, &name), self.expected(unit));
            let verdict = found.map(|unit| unit.verdict());
            let disputed = found.is_some_and(|unit| unit.is_disputed());
            let agrees = verdict == expected || (disputed && expected == Some(Verdict::Up));
            let views: Vec<_> = self.observers.iter().map(|observer| observer.slots.get(&unit)).collect();
            let held: Vec<_> = found.iter().flat_map(|unit| unit.views()).collect();
            let held: Vec<_> = held.iter().map(|view| (view.observer, view.verdict(), view.counts)).collect();
            assert!(
                agrees,
                "seed {seed}: {agent}/{name} is {verdict:?} by {held:?} instead of {expected:?}: {views:?}"
            );
        }
    }

    /// Everybody is well: what was told as an incident is over.
    fn heal(&mut self) {
        self.lossy = false;
        for observer in &mut self.observers {
            for unit in 0..UNITS {
                let (agent, unit_name) = name(unit);
                let handle = observer.slots.get(&unit).map_or(1000 + unit, |slot| slot.handle);
                observer.slots.insert(unit, up(handle, &agent, &unit_name).age(5));
                observer.dirty.push(unit);
            }
        }
        for number in 0..OBSERVERS.len() {
            self.speak(number, 1000);
        }
        self.pass(60_000);
    }
}

fn tell(rig: &mut Rig, observer: &mut Observer, unit: u32) -> Reaction {
    let slot = observer.slots.get(&unit).cloned();
    let reaction = match slot {
        Some(slot) => rig.tell(&mut observer.told, std::slice::from_ref(&slot)),
        None => {
            // Whoever forwards knows handles and not units: one that is gone was told before, or never.
            let places: Vec<_> = (0..=observer.handles + 2000).collect();
            let used: Vec<_> = observer.slots.values().map(|slot| slot.handle).collect();
            let free = places.into_iter().filter(|handle| !used.contains(handle));
            let mut reaction = Reaction::Nothing;
            for handle in free {
                reaction = rig.gone(&mut observer.told, handle);
                if reaction == Reaction::Resync {
                    break;
                }
            }
            reaction
        }
    };
    if matches!(reaction, Reaction::Ack(_)) {
        match observer.slots.get(&unit) {
            Some(slot) => _ = observer.delivered.insert(unit, slot.clone()),
            // All handles that nobody has were told as gone.
            None => observer.delivered.retain(|_, told| observer.slots.values().any(|slot| slot.handle == told.handle)),
        }
        observer.in_snapshot.push(unit);
    }
    observer.unacked.push(unit);
    if observer.unacked.len() > 3 {
        observer.unacked.remove(0);
    }
    reaction
}

#[test]
fn the_picture_is_that_of_the_observers() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..4 {
            for _ in 0..60 {
                world.step();
            }
            world.quiet();
            world.compare(seed);
        }
        world.heal();
        assert_eq!(world.rig.open(), [""; 0], "seed {seed}");
        let changes = &world.rig.changes;
        let opened = changes.iter().filter(|change| matches!(change, Change::Opened(_))).count();
        let closed = changes.iter().filter(|change| matches!(change, Change::Closed(_))).count();
        assert!(closed <= opened, "seed {seed}: {closed} of {opened} closed");
    }
}
